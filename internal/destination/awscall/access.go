package awscall

import (
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// Access is who calls, and in which region: the part that the configurations of
// all AWS kinds have in common.
type Access struct {
	Region      string
	Credentials *Credentials
	Profile     string
	AssumeRole  *Role
}

// RegionField returns the field region with the documentation of the kind.
func (a *Access) RegionField(doc string) spec.Field {
	return spec.String("region", &a.Region).Check(a.checkRegion).Example("us-east-1").Doc(doc)
}

// KeyFields returns the fields that say whose credentials sign.
func (a *Access) KeyFields() []spec.Field {
	return []spec.Field{
		spec.Optional("credentials", &a.Credentials).
			Doc("Keys of an IAM user or role. Without them, and without `profile`, the AWS default chain is " +
				"used: environment, shared files, web identity, container, instance."),
		spec.String("profile", &a.Profile).Doc("A profile of the shared AWS configuration files."),
		spec.Optional("assume_role", &a.AssumeRole).
			Doc("A role to assume with those credentials; its temporary keys are renewed before they expire."),
	}
}

// Check checks what concerns several fields.
func (a *Access) Check(at *spec.Place) {
	if a.Credentials != nil && a.Profile != "" {
		at.Problem("profile", "cannot be used together with credentials")
	}
}

// Hidden returns whatever must not be shown.
func (a *Access) Hidden() []string {
	if a.Credentials == nil {
		return nil
	}
	return []string{a.Credentials.SecretAccessKey.Reveal(), a.Credentials.SessionToken.Reveal()}
}

// Hide is Hidden as destination.Hidden.
func (a *Access) Hide() destination.Hidden { return destination.Hide(a.Hidden()...) }

// Format prints the region, whatever the verb: the fields hold secrets, and fmt
// asks no pointer inside a struct how it wants to be printed.
func (a Access) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "AWS access in "+a.Region) }

var regionText = regexp.MustCompile(`^[a-z]{2,4}(?:-[a-z]+)+-\d$`)

func (a *Access) checkRegion() error {
	if !regionText.MatchString(a.Region) {
		return fault.New(fault.Invalid, "invalid_region", "is not an AWS region such as us-east-1")
	}
	return nil
}

// CheckRegion reports a region that is missing, or that differs from the one
// which the named field states; of is "" if that field states none.
func (a *Access) CheckRegion(at *spec.Place, field, of string) {
	switch {
	case !at.OK(field, "region"):
	case of == "" && a.Region == "":
		at.Hint("is missing: "+field+" does not name its region", "add region: us-east-1, or whichever it is", "region")
	case of != "" && a.Region != "" && of != a.Region:
		at.Problem("region", "differs from the region in "+field)
	}
}

// Credentials are static keys.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey secret.String
	SessionToken    secret.String
}

// Fields lists the fields.
func (c *Credentials) Fields() []spec.Field {
	return []spec.Field{
		spec.String("access_key_id", &c.AccessKeyID).Required().Example(`"${AKID}"`).Doc("The key's id."),
		spec.Secret("secret_access_key", &c.SecretAccessKey).Required().Example(`"${SECRET}"`).Doc("The key."),
		spec.Secret("session_token", &c.SessionToken).Doc("The session token of temporary keys."),
	}
}

// Role is a role to assume.
type Role struct {
	ARN         string
	ExternalID  secret.String
	SessionName string
}

var (
	roleARN     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}$`)
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// Fields lists the fields.
func (r *Role) Fields() []spec.Field {
	return []spec.Field{
		spec.String("arn", &r.ARN).Required().Check(func() error { return matches(roleARN, r.ARN, "the ARN of a role") }).
			Example("arn:aws:iam::123456789012:role/hooks").Doc("The role's ARN."),
		spec.Secret("external_id", &r.ExternalID).Doc("The external id that the role's trust policy asks for."),
		spec.String("session_name", &r.SessionName).Default("grapnel").
			Check(func() error { return matches(sessionName, r.SessionName, "a session name") }).
			Doc("The name of the session, as CloudTrail shows it."),
	}
}

func matches(re *regexp.Regexp, text, what string) error {
	if !re.MatchString(text) {
		return fault.New(fault.Invalid, "invalid_config", "is not %s", what)
	}
	return nil
}

// EndpointField returns the field endpoint.
func EndpointField(target *string) spec.Field {
	return spec.URL("endpoint", target).Check(func() error { return checkEndpoint(*target) }).
		Example("http://127.0.0.1:4566").
		Doc("Another address of the API, for emulators and VPC endpoints. A private address is reached only " +
			"if `network.allow` has it.")
}

func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" {
		return fault.New(fault.Invalid, "invalid_endpoint", "must have neither credentials nor a query")
	}
	return nil
}

// Shown returns the name of a resource, and the endpoint if it is not AWS's.
func Shown(resource, endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && endpoint != "" {
		return resource + " at " + egress.RedactURL(u)
	}
	return resource
}

// ARN is the name of a resource.
type ARN struct{ Partition, Service, Region, Account, Resource string }

var arnText = regexp.MustCompile(`^arn:(aws[a-z-]*):([a-z0-9-]+):([a-z]{2,4}(?:-[a-z]+)+-\d):(\d{12}):([^\s]{1,512})$`)

// ParseARN reads the ARN of a resource of the service in a region. Its error
// says what is wrong with the value.
func ParseARN(text, service string) (ARN, error) {
	m := arnText.FindStringSubmatch(text)
	if m == nil || m[2] != service {
		return ARN{}, fault.New(fault.Invalid, "invalid_resource", "is not an ARN that begins with arn:aws:%s:", service)
	}
	return ARN{m[1], m[2], m[3], m[4], m[5]}, nil
}

// IsARN reports whether text is meant as an ARN.
func IsARN(text string) bool { return strings.HasPrefix(text, "arn:") }

// Host returns the host of a service in a region, in the region's partition.
func Host(service, region string) string {
	suffix := "amazonaws.com"
	switch {
	case strings.HasPrefix(region, "cn-"):
		suffix = "amazonaws.com.cn"
	case strings.HasPrefix(region, "eusc-"):
		suffix = "amazonaws.eu"
	case strings.HasPrefix(region, "us-isob-"):
		suffix = "sc2s.sgov.gov"
	case strings.HasPrefix(region, "us-iso-"):
		suffix = "c2s.ic.gov"
	}
	return service + "." + region + "." + suffix
}
