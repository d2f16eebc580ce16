package deliver

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// ExcerptSize is how many bytes of an answer are kept with an attempt.
const ExcerptSize = 4 << 10

// result is how an attempt ended.
type result struct {
	response *destination.Response
	err      *destination.Error // nil on success, and when stopped
	began    time.Time
	ended    time.Time
	attempt  int  // its number over the delivery's life; 0: none was made
	stopped  bool // canceled because the engine stops: nothing is known
}

// attempt settles the job in the worker's hands. It uses the one credit that
// was taken for it.
func (e *Engine) attempt(ctx context.Context, l *lane, w *worker) {
	now := time.Now()
	j := &w.job
	plan, hold := w.snapshot.Resolve(j.delivery)
	if hold == "" {
		hold = w.hold
	}
	overdue := j.overdue(now)
	switch {
	case (overdue || hold != "") && l.isCanceled(w):
		// What is decided here would be the last word after the person's.
		e.config.Queue.Release(j.delivery.ID)
		e.uncredit()
		return
	case overdue:
		e.submit(e.deadlineRecord(w.snapshot, j, false, now))
		return
	case hold != "":
		e.submit(e.heldRecord(w.snapshot, j, hold, now))
		return
	}
	if j.event == nil {
		res := &result{began: now, ended: now, err: &destination.Error{
			Class: destination.EventGone, Message: destination.EventGone.Info().What,
		}}
		e.submit(e.failedRecord(w.snapshot, &plan, j, res, l, false))
		return
	}
	l.meter.InFlight(1)
	res := e.perform(ctx, w, &plan)
	l.meter.InFlight(-1)
	e.conclude(ctx, l, w, &plan, &res)
}

// conclude records the end of an attempt and what follows from it.
func (e *Engine) conclude(ctx context.Context, l *lane, w *worker, plan *Plan, res *result) {
	j := &w.job
	if res.stopped {
		e.submit(e.stoppedRecord(w.snapshot, j, res))
		return
	}
	v := l.report(w, res, res.ended)
	class := ""
	if res.err != nil {
		class = string(res.err.Class)
	}
	l.meter.Attempt(class, res.ended.Sub(res.began))
	var r *record
	if res.err == nil {
		r = e.deliveredRecord(w.snapshot, j, res, l)
	} else {
		r = e.failedRecord(w.snapshot, plan, j, res, l, v.canceled)
	}
	e.submit(r)
	if len(v.back) > 0 {
		e.config.Queue.Release(v.back...)
	}
	e.show(l, v.shift)
	if v.disable {
		e.disableGone(ctx, l.name)
	}
}

// perform makes the request and sends it. A panic of a destination or an input
// ends here: it costs this attempt and nothing else.
func (e *Engine) perform(ctx context.Context, w *worker, plan *Plan) (res result) {
	ctx, cancel := context.WithTimeoutCause(ctx, plan.Destination.timeout(), errTimedOut)
	defer cancel()
	j := &w.job
	res.attempt = j.made + 1
	res.began = time.Now()
	defer func() {
		if p := recover(); p != nil {
			e.panicked(ctx, j.delivery.Destination, j.delivery.ID.String(), p)
			res.response, res.stopped, res.err = nil, false, panicError()
		}
		res.ended = time.Now()
	}()
	request, err := e.request(ctx, plan, j, &res)
	if err != nil {
		res.err = err
		return res
	}
	response, failure := plan.Destination.Handle.Do(ctx, request)
	switch {
	case failure != nil:
		res.err, res.stopped = classify(ctx, failure)
	case response == nil:
		res.err = noAnswer()
	case response.Forward != "" && j.event.Hops >= store.MaxHops:
		res.err = &destination.Error{Class: destination.TooManyHops, Message: destination.TooManyHops.Info().What}
	default:
		res.response = response
	}
	return res
}

// panicked logs and counts a recovered panic; it is called while it unwinds.
func (e *Engine) panicked(ctx context.Context, name, id string, p any) {
	e.config.Panicked()
	e.log.ErrorContext(ctx, "an attempt panicked", slog.String("destination", name), slog.String("delivery", id),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
}

func panicError() *destination.Error {
	return &destination.Error{Class: destination.InternalError, Message: "the destination panicked; the log tells where"}
}

func noAnswer() *destination.Error {
	return &destination.Error{Class: destination.InternalError, Message: "the destination returned no answer"}
}

// classify makes an error of the contract from whatever a destination returned.
func classify(ctx context.Context, failure error) (err *destination.Error, stopped bool) {
	err, classified := errors.AsType[*destination.Error](failure)
	if errors.Is(context.Cause(ctx), errStopping) && (!classified || err.Status == 0) {
		return nil, true // it may have arrived; the next start tries again
	}
	switch {
	case classified:
		return err, false
	case errors.Is(context.Cause(ctx), errTimedOut):
		return &destination.Error{Class: destination.Timeout, Message: "no answer came in time", Err: failure}, false
	default:
		return &destination.Error{Class: destination.InternalError, Message: "internal error", Err: failure}, false
	}
}

// request makes what is sent. An input that fails is a failed attempt for which
// nothing was sent.
func (e *Engine) request(ctx context.Context, plan *Plan, j *job, res *result) (*destination.Request, *destination.Error) {
	d, ev := j.delivery, j.event
	request := &destination.Request{
		ID: d.ID.String(), Attempt: res.attempt, Time: res.began,
		Event: &ev.Envelope, Bus: ev.Bus, Rule: d.Rule, Target: d.Target, WantBody: ExcerptSize,
	}
	if ev.Raw != nil {
		request.Raw = received{ev.Raw}
	}
	if d.Origin == store.OriginDeadLetter {
		request.Attributes = e.deadLetterAttributes(ctx, plan, j)
	}
	if d.Origin == store.OriginReplay && ev.Envelope.ReplayName == "" {
		replayed := ev.Envelope
		replayed.ReplayName = d.Run
		request.Event = &replayed
		if plan.Input != nil {
			again := *ev
			again.Envelope = replayed
			ev = &again
		}
	}
	if plan.Input == nil {
		size := 512 + len(request.Event.Detail)
		request.Body, request.ContentType = request.Event.AppendJSON(make([]byte, 0, size)), "application/json"
		return request, nil
	}
	body, contentType, err := plan.Input(ev)
	if err != nil {
		return nil, &destination.Error{Class: destination.InputFailed, Message: err.Error(), Err: err}
	}
	request.Body, request.ContentType = body, contentType
	return request, nil
}

// received shows a stored request to destinations.
type received struct{ raw *store.Raw }

// Body returns the body as it is stored.
func (r received) Body() []byte { return r.raw.Body }

// Header yields the header lines as they are stored.
func (r received) Header(yield func(name, value string) bool) {
	for _, f := range r.raw.Header {
		if !yield(f.Name, f.Value) {
			return
		}
	}
}

// excerpt returns what is kept of an answer.
func excerpt(answer []byte) []byte {
	if len(answer) > ExcerptSize {
		return answer[:ExcerptSize:ExcerptSize]
	}
	return answer
}

// reasonOf puts the class before the message, which is how the reasons of
// rejected and deadline_passed begin: classIn finds it again.
func reasonOf(class destination.Class, message string) string {
	if message == "" {
		message = class.Info().What
	}
	return string(class) + ": " + message
}

// classIn returns the class with which a reason begins, or "".
func classIn(reason string) destination.Class {
	word, _, ok := strings.Cut(reason, ": ")
	if class := destination.Class(word); ok && class.Info().Class == class {
		return class
	}
	return ""
}
