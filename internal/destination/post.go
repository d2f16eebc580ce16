package destination

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/grapnel/grapnel/internal/egress"
)

// Poster sends JSON to one address of an HTTP API: the part that kinds with an
// API of their own have in common. It is safe for concurrent use.
type Poster struct {
	transport *http.Transport
	url       *url.URL
	header    http.Header
	hide      Hidden
	now       func() time.Time
}

// NewPoster returns a Poster for the address. The header goes with every
// request, beside Content-Type, User-Agent and the delivery's id as Webhook-Id.
func NewPoster(d Deps, address *url.URL, header http.Header, hide Hidden) *Poster {
	// An empty key lets the transport send again on a fresh connection if a kept
	// one turns out to be closed (net/http, Transport); it is not sent.
	all := http.Header{
		"User-Agent": {"Grapnel/" + d.Version}, "Content-Type": {"application/json; charset=utf-8"},
		"X-Idempotency-Key": {},
	}
	maps.Copy(all, header)
	return &Poster{
		transport: d.Egress.Transport(egress.Options{IdlePerHost: d.MaxInFlight}), url: address, header: all,
		hide: hide, now: d.Clock(),
	}
}

// Post sends the body, of which the caller gives up ownership, and returns the
// answer if its status is 2xx, with at most want bytes of its body. Its error is
// one of Destination.Do.
func (p *Poster) Post(ctx context.Context, r *Request, body []byte, want int) (*Response, error) {
	header := maps.Clone(p.header)
	header["Webhook-Id"] = []string{r.ID}
	req := (&http.Request{
		Method: http.MethodPost, URL: p.url, Host: p.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	resp, err := p.transport.RoundTrip(req) //nolint:bodyclose // ReadAnswer closes it.
	if err != nil {
		return nil, Unanswered(ctx, err, p.hide)
	}
	text, truncated := ReadAnswer(resp, want)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, Answered(resp.StatusCode, resp.Header, text, p.now(), p.hide)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: text, Truncated: truncated}, nil
}

// Close closes the connections that are kept.
func (p *Poster) Close() error {
	p.transport.CloseIdleConnections()
	return nil
}
