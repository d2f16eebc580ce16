// Package firehose is the kind of destination that puts each message into an
// Amazon Data Firehose stream as one record, a line of its own.
package firehose

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// maxRecord is the size of a record in bytes, before base64.
const maxRecord = 1000 << 10

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "firehose", Summary: "Puts each message into an Amazon Data Firehose stream.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of a firehose destination.
type Config struct {
	Stream   string
	Newline  bool
	Endpoint string
	Access   awscall.Access
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return append([]spec.Field{
		spec.String("stream", &c.Stream).Required().Check(c.checkStream).
			Example("arn:aws:firehose:us-east-1:123456789012:deliverystream/hooks").
			Doc("The stream: its name or ARN."),
		c.Access.RegionField("The region of the stream. Required unless `stream` is an ARN."),
		spec.Bool("newline", &c.Newline).Default("true").
			Doc("Put a line break after each message: Firehose writes records one after the other, with nothing between."),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	c.Access.Check(at)
	c.Access.CheckRegion(at, "stream", c.arn().Region)
}

func (c *Config) arn() awscall.ARN {
	arn, err := awscall.ParseARN(c.Stream, "firehose")
	if err != nil {
		return awscall.ARN{}
	}
	return arn
}

var nameText = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// name returns the stream's name, which is all that the API takes.
func (c *Config) name() string {
	if awscall.IsARN(c.Stream) {
		name, ok := strings.CutPrefix(c.arn().Resource, "deliverystream/")
		if !ok {
			return ""
		}
		return name
	}
	return c.Stream
}

func (c *Config) checkStream() error {
	if !nameText.MatchString(c.name()) {
		return fault.New(fault.Invalid, "invalid_resource", "is not the name or ARN of a Firehose stream")
	}
	return nil
}

func (c *Config) region() string {
	if c.Access.Region != "" {
		return c.Access.Region
	}
	return c.arn().Region
}

func (c *Config) resource() string {
	if awscall.IsARN(c.Stream) {
		return c.Stream
	}
	return "firehose:" + c.region() + ":deliverystream/" + c.Stream
}

// Address returns the ARN, or as much of one as is known.
func (c *Config) Address() string { return awscall.Shown(c.resource(), c.Endpoint) }

// putter is a destination.
type putter struct {
	*awscall.Client

	name    string
	newline bool
}

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	client, err := c.Access.Client(d, awscall.Target{
		Service: "firehose", Region: c.region(), Action: "firehose:PutRecord", Resource: c.resource(), Endpoint: c.Endpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("building a firehose destination: %w", err)
	}
	return &putter{Client: client, name: c.name(), newline: c.Newline}, nil
}

// request is a PutRecord request.
type request struct {
	DeliveryStreamName string
	Record             struct{ Data []byte }
}

// Do puts the record.
func (p *putter) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	in := request{DeliveryStreamName: p.name}
	in.Record.Data = r.Body
	if p.newline {
		in.Record.Data = append(append(make([]byte, 0, len(r.Body)+1), r.Body...), '\n')
	}
	if n := len(in.Record.Data); n > maxRecord {
		return nil, awscall.TooLarge("the record", n, maxRecord)
	}
	answer, err := p.JSON(ctx, "1.1", "Firehose_20150804.PutRecord", in, r.WantBody, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	return answer.Response(), nil
}
