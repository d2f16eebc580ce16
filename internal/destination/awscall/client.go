package awscall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/grapnel/grapnel/internal/destination"
)

// Target says what a client calls.
type Target struct {
	Service  string // as signatures name it: events, execute-api
	Region   string
	Action   string // what a policy must allow: events:PutEvents
	Resource string // on what, as people may see it
	Endpoint string // instead of AWS's; only Client.Endpoint uses it
	// Code returns the class of an error code of the service, or "" for that of
	// Class. It may be nil.
	Code func(code string) destination.Class
	// Explain reads why an answer is no success; nil is the package's Explain.
	Explain func(header http.Header, body []byte) Failed
	Hide    destination.Hidden // nil: the secrets of the access
}

// Client makes calls that are signed by the credentials of an Access.
type Client struct {
	target    Target
	shown     string
	endpoint  string
	agent     string
	transport *http.Transport
	chain     *Chain
	signer    *v4.Signer
	now       func() time.Time
	// skew is how much AWS's clock is ahead of this machine's, in nanoseconds;
	// it is learned from answers that refuse the time of a signature.
	skew atomic.Int64
}

var _ destination.Closer = (*Client)(nil)

// Client returns a client. It reads the shared AWS configuration files and
// talks to nobody.
func (a *Access) Client(d destination.Deps, t Target) (*Client, error) {
	if t.Hide == nil {
		t.Hide = a.Hide()
	}
	if t.Explain == nil {
		t.Explain = Explain
	}
	loaded, chain, err := a.Load(d, t.Region, t.Hide)
	if err != nil {
		return nil, err
	}
	c := &Client{
		target: t, shown: t.Service + " " + Shown(t.Resource, t.Endpoint), endpoint: t.Endpoint,
		agent: "Grapnel/" + d.Version, transport: Transport(d, loaded), chain: chain, now: d.Clock(),
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = t.Service == "s3" }),
	}
	if c.endpoint == "" {
		c.endpoint = configuredEndpoint(t.Service, loaded.BaseEndpoint)
	}
	if c.endpoint == "" {
		c.endpoint = "https://" + Host(t.Service, t.Region)
	}
	return c, nil
}

// configuredEndpoint returns the endpoint that the environment sets for a
// service, or for all: AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL. The latter, and
// endpoint_url of a profile, is what the SDK has read.
func configuredEndpoint(service string, all *string) string {
	if strings.EqualFold(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
		return ""
	}
	name := map[string]string{"events": "EVENTBRIDGE", "states": "SFN"}[service]
	if name == "" {
		name = strings.ToUpper(service)
	}
	if own := os.Getenv("AWS_ENDPOINT_URL_" + name); own != "" {
		return own
	}
	if all != nil {
		return *all
	}
	return ""
}

// Endpoint returns the address of the API, without a slash at its end.
func (c *Client) Endpoint() string { return strings.TrimSuffix(c.endpoint, "/") }

// Call is a request.
type Call struct {
	Method string
	URL    *url.URL // not changed
	Header http.Header
	Body   []byte
	// Want is how much of the answer the caller wants, in bytes; Need how much
	// of it must be looked at at least.
	Want, Need int
}

// Answer is an answer with status 2xx. Whole is the body up to what was
// needed, Body what was wanted of it.
type Answer struct {
	Status      int
	Header      http.Header
	Whole, Body []byte
	Truncated   bool // the answer was longer than Body
}

// Response returns the answer as a destination's.
func (a *Answer) Response() *destination.Response {
	return &destination.Response{Status: a.Status, Header: a.Header, Body: a.Body, Truncated: a.Truncated}
}

// errorBytes is how much of an error is read for its code and message.
const errorBytes = 16 << 10

// Send signs and sends. Its error is what Do may return.
func (c *Client) Send(ctx context.Context, call Call) (*Answer, error) {
	req, err := c.sign(ctx, call)
	if err != nil {
		if failure, ok := NoCredentials(ctx, err, c.target.Hide); ok {
			return nil, failure
		}
		return nil, destination.Unanswered(ctx, err, c.target.Hide)
	}
	resp, err := c.transport.RoundTrip(req) //nolint:bodyclose // ReadAnswer closes it.
	if err != nil {
		return nil, destination.Unanswered(ctx, err, c.target.Hide)
	}
	ok := resp.StatusCode/100 == 2
	size := max(call.Want, call.Need, 0)
	if !ok {
		size = max(size, errorBytes)
	}
	whole, more := destination.ReadAnswer(resp, size)
	body := whole[:min(len(whole), max(call.Want, 0))]
	if !ok {
		return nil, c.refused(resp, whole, body)
	}
	return &Answer{
		Status: resp.StatusCode, Header: resp.Header, Whole: whole, Body: body, Truncated: more || len(body) < len(whole),
	}, nil
}

// sign makes the request that is sent. It is signed last, but for what may not
// be signed.
func (c *Client) sign(ctx context.Context, call Call) (*http.Request, error) {
	keys, err := c.chain.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("signing the request: %w", err)
	}
	u := *call.URL // the signer writes the query in its canonical form
	header := call.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	sum := sha256.Sum256(call.Body)
	hash := hex.EncodeToString(sum[:])
	header.Set("X-Amz-Content-Sha256", hash)
	req := (&http.Request{
		Method: call.Method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
	}).WithContext(ctx)
	if len(call.Body) > 0 {
		req.ContentLength = int64(len(call.Body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(call.Body)), nil }
		req.Body = io.NopCloser(bytes.NewReader(call.Body))
	}
	at := c.now().Add(time.Duration(c.skew.Load()))
	if err := c.signer.SignHTTP(ctx, keys, req, hash, c.target.Service, c.target.Region, at); err != nil {
		return nil, fmt.Errorf("signing the request: %w", err)
	}
	if len(header["User-Agent"]) == 0 {
		header.Set("User-Agent", c.agent)
	}
	// The transport may send again when a kept connection turns out to be closed
	// and no byte of an answer was seen; an empty list is not sent (net/http,
	// Transport).
	header["X-Idempotency-Key"] = []string{}
	return req, nil
}

// refused returns what Do returns for an answer that is no success.
func (c *Client) refused(resp *http.Response, whole, excerpt []byte) *destination.Error {
	e := destination.Answered(resp.StatusCode, resp.Header, excerpt, c.now(), c.target.Hide)
	f := c.target.Explain(resp.Header, whole)
	if !e.NoRetry {
		e.Class = c.class(f.Code, e.Status)
	}
	if f.Code != "" {
		e.Message = f.Code
		if f.Message != "" {
			e.Message += ": " + f.Message
		}
	}
	e.Message = Clip(c.target.Hide.Text(e.Message))
	c.hint(e, f)
	if e.Class == destination.Credentials {
		c.chain.Refresh()
		c.learnSkew(resp.Header)
	}
	return e
}

func (c *Client) class(code string, status int) destination.Class {
	if c.target.Code != nil {
		if class := c.target.Code(code); class != "" {
			return class
		}
	}
	return Class(code, status)
}

// hint adds to an access denied which action is missing.
func (c *Client) hint(e *destination.Error, f Failed) {
	// Gateways in front of functions answer just this, with no code.
	plain := f.Code == "" && e.Status == http.StatusForbidden && f.Message == "Forbidden"
	if Denied(f.Code) || plain {
		e.Message += "; " + Allow(c.target.Action, c.target.Resource)
	}
}

// minSkew is the difference of clocks from which AWS refuses signatures, less
// what the way may take: 5 minutes.
const minSkew = 4 * time.Minute

// learnSkew corrects the time of the signatures to come if that of the one
// which was refused was wrong.
func (c *Client) learnSkew(header http.Header) {
	theirs, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	skew := theirs.Sub(c.now())
	if skew.Abs() < minSkew {
		skew = 0
	}
	c.skew.Store(int64(skew))
}

// Rejected returns what Do returns for an entry of an answer 2xx that reports
// an error of its own. excerpt is as long as was wanted.
func (c *Client) Rejected(f Failed, status int, excerpt []byte) *destination.Error {
	e := &destination.Error{
		Class: c.class(f.Code, http.StatusInternalServerError), Status: status,
		Excerpt: c.target.Hide.Bytes(excerpt), Message: Clip(c.target.Hide.Text(f.Code + ": " + f.Message)),
	}
	c.hint(e, f)
	return e
}

// JSON calls an operation of a service that speaks AWS JSON. The version is
// that of the protocol, "1.0" or "1.1", the operation is what X-Amz-Target says.
func (c *Client) JSON(ctx context.Context, version, operation string, input any, want, need int) (*Answer, error) {
	body, err := Marshal(input)
	if err != nil {
		return nil, &destination.Error{Class: destination.InternalError, Message: "the request cannot be written", Err: err}
	}
	u, err := url.Parse(c.Endpoint() + "/")
	if err != nil {
		return nil, &destination.Error{Class: destination.InternalError, Message: "the endpoint is not an address"}
	}
	return c.Send(ctx, Call{
		Method: http.MethodPost, URL: u, Body: body, Want: want, Need: need,
		Header: http.Header{"Content-Type": {"application/x-amz-json-" + version}, "X-Amz-Target": {operation}},
	})
}

// Marshal writes JSON without escaping what only HTML minds: it would count
// against the limits.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Close closes the connections that are kept.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Format prints what is called, whatever the verb: the fields hold secrets.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.shown) }
