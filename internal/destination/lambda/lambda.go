// Package lambda is the kind of destination that invokes an AWS Lambda function
// through the SDK. The SDK's own retries are off: the delivery engine has a
// durable queue, and a retry that it does not know of would run a function
// twice. A function that fails (FunctionError) is a failed attempt whose excerpt
// is the function's error.
package lambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go/logging"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
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
	credentials *provider
	transport   *http.Transport
	function    *string
	qualifier   *string
	invocation  types.InvocationType
	maxBody     int
	hide        destination.Hidden
	now         func() time.Time
}

var _ destination.Closer = (*invoker)(nil)

// Build makes the destination. It reads the shared AWS configuration files;
// credentials are looked up when they are first needed.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	hide := c.hidden()
	options := []func(*config.LoadOptions) error{
		config.WithRegion(c.region()),
		config.WithHTTPClient(credentialsClient(d.Egress)),
		config.WithLogger(sdkLogger(d.Log, hide)),
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if k := c.Credentials; k != nil {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			k.AccessKeyID, k.SecretAccessKey.Reveal(), k.SessionToken.Reveal())))
	}
	// The files are read here; nothing waits, so that there is nothing to cancel.
	loaded, err := config.LoadDefaultConfig(context.Background(), options...)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", hide.Err(err))
	}
	limits := egress.Options{IdlePerHost: d.MaxInFlight}
	if own, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok { // AWS_CA_BUNDLE
		limits.RootCAs = own.GetTransport().TLSClientConfig.RootCAs
	}
	i := &invoker{
		shown:       c.Address(),
		credentials: &provider{chain: loaded.Credentials},
		transport:   d.Egress.Transport(limits),
		function:    &c.Function,
		invocation:  types.InvocationTypeRequestResponse,
		maxBody:     maxSync,
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
		o.Credentials = i.credentials
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

// credentialsClient returns the client with which the SDK asks for credentials.
// It alone may reach the credentials services of machine and container, whose
// addresses are fixed or set by the environment of the process, never by a
// destination. The SDK wants a client of its own make, to which it adds
// AWS_CA_BUNDLE.
func credentialsClient(n *egress.Network) *awshttp.BuildableClient {
	guarded := n.Transport(egress.Options{Also: []netip.Prefix{
		netip.MustParsePrefix("169.254.169.254/32"), netip.MustParsePrefix("fd00:ec2::254/128"), // instance
		netip.MustParsePrefix("169.254.170.2/32"),                                             // ECS
		netip.MustParsePrefix("169.254.170.23/32"), netip.MustParsePrefix("fd00:ec2::23/128"), // EKS
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), // AWS_CONTAINER_CREDENTIALS_FULL_URI
	}})
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext, t.Proxy = guarded.DialContext, nil
	})
}

// sdkLogger passes what the SDK has to say to the log at level debug.
func sdkLogger(log *slog.Logger, hide destination.Hidden) logging.Logger {
	return logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
		log.Debug("AWS SDK", slog.String("text", hide.Text(fmt.Sprintf(format, v...))))
	})
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

// provider makes the errors of a credentials chain known as such.
type provider struct{ chain aws.CredentialsProvider }

// Retrieve returns the credentials, or a *credentialsError.
func (p *provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if p.chain == nil {
		return aws.Credentials{}, &credentialsError{errors.New("there are none")}
	}
	found, err := p.chain.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	return found, nil
}

// refresh makes the next Retrieve look again.
func (p *provider) refresh() {
	if cache, ok := p.chain.(*aws.CredentialsCache); ok {
		cache.Invalidate()
	}
}

type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "no AWS credentials: " + e.err.Error() }

func (e *credentialsError) Unwrap() error { return e.err }

// Do invokes the function.
func (i *invoker) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	if len(r.Body) > i.maxBody {
		return nil, &destination.Error{Class: destination.TooLarge, Message: fmt.Sprintf(
			"the message has %d bytes, Lambda takes at most %d", len(r.Body), i.maxBody)}
	}
	out, err := i.client.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: i.function, Qualifier: i.qualifier, InvocationType: i.invocation, Payload: r.Body,
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
