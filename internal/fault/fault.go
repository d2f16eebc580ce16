// Package fault gives errors a kind, a code and a message meant for people.
//
// Only what this package carries reaches a user: every other error is shown as
// "internal error" with an id that finds the log line. A fault says what was
// wrong, where, and what to do next (Hint).
package fault

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kind says how a caller may react to an error. The set is closed; its order is
// never changed. The zero value means that nobody classified the error.
type Kind int

// The kinds. Transient and Throttled are worth a retry, the others are not.
const (
	Internal     Kind = iota + 1 // a bug or a broken invariant
	Invalid                      // the input is wrong; the message says where
	NotFound                     // the thing named does not exist
	Conflict                     // exists already, or changed in between
	Unauthorized                 // who asks is not proven
	Forbidden                    // proven, but not allowed
	TooLarge                     // over a limit of size
	Throttled                    // too many; RetryAfter says when
	Transient                    // may work later
	Permanent                    // will not work however often it is tried
	Canceled                     // the one who asked went away
)

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", NotFound: "not_found", Conflict: "conflict",
	Unauthorized: "unauthorized", Forbidden: "forbidden", TooLarge: "too_large",
	Throttled: "throttled", Transient: "transient", Permanent: "permanent", Canceled: "canceled",
}

var kindStatus = [...]int{
	Internal: http.StatusInternalServerError, Invalid: http.StatusBadRequest,
	NotFound: http.StatusNotFound, Conflict: http.StatusConflict,
	Unauthorized: http.StatusUnauthorized, Forbidden: http.StatusForbidden,
	TooLarge: http.StatusRequestEntityTooLarge, Throttled: http.StatusTooManyRequests,
	Transient: http.StatusServiceUnavailable, Permanent: http.StatusUnprocessableEntity,
	Canceled: 499,
}

// String returns the snake_case name of the kind.
func (k Kind) String() string {
	if k <= 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// ParseKind returns the kind that has the name; ok is false if none has.
func ParseKind(name string) (kind Kind, ok bool) {
	for k := Internal; int(k) < len(kindNames); k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// Status returns the HTTP status that stands for the kind; 499 for Canceled.
func (k Kind) Status() int {
	if k <= 0 || int(k) >= len(kindStatus) {
		return http.StatusInternalServerError
	}
	return kindStatus[k]
}

// Error is an error that a person may see. Message is a full clause without a
// capital or full stop; Hint, when set, says what to do next.
type Error struct {
	Kind       Kind
	Code       string // stable snake_case code, documented in docs/errors.md; may be empty
	Message    string
	Hint       string
	RetryAfter time.Duration // with Throttled and Transient, when known
	Err        error         // cause, for logs; never shown
}

// Error returns the message and the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the kind with a message for people.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause that only logs show.
func Wrap(kind Kind, err error, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// WithHint returns a copy of e that says what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// KindOf returns the kind of the outermost fault in err, Internal for any other
// error, and 0 for nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Kind
	}
	return Internal
}

// Is reports whether err has the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
