package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

const (
	// tailChunk is when what was read of the journal is sent before more is
	// read: together with one event it is all that a stream holds in memory.
	tailChunk = 64 << 10
	// tailHeartbeat is how often an idle stream says that it is alive and where
	// it stands.
	tailHeartbeat = 15 * time.Second
	// tailPatience is how long one write may take. Who reads slower than a
	// chunk in that time is cut off, and goes on from the last cursor.
	tailPatience = 30 * time.Second
)

// The types of a TailItem.
const (
	TailEvent     = "event"
	TailHeartbeat = "heartbeat"
	TailEnd       = "end"
)

// TailFilter chooses the events of a stream. A zero member does not filter.
type TailFilter struct {
	Bus        string `query:"bus" doc:"Only events of this bus."`
	Source     string `query:"source" doc:"Only events with this source in the envelope."`
	Type       string `query:"type" doc:"Only events with this detail type."`
	Endpoint   string `query:"endpoint" doc:"Only events that came in at this source of the configuration."`
	Duplicates bool   `query:"duplicates" doc:"Only repetitions."`
	Envelope   bool   `query:"envelope" doc:"Send the whole envelope with each event."`
	Since      When   `query:"since" doc:"Begin with the events received at this time; with those to come if neither since nor from is given."`
	From       string `query:"from" doc:"Go on from this cursor of an item; it wins over since."`
}

// TailItem is one line of a stream. Its cursor is where to go on from after it.
type TailItem struct {
	Type     string          `json:"type" enum:"event,heartbeat,end"`
	Cursor   string          `json:"cursor"`
	Event    *EventSummary   `json:"event,omitempty"`
	Envelope json.RawMessage `json:"envelope,omitempty"`
	Problem  *Problem        `json:"problem,omitempty" doc:"With end: why the stream cannot go on. Left out when the server stops."`
}

type tailInput struct {
	TailFilter

	Accept      string `header:"Accept" hidden:"true"`
	LastEventID string `header:"Last-Event-Id" doc:"The cursor to go on from, as browsers send it."`
}

// tailEvents opens a stream. Everything that can be wrong with the request is
// answered before the stream begins.
func (s *server) tailEvents(ctx context.Context, in *tailInput) (*huma.StreamResponse, error) {
	start, err := s.tailStart(ctx, in)
	if err != nil {
		return nil, err
	}
	select {
	case s.tails <- struct{}{}:
	default:
		f := fault.New(fault.Throttled, codeTooManyTails, "%d streams are open, which is the limit", maxTails)
		f.RetryAfter = 5 * time.Second
		return nil, f
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer func() { <-s.tails }()
		r, w := humago.Unwrap(hc)
		t := &tail{
			server: s, filter: in.TailFilter, at: start, w: w, flow: http.NewResponseController(w),
			sse: strings.Contains(in.Accept, "text/event-stream"),
		}
		t.begin()
		if r.Method != http.MethodHead {
			t.run(ctx)
		}
	}}, nil
}

func (s *server) tailStart(ctx context.Context, in *tailInput) (place, error) {
	from := in.From
	if from == "" {
		from = in.LastEventID
	}
	if from != "" {
		return parsePlace(from)
	}
	// The horizon is asked for first: an event between the two is shown.
	start := place{from: s.config.History.Horizon()}
	if in.Since.IsZero() {
		return start, nil
	}
	page, err := s.config.History.Events(ctx, store.EventQuery{
		Since: in.Since.On(s.config.Now()), Limit: 1, Ascending: true, Headers: true,
	})
	if err != nil {
		return place{}, fmt.Errorf("finding the start of a stream: %w", err)
	}
	if len(page.Events) > 0 && page.Events[0].At < start.from {
		start.from = page.Events[0].At
	}
	return start, nil
}

// tail is one open stream.
type tail struct {
	server *server
	filter TailFilter
	at     place
	sse    bool

	w     http.ResponseWriter
	flow  *http.ResponseController
	chunk bytes.Buffer
}

var errChunkFull = errors.New("chunk is full")

// run sends events until the reader goes away or is too slow, the server
// stops, or the journal cannot be read.
func (t *tail) run(ctx context.Context) {
	heartbeat := time.NewTicker(tailHeartbeat)
	defer heartbeat.Stop()
	for {
		// Asked for before reading: what commits in between is not missed.
		changed := t.server.config.History.Changed()
		more, err := t.read(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.end(t.server.problemOf(ctx, err))
			}
			return
		}
		if t.chunk.Len() > 0 && !t.send() {
			return
		}
		if more {
			if t.server.stopped() {
				t.end(nil)
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-t.server.closed:
			t.end(nil)
			return
		case <-changed:
		case <-heartbeat.C:
			t.put(&TailItem{Type: TailHeartbeat, Cursor: t.at.cursor()})
			if !t.send() {
				return
			}
		}
	}
}

// stopped reports whether Close was called.
func (s *server) stopped() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// begin sends the headers and, so that a reader knows where it stands before
// anything happens, a first heartbeat.
func (t *tail) begin() {
	media := "application/x-ndjson"
	if t.sse {
		media = "text/event-stream"
	}
	t.w.Header().Set("Content-Type", media)
	t.w.Header().Set("X-Accel-Buffering", "no") // a proxy must not collect lines
	t.w.WriteHeader(http.StatusOK)
	// A server's limit on reading requests must not end a stream. Recorders
	// know no deadlines, and need none.
	_ = t.flow.SetReadDeadline(time.Time{})
	t.put(&TailItem{Type: TailHeartbeat, Cursor: t.at.cursor()})
	t.send()
}

// read fills the chunk with what is new and reports whether there is more. The
// store is not held while something is sent: a slow reader costs its chunk.
func (t *tail) read(ctx context.Context) (more bool, err error) {
	next, err := t.server.config.History.Scan(ctx, t.at.from, func(r store.Record) error {
		if t.chunk.Len() >= tailChunk || t.server.stopped() {
			return errChunkFull
		}
		if r.Event == nil || t.at.after != 0 && r.At <= t.at.after {
			return nil
		}
		t.at.after = r.At
		if t.wants(r.Event) {
			t.putEvent(r.Event)
		}
		return nil
	})
	switch {
	case errors.Is(err, errChunkFull):
		t.at.from = max(t.at.from, t.at.after)
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading the journal for a stream: %w", err)
	}
	t.at = place{from: next}
	return false, nil
}

func (t *tail) wants(ev *store.Event) bool {
	f := &t.filter
	return (f.Bus == "" || f.Bus == ev.Bus) &&
		(f.Source == "" || f.Source == ev.Envelope.Source) &&
		(f.Type == "" || f.Type == ev.Envelope.DetailType) &&
		(f.Endpoint == "" || f.Endpoint == ev.Endpoint) &&
		(!f.Duplicates || ev.DuplicateOf != 0)
}

func (t *tail) putEvent(ev *store.Event) {
	summary := summaryOf(ev, sizeOf(ev))
	item := &TailItem{Type: TailEvent, Cursor: sealCursor(cursorTailAfter, uint64(ev.At)), Event: &summary}
	if t.filter.Envelope {
		item.Envelope = envelopeOf(ev)
	}
	t.put(item)
}

func (t *tail) put(item *TailItem) {
	text, err := json.Marshal(item)
	if err != nil {
		panic(fmt.Sprintf("a stream's item cannot be written: %v", err)) // a bug: it is made of strings
	}
	if t.sse {
		fmt.Fprintf(&t.chunk, "event: %s\nid: %s\ndata: %s\n\n", item.Type, item.Cursor, text)
		return
	}
	t.chunk.Write(text)
	t.chunk.WriteByte('\n')
}

// send writes the chunk and reports whether the reader took it in time.
func (t *tail) send() bool {
	// Some writers (recorders) know no deadline; then the server's own holds.
	_ = t.flow.SetWriteDeadline(time.Now().Add(tailPatience))
	_, err := t.w.Write(t.chunk.Bytes())
	if t.chunk.Cap() > 4*tailChunk {
		t.chunk = bytes.Buffer{} // one large event must not stay for ever
	}
	t.chunk.Reset()
	return err == nil && t.flow.Flush() == nil
}

func (t *tail) end(p *Problem) {
	t.put(&TailItem{Type: TailEnd, Cursor: t.at.cursor(), Problem: p})
	t.send()
}
