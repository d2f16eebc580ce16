package destination

// Class is why an attempt failed: stable, snake_case, one of the rows of
// Classes. Metrics, lists and docs/troubleshooting.md use it.
type Class string

// Retry says what a class means for the next attempt.
type Retry uint8

// The kinds of consequence.
const (
	// RetryTransient is tried again and counts against the attempts.
	RetryTransient Retry = iota + 1
	// RetryThrottled is tried again and counts against the age only.
	RetryThrottled
	// RetryFunction is tried again by policy: the function did run.
	RetryFunction
	// RetryNever ends the delivery at once.
	RetryNever
)

// The classes.
const (
	Refused          Class = "connection_refused"
	Reset            Class = "connection_reset"
	DNS              Class = "dns"
	DNSNotFound      Class = "dns_not_found"
	Timeout          Class = "timeout"
	TLS              Class = "tls"
	BlockedAddress   Class = "blocked_address"
	Protocol         Class = "protocol"
	Redirect         Class = "redirect"
	BadRequest       Class = "bad_request"
	Unauthorized     Class = "unauthorized"
	Forbidden        Class = "forbidden"
	NotFound         Class = "not_found"
	RequestTimeout   Class = "request_timeout"
	Conflict         Class = "conflict"
	Gone             Class = "gone"
	TooLarge         Class = "too_large"
	Rejected         Class = "rejected"
	Throttled        Class = "throttled"
	ServerError      Class = "server_error"
	Unavailable      Class = "unavailable"
	FunctionFailed   Class = "function_failed"
	FunctionPending  Class = "function_pending"
	Credentials      Class = "credentials"
	InputFailed      Class = "input_failed"
	TooManyHops      Class = "too_many_hops"
	TargetRemoved    Class = "target_removed"
	DeadlinePassed   Class = "deadline_passed"
	EventGone        Class = "event_gone"
	InternalError    Class = "internal"
	StoppedInBetween Class = "stopped"
)

// ClassInfo explains a class to people.
type ClassInfo struct {
	Class Class
	Retry Retry
	What  string // what happened, one sentence
	Next  string // the next step to take, one or two sentences
}

// Classes is the table of all classes in the order in which they are documented.
func Classes() []ClassInfo { return append([]ClassInfo(nil), classes...) }

// Info returns the row of a class; the row of InternalError for an unknown one.
func (c Class) Info() ClassInfo {
	for _, row := range classes {
		if row.Class == c {
			return row
		}
	}
	return InternalError.Info()
}

// Retry returns what the class means for the next attempt.
func (c Class) Retry() Retry { return c.Info().Retry }

var classes = []ClassInfo{
	{
		Refused, RetryTransient, "Nothing listens at the destination's address.",
		"Check that the receiver runs and that host and port of the URL are right.",
	},
	{
		Reset, RetryTransient, "The receiver closed the connection before it answered.",
		"Look at the receiver's log for a crash, and for a proxy with a shorter time limit or a body limit.",
	},
	{
		DNS, RetryTransient, "The name server could not be asked.",
		"Check the resolver of this machine; the attempt is made again by itself.",
	},
	{
		DNSNotFound, RetryTransient, "The host name does not exist.",
		"Check the spelling of the host in the URL, and that the name is public or known to this machine's resolver.",
	},
	{
		Timeout, RetryTransient, "The receiver did not answer in time. It may have processed the message.",
		"Let the receiver answer first and work afterwards, or raise timeout (at most 300s).",
	},
	{
		TLS, RetryTransient, "The TLS handshake failed: certificate, name or version.",
		"Check that the certificate is valid, complete and issued for the host name in the URL.",
	},
	{
		BlockedAddress, RetryNever, "The host resolves to an address that webhooks may not reach.",
		"If the receiver is yours, add its network to network.allow; otherwise correct the URL.",
	},
	{
		Protocol, RetryTransient, "What came back is not HTTP.",
		"Check that the URL names an HTTP server, and https where it speaks TLS.",
	},
	{
		Redirect, RetryNever, "The receiver answered with a redirect; redirects are not followed.",
		"Put the final URL into the destination.",
	},
	{
		BadRequest, RetryNever, "The receiver says that the request is malformed (400, 415, 422 or another 4xx).",
		"Read the response excerpt, correct the target's input or the destination's headers, then retry the delivery.",
	},
	{
		Unauthorized, RetryTransient, "The receiver wants other credentials (401, 407).",
		"Check the destination's signing secret, token or keys, then retry the delivery.",
	},
	{
		Forbidden, RetryNever, "The receiver refuses these credentials (403).",
		"Check what the credentials may do at the receiver: role, allowlist, function policy.",
	},
	{
		NotFound, RetryNever, "The receiver does not know the URL or the function (404).",
		"Check the path of the URL, or the name, region and account of the function.",
	},
	{
		RequestTimeout, RetryTransient, "The receiver gave up waiting for the request (408).",
		"Check the network between here and the receiver.",
	},
	{
		Conflict, RetryTransient, "The receiver is busy with something that conflicts (409).",
		"Nothing to do unless it stays; then read the response excerpt.",
	},
	{
		Gone, RetryNever, "The receiver says that the URL is gone for good (410).",
		"Remove the destination, or correct its URL and enable it again.",
	},
	{
		TooLarge, RetryNever, "The message is larger than the receiver takes (413).",
		"Send less with an input path or template, or raise the receiver's limit.",
	},
	{
		Rejected, RetryNever, "The receiver asked not to be tried again.",
		"Read the response excerpt; retry the delivery by hand when the cause is gone.",
	},
	{
		Throttled, RetryThrottled, "The receiver takes no more for now (429).",
		"Set rate or max_in_flight on the destination to what the receiver allows.",
	},
	{
		ServerError, RetryTransient, "The receiver failed (5xx).",
		"Look at the receiver's log at the time of the attempt.",
	},
	{
		Unavailable, RetryTransient, "The receiver is not available (502, 503, 504).",
		"Check that the receiver is up behind its load balancer.",
	},
	{
		FunctionFailed, RetryFunction, "The function ran and failed; the excerpt holds its error.",
		"Read the error and the function's log, correct the function, then retry the delivery.",
	},
	{
		FunctionPending, RetryTransient, "The function is being created or updated.",
		"Nothing to do unless it stays; then look at the function's state in AWS.",
	},
	{
		Credentials, RetryTransient, "No usable AWS credentials were found, or they have expired.",
		"Set credentials on the destination, or give the process a role or profile.",
	},
	{
		InputFailed, RetryNever, "The target's input could not be made from this event.",
		"Correct the input path or template of the target, then retry the delivery.",
	},
	{
		TooManyHops, RetryNever, "The event has been forwarded over 8 buses.",
		"Two rules forward to each other: narrow one of their patterns.",
	},
	{
		TargetRemoved, RetryNever, "The target or destination was removed and did not come back in time.",
		"Add it again and retry the delivery, or leave it dead.",
	},
	{
		DeadlinePassed, RetryNever, "The delivery's maximum age passed.",
		"Correct what the last attempt named, then retry the delivery.",
	},
	{
		EventGone, RetryNever, "The stored event could not be read.",
		"Look at the log and at grapnel status: the event may be in a damaged part of the journal.",
	},
	{
		InternalError, RetryTransient, "Grapnel itself failed.",
		"The log has a line with the delivery's id; please report it.",
	},
	{
		StoppedInBetween, RetryTransient, "Grapnel was stopped during the attempt. The receiver may have processed it.",
		"Nothing to do; the attempt is made again.",
	},
}

// OfStatus returns the class of an HTTP status that is not 2xx. Retried, as
// EventBridge does for API destinations: 401, 407, 408, 409, 429 and 5xx.
func OfStatus(status int) Class {
	switch {
	case status == 429:
		return Throttled
	case status == 502 || status == 503 || status == 504:
		return Unavailable
	case status >= 500:
		return ServerError
	case status == 401 || status == 407:
		return Unauthorized
	case status == 403:
		return Forbidden
	case status == 404:
		return NotFound
	case status == 408:
		return RequestTimeout
	case status == 409:
		return Conflict
	case status == 410:
		return Gone
	case status == 413:
		return TooLarge
	case status >= 400:
		return BadRequest
	case status >= 300:
		return Redirect
	default:
		return Protocol
	}
}
