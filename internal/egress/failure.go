package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Failure is what kept a request from being answered.
type Failure uint8

// The failures.
const (
	// Refused: no connection: nothing listens, or there is no way there.
	Refused Failure = iota + 1
	// Reset: the connection ended before the answer.
	Reset
	// DNS: the name server could not be asked.
	DNS
	// DNSNotFound: the host name does not exist.
	DNSNotFound
	// Timeout: the deadline passed.
	Timeout
	// TLS: the handshake failed.
	TLS
	// Blocked: the guard refused the address.
	Blocked
	// Protocol: what came back is not HTTP.
	Protocol
	// Canceled: the one who asked went away.
	Canceled
)

var failureNames = [...]string{
	Refused: "refused", Reset: "reset", DNS: "dns", DNSNotFound: "dns_not_found", Timeout: "timeout",
	TLS: "tls", Blocked: "blocked", Protocol: "protocol", Canceled: "canceled",
}

// String returns the snake_case name of the failure.
func (f Failure) String() string {
	if f == 0 || int(f) >= len(failureNames) {
		return "none"
	}
	return failureNames[f]
}

// UnreachableError says that those addresses of a host that may be reached do
// not answer, and that others may not be reached.
type UnreachableError struct{ Host string }

// Error names the host.
func (e *UnreachableError) Error() string {
	return "no address of " + e.Host + " that may be reached answers"
}

// HandshakeError is a TLS handshake that failed.
type HandshakeError struct {
	Host string
	Err  error
}

// Error names the host and what went wrong.
func (e *HandshakeError) Error() string { return "TLS handshake with " + e.Host + ": " + e.Err.Error() }

// Unwrap returns what went wrong.
func (e *HandshakeError) Unwrap() error { return e.Err }

// streamError has the shape of the error with which the HTTP/2 client reports a
// stream that the server reset; see http2StreamError.As in net/http.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

// Error returns a fixed text; the type exists for errors.As.
func (e streamError) Error() string { return "stream reset" }

// Classify says what kept a request from being answered, from the error of a
// transport or client of this package. It returns 0 for nil.
func Classify(err error) Failure {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[*BlockedError](err); ok {
		return Blocked
	}
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return Refused
	}
	if errors.Is(err, context.Canceled) {
		return Canceled
	}
	// A lookup that took too long is a matter of the resolver, not the receiver.
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return DNSNotFound
		}
		return DNS
	}
	if isTimeout(err) {
		return Timeout
	}
	if f := classifyTLS(err); f != 0 {
		return f
	}
	return classifyConnection(err)
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// classifyTLS returns 0 if the error is none of TLS.
func classifyTLS(err error) Failure {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if string(record.RecordHeader[:]) == "HTTP/" {
			return Protocol // a plain HTTP server behind an https URL
		}
		return TLS
	}
	if h, ok := errors.AsType[*HandshakeError](err); ok {
		// Closed without a word: a server that crashed, or a proxy without a backend.
		if isReset(h.Err) {
			return Reset
		}
		return TLS
	}
	// Alerts that arrive after the handshake, such as "certificate required".
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return TLS
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return TLS
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return TLS
	}
	return 0
}

func classifyConnection(err error) Failure {
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return DNSNotFound // no address of a usable family
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return Refused
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return Refused
	}
	if isReset(err) {
		return Reset
	}
	if _, ok := errors.AsType[streamError](err); ok {
		return Reset
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return Protocol
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "read" || op.Op == "write") {
		return Reset
	}
	if isLostQuietly(err) {
		return Reset
	}
	return Protocol
}

// isLostQuietly recognizes, by its text for want of a type, what net/http says
// of a connection that ended between two requests or right after it was made.
// Only the diagnosis depends on it: Reset and Protocol are both tried again.
func isLostQuietly(err error) bool {
	text := err.Error()
	return strings.Contains(text, "server closed idle connection") ||
		strings.Contains(text, "client conn could not be established") ||
		strings.Contains(text, "GOAWAY")
}

func isReset(err error) bool {
	for _, end := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, io.ErrClosedPipe,
		syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
