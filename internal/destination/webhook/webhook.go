// Package webhook is the kind of destination that sends a message to an HTTP
// endpoint: any method, signed by Standard Webhooks or an HMAC scheme of one's
// own, with Basic, bearer, API key or OAuth 2.0 client credentials, and with a
// client certificate. Any 2xx status is success.
// The answer is read as far as somebody wants it, however long it is.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/signature"
)

// webhook is a destination. Everything that is the same for all requests is
// made once.
type webhook struct {
	shown     string // for people
	transport *http.Transport
	request   *http.Request // the template of all requests
	header    http.Header   // of all requests
	address   string        // the URL without user-info, which may be signed
	noBody    bool
	signer    *signature.Signer // nil: unsigned
	tokens    *tokens           // nil: no OAuth
	hide      destination.Hidden
	now       func() time.Time
}

var _ destination.Closer = (*webhook)(nil)

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	hide := c.hidden()
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("building a webhook: the URL is not valid") // its text could show a secret
	}
	signer, err := c.Signing.signer()
	if err != nil {
		return nil, fmt.Errorf("building a webhook: %w", hide.Err(err))
	}
	options, err := c.TLS.options()
	if err != nil {
		return nil, fmt.Errorf("building a webhook: %w", hide.Err(err))
	}
	tokens, err := c.tokens(d)
	if err != nil {
		return nil, fmt.Errorf("building a webhook: %w", hide.Err(err))
	}
	options.IdlePerHost = d.MaxInFlight
	header := c.header(d, u)
	u.User = nil
	if c.Auth != nil && c.Auth.APIKey != nil && c.Auth.APIKey.Query != "" {
		pair := url.QueryEscape(c.Auth.APIKey.Query) + "=" + url.QueryEscape(c.Auth.APIKey.Value.Reveal())
		if u.RawQuery != "" {
			pair = u.RawQuery + "&" + pair
		}
		u.RawQuery = pair
	}
	return &webhook{
		shown:     c.Address(),
		transport: d.Egress.Transport(options),
		request: &http.Request{
			Method: c.Method, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		},
		header:  header,
		address: u.String(),
		noBody:  c.Method == http.MethodGet || c.Method == http.MethodHead,
		signer:  signer,
		tokens:  tokens,
		hide:    hide,
		now:     d.Clock(),
	}, nil
}

// header returns the headers that all requests have.
func (c *Config) header(d destination.Deps, u *url.URL) http.Header {
	h := http.Header{"User-Agent": {"Grapnel/" + d.Version}}
	// A kept connection may turn out to be closed only when it is used. The key
	// tells the transport that it may then send again on a fresh one, provided
	// that no byte of an answer was seen; an empty list is not sent (net/http,
	// Transport). It is still one attempt, with one id.
	h["X-Idempotency-Key"] = []string{}
	if u.User != nil {
		password, _ := u.User.Password()
		h.Set("Authorization", basicAuth(u.User.Username(), password))
	}
	if a := c.Auth; a != nil {
		switch {
		case a.Basic != nil:
			h.Set("Authorization", basicAuth(a.Basic.Username, a.Basic.Password.Reveal()))
		case a.APIKey != nil && a.APIKey.Header != "":
			h.Set(a.APIKey.Header, a.APIKey.Value.Reveal())
		case !a.Bearer.Empty():
			h.Set("Authorization", "Bearer "+a.Bearer.Reveal())
		}
	}
	for name, value := range c.Headers {
		h.Set(name, value.Reveal())
	}
	return h
}

// Do sends the request.
func (w *webhook) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	if w.tokens != nil {
		return w.doWithToken(ctx, r)
	}
	return w.send(ctx, r, "", w.hide)
}

// doWithToken sends the request with a token, and once more with a fresh one if
// the receiver refuses the token: it may have been revoked before its time.
func (w *webhook) doWithToken(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	for again := true; ; again = false {
		token, err := w.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := w.send(ctx, r, token, w.tokens.hidden(token))
		failure, ok := errors.AsType[*destination.Error](err)
		if !ok || failure.Status != http.StatusUnauthorized && failure.Status != http.StatusProxyAuthRequired {
			return resp, err
		}
		w.tokens.drop(token)
		if !again {
			return nil, err
		}
	}
}

// send makes one HTTP request, with a bearer token if there is one.
func (w *webhook) send(
	ctx context.Context, r *destination.Request, token string, hide destination.Hidden,
) (*destination.Response, error) {
	req, err := w.prepare(ctx, r, token)
	if err != nil {
		return nil, &destination.Error{
			Class: destination.InternalError, Message: hide.Text(err.Error()), Err: hide.Err(err),
		}
	}
	resp, err := w.transport.RoundTrip(req) //nolint:bodyclose // ReadAnswer closes it.
	if err != nil {
		return nil, destination.Unanswered(ctx, err, hide)
	}
	body, truncated := destination.ReadAnswer(resp, r.WantBody)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, destination.Answered(resp.StatusCode, resp.Header, body, w.now(), hide)
	}
	return &destination.Response{
		Status: resp.StatusCode, Header: resp.Header, Body: body, Truncated: truncated,
	}, nil
}

// Close closes the connections that are kept.
func (w *webhook) Close() error {
	w.transport.CloseIdleConnections()
	if w.tokens != nil {
		w.tokens.transport.CloseIdleConnections()
	}
	return nil
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (w *webhook) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "webhook "+w.shown) }

// payload is a body that can be sent again.
type payload struct {
	text   []byte
	reader bytes.Reader
}

// rewind returns a fresh reader of the body. A bytes.Reader in a NopCloser is
// recognized by the transport, which then sends header and body in one write.
func (p *payload) rewind() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(p.text)), nil
}

// prepare makes the HTTP request.
func (w *webhook) prepare(ctx context.Context, r *destination.Request, token string) (*http.Request, error) {
	at := r.Time
	if at.IsZero() {
		at = w.now()
	}
	text := r.Body
	if w.noBody {
		text = nil
	}
	header := make(http.Header, len(w.header)+4)
	values := [3]string{r.ID, strconv.FormatInt(at.Unix(), 10), r.ContentType}
	header[headerID], header[headerTimestamp] = values[0:1:1], values[1:2:2]
	if len(text) > 0 {
		if r.ContentType == "" {
			values[2] = "application/json"
		}
		header["Content-Type"] = values[2:3:3]
	}
	maps.Copy(header, w.header)
	if token != "" {
		header["Authorization"] = []string{"Bearer " + token}
	}
	if w.signer != nil {
		signed := &signature.Request{Method: w.request.Method, URL: w.address, Header: header, Body: text}
		if err := w.signer.Sign(signed, at); err != nil {
			return nil, fmt.Errorf("preparing the request: %w", err)
		}
	}
	req := w.request.WithContext(ctx)
	req.Header = header
	if len(text) > 0 {
		p := &payload{text: text}
		p.reader.Reset(text)
		req.Body, req.GetBody, req.ContentLength = io.NopCloser(&p.reader), p.rewind, int64(len(text))
	}
	return req, nil
}
