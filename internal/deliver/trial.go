package deliver

import (
	"context"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/destination"
)

// trialBody is how many bytes of the answer a test shows.
const trialBody = 64 << 10

// Sample is what a test sends.
type Sample struct {
	Body        []byte
	ContentType string
}

// Trial is what came of a test.
type Trial struct {
	OK        bool
	ID        string // the webhook-id that was sent
	Status    int
	Duration  time.Duration
	Body      []byte // of the answer, at most 64 KiB
	Truncated bool
	Class     destination.Class // "" on success
	Message   string            // what went wrong
	Next      string            // what to do about it
}

// Test sends one request to a destination, whatever its state: Test Connection.
// Nothing is recorded, no limit is used up, the breaker does not see it. A nil
// sample sends a small event of type "grapnel.test". A request that fails is a
// result, not an error.
//
// Returns NotFound if no destination has the name.
func (e *Engine) Test(ctx context.Context, name string, sample *Sample) (*Trial, error) {
	l := (*e.lanes.Load())[name]
	if l == nil {
		return nil, unknownDestination(name)
	}
	w := &worker{}
	l.mu.Lock()
	if w.handle, w.snapshot = l.handle, l.snapshot; w.handle != nil {
		w.handle.users++ // a reload does not close it meanwhile
	}
	l.mu.Unlock()
	if w.handle == nil {
		return nil, unknownDestination(name)
	}
	defer func() {
		l.mu.Lock()
		closing := l.leave(w.handle)
		l.mu.Unlock()
		e.close(closing)
	}()
	return e.try(ctx, w, sample), nil
}

func (e *Engine) try(ctx context.Context, w *worker, sample *Sample) *Trial {
	d := w.handle.destination
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout(), errTimedOut)
	defer cancel()
	began := time.Now()
	id := event.NewID(began)
	if sample == nil {
		sample = defaultSample(w.snapshot, id, began)
	}
	request := &destination.Request{
		ID: "test_" + string(id), Attempt: 1, Time: began, Body: sample.Body, ContentType: sample.ContentType,
		WantBody: trialBody, Test: true,
	}
	response, failure := e.doTest(ctx, d, request)
	t := &Trial{ID: request.ID, Duration: time.Since(began)}
	if failure == nil {
		t.OK, t.Status, t.Body, t.Truncated = true, response.Status, response.Body, response.Truncated
		return t
	}
	t.Status, t.Body, t.Class, t.Message = failure.Status, failure.Excerpt, failure.Class, failure.Message
	t.Next = failure.Class.Info().Next
	return t
}

// doTest sends the request with the same care for panics and stray errors as a
// delivery's attempt.
func (e *Engine) doTest(ctx context.Context, d *Destination, request *destination.Request) (response *destination.Response, failure *destination.Error) {
	defer func() {
		if p := recover(); p != nil {
			e.panicked(ctx, d.Name, request.ID, p)
			response, failure = nil, panicError()
		}
	}()
	response, err := d.Handle.Do(ctx, request)
	if err != nil {
		failure, _ = classify(ctx, err)
		return nil, failure
	}
	if response == nil {
		return nil, noAnswer()
	}
	return response, nil
}

func defaultSample(s *Snapshot, id event.ID, now time.Time) *Sample {
	envelope := event.Envelope{
		ID: id, DetailType: "grapnel.test", Source: NoticeSource, Account: s.Account, Region: s.Region,
		Time: now, Detail: []byte(`{"message":"a test from Grapnel"}`),
	}
	return &Sample{Body: envelope.AppendJSON(nil), ContentType: "application/json"}
}
