package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"mime"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

const (
	// shownBody is how many bytes of a stored body a document shows; the route
	// /body has all of them.
	shownBody = 64 << 10
	// shownDeliveries is how many deliveries an event shows with their attempts.
	shownDeliveries = 200
)

// EventFilter filters a list of events. A zero member does not filter.
type EventFilter struct {
	Bus        string `query:"bus" doc:"Only events of this bus."`
	Source     string `query:"source" doc:"Only events with this source in the envelope, as github.com."`
	Type       string `query:"type" doc:"Only events with this detail type."`
	Endpoint   string `query:"endpoint" doc:"Only events that came in at this source of the configuration."`
	State      string `query:"state" enum:"pending,held,delivered,dead,canceled,expired,interrupted" doc:"Only events with a delivery in this state."`
	Unmatched  bool   `query:"unmatched" doc:"Only events that caused no deliveries."`
	Duplicates bool   `query:"duplicates" doc:"Only repetitions."`
	Since      When   `query:"since" doc:"Only events received at this time or later."`
	Until      When   `query:"until" doc:"Only events received before this time."`
	Ascending  bool   `query:"ascending" doc:"Oldest first; otherwise newest first."`
	Cursor     string `query:"cursor" doc:"The value of next of the page before."`
	Limit      int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Events in a page."`
}

// EventPage is one page of a list of events.
type EventPage struct {
	Events []EventSummary `json:"events"`
	Next   string         `json:"next,omitempty" doc:"The cursor of the next page; left out on the last one."`
}

// EventSummary is an event in a list.
type EventSummary struct {
	ID             string         `json:"id" doc:"The id of the envelope, a UUID. Replays and bus hops keep it."`
	Position       string         `json:"position" doc:"Where the event stands in the journal: unique, 16 hex digits."`
	Bus            string         `json:"bus"`
	Source         string         `json:"source"`
	DetailType     string         `json:"detail_type"`
	Time           Time           `json:"time" doc:"The time of the envelope."`
	Received       Time           `json:"received" doc:"When the bytes were complete here."`
	Endpoint       string         `json:"endpoint,omitempty" doc:"The source of the configuration that took it."`
	Size           int            `json:"size" doc:"Bytes of the raw body, or of the detail."`
	ProviderID     string         `json:"provider_id,omitempty" doc:"The delivery id that the sender gave."`
	DuplicateOf    string         `json:"duplicate_of,omitempty" doc:"The position of the event that it repeats."`
	VerifiedBy     *Verified      `json:"verified_by,omitempty" doc:"How the sender was proven."`
	Generation     string         `json:"generation,omitempty" doc:"The configuration that matched it."`
	Hops           int            `json:"hops,omitempty" doc:"Buses it has been forwarded over."`
	Parent         string         `json:"parent,omitempty" doc:"The position of the event that caused it."`
	ReplayName     string         `json:"replay_name,omitempty"`
	DeliveryStates map[string]int `json:"delivery_states" doc:"Numbers of its deliveries by state; empty if it matched nothing."`
}

// Verified says how a sender was proven.
type Verified struct {
	Profile  string `json:"profile"`
	KeyIndex int    `json:"key_index" doc:"Which of the source's secrets, from 0."`
	SignedAt *Time  `json:"signed_at,omitempty" doc:"The sender's signed time, if it sends one."`
}

// EventDetail is everything that is known about an event.
type EventDetail struct {
	EventSummary

	Envelope       json.RawMessage  `json:"envelope" doc:"The event as EventBridge delivers it."`
	Request        *Request         `json:"request,omitempty" doc:"The request it came with, if it came with one."`
	Deliveries     []DeliveryDetail `json:"deliveries" doc:"At most 200; GET /api/v1/deliveries?event= has all."`
	MoreDeliveries bool             `json:"more_deliveries,omitempty"`
	Copies         []EventCopy      `json:"copies" doc:"Other events with the same id: replays and bus hops."`
}

// Request is a request as it was received.
type Request struct {
	Method     string   `json:"method"`
	Path       string   `json:"path" doc:"As on the wire, escaped."`
	Query      string   `json:"query,omitempty" doc:"As on the wire; values of credentials are masked."`
	Proto      string   `json:"proto"`
	Host       string   `json:"host"`
	RemoteAddr string   `json:"remote_addr"`
	Headers    []Header `json:"headers"`
	Masked     []string `json:"masked" doc:"Headers and ?parameters whose values were masked."`
	Body       *Content `json:"body"`
}

// Header is one header line.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EventCopy is another event with the same id.
type EventCopy struct {
	Position    string `json:"position"`
	Bus         string `json:"bus"`
	Received    Time   `json:"received"`
	Hops        int    `json:"hops"`
	Parent      string `json:"parent,omitempty"`
	DuplicateOf string `json:"duplicate_of,omitempty"`
}

type eventInput struct {
	ID string `path:"id" maxLength:"64" doc:"An event id, or a position."`
}

type bodyOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Policy      string `header:"Content-Security-Policy"`
	Body        []byte
}

func (s *server) listEvents(ctx context.Context, in *EventFilter) (*output[EventPage], error) {
	after, err := parseEventCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	state, err := parseState(in.State)
	if err != nil {
		return nil, err
	}
	now := s.config.Now()
	page, err := s.config.History.Events(ctx, store.EventQuery{
		Bus: in.Bus, Source: in.Source, Type: in.Type, Endpoint: in.Endpoint,
		Since: in.Since.On(now), Until: in.Until.On(now), State: state,
		Unmatched: in.Unmatched, Duplicates: in.Duplicates,
		After: after, Limit: pageLimit(in.Limit), Ascending: in.Ascending, Headers: true,
	})
	if err != nil {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	out := EventPage{Events: make([]EventSummary, 0, len(page.Events)), Next: eventCursor(page.Next)}
	for i := range page.Events {
		e := &page.Events[i]
		summary := summaryOf(e.Event, e.Size)
		for state, n := range e.Deliveries {
			summary.DeliveryStates[state.String()] = n
		}
		out.Events = append(out.Events, summary)
	}
	return &output[EventPage]{Body: out}, nil
}

func (s *server) showEvent(ctx context.Context, in *eventInput) (*output[EventDetail], error) {
	all, i, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ev := all[i]
	out := EventDetail{
		EventSummary: summaryOf(ev, sizeOf(ev)), Envelope: envelopeOf(ev),
		Deliveries: []DeliveryDetail{}, Copies: []EventCopy{},
	}
	if ev.Raw != nil {
		out.Request = requestOf(ev.Raw, int64(len(ev.Raw.Body)))
	}
	if err := s.addDeliveries(ctx, ev, &out); err != nil {
		return nil, err
	}
	for j, c := range all {
		if j != i {
			out.Copies = append(out.Copies, EventCopy{
				Position: c.At.String(), Bus: c.Bus, Received: Time{c.Received}, Hops: c.Hops,
				Parent: positionText(c.Parent), DuplicateOf: positionText(c.DuplicateOf),
			})
		}
	}
	return &output[EventDetail]{Body: out}, nil
}

func (s *server) addDeliveries(ctx context.Context, ev *store.Event, out *EventDetail) error {
	page, err := s.config.History.Deliveries(ctx, store.DeliveryQuery{Event: ev.At, Limit: shownDeliveries})
	if err != nil {
		return fmt.Errorf("listing deliveries of event %s: %w", ev.Envelope.ID, err)
	}
	out.MoreDeliveries = !page.Next.IsZero()
	for _, row := range page.Deliveries {
		out.DeliveryStates[row.State.String()]++
		full, err := s.config.History.Delivery(ctx, row.ID)
		if err != nil {
			return fmt.Errorf("reading delivery %s: %w", row.ID, err)
		}
		out.Deliveries = append(out.Deliveries, s.deliveryDetail(full))
	}
	return nil
}

func (s *server) eventBody(ctx context.Context, in *eventInput) (*bodyOutput, error) {
	all, i, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ev := all[i]
	if ev.Raw == nil {
		return nil, fault.New(fault.NotFound, codeNoBody, "event %s did not come with a request", ev.Envelope.ID).
			WithHint("read the detail of the envelope instead")
	}
	contentType := "application/octet-stream"
	if media, params, err := mime.ParseMediaType(ev.Raw.ContentType()); err == nil {
		contentType = cmp.Or(mime.FormatMediaType(media, params), contentType)
	}
	return &bodyOutput{
		ContentType: contentType,
		Disposition: mime.FormatMediaType("attachment", map[string]string{"filename": string(ev.Envelope.ID) + ".body"}),
		// A sender chose these bytes: they must not run as a page of this server.
		Policy: "sandbox; default-src 'none'",
		Body:   nonNil(ev.Raw.Body),
	}, nil
}

// find returns the events with the id, oldest first, and which of them is
// meant: the one at the position if a position was given, else the first one,
// the original.
func (s *server) find(ctx context.Context, text string) (all []*store.Event, i int, err error) {
	var at store.Position
	id, err := event.ParseID(text)
	if err != nil {
		if at, err = store.ParsePosition(text); err != nil {
			return nil, 0, fault.New(fault.Invalid, codeEventID, "%q is neither an event id nor a position", text).
				WithHint("an id is a UUID of 36 characters, a position is 16 hex digits")
		}
		ev, err := s.config.History.Event(ctx, at)
		if err != nil {
			return nil, 0, eventMissing(err, text)
		}
		id = ev.Envelope.ID
	}
	all, err = s.config.History.EventsByID(ctx, string(id))
	if err != nil {
		return nil, 0, eventMissing(err, text)
	}
	for i, ev := range all {
		if at == 0 || ev.At == at {
			return all, i, nil
		}
	}
	if at == 0 {
		return nil, 0, eventMissing(nil, text)
	}
	// It is not indexed yet: then it is shown without its copies.
	ev, err := s.config.History.Event(ctx, at)
	if err != nil {
		return nil, 0, eventMissing(err, text)
	}
	return []*store.Event{ev}, 0, nil
}

func eventMissing(err error, id string) error {
	if err != nil && !fault.Is(err, fault.NotFound) {
		return fmt.Errorf("reading event %s: %w", id, err)
	}
	return fault.Wrap(fault.NotFound, err, codeEventNotFound, "no event has the id %s", id).
		WithHint("it may have left with its retention; look with: grapnel events list")
}

func parseState(text string) (store.DeliveryState, error) {
	if text == "" {
		return 0, nil
	}
	state, err := store.ParseDeliveryState(text)
	if err != nil {
		return 0, fault.New(fault.Invalid, codeInvalid, "%v", err)
	}
	return state, nil
}

func summaryOf(ev *store.Event, size int) EventSummary {
	out := EventSummary{
		ID: string(ev.Envelope.ID), Position: ev.At.String(), Bus: ev.Bus, Source: ev.Envelope.Source,
		DetailType: ev.Envelope.DetailType, Time: Time{ev.Envelope.Time}, Received: Time{ev.Received},
		Endpoint: ev.Endpoint, Size: size, ProviderID: ev.ProviderID, DuplicateOf: positionText(ev.DuplicateOf),
		Generation: ev.Generation, Hops: ev.Hops, Parent: positionText(ev.Parent),
		ReplayName: ev.Envelope.ReplayName, DeliveryStates: map[string]int{},
	}
	if v := ev.VerifiedBy; v != nil {
		out.VerifiedBy = &Verified{Profile: v.Profile, KeyIndex: v.KeyIndex, SignedAt: timeOrNil(v.Timestamp)}
	}
	return out
}

func sizeOf(ev *store.Event) int {
	if ev.Raw != nil {
		return len(ev.Raw.Body)
	}
	return len(ev.Envelope.Detail)
}

func positionText(at store.Position) string {
	if at == 0 {
		return ""
	}
	return at.String()
}

// envelopeOf returns the envelope as JSON, and the same with the detail as a
// string if the stored detail is not JSON: what is damaged must still show.
func envelopeOf(ev *store.Event) json.RawMessage {
	text := ev.Envelope.AppendJSON(nil)
	if !json.Valid(text) {
		damaged := ev.Envelope
		damaged.Detail = event.AppendString(nil, string(ev.Envelope.Detail))
		text = damaged.AppendJSON(nil)
	}
	return text
}

func requestOf(raw *store.Raw, size int64) *Request {
	out := &Request{
		Method: raw.Method, Path: raw.Path, Query: raw.Query, Proto: raw.Proto, Host: raw.Host,
		RemoteAddr: raw.RemoteAddr, Headers: make([]Header, 0, len(raw.Header)), Masked: nonNil(raw.Masked),
		Body: NewContent(raw.ContentType(), raw.Body, size, shownBody),
	}
	for _, f := range raw.Header {
		out.Headers = append(out.Headers, Header(f))
	}
	return out
}
