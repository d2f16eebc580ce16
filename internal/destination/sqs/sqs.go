// Package sqs is the kind of destination that sends each message to an Amazon
// SQS queue. The delivery's id goes with it: as the deduplication id of a FIFO
// queue, and as the attribute webhook-id in any.
package sqs

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// maxMessage is the size of a message in bytes. It was 256 KiB before 2025.
const maxMessage = 1 << 20

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "sqs", Summary: "Sends each message to an Amazon SQS queue.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of an sqs destination.
type Config struct {
	Queue    string
	Group    string
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
		spec.String("queue", &c.Queue).Required().Check(c.checkQueue).
			Example("https://sqs.us-east-1.amazonaws.com/123456789012/hooks").
			Doc("The queue: its URL or ARN."),
		c.Access.RegionField("The region of the queue. Required unless `queue` names it."),
		spec.String("message_group_id", &c.Group).Check(c.checkGroup).Example("$.detail.repository.full_name").
			Doc("The message group: a text, or a path into the event. Required for a FIFO queue, whose name ends " +
				"in `.fifo`; the delivery's id is its deduplication id."),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	c.Access.Check(at)
	q := parseQueue(c.Queue)
	c.Access.CheckRegion(at, "queue", q.region)
	if at.OK("queue") && q.fifo() && c.Group == "" {
		at.Problem("message_group_id", "is missing: the queue is a FIFO queue")
	}
}

// queue is a parsed queue.
type queue struct{ scheme, host, region, account, name string }

// hostText matches the hosts of SQS, old and new.
var hostText = regexp.MustCompile(`^(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.(?:com|com\.cn|eu)$`)

var pathText = regexp.MustCompile(`^/(\d{12})/([a-zA-Z0-9_-]{1,80}(?:\.fifo)?)$`)

// parseQueue reads a URL or an ARN; the name is empty if text is neither.
func parseQueue(text string) queue {
	if arn, err := awscall.ParseARN(text, "sqs"); err == nil {
		m := pathText.FindStringSubmatch("/" + arn.Account + "/" + arn.Resource)
		if m == nil {
			return queue{}
		}
		return queue{region: arn.Region, account: m[1], name: m[2]}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Host == "" {
		return queue{}
	}
	m := pathText.FindStringSubmatch(u.Path)
	if m == nil {
		return queue{}
	}
	q := queue{scheme: u.Scheme, host: u.Host, account: m[1], name: m[2]}
	if h := hostText.FindStringSubmatch(u.Host); h != nil {
		q.region = h[1] + h[2]
	}
	return q
}

func (q queue) fifo() bool { return strings.HasSuffix(q.name, ".fifo") }

func (c *Config) checkQueue() error {
	if parseQueue(c.Queue).name == "" {
		return fault.New(fault.Invalid, "invalid_resource", "is not the URL or ARN of an SQS queue")
	}
	return nil
}

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

// groupText matches what SQS takes for a message group id.
var groupText = regexp.MustCompile(`^[!-~]{1,128}$`)

func (c *Config) region() string {
	if c.Access.Region != "" {
		return c.Access.Region
	}
	return parseQueue(c.Queue).region
}

// Address returns the queue as it is configured.
func (c *Config) Address() string { return awscall.Shown(c.Queue, c.Endpoint) }

// sender is a destination.
type sender struct {
	*awscall.Client

	url   string
	group awscall.Word
	fifo  bool
}

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	group, err := awscall.ParseWord(c.Group)
	if err != nil {
		return nil, fmt.Errorf("building an sqs destination: %w", err)
	}
	q, endpoint := parseQueue(c.Queue), c.Endpoint
	if endpoint == "" && q.host != "" {
		endpoint = q.scheme + "://" + q.host
	}
	client, err := c.Access.Client(d, awscall.Target{
		Service: "sqs", Region: c.region(), Action: "sqs:SendMessage", Resource: c.Queue, Endpoint: endpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("building an sqs destination: %w", err)
	}
	s := &sender{Client: client, url: c.Queue, group: group, fifo: q.fifo()}
	if q.host == "" {
		s.url = client.Endpoint() + "/" + q.account + "/" + q.name
	}
	return s, nil
}

// attribute is a MessageAttributeValue.
type attribute struct{ DataType, StringValue string }

// maxAttributes is how many attributes a message may have.
const maxAttributes = 10

// message is a SendMessage request.
type message struct {
	QueueUrl               string
	MessageBody            string
	MessageGroupId         string `json:",omitempty"` //nolint:tagliatelle // AWS spells it so.
	MessageDeduplicationId string `json:",omitempty"` //nolint:tagliatelle // AWS spells it so.
	MessageAttributes      map[string]attribute
}

func (s *sender) message(r *destination.Request) (*message, error) {
	m := &message{QueueUrl: s.url, MessageBody: string(r.Body), MessageAttributes: map[string]attribute{
		"webhook-id": {"String", r.ID},
	}}
	size := len(r.Body) + len("webhook-id"+"String") + len(r.ID)
	for name, value := range r.Attributes {
		if value == "" || len(m.MessageAttributes) == maxAttributes {
			continue
		}
		m.MessageAttributes[name] = attribute{"String", value}
		size += len(name) + len("String") + len(value)
	}
	if err := awscall.CheckText(r.Body, maxMessage); err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	if size > maxMessage {
		return nil, awscall.TooLarge("the message with its attributes", size, maxMessage)
	}
	group, err := s.group.Of(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	if (s.fifo || group != "") && !groupText.MatchString(group) {
		return nil, awscall.Unfit("message_group_id selects what is no message group id")
	}
	m.MessageGroupId = group
	if s.fifo {
		m.MessageDeduplicationId = r.ID
	}
	return m, nil
}

// Do sends the message.
func (s *sender) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	m, err := s.message(r)
	if err != nil {
		return nil, err
	}
	answer, err := s.JSON(ctx, "1.0", "AmazonSQS.SendMessage", m, r.WantBody, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is a *destination.Error, as Do promises.
	}
	return answer.Response(), nil
}
