package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/fault"
)

const (
	// silence is how long a stream may say nothing before it counts as broken:
	// the server sends a heartbeat every 15 s.
	silence = 45 * time.Second
	// firstPause and longestPause bound the waits before connecting again.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

var (
	errSilent = errors.New("the stream has said nothing for too long")
	errEnded  = errors.New("the stream ended")
)

// Tail yields the items of a stream, heartbeats included: whoever keeps the
// cursor of the last item can go on from there. It connects again when the
// stream breaks or the server restarts, from the last cursor, so that no event
// is missed and none comes twice.
//
// It ends when ctx ends (with the cause), when the first connection fails, and
// when the server says that it cannot go on.
func (c *Client) Tail(ctx context.Context, filter api.TailFilter) iter.Seq2[api.TailItem, error] {
	return func(yield func(api.TailItem, error) bool) {
		connected := false
		pause := firstPause
		for {
			more, err := c.stream(ctx, &filter, func(item api.TailItem) bool {
				connected, pause = true, firstPause
				return yield(item, nil)
			})
			if !more {
				return
			}
			if cause := context.Cause(ctx); cause != nil {
				yield(api.TailItem{}, cause)
				return
			}
			if !connected || !worthAnother(err) {
				yield(api.TailItem{}, err)
				return
			}
			if !wait(ctx, retryAfter(err, pause)) {
				yield(api.TailItem{}, context.Cause(ctx))
				return
			}
			pause = min(2*pause, longestPause)
		}
	}
}

// stream yields the items of one connection and moves the filter's cursor on.
// More is false when the reader has enough.
func (c *Client) stream(ctx context.Context, filter *api.TailFilter, yield func(api.TailItem) bool) (more bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watch.Stop()
	response, err := c.send(ctx, request{
		method: http.MethodGet, path: at("events", "tail"), query: queryOf(*filter), accept: "application/x-ndjson",
	})
	if err != nil {
		return true, err
	}
	// What is left of a stream is not read: that would take for ever.
	defer func() { _ = response.Body.Close() }()
	lines := json.NewDecoder(bufio.NewReader(response.Body))
	for {
		var item api.TailItem
		if err := lines.Decode(&item); err != nil {
			return true, fmt.Errorf("reading the stream: %w", cmp.Or(context.Cause(ctx), err))
		}
		watch.Reset(silence)
		filter.From, filter.Since = item.Cursor, api.When{}
		if item.Type == api.TailEnd {
			return true, endOf(&item)
		}
		if !yield(item) {
			return false, nil
		}
	}
}

func endOf(item *api.TailItem) error {
	p := item.Problem
	if p == nil {
		return errEnded // the server stops; its successor goes on
	}
	kind, ok := fault.ParseKind(p.Kind)
	if !ok {
		kind = fault.Internal
	}
	f := fault.New(kind, p.Code, "%s", p.Detail)
	f.Hint, f.RetryAfter = p.Hint, time.Duration(p.RetryAfter)
	return f
}

// worthAnother reports whether a stream that broke may be opened again.
func worthAnother(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return !ok || f.Kind == fault.Transient || f.Kind == fault.Throttled
}

func retryAfter(err error, pause time.Duration) time.Duration {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.RetryAfter > 0 {
		return f.RetryAfter
	}
	// Spread, so that many readers do not come back at once.
	return pause/2 + rand.N(pause/2) //nolint:gosec // Not a secret.
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func decode(r io.Reader, out any) error { return json.NewDecoder(r).Decode(out) }
