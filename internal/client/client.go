// Package client asks a running Grapnel: typed methods for every route of the
// admin API, lists that follow their cursors, and a stream that reconnects. It
// turns the problems of the server back into the faults that they were, so that
// the command line shows the same code and hint as the server meant. It keeps
// nothing and never retries what changes something.
package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
)

// Config says whom to ask, and as whom.
type Config struct {
	// URL is the root of the admin port, as http://127.0.0.1:8081.
	URL string
	// Token is the admin token.
	Token secret.String
	// Agent is the User-Agent; what begins with api.AgentCLI is recorded as "cli".
	Agent string
	// HTTP sends the requests; nil stands for a client with the transport of
	// http.DefaultClient. Its Timeout must be 0, or streams end with it.
	HTTP *http.Client
	// Timeout bounds what should be answered at once; 0 stands for 35 s, more
	// than the server takes. Tests of destinations, retries of many deliveries
	// and streams take as long as the context allows.
	Timeout time.Duration
}

// Client asks one Grapnel. It is safe for concurrent use.
type Client struct {
	root    *url.URL
	token   secret.String
	agent   string
	timeout time.Duration
	http    *http.Client
}

const (
	defaultTimeout = 35 * time.Second
	// maxProblem is how much of an error's body is read.
	maxProblem = 1 << 20
)

// New returns a client. It returns an Invalid fault if the URL is not an http
// or https URL of a host.
func New(config Config) (*Client, error) {
	root, err := url.Parse(strings.TrimRight(config.URL, "/"))
	if err != nil || root.Scheme != "http" && root.Scheme != "https" || root.Host == "" || root.User != nil {
		return nil, fault.New(fault.Invalid, "bad_admin_url", "the admin URL is not of the form http://host:port")
	}
	c := &Client{root: root, token: config.Token, agent: config.Agent, timeout: config.Timeout, http: &http.Client{}}
	if config.HTTP != nil {
		*c.http = *config.HTTP
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	// The API never redirects; whoever does is not Grapnel and gets no token.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Pinned returns a client that speaks TLS only with who has the key of this
// certificate, whoever issued it and whatever names it has: who can read the
// certificate that a server is configured with needs no authority to know it.
func Pinned(certificate *x509.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares the key itself.
			VerifyConnection: func(s tls.ConnectionState) error {
				key, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
				if !ok || len(s.PeerCertificates) == 0 || !key.Equal(s.PeerCertificates[0].PublicKey) {
					return errOtherKey
				}
				return nil
			},
		},
	}}
}

var errOtherKey = errors.New("the server shows another certificate than the one in the configuration")

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one request to come.
type request struct {
	method, path string
	query        url.Values
	body         any // JSON; nil for none
	accept       string
	patient      bool // may take longer than the timeout
}

// call sends the request and decodes the answer into out.
func (c *Client) call(ctx context.Context, r request, out any) error {
	if !r.patient {
		bounded, cancel := context.WithTimeoutCause(ctx, c.timeout, fault.New(fault.Transient, "no_answer",
			"%s did not answer within %v", c.root.Host, c.timeout))
		defer cancel()
		ctx = bounded
	}
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() {
		drain(response.Body)
		_ = response.Body.Close() // the answer has been dealt with
	}()
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("reading the answer to %s %s: %w", r.method, r.path, cause)
		}
		return notGrapnel(c.root, err)
	}
	return nil
}

// send returns an answer that is a success; the caller closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode/100 != 2 {
		defer func() {
			drain(response.Body)
			_ = response.Body.Close() // the answer has been dealt with
		}()
		return nil, c.problem(response)
	}
	return response, nil
}

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("writing the body of %s %s: %w", r.method, r.path, err)
		}
		body = bytes.NewReader(text)
	}
	target := c.root.String() + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("making request %s %s: %w", r.method, r.path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	req.Header.Set("Accept", "application/json")
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if r.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	return req, nil
}

// unreachable says why no answer came.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("asking %s: %w", c.root.Host, cause)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.Wrap(fault.Transient, err, "not_running", "nothing listens at %s", c.root).
			WithHint("is grapnel serve running, and is admin.listen this address?")
	case isDNS(err):
		return fault.Wrap(fault.Transient, err, "unknown_host", "the host %s cannot be found", c.root.Hostname()).
			WithHint("check the admin URL")
	case notHTTP(err):
		return notGrapnel(c.root, err)
	}
	return fault.Wrap(fault.Transient, err, "no_connection", "%s cannot be asked: %v", c.root.Host, plain(err)).
		WithHint("check the admin URL, and that grapnel serve runs")
}

func isDNS(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// notHTTP reports whether something answered that does not speak HTTP, or not
// with or without TLS as the URL says. Only TLS has a type for it; net/http
// tells the rest in words.
func notHTTP(err error) bool {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "malformed HTTP") || strings.Contains(text, "server gave HTTP response")
}

// plain drops the URL that net/http puts before the cause.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func notGrapnel(root *url.URL, err error) error {
	return fault.Wrap(fault.Permanent, err, "not_grapnel", "what answers at %s is not the admin port of Grapnel", root).
		WithHint("check the admin URL: scheme, host and port")
}

// problem turns an answer that is no success into the fault that it was.
func (c *Client) problem(response *http.Response) error {
	var p api.Problem
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	err := json.NewDecoder(io.LimitReader(response.Body, maxProblem)).Decode(&p)
	if media != "application/problem+json" || err != nil {
		return notGrapnel(c.root, fmt.Errorf("status %s with content type %q", response.Status, media))
	}
	kind, ok := fault.ParseKind(p.Kind)
	if !ok {
		kind = kindOf(response.StatusCode)
	}
	f := fault.New(kind, p.Code, "%s", describe(&p))
	f.Hint = p.Hint
	if f.RetryAfter = time.Duration(p.RetryAfter); f.RetryAfter == 0 {
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			f.RetryAfter = time.Duration(seconds) * time.Second
		}
	}
	return f
}

// describe puts the members of a problem that are wrong behind its detail, when
// the detail does not name the only one already.
func describe(p *api.Problem) string {
	if len(p.Errors) < 2 {
		return p.Detail
	}
	var b strings.Builder
	b.WriteString(p.Detail)
	for i, e := range p.Errors {
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		b.WriteString(separator)
		if e.Location != "" {
			b.WriteString(e.Location + ": ")
		}
		b.WriteString(e.Message)
	}
	return b.String()
}

// kindOf is for a kind that a newer server has and this client does not know.
func kindOf(status int) fault.Kind {
	for k := fault.Invalid; k <= fault.Canceled; k++ {
		if k.Status() == status {
			return k
		}
	}
	if status >= http.StatusInternalServerError {
		return fault.Internal
	}
	return fault.Invalid
}

// drain reads what little is left of an answer, so that its connection can be
// used again. If it cannot be read, the connection is not.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, maxProblem) }
