package ingest

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/signature"
)

// Reason codes of refusals that are not about proof; those of package
// signature stand beside them.
const (
	ReasonUnknownPath = "unknown_path"
	ReasonMethod      = "method_not_allowed"
	ReasonTooLarge    = "body_too_large"
	ReasonIncomplete  = "body_incomplete"
	ReasonSlow        = "body_timeout"
	ReasonRate        = "rate_limited"
	ReasonInFlight    = "too_many_in_flight"
	ReasonEncoding    = "bad_encoding"
	ReasonUnavailable = "store_unavailable"
	ReasonKeySource   = "keys_unavailable"
	ReasonHandshake   = "handshake_refused"
	ReasonInternal    = "internal"
)

// defaultRetryAfter is what a sender is asked to wait when the store cannot say.
const defaultRetryAfter = 5 * time.Second

// exchange is one request on its way through.
type exchange struct {
	in   *Ingest
	src  *source
	w    http.ResponseWriter
	r    *http.Request
	req  signature.Request
	body []byte
	// content is the body without its encoding if it was decoded, else the body.
	content []byte
	decoded bool
	// encoding is the encoding that the content still has; "" for none.
	encoding string
	origin   origin
	// started is when the body was complete.
	started time.Time
}

// ServeHTTP takes one request. The order of checks is that of the rules for
// verifiers: path, address, method, size, proof, and only then anything that
// parses. What costs a sender nothing to claim is never counted against another.
func (in *Ingest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{in: in, w: w, r: r}
	defer x.recovered()
	x.identify()
	path, _, _ := strings.Cut(target(r), "?")
	x.src = in.sources.Load().find(r.Host, path)
	if x.src == nil {
		x.src = &source{ledger: in.ledger("")}
		x.refuse(http.StatusNotFound, ReasonUnknownPath, "no source listens at this path",
			"compare the path with the list of grapnel sources")
		return
	}
	if !x.allowed() {
		return
	}
	if limit := x.src.MaxInFlight; limit > 0 {
		defer x.src.ledger.inFlight.Add(-1)
		if x.src.ledger.inFlight.Add(1) > int64(limit) {
			w.Header().Set("Retry-After", "1")
			x.refuse(http.StatusTooManyRequests, ReasonInFlight, fmt.Sprintf("%d requests are under way already", limit),
				"raise max_in_flight on the source, or let the sender retry")
			return
		}
	}
	if !x.read() {
		return
	}
	x.started = in.config.Now()
	x.req = signature.Request{
		Method: r.Method, URL: x.publicURL(), Header: r.Header, Body: x.body, RemoteAddr: x.r.RemoteAddr,
	}
	x.admit()
}

// allowed checks what can be checked before the body is read. It reports false
// when it has refused the request.
func (x *exchange) allowed() bool {
	if len(x.src.AllowIPs) > 0 && !within(x.origin.addr, x.src.AllowIPs) {
		x.refuse(signature.IPDenied.Status(), string(signature.IPDenied), "the source does not take requests from this address",
			nextStep(signature.IPDenied))
		return false
	}
	if x.r.Method != http.MethodPost && !slices.Contains(x.src.Methods, x.r.Method) {
		allow := strings.Join(append([]string{http.MethodPost}, x.src.Methods...), ", ")
		x.w.Header().Set("Allow", allow)
		x.refuse(http.StatusMethodNotAllowed, ReasonMethod, "the source takes "+allow, "check the provider's settings")
		return false
	}
	if x.src.addresses == nil {
		return true
	}
	over, wait := x.src.addresses.take(x.origin.addr, x.in.config.Now())
	if wait == 0 {
		return true
	}
	x.w.Header().Set("Retry-After", seconds(wait))
	x.refuse(http.StatusTooManyRequests, ReasonRate,
		fmt.Sprintf("more than %d requests in %s from one address", over.Count, over.Per),
		"raise rate.address on the source, or let the sender retry")
	return false
}

// publicURL is the URL that the sender was given: the configured scheme, host
// and prefix with this request's own target. Where nothing is configured, a
// trusted proxy is asked, then the request itself.
func (x *exchange) publicURL() string {
	base := x.src.PublicURL
	if base == "" {
		scheme, host := x.forwarded()
		switch {
		case scheme != "":
		case x.r.TLS != nil:
			scheme = "https"
		default:
			scheme = "http"
		}
		base = scheme + "://" + cmp.Or(host, x.r.Host)
	}
	return strings.TrimSuffix(base, "/") + target(x.r)
}

// admit proves, shapes and publishes.
func (x *exchange) admit() {
	handshake, isHandshake := x.src.Provider.Handshake(&x.req)
	if isHandshake && !handshake.VerifyFirst {
		x.handshake(handshake, 0)
		return
	}
	proof, err := x.src.Verifier.Verify(&x.req, x.started)
	if err != nil {
		x.unproven(err)
		return
	}
	if isHandshake {
		x.handshake(handshake, proof.KeyIndex)
		return
	}
	if !x.withinRate() {
		return
	}
	if !x.decode() {
		return
	}
	if x.src.Answer.AWS != nil {
		if r := x.src.Answer.AWS.check(x.r.Header.Get("Content-Type"), x.content); r != nil {
			x.keep(r.Status, r.reason, r.detail, "AWS's own function refuses this too; leave answer: aws out to take it")
			r.write(x.w)
			return
		}
	}
	x.publish(proof)
}

// handshake answers a request by which the provider verifies the endpoint. It
// never becomes an event.
func (x *exchange) handshake(h signature.Handshake, key int) {
	answer, err := h.Answer(&x.req, x.src.Keys, key)
	if err != nil {
		reason := ReasonHandshake
		if refusal, ok := errors.AsType[*signature.Error](err); ok {
			reason = string(refusal.Reason)
		}
		x.keep(answer.Status, reason, "the handshake "+h.Name+" was not granted: "+err.Error(),
			"compare what the source is configured with to what the provider was given")
	} else {
		x.in.config.Metrics.Handshake(x.src.Name, h.Name)
		x.in.config.Log.InfoContext(x.r.Context(), "handshake answered",
			slog.String("source", x.src.Name), slog.String("handshake", h.Name))
		if text := h.Reveal(&x.req); text != "" && x.src.Reveal != nil {
			x.src.Reveal(text)
		}
	}
	maps.Copy(x.w.Header(), answer.Header)
	Answer{Status: answer.Status, Body: string(answer.Body)}.write(x.w)
}

func (x *exchange) unproven(err error) {
	refusal, ok := errors.AsType[*signature.Error](err)
	if !ok {
		x.in.config.Log.ErrorContext(x.r.Context(), "keys could not be fetched",
			slog.String("source", x.src.Name), slog.Any("error", err))
		x.w.Header().Set("Retry-After", seconds(defaultRetryAfter))
		x.refuse(http.StatusServiceUnavailable, ReasonKeySource, "the keys of the source could not be fetched",
			"check the address of the keys")
		return
	}
	if aws := x.src.Answer.AWS; aws != nil {
		answer := aws.unproven(refusal.Reason, x.r.Header)
		x.keep(answer.Status, string(refusal.Reason), refusal.Error(), nextStep(refusal.Reason))
		answer.write(x.w)
		return
	}
	status := refusal.Reason.Status()
	if status == http.StatusUnauthorized && x.src.BasicRealm {
		x.w.Header().Set("WWW-Authenticate", `Basic realm="grapnel", charset="UTF-8"`)
	}
	x.refuse(status, string(refusal.Reason), refusal.Error(), nextStep(refusal.Reason))
}

func nextStep(reason signature.Reason) string {
	for _, row := range signature.Reasons() {
		if row.Reason == reason {
			return row.Next
		}
	}
	return ""
}

// withinRate asks the source's budget. It is asked after the proof, so that
// forged requests cannot use up what belongs to the sender.
func (x *exchange) withinRate() bool {
	if x.src.limiter == nil {
		return true
	}
	reservation := x.src.limiter.ReserveN(x.started, 1)
	wait := reservation.DelayFrom(x.started)
	if wait == 0 {
		return true
	}
	reservation.CancelAt(x.started)
	x.w.Header().Set("Retry-After", seconds(wait))
	x.refuse(http.StatusTooManyRequests, ReasonRate,
		fmt.Sprintf("more than %g requests a second", x.src.Rate), "raise rate on the source, or let the sender retry")
	return false
}

func (x *exchange) publish(proof signature.Proof) {
	ev := x.event(proof)
	err := x.in.config.Publisher.Publish(x.r.Context(), &store.Batch{Events: []*store.Event{ev}})
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == "malformed_event" {
		// Nested deeper than a matcher reads, or not quite JSON: kept as text.
		ev.Envelope.Detail, ev.DetailIsBody = wrapText(x.r.Header.Get("Content-Type"), x.content), false
		err = x.in.config.Publisher.Publish(x.r.Context(), &store.Batch{Events: []*store.Event{ev}})
	}
	if duplicate, ok := errors.AsType[*store.DuplicateError](err); ok {
		x.repeat(ev, duplicate)
		return
	}
	if err != nil {
		x.unstored(err)
		return
	}
	x.src.ledger.accepted.Add(1)
	x.in.config.Metrics.Accepted(x.src.Name, x.in.config.Now().Sub(x.started))
	x.src.Answer.accepted(ev.Envelope.ID).write(x.w)
}

// event builds the event of a verified request.
func (x *exchange) event(proof signature.Proof) *store.Event {
	src := x.src
	contentType := x.r.Header.Get("Content-Type")
	var s shaped
	if x.encoding != "" {
		s.detail = wrapOpaque(contentType, x.encoding, x.body)
	} else {
		s = shape(contentType, x.content, src.FormStyle)
		s.isBody = s.isBody && !x.decoded
	}
	ev := &store.Event{
		Envelope: event.Envelope{
			ID: event.NewID(x.started), Source: src.EventSource, DetailType: src.Provider.EventType(&x.req),
			Account: src.Account, Region: src.Region, Time: x.started, Detail: s.detail,
		},
		Received: x.started, Bus: src.Bus, Endpoint: src.Name,
		Raw:          record(x.r, x.body, &src.Credentials),
		DetailIsBody: s.isBody,
		VerifiedBy:   &store.Verified{Profile: proof.Profile, KeyIndex: proof.KeyIndex, Timestamp: proof.Timestamp},
	}
	ev.ProviderID = src.Provider.DeliveryID(&x.req)
	if ev.ProviderID != "" {
		ev.DedupeKey = dedupeKey(src.Name, ev.ProviderID, x.body)
	}
	return ev
}

// dedupeKey joins the source, the sender's id and the hash of the body: the id
// is mostly an unsigned header, so it says nothing alone, and equal bodies
// under different ids can be meant.
func dedupeKey(source, id string, body []byte) string {
	sum := sha256.Sum256(body)
	return source + "\x00" + id + "\x00" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// repeat keeps a repetition beside its first event and answers like then.
func (x *exchange) repeat(ev *store.Event, first *store.DuplicateError) {
	x.in.config.Metrics.Duplicate(x.src.Name)
	x.src.ledger.duplicates.Add(1)
	if x.src.Redeliver || x.in.repeats.keep(first.First) {
		ev.DuplicateOf, ev.DedupeKey, ev.Redeliver, ev.Deliveries = first.First, "", x.src.Redeliver, nil
		if err := x.in.config.Publisher.Publish(x.r.Context(), &store.Batch{Events: []*store.Event{ev}}); err != nil {
			x.unstored(err)
			return
		}
	}
	x.src.Answer.accepted(first.ID).write(x.w)
}

func (x *exchange) unstored(err error) {
	status, reason, wait := http.StatusServiceUnavailable, ReasonUnavailable, defaultRetryAfter
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case ok && (f.Kind == fault.Transient || f.Kind == fault.Throttled):
		if f.RetryAfter > 0 {
			wait = f.RetryAfter
		}
	case x.r.Context().Err() != nil:
		// The sender is gone; whether the event was stored it learns by repeating it.
	default:
		x.in.config.Log.ErrorContext(x.r.Context(), "event could not be stored",
			slog.String("source", x.src.Name), slog.Any("error", err))
	}
	x.w.Header().Set("Retry-After", seconds(wait))
	x.refuse(status, reason, "the event could not be stored", "see grapnel status and the log")
}

// refuse keeps, counts and answers.
func (x *exchange) refuse(status int, reason, detail, hint string) {
	answer := x.src.Answer.refused(status)
	x.keep(answer.Status, reason, detail, hint)
	answer.write(x.w)
}

// keep counts a refusal and puts it where people find it.
func (x *exchange) keep(status int, reason, detail, hint string) {
	in := x.in
	in.config.Metrics.Refused(x.src.Name, reason)
	now := in.config.Now()
	kept := &Refusal{
		ID: refusalID(now, in.sequence.Add(1)), Time: now, Source: x.src.Name,
		Reason: reason, Status: status, Detail: detail, Hint: hint, BodySize: int64(len(x.body)),
	}
	path, _, _ := strings.Cut(target(x.r), "?")
	kept.Raw = *recordRefused(x.r, x.body, &x.src.Credentials, in.sources.Load().knownPart(path))
	if x.body == nil {
		kept.BodySize = max(x.r.ContentLength, 0)
	}
	x.src.ledger.refused.add(kept)
	in.config.Log.DebugContext(x.r.Context(), "request refused", slog.String("source", x.src.Name),
		slog.String("reason", reason), slog.Int("status", status))
}

func (x *exchange) recovered() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares the same way
		panic(p)
	}
	x.in.config.Metrics.Panicked("ingest")
	x.in.config.Log.ErrorContext(x.r.Context(), "panic while taking a request",
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	if x.src == nil {
		x.src = &source{ledger: x.in.ledger("")}
	}
	x.src.Answer.refused(http.StatusInternalServerError).write(x.w)
}
