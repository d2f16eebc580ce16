// Package sns is the kind of destination that publishes each message on an
// Amazon SNS topic. The delivery's id goes with it: as the deduplication id of a
// FIFO topic, and as the attribute webhook-id on any.
package sns

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// maxMessage is the size of a message in bytes.
const maxMessage = 256 << 10

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "sns", Summary: "Publishes each message on an Amazon SNS topic.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of an sns destination.
type Config struct {
	Topic    string
	Group    string
	Subject  string
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
		spec.String("topic", &c.Topic).Required().Check(c.checkTopic).
			Example("arn:aws:sns:us-east-1:123456789012:hooks").Doc("The topic's ARN."),
		c.Access.RegionField("The region of the topic.").DefaultDoc("that of the ARN"),
		spec.String("message_group_id", &c.Group).Check(c.checkGroup).Example("$.detail.repository.full_name").
			Doc("The message group: a text, or a path into the event. Required for a FIFO topic, whose name ends " +
				"in `.fifo`; the delivery's id is its deduplication id."),
		spec.String("subject", &c.Subject).Check(c.checkSubject).
			Doc("The subject, which subscribers by e-mail see; up to 100 ASCII characters."),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	c.Access.Check(at)
	c.Access.CheckRegion(at, "topic", c.arn().Region)
	if at.OK("topic") && c.fifo() && c.Group == "" {
		at.Problem("message_group_id", "is missing: the topic is a FIFO topic")
	}
}

func (c *Config) arn() awscall.ARN {
	arn, err := awscall.ParseARN(c.Topic, "sns")
	if err != nil {
		return awscall.ARN{}
	}
	return arn
}

func (c *Config) fifo() bool { return strings.HasSuffix(c.Topic, ".fifo") }

var topicText = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,256}(?:\.fifo)?$`)

func (c *Config) checkTopic() error {
	if !topicText.MatchString(c.arn().Resource) {
		return fault.New(fault.Invalid, "invalid_resource", "is not the ARN of an SNS topic")
	}
	return nil
}

// groupText matches what SNS takes for a message group id.
var groupText = regexp.MustCompile(`^[!-~]{1,128}$`)

func (c *Config) checkGroup() error {
	_, err := awscall.ParseWord(c.Group)
	if err != nil {
		return err //nolint:wrapcheck // It says what is wrong with the value.
	}
	if !strings.HasPrefix(c.Group, "$.") && !groupText.MatchString(c.Group) {
		return fault.New(fault.Invalid, "invalid_config", "is not a message group id: up to 128 letters, digits and punctuation")
	}
	return nil
}

func (c *Config) checkSubject() error {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if len(c.Subject) > 100 || strings.ContainsFunc(c.Subject, odd) {
		return fault.New(fault.Invalid, "invalid_config", "is not up to 100 ASCII characters on one line")
	}
	return nil
}

// Address returns the ARN.
func (c *Config) Address() string { return awscall.Shown(c.Topic, c.Endpoint) }

// publisher is a destination.
type publisher struct {
	*awscall.Client

	url            *url.URL
	topic, subject string
	group          awscall.Word
	fifo           bool
}

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	group, err := awscall.ParseWord(c.Group)
	if err != nil {
		return nil, fmt.Errorf("building an sns destination: %w", err)
	}
	client, err := c.Access.Client(d, awscall.Target{
		Service: "sns", Region: c.arn().Region, Action: "sns:Publish", Resource: c.Topic, Endpoint: c.Endpoint, Code: class,
	})
	if err != nil {
		return nil, fmt.Errorf("building an sns destination: %w", err)
	}
	u, err := url.Parse(client.Endpoint() + "/")
	if err != nil {
		return nil, fmt.Errorf("building an sns destination: %w", err)
	}
	return &publisher{
		Client: client, url: u, topic: c.Topic, subject: c.Subject, group: group, fifo: c.fifo(),
	}, nil
}

// class knows what SNS alone says.
func class(code string) destination.Class {
	if code == "InvalidParameter" || code == "ParameterValueInvalid" {
		return destination.BadRequest
	}
	return ""
}

// maxAttributes is how many attributes of a message reach an SQS subscriber
// with raw delivery.
const maxAttributes = 10

// form makes the request of the query protocol.
func (p *publisher) form(r *destination.Request) (url.Values, error) {
	if err := awscall.CheckText(r.Body, maxMessage); err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	form := url.Values{
		"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {p.topic}, "Message": {string(r.Body)},
	}
	size, n := len(r.Body), 0
	add := func(name, value string) {
		if value == "" || n == maxAttributes {
			return
		}
		n++
		entry := "MessageAttributes.entry." + strconv.Itoa(n)
		form.Set(entry+".Name", name)
		form.Set(entry+".Value.DataType", "String")
		form.Set(entry+".Value.StringValue", value)
		size += len(name) + len("String") + len(value)
	}
	add("webhook-id", r.ID)
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		add(name, r.Attributes[name])
	}
	if size > maxMessage {
		return nil, awscall.TooLarge("the message with its attributes", size, maxMessage)
	}
	if p.subject != "" {
		form.Set("Subject", p.subject)
	}
	group, err := p.group.Of(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	if (p.fifo || group != "") && !groupText.MatchString(group) {
		return nil, awscall.Unfit("message_group_id selects what is no message group id")
	}
	if group != "" {
		form.Set("MessageGroupId", group)
	}
	if p.fifo {
		form.Set("MessageDeduplicationId", r.ID)
	}
	return form, nil
}

// Do publishes the message.
func (p *publisher) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	form, err := p.form(r)
	if err != nil {
		return nil, err
	}
	answer, err := p.Send(ctx, awscall.Call{
		Method: http.MethodPost, URL: p.url, Body: []byte(form.Encode()), Want: r.WantBody,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}},
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	return answer.Response(), nil
}
