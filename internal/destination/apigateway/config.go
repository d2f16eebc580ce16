package apigateway

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name:    "apigateway",
		Summary: "Sends each message to a URL behind AWS IAM, signed with Signature Version 4.",
		New:     func() destination.Config { return &Config{} },
	}
}

// The services that have an action of their own.
const (
	executeAPI = "execute-api"
	lambdaURL  = "lambda"
	s3         = "s3"
)

// Config is the configuration of an apigateway destination.
type Config struct {
	URL     string
	Method  string
	Service string
	Headers map[string]secret.String
	Access  awscall.Access

	headerText string // headers as they are written, if as a text
	urlHidden  bool   // the URL came from the environment or a file
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return append([]spec.Field{
		spec.URL("url", &c.URL).Required().Secret().Check(c.checkURL).
			Example("https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/prod/hooks").
			Doc("Where requests go: an API Gateway stage, a Lambda function URL, or anything else that checks " +
				"Signature Version 4. Redirects are not followed. Values of query parameters never print."),
		spec.String("method", &c.Method).Default(http.MethodPost).Check(c.checkMethod).
			Doc("The HTTP method. GET and HEAD carry no body."),
		spec.String("service", &c.Service).Default(executeAPI).Check(c.checkService).
			Doc("The service name in the signature: `execute-api` for API Gateway, `lambda` for function URLs, " +
				"or another."),
		c.Access.RegionField("The region in the signature: that of the API or function.").Required(),
		spec.Either(
			spec.String("headers", &c.headerText).Secret(),
			spec.SecretMap("headers", &c.Headers).Keys(checkHeaderName),
		).Example("{X-Team: platform}").
			Doc("More headers, as a map or as a text `name:value,name2:value2` (values without commas). They " +
				"are signed."),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	if node := at.Node(); node != nil {
		if e := node.Get("url"); e != nil {
			c.urlHidden = e.Value.Expanded()
		}
	}
	c.Access.Check(at)
	c.checkHeaders(at)
	if at.OK("url", "service", "region") {
		c.checkHost(at)
	}
}

func (c *Config) checkHeaders(at *spec.Place) {
	if c.headerText != "" {
		headers, err := parseHeaders(c.headerText)
		if err != nil {
			at.Problem("headers", err.Error())
			return
		}
		c.Headers = headers
	}
	for name, value := range c.Headers {
		if strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			at.Problem("headers", "the value of "+name+" must not hold line breaks or other control characters")
		}
	}
}

// parseHeaders reads k:v,k2:v2. Its errors show no value: what looks like a name
// may be part of one that holds a comma.
func parseHeaders(text string) (map[string]secret.String, error) {
	headers := map[string]secret.String{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(pair, ":")
		name = strings.TrimSpace(name)
		if !ok || !isToken(name) {
			return nil, fault.New(fault.Invalid, "invalid_header",
				"is not of the form name:value,name2:value2; write a map if a value holds a comma")
		}
		canonical := http.CanonicalHeaderKey(name)
		if _, twice := headers[canonical]; twice {
			return nil, fault.New(fault.Invalid, "invalid_header", "names a header twice")
		}
		if err := checkHeaderName(name); err != nil {
			return nil, err
		}
		headers[canonical] = secret.New(strings.TrimSpace(value))
	}
	return headers, nil
}

// hostText matches the hosts that AWS gives to APIs and function URLs.
var hostText = regexp.MustCompile(`^[a-z0-9-]+\.(execute-api|lambda-url)\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$`)

// checkHost compares the host with service and region, where it tells.
func (c *Config) checkHost(at *spec.Place) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return
	}
	if m := hostText.FindStringSubmatch(strings.ToLower(u.Hostname())); m != nil {
		want := executeAPI
		if m[1] == "lambda-url" {
			want = lambdaURL
		}
		if c.Service != want {
			at.Hint("does not fit the URL, whose host is of service "+want, "write service: "+want, "service")
		}
		if c.Access.Region != m[2] {
			at.Problem("region", "differs from the region in the host of the URL")
		}
	}
	path := u.EscapedPath()
	dots := strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../")
	if c.Service != s3 && (dots || strings.Contains(path, "//")) {
		at.Problem("url", "has a path with //, /./ or /../, which AWS changes before it checks the signature")
	}
}

func (c *Config) checkURL() error {
	if u, err := url.Parse(c.URL); err != nil || u.User != nil {
		return fault.New(fault.Invalid, "invalid_url", "must have no credentials: the signature takes their place")
	}
	return nil
}

func (c *Config) checkMethod() error {
	switch {
	case !isToken(c.Method) || c.Method != strings.ToUpper(c.Method):
		return fault.New(fault.Invalid, "invalid_method", "is no HTTP method").WithHint("methods are in capitals: POST")
	case c.Method == http.MethodConnect || c.Method == http.MethodTrace:
		return fault.New(fault.Invalid, "invalid_method", "carries no message")
	}
	return nil
}

var serviceText = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)

func (c *Config) checkService() error {
	if !serviceText.MatchString(c.Service) {
		return fault.New(fault.Invalid, "invalid_config", "is not the name of a service in a signature")
	}
	return nil
}

// checkHeaderName refuses headers that belong to the connection or to the
// signature.
func checkHeaderName(name string) error {
	if !isToken(name) {
		return fault.New(fault.Invalid, "invalid_header", "is not the name of a header")
	}
	switch http.CanonicalHeaderKey(name) {
	case "Accept-Encoding", "Authorization", "Connection", "Content-Length", "Expect", "Host", "Keep-Alive",
		"Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token", "X-Idempotency-Key", headerID, headerTimestamp:
		return fault.New(fault.Invalid, "fixed_header", "is a header that Grapnel sets itself")
	}
	return nil
}

// isToken reports whether text is a token (RFC 9110 5.6.2).
func isToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return text != ""
}

// Address returns the URL without secrets.
func (c *Config) Address() string {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return secret.Redacted
	case c.urlHidden:
		return u.Scheme + "://" + u.Host + "/" + secret.Redacted
	}
	return egress.RedactURL(u)
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "apigateway "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }

// hidden returns whatever must not be shown: all header values, as any may be a
// credential, but those that stand in ordinary texts.
func (c *Config) hidden() destination.Hidden {
	all := c.Access.Hidden()
	if u, err := url.Parse(c.URL); err == nil {
		if c.urlHidden {
			all = append(all, u.EscapedPath())
		}
		for pair := range strings.SplitSeq(u.RawQuery, "&") {
			_, value, _ := strings.Cut(pair, "=")
			all = append(all, value)
		}
		for _, values := range u.Query() {
			all = append(all, values...)
		}
	}
	for name, value := range c.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Accept", "Content-Type", "User-Agent":
		default:
			all = append(all, value.Reveal())
		}
	}
	return destination.Hide(all...)
}
