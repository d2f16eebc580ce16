package lambda

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
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

// What a function gets.
const (
	formatEvent   = "event"
	formatRequest = "request"
)

// Config is the configuration of a lambda destination.
type Config struct {
	Function   string
	Qualifier  string
	Invocation string
	Payload    string // formatEvent or formatRequest
	Endpoint   string
	Access     awscall.Access
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return append([]spec.Field{
		spec.String("function", &c.Function).Required().Check(c.checkFunction).
			Example("arn:aws:lambda:us-east-1:123456789012:function:triage").
			Doc("The function: its ARN, `account:function:name`, or its name alone; each may end in `:qualifier`."),
		c.Access.RegionField("The region of the function. Required unless `function` is an ARN; the region of the " +
			"environment or of a profile is not used.").DefaultDoc("the region of the ARN"),
		spec.String("qualifier", &c.Qualifier).Check(c.checkQualifier).Example("live").
			Doc("The version or alias to invoke."),
		spec.Enum("invocation", &c.Invocation, requestResponse, asEvent).Default(requestResponse).
			Doc("`request_response` waits for the function, counts its error as a failure and takes up to 6 MiB; " +
				"`event` hands the message to Lambda's own queue and takes up to 1 MiB."),
		spec.Enum("format", &c.Payload, formatEvent, formatRequest).Default(formatEvent).
			Doc("What the function gets. `event` is the message: the envelope, or what the target's input made of " +
				"it. `request` is the webhook as it came in, whatever the target's input: `{\"payload\": …, " +
				"\"headers\": {…}}` with the JSON body byte for byte and the names of headers in their canonical " +
				"case, as soketi and Pusher-compatible servers call functions."),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	c.Access.Check(at)
	if !at.OK("function", "region", "qualifier") {
		return
	}
	f := parseFunction(c.Function)
	c.Access.CheckRegion(at, "function", f.region)
	if f.qualifier != "" && c.Qualifier != "" {
		at.Problem("qualifier", "the function has a qualifier already")
	}
}

// functionText matches what the Invoke API takes for a function: name, partial
// ARN and ARN, each with or without a qualifier.
var functionText = regexp.MustCompile(`^(?:(arn:aws[a-zA-Z-]*):lambda:([a-z]{2}(?:-[a-z]+)+-\d):)?` +
	`(?:(\d{12}):function:)?([a-zA-Z0-9_-]{1,64})(?::(\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128}))?$`)

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

func (c *Config) checkQualifier() error {
	if !qualifierText.MatchString(c.Qualifier) {
		return fault.New(fault.Invalid, "invalid_qualifier", "is neither a version nor an alias")
	}
	return nil
}

// region returns the function's region.
func (c *Config) region() string {
	if c.Access.Region != "" {
		return c.Access.Region
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
	return awscall.Shown(text, c.Endpoint)
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "lambda "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }
