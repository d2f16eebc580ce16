package store

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/grapnel/grapnel/event"
)

// Position is where a record stands in the history: unique, ordered, given at
// commit. It is opaque; nothing derives time from it. The zero Position is
// before every record.
type Position uint64

// String returns the position as 16 hex digits.
func (p Position) String() string { return fmt.Sprintf("%016x", uint64(p)) }

// ParsePosition reads what String printed.
func ParsePosition(text string) (Position, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != 16 {
		return 0, fmt.Errorf("position %q is not 16 hex digits", text)
	}
	return Position(n), nil
}

// Event is one stored event: the envelope and, beside it, the raw request it
// came with.
type Event struct {
	At       Position // given at commit
	Envelope event.Envelope
	// Received is when the bytes were complete here; Envelope.Time may be older.
	Received time.Time
	Bus      string
	// Endpoint is the name of the source (inbound endpoint) that took it; empty
	// for events that did not come in as a webhook.
	Endpoint string
	Raw      *Raw // nil for events without a request
	// DetailIsBody says that the detail is the raw body, byte for byte, so that
	// the bytes are stored once. Envelope.Detail is filled in all the same when
	// an event is read.
	DetailIsBody bool
	// DedupeKey makes the event unique in the store (24 h); empty: no check.
	DedupeKey string
	// ProviderID is the delivery id that the sender gave, if any.
	ProviderID string
	// DuplicateOf is the first event of which this one is a repetition.
	DuplicateOf Position
	// Redeliver says that a repetition is matched like any event. It steers the
	// bus and is not stored.
	Redeliver bool
	// VerifiedBy says how the sender was proven; nil for events made here.
	VerifiedBy *Verified
	// Generation is the configuration that matched it.
	Generation string
	// Hops counts the buses it has been forwarded over; at most MaxHops.
	Hops int
	// Parent is the event that caused this one, if any.
	Parent Position
	// Deliveries are the deliveries that the event causes, committed with it.
	// Events that are read do not carry them; see Reader.Deliveries.
	Deliveries []*Delivery
}

// MaxHops is how many buses an event may be forwarded over.
const MaxHops = 8

// Raw is the request as it was received. Header keeps the order of arrival as
// far as net/http does; values of credential headers are masked before they
// get here, and named in Masked.
type Raw struct {
	Method     string
	Path       string // as on the wire, escaped
	Query      string // raw, masked
	Proto      string
	Host       string
	RemoteAddr string
	Header     []Field
	Body       []byte
	Masked     []string // names of headers and query parameters whose values were masked
}

// Field is one header line.
type Field struct{ Name, Value string }

// ContentType returns the value of the Content-Type header, or "".
func (r *Raw) ContentType() string { return r.Get("Content-Type") }

// Get returns the first value of the header, or "". The name is in canonical form.
func (r *Raw) Get(name string) string {
	for _, f := range r.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Verified says how a sender was proven.
type Verified struct {
	Profile   string    // of package signature
	KeyIndex  int       // which of the source's secrets, from 0
	Timestamp time.Time // the sender's signed time; zero if it sends none
}

// Mode says whether someone waits for the answer of a delivery.
type Mode uint8

// The modes of a delivery.
const (
	Async Mode = iota + 1
	Sync       // found after a crash it becomes interrupted
)

// Origin says why a delivery exists.
type Origin uint8

// The origins of deliveries.
const (
	OriginMatch      Origin = iota + 1 // a rule matched the event
	OriginReplay                       // a person replayed the event
	OriginDeadLetter                   // another delivery of the event ended badly
	OriginDirect                       // aimed by name, without a rule (test, route)
)

var originNames = [...]string{
	OriginMatch: "match", OriginReplay: "replay", OriginDeadLetter: "dead_letter", OriginDirect: "direct",
}

// String returns the snake_case name.
func (o Origin) String() string { return nameOf(originNames[:], int(o)) }

// Delivery is one event bound for one target of one rule.
type Delivery struct {
	ID          DeliveryID // given at commit
	Event       Position   // given at commit
	Rule        string     // "" for direct deliveries
	Target      string     // id of the target, unique in its rule
	Destination string     // the destination's name at dispatch, for people and for claims
	Run         string     // tells several deliveries for one target apart: replay name, "dead_letter"
	Origin      Origin
	Mode        Mode
	// Deadline is when trying ends, whatever was tried.
	Deadline time.Time
	// NotBefore delays the first attempt; zero: at once.
	NotBefore time.Time
	// Hold, when set, is why the delivery starts out held (destination_disabled …).
	Hold string
}

// Dispatch binds an event that is stored already for more targets.
type Dispatch struct {
	At         Position // of the dispatch record; given at commit
	Event      Position
	Deliveries []*Delivery
}

// DeliveryID identifies a delivery for ever: it is the webhook-id of every one
// of its attempts. It is derived from the event's position and id and from
// rule, target and run; printed it is opaque text without dots.
type DeliveryID struct {
	Event Position
	Key   uint64
}

// NewDeliveryID derives the id of a delivery. The event's own id goes in, so
// that ids of a second data directory never meet those of the first.
func NewDeliveryID(at Position, id event.ID, rule, target, run string) DeliveryID {
	h := sha256.New()
	for _, s := range [...]string{string(id), rule, target, run} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	var sum [sha256.Size]byte
	return DeliveryID{Event: at, Key: binary.BigEndian.Uint64(h.Sum(sum[:0]))}
}

const deliveryPrefix = "dlv_"

var deliveryEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// IsZero reports whether no id was given yet.
func (d DeliveryID) IsZero() bool { return d == DeliveryID{} }

// String returns the printed form: "dlv_" and 26 characters.
func (d DeliveryID) String() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(d.Event))
	binary.BigEndian.PutUint64(raw[8:], d.Key)
	out := make([]byte, len(deliveryPrefix)+26)
	copy(out, deliveryPrefix)
	deliveryEncoding.Encode(out[len(deliveryPrefix):], raw[:])
	return string(out)
}

// MarshalText returns the printed form.
func (d DeliveryID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the printed form.
func (d *DeliveryID) UnmarshalText(text []byte) error {
	id, err := ParseDeliveryID(string(text))
	if err == nil {
		*d = id
	}
	return err
}

// ParseDeliveryID reads what String printed.
func ParseDeliveryID(text string) (DeliveryID, error) {
	var raw [17]byte
	if len(text) == len(deliveryPrefix)+26 && text[:len(deliveryPrefix)] == deliveryPrefix {
		if n, err := deliveryEncoding.Decode(raw[:], []byte(text[len(deliveryPrefix):])); err == nil && n == 16 {
			d := DeliveryID{
				Event: Position(binary.BigEndian.Uint64(raw[:8])),
				Key:   binary.BigEndian.Uint64(raw[8:]),
			}
			if d.String() == text {
				return d, nil
			}
		}
	}
	return DeliveryID{}, fmt.Errorf("delivery id %q is not %q followed by 26 characters", text, deliveryPrefix)
}

// DeliveryState is where a delivery stands. docs/states.md draws the moves.
type DeliveryState uint8

// The states of a delivery. Pending and Held are not final.
const (
	Pending     DeliveryState = iota + 1 // waits for its first or next attempt
	Held                                 // its target or destination is missing or disabled
	Delivered                            // an attempt succeeded
	Dead                                 // given up; replayable
	Canceled                             // ended by a person
	Expired                              // its retention ended while it was pending
	Interrupted                          // sync, and nobody knows how it ended
)

var stateNames = [...]string{
	Pending: "pending", Held: "held", Delivered: "delivered", Dead: "dead",
	Canceled: "canceled", Expired: "expired", Interrupted: "interrupted",
}

// String returns the snake_case name.
func (s DeliveryState) String() string { return nameOf(stateNames[:], int(s)) }

// Final reports whether nothing more happens by itself.
func (s DeliveryState) Final() bool { return s != Pending && s != Held }

// ParseDeliveryState reads what String printed.
func ParseDeliveryState(text string) (DeliveryState, error) {
	for s := Pending; s <= Interrupted; s++ {
		if stateNames[s] == text {
			return s, nil
		}
	}
	return 0, fmt.Errorf("delivery state %q is none of pending, held, delivered, dead, canceled, expired, interrupted", text)
}

// Outcome is what became of a delivery: the end of an attempt, or a decision
// (hold, manual retry, cancel, expiry), for which Attempt is 0.
//
// The last outcome in the order of the journal decides, with two exceptions
// that settle races: after Canceled an attempt's outcome counts only if it is
// Delivered, and after Delivered nothing but a manual retry counts.
type Outcome struct {
	At       Position // of the outcome record; given at commit
	Delivery DeliveryID
	Time     time.Time
	State    DeliveryState
	Attempt  int // number of the attempt from 1 over the delivery's life; 0 for a decision
	// Counted says that the attempt counts against the policy's attempts (a
	// throttled one does not).
	Counted bool
	// Reset starts the count of attempts anew (manual retry).
	Reset bool
	// Deadline, when set, replaces the delivery's deadline.
	Deadline time.Time
	NextAt   time.Time // when Pending: the time of the next attempt
	Duration time.Duration
	Status   int    // of the answer; 0 if there was none
	Class    string // error class, stable snake_case; "" on success
	Reason   string // for people: what happened; no secrets
	// Generation is the configuration that made the attempt.
	Generation string
	Excerpt    []byte // of the answer, capped
	By         string // who decided, for decisions of people: "api", "cli"
}

// DeliveryRecord is a delivery as lists and details show it.
type DeliveryRecord struct {
	Delivery
	EventID  event.ID
	State    DeliveryState
	Attempts int // made so far, over the delivery's life
	Counted  int // attempts that count against the policy since the last reset
	NextAt   time.Time
	Updated  time.Time
	Status   int
	Class    string
	Reason   string
	Outcomes []*Outcome // with Reader.Delivery only, oldest first
}

// EventQuery filters a list of events. A zero member does not filter.
type EventQuery struct {
	Bus, Source, Type, Endpoint string
	Since, Until                time.Time // by Received: [Since, Until)
	// State lists only events with a delivery in this state.
	State DeliveryState
	// Unmatched lists only events that caused no deliveries.
	Unmatched bool
	// Duplicates lists only repetitions.
	Duplicates bool
	After      Position // the cursor: go on behind this event
	Limit      int      // default 50, at most 1000
	Ascending  bool     // oldest first
	// Headers leaves out bodies and details: all that lists need.
	Headers bool
}

// EventPage is one page of a list of events. Next is the cursor of the next
// page, zero on the last one.
type EventPage struct {
	Events []EventSummary
	Next   Position
}

// EventSummary is an event in a list, with the number of its deliveries by state.
type EventSummary struct {
	*Event
	Size       int // bytes of the raw body, or of the detail
	Deliveries map[DeliveryState]int
}

// DeliveryQuery filters a list of deliveries. A zero member does not filter.
type DeliveryQuery struct {
	Event                     Position
	Rule, Target, Destination string
	State                     DeliveryState
	Class                     string
	Since, Until              time.Time // by the event's Received
	After                     DeliveryID
	Limit                     int // default 50, at most 1000
}

// DeliveryPage is one page of a list of deliveries.
type DeliveryPage struct {
	Deliveries []*DeliveryRecord
	Next       DeliveryID // zero on the last page
}

// DuplicateError says that an event with the same DedupeKey is stored already.
type DuplicateError struct {
	First Position
	ID    event.ID
}

// Error names the first event.
func (e *DuplicateError) Error() string { return "duplicate of event " + string(e.ID) }

func nameOf(names []string, i int) string {
	if i <= 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}
