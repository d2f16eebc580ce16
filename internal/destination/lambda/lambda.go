// Package lambda is the kind of destination that invokes an AWS Lambda function
// through the SDK. The SDK's own retries are off: the delivery engine has a
// durable queue, and a retry that it does not know of would run a function
// twice. A function that fails (FunctionError) is a failed attempt whose excerpt
// is the function's error.
package lambda

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
)

// Limits of the Invoke API in bytes.
const (
	maxSync   = 6 << 20
	maxAsync  = 1 << 20
	maxAnswer = 6<<20 + 100
)

// invoker is a destination.
type invoker struct {
	shown       string // for people
	client      *lambda.Client
	credentials *awscall.Chain
	transport   *http.Transport
	function    *string
	qualifier   *string
	invocation  types.InvocationType
	maxBody     int
	request     bool // what is sent is the webhook as it came in
	hide        destination.Hidden
	now         func() time.Time
}

var _ destination.Closer = (*invoker)(nil)

// Build makes the destination. It reads the shared AWS configuration files;
// credentials are looked up when they are first needed.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	hide := c.Access.Hide()
	loaded, chain, err := c.Access.Load(d, c.region(), hide)
	if err != nil {
		return nil, fmt.Errorf("building a lambda destination: %w", err)
	}
	i := &invoker{
		shown:       c.Address(),
		credentials: chain,
		transport:   awscall.Transport(d, loaded),
		function:    &c.Function,
		invocation:  types.InvocationTypeRequestResponse,
		maxBody:     maxSync,
		request:     c.Payload == formatRequest,
		hide:        hide,
		now:         d.Clock(),
	}
	if c.Qualifier != "" {
		i.qualifier = &c.Qualifier
	}
	if c.Invocation == asEvent {
		i.invocation, i.maxBody = types.InvocationTypeEvent, maxAsync
	}
	i.client = lambda.NewFromConfig(loaded, func(o *lambda.Options) {
		o.HTTPClient = client{i.transport}
		o.Retryer = aws.NopRetryer{}
		o.RetryMaxAttempts = 1
		o.AppID = "grapnel"
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	})
	return i, nil
}

// client sends the SDK's requests. What it returns of an answer is bounded.
type client struct{ transport *http.Transport }

// Do sends a request. Redirects are not followed.
func (c client) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // The SDK wraps it.
	}
	resp.Body = bounded{Reader: io.LimitReader(resp.Body, maxAnswer), Closer: resp.Body}
	return resp, nil
}

// bounded is the beginning of an answer.
type bounded struct {
	io.Reader
	io.Closer
}

// Do invokes the function.
func (i *invoker) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	payload := r.Body
	if i.request {
		var err error
		if payload, err = requestPayload(r); err != nil {
			return nil, err
		}
	}
	if len(payload) > i.maxBody {
		return nil, &destination.Error{Class: destination.TooLarge, Message: fmt.Sprintf(
			"the message has %d bytes, Lambda takes at most %d", len(payload), i.maxBody)}
	}
	out, err := i.client.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: i.function, Qualifier: i.qualifier, InvocationType: i.invocation, Payload: payload,
	})
	if err != nil {
		return nil, i.failed(ctx, err, r.WantBody)
	}
	body, truncated := cut(out.Payload, r.WantBody)
	if out.FunctionError != nil {
		return nil, &destination.Error{
			Class: destination.FunctionFailed, Status: int(out.StatusCode), Excerpt: i.hide.Bytes(body),
			Message: "the function failed: " + describe(*out.FunctionError, out.Payload),
		}
	}
	header := http.Header{}
	if out.ExecutedVersion != nil {
		header.Set("X-Amz-Executed-Version", *out.ExecutedVersion)
	}
	if id, ok := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata); ok {
		header.Set("X-Amzn-Requestid", id)
	}
	return &destination.Response{
		Status: int(out.StatusCode), Header: header, Body: body,
		Truncated: truncated || len(out.Payload) >= maxAnswer,
	}, nil
}

// errorType is a type name in a function's error, and short enough to show.
var errorType = regexp.MustCompile(`"errorType"\s*:\s*"([A-Za-z0-9_.:$]{1,80})"`)

// describe names the function's error without what it says, which may be data.
func describe(kind string, payload []byte) string {
	if m := errorType.FindSubmatch(payload[:min(len(payload), 4096)]); m != nil {
		return kind + ", " + string(m[1])
	}
	return kind
}

// cut returns the first want bytes, in memory of their own if that is much less.
func cut(payload []byte, want int) (body []byte, truncated bool) {
	want = max(want, 0)
	if len(payload) <= want {
		return payload, false
	}
	return append([]byte(nil), payload[:want]...), true
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (i *invoker) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "lambda "+i.shown) }

// Close closes the connections that are kept.
func (i *invoker) Close() error {
	i.transport.CloseIdleConnections()
	return nil
}
