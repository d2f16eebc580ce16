package lambda

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "lambda", Summary: "Invokes an AWS Lambda function with each message.",
		New: func() destination.Config { return &Config{} },
	}
}

// The invocation types.
const (
	requestResponse = "request_response"
	asEvent         = "event"
)

// Config is the configuration of a lambda destination.
type Config struct {
	Function    string
	Region      string
	Qualifier   string
	Invocation  string
	Credentials *Credentials
	Profile     string
	Endpoint    string
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return []spec.Field{
		spec.String("function", &c.Function).Required().Check(c.checkFunction).
			Example("arn:aws:lambda:us-east-1:123456789012:function:triage").
			Doc("The function: its ARN, `account:function:name`, or its name alone; each may end in `:qualifier`."),
		spec.String("region", &c.Region).Check(c.checkRegion).Example("us-east-1").DefaultDoc("the region of the ARN").
			Doc("The region of the function. Required unless `function` is an ARN; the region of the environment " +
				"or of a profile is not used."),
		spec.String("qualifier", &c.Qualifier).Check(c.checkQualifier).Example("live").
			Doc("The version or alias to invoke."),
		spec.Enum("invocation", &c.Invocation, requestResponse, asEvent).Default(requestResponse).
			Doc("`request_response` waits for the function, counts its error as a failure and takes up to 6 MiB; " +
				"`event` hands the message to Lambda's own queue and takes up to 1 MiB."),
		spec.Optional("credentials", &c.Credentials).
			Doc("Keys of an IAM user or role. Without them, and without `profile`, the AWS default chain is " +
				"used: environment, shared files, web identity, container, instance."),
		spec.String("profile", &c.Profile).Doc("A profile of the shared AWS configuration files."),
		spec.URL("endpoint", &c.Endpoint).Check(c.checkEndpoint).Example("http://127.0.0.1:4566").
			Doc("Another address of the Lambda API, for emulators and VPC endpoints. A private address is reached " +
				"only if `network.allow` has it."),
	}
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	if c.Credentials != nil && c.Profile != "" {
		at.Problem("profile", "cannot be used together with credentials")
	}
	if !at.OK("function", "region", "qualifier") {
		return
	}
	f := parseFunction(c.Function)
	switch {
	case f.region == "" && c.Region == "":
		at.Hint("is missing: the function is not an ARN that names its region", "add region: us-east-1, or whichever it is", "region")
	case f.region != "" && c.Region != "" && f.region != c.Region:
		at.Problem("region", "differs from the region of the ARN")
	}
	if f.qualifier != "" && c.Qualifier != "" {
		at.Problem("qualifier", "the function has a qualifier already")
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

// functionText matches what the Invoke API takes for a function: name, partial
// ARN and ARN, each with or without a qualifier.
var functionText = regexp.MustCompile(`^(?:(arn:aws[a-zA-Z-]*):lambda:([a-z]{2}(?:-[a-z]+)+-\d):)?` +
	`(?:(\d{12}):function:)?([a-zA-Z0-9_-]{1,64})(?::(\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128}))?$`)

var regionText = regexp.MustCompile(`^[a-z]{2}(?:-[a-z]+)+-\d$`)

var qualifierText = regexp.MustCompile(`^(?:\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128})$`)

// function is a parsed function.
type function struct{ arn, region, account, name, qualifier string }

func parseFunction(text string) function {
	m := functionText.FindStringSubmatch(text)
	if m == nil || m[1] != "" && m[3] == "" {
		return function{}
	}
	return function{arn: m[1], region: m[2], account: m[3], name: m[4], qualifier: m[5]}
}

func (c *Config) checkFunction() error {
	if parseFunction(c.Function).name == "" {
		return fault.New(fault.Invalid, "invalid_function", "is not the name or ARN of a Lambda function")
	}
	return nil
}

func (c *Config) checkRegion() error {
	if !regionText.MatchString(c.Region) {
		return fault.New(fault.Invalid, "invalid_region", "is not an AWS region such as us-east-1")
	}
	return nil
}

func (c *Config) checkQualifier() error {
	if !qualifierText.MatchString(c.Qualifier) {
		return fault.New(fault.Invalid, "invalid_qualifier", "is neither a version nor an alias")
	}
	return nil
}

func (c *Config) checkEndpoint() error {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.User != nil || u.RawQuery != "" {
		return fault.New(fault.Invalid, "invalid_endpoint", "must have neither credentials nor a query")
	}
	return nil
}

// region returns the function's region.
func (c *Config) region() string {
	if c.Region != "" {
		return c.Region
	}
	return parseFunction(c.Function).region
}

// Address returns the ARN, or as much of one as is known, and the endpoint if
// it is not AWS's.
func (c *Config) Address() string {
	text := c.Function
	if f := parseFunction(c.Function); f.arn == "" {
		text = strings.Join([]string{"lambda", c.region(), c.Function}, ":")
	}
	if c.Qualifier != "" {
		text += ":" + c.Qualifier
	}
	if u, err := url.Parse(c.Endpoint); err == nil && c.Endpoint != "" {
		text += " at " + egress.RedactURL(u)
	}
	return text
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "lambda "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }

// hidden returns whatever must not be shown.
func (c *Config) hidden() destination.Hidden {
	if c.Credentials == nil {
		return nil
	}
	return destination.Hide(c.Credentials.SecretAccessKey.Reveal(), c.Credentials.SessionToken.Reveal())
}
