// Package kinesis is the kind of destination that puts each message into an
// Amazon Kinesis data stream as one record.
package kinesis

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// maxRecord is the size of a record with its key in bytes: what a stream can be
// set to take. By default one takes 1 MiB, and says so itself.
const maxRecord = 10 << 20

// maxKey is the length of a partition key in characters.
const maxKey = 256

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "kinesis", Summary: "Puts each message into an Amazon Kinesis data stream.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of a kinesis destination.
type Config struct {
	Stream       string
	PartitionKey string
	Endpoint     string
	Access       awscall.Access
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return append([]spec.Field{
		spec.String("stream", &c.Stream).Required().Check(c.checkStream).
			Example("arn:aws:kinesis:us-east-1:123456789012:stream/hooks").
			Doc("The stream: its name or ARN."),
		c.Access.RegionField("The region of the stream. Required unless `stream` is an ARN."),
		spec.String("partition_key", &c.PartitionKey).Default("$.id").Check(c.checkKey).
			Doc("What decides the shard: a path into the event, or a text."),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	c.Access.Check(at)
	c.Access.CheckRegion(at, "stream", c.arn().Region)
}

func (c *Config) arn() awscall.ARN {
	arn, err := awscall.ParseARN(c.Stream, "kinesis")
	if err != nil {
		return awscall.ARN{}
	}
	return arn
}

var nameText = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

func (c *Config) checkStream() error {
	name := c.Stream
	if awscall.IsARN(name) {
		var ok bool
		if name, ok = strings.CutPrefix(c.arn().Resource, "stream/"); !ok {
			name = ""
		}
	}
	if !nameText.MatchString(name) {
		return fault.New(fault.Invalid, "invalid_resource", "is not the name or ARN of a Kinesis data stream")
	}
	return nil
}

func (c *Config) checkKey() error {
	_, err := awscall.ParseWord(c.PartitionKey)
	if err == nil && utf8.RuneCountInString(c.PartitionKey) > maxKey {
		err = fault.New(fault.Invalid, "invalid_config", "is longer than 256 characters")
	}
	return err //nolint:wrapcheck // It says what is wrong with the value.
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
	return "kinesis:" + c.region() + ":stream/" + c.Stream
}

// Address returns the ARN, or as much of one as is known.
func (c *Config) Address() string { return awscall.Shown(c.resource(), c.Endpoint) }

// putter is a destination.
type putter struct {
	*awscall.Client

	arn, name string // one of them
	key       awscall.Word
}

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	key, err := awscall.ParseWord(c.PartitionKey)
	if err != nil {
		return nil, fmt.Errorf("building a kinesis destination: %w", err)
	}
	client, err := c.Access.Client(d, awscall.Target{
		Service: "kinesis", Region: c.region(), Action: "kinesis:PutRecord", Resource: c.resource(), Endpoint: c.Endpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("building a kinesis destination: %w", err)
	}
	p := &putter{Client: client, key: key, name: c.Stream}
	if awscall.IsARN(c.Stream) {
		p.arn, p.name = c.Stream, ""
	}
	return p, nil
}

// record is a PutRecord request.
type record struct {
	StreamName   string `json:",omitempty"` //nolint:tagliatelle // AWS spells it so.
	StreamARN    string `json:",omitempty"` //nolint:tagliatelle // AWS spells it so.
	Data         []byte
	PartitionKey string
}

// Do puts the record.
func (p *putter) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	key, err := p.key.Of(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	if n := utf8.RuneCountInString(key); n < 1 || n > maxKey {
		return nil, awscall.Unfit(fmt.Sprintf("the partition key has %d characters, Kinesis takes 1 to %d", n, maxKey))
	}
	if n := len(r.Body) + len(key); n > maxRecord {
		return nil, awscall.TooLarge("the record", n, maxRecord)
	}
	in := record{StreamName: p.name, StreamARN: p.arn, Data: r.Body, PartitionKey: key}
	answer, err := p.JSON(ctx, "1.1", "Kinesis_20131202.PutRecord", in, r.WantBody, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	return answer.Response(), nil
}
