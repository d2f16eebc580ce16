package destination

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/egress"
)

// classOf maps what kept a request from being answered to a class.
var classOf = map[egress.Failure]Class{
	egress.Refused: Refused, egress.Reset: Reset, egress.DNS: DNS, egress.DNSNotFound: DNSNotFound,
	egress.Timeout: Timeout, egress.TLS: TLS, egress.Blocked: BlockedAddress, egress.Protocol: Protocol,
}

// Unanswered returns what Do returns when a transport of egress got no answer:
// an *Error, or an error that wraps context.Canceled if ctx was canceled.
func Unanswered(ctx context.Context, err error, hide Hidden) error {
	failure := egress.Classify(err)
	// The transport reports a context's end by its cause, whatever that is.
	if ended := ctx.Err(); ended != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ended)) {
		if errors.Is(ended, context.Canceled) {
			return fmt.Errorf("sending: %w", ended)
		}
		failure = egress.Timeout
	}
	class, ok := classOf[failure]
	if !ok {
		class = Reset // canceled, but not by ctx: the transport was closed
	}
	return &Error{Class: class, Message: hide.Text(describe(class, err)), Err: hide.Err(err)}
}

// describe says what happened. It quotes nothing that came from the receiver.
func describe(class Class, err error) string {
	if class == Timeout {
		return "no answer in time"
	}
	if class == Protocol {
		return "the answer is not valid HTTP"
	}
	if class == Reset {
		return "the connection ended before the answer"
	}
	return err.Error() // of the dialer: host, address and reason
}

// maxRetryAfter bounds what a receiver may ask for: the age at which deliveries
// are given up by default.
const maxRetryAfter = 24 * time.Hour

// RetryAfter reads the value of a Retry-After header, seconds or a date
// (RFC 9110 10.2.3), or "" for none. It is never more than 24 hours. A negative
// number of seconds asks not to be tried again, as EventBridge has it for API
// destinations. What cannot be read counts as none.
func RetryAfter(value string, now time.Time) (after time.Duration, never bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(seconds) {
		if seconds < 0 {
			return 0, true
		}
		if seconds >= maxRetryAfter.Seconds() {
			return maxRetryAfter, false
		}
		return time.Duration(seconds * float64(time.Second)), false
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), false
}

// Answered returns the error for an HTTP answer that is no success. The excerpt
// is what was read of its body.
func Answered(status int, header http.Header, excerpt []byte, now time.Time, hide Hidden) *Error {
	e := &Error{
		Class: OfStatus(status), Status: status, Excerpt: hide.Bytes(excerpt),
		Message: "the receiver answered " + statusText(status),
	}
	e.RetryAfter, e.NoRetry = RetryAfter(header.Get("Retry-After"), now)
	if e.NoRetry && e.Class.Retry() != RetryNever {
		e.Class = Rejected
	}
	return e
}

func statusText(status int) string {
	text := strconv.Itoa(status)
	if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	return text
}
