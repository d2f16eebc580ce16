// Package destination defines what every kind of destination implements: one
// request in, one response or one classified error out. The same contract
// serves deliveries, synchronous routes and Test Connection. A kind does only
// I/O: it never retries, never sleeps, and never records anything; the delivery
// engine does.
package destination

import (
	"context"
	"net/http"
	"time"

	"github.com/grapnel/grapnel/event"
)

// Destination sends one request. Do may be called by many goroutines at once,
// and more than once for one delivery: what it sends must carry the delivery
// id so that the receiver can tell.
//
// Do honors the deadline of ctx. Its error is an *Error unless ctx was
// canceled. Neither the error nor anything logged may show a secret of the
// destination: no query values, no user-info, no credentials.
type Destination interface {
	Do(ctx context.Context, request *Request) (*Response, error)
}

// Closer is implemented by destinations that hold connections or files. Close
// is called once no request is in flight, after a reload that removed or
// changed the destination and at shutdown.
type Closer interface{ Close() error }

// Request is one message for a destination.
type Request struct {
	// ID is the delivery's id, the same for every attempt: the webhook-id.
	ID string
	// Attempt counts from 1.
	Attempt int
	// Time is when the attempt began.
	Time time.Time
	// Body is what the target's input made of the event; it must not be changed.
	Body        []byte
	ContentType string
	// Event is the envelope the body was made from; nil for a test.
	Event *event.Envelope
	// Raw is the webhook as it came in; nil for events that were none.
	Raw Raw
	// Bus is the bus on which the event was matched.
	Bus string
	// Rule and Target name what caused the delivery; empty for a test.
	Rule, Target string
	// Attributes are additional words for a dead letter (ERROR_CODE …); nil otherwise.
	Attributes map[string]string
	// WantBody says how many bytes of the answer the caller wants; the rest is
	// read and thrown away only as far as the connection's reuse is worth it.
	WantBody int
	// Test marks a request of Test Connection.
	Test bool
}

// Raw is a webhook as it was received and stored.
type Raw interface {
	// Body returns the body, byte for byte; it must not be changed.
	Body() []byte
	// Header yields name and value of each header line. Values of credential
	// headers are masked.
	Header(yield func(name, value string) bool)
}

// Response is the answer of a destination that succeeded.
type Response struct {
	Status int // HTTP status or its like; 200 where the kind knows none
	Header http.Header
	Body   []byte // at most WantBody bytes
	// Truncated says that the answer was longer than Body.
	Truncated bool
	// Forward, when set, asks the engine to publish the request's event on this
	// bus in the same commit that records the success. Only kind bus sets it.
	Forward string
}

// Error is an attempt that did not succeed.
type Error struct {
	Class      Class
	Status     int           // of the answer; 0 if there was none
	RetryAfter time.Duration // stated by the receiver; 0 if it was not
	NoRetry    bool          // the receiver asked not to be tried again
	Excerpt    []byte        // of the answer, at most Request.WantBody bytes
	Message    string        // what happened, for people; never a secret
	Err        error         // cause, for logs; its text may name hosts, never secrets
}

// Error returns class and message.
func (e *Error) Error() string { return string(e.Class) + ": " + e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
