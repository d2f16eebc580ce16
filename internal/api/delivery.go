package api

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

const (
	// bulkDefault is how many deliveries one request retries unless it says.
	bulkDefault = 1000
	// bulkRate is how many it retries in a second unless it says.
	bulkRate = 50
	// bulkTime is how long it may take: whoever has more to retry goes on from
	// the cursor with another request.
	bulkTime = 4 * time.Minute
	// bulkErrors is how many errors are listed.
	bulkErrors = 20
	// shownExcerpt is how many bytes of an answer a document shows.
	shownExcerpt = 16 << 10
)

// DeliveryFilter filters a list of deliveries. A zero member does not filter.
type DeliveryFilter struct {
	Event       string `query:"event" json:"event,omitempty" doc:"Only deliveries of this event: an id or a position."`
	Rule        string `query:"rule" json:"rule,omitempty" doc:"Only deliveries that this rule caused."`
	Target      string `query:"target" json:"target,omitempty" doc:"Only deliveries for the target with this id."`
	Destination string `query:"destination" json:"destination,omitempty" doc:"Only deliveries for this destination."`
	State       string `query:"state" json:"state,omitempty" enum:"pending,held,delivered,dead,canceled,expired,interrupted" doc:"Only deliveries in this state."`
	Class       string `query:"class" json:"class,omitempty" doc:"Only deliveries whose last failure is of this class."`
	Since       When   `query:"since" json:"since,omitzero" doc:"Only deliveries of events received at this time or later."`
	Until       When   `query:"until" json:"until,omitzero" doc:"Only deliveries of events received before this time."`
}

// DeliveryList asks for one page of a list of deliveries.
type DeliveryList struct {
	DeliveryFilter

	Cursor string `query:"cursor" doc:"The value of next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Deliveries in a page."`
}

// DeliveryPage is one page of a list of deliveries, those of the newest event first.
type DeliveryPage struct {
	Deliveries []Delivery `json:"deliveries"`
	Next       string     `json:"next,omitempty" doc:"The cursor of the next page; left out on the last one."`
}

// Delivery is one event bound for one target.
type Delivery struct {
	ID          string `json:"id" doc:"The webhook-id of every attempt."`
	EventID     string `json:"event_id"`
	Event       string `json:"event" doc:"The position of the event."`
	Rule        string `json:"rule,omitempty"`
	Target      string `json:"target,omitempty"`
	Destination string `json:"destination"`
	Origin      string `json:"origin" enum:"match,replay,dead_letter,direct"`
	Run         string `json:"run,omitempty" doc:"Tells several deliveries for one target apart: the name of a replay."`
	Mode        string `json:"mode" enum:"async,sync"`
	State       string `json:"state" enum:"pending,held,delivered,dead,canceled,expired,interrupted"`
	Hold        string `json:"hold,omitempty" doc:"Why it started out held."`
	Attempts    int    `json:"attempts" doc:"Made so far."`
	Counted     int    `json:"counted" doc:"Attempts that count against the policy since the last retry by a person."`
	NextAt      *Time  `json:"next_at,omitempty" doc:"When the next attempt is due."`
	Deadline    *Time  `json:"deadline,omitempty" doc:"When trying ends."`
	Updated     *Time  `json:"updated,omitempty"`
	Status      int    `json:"status,omitempty" doc:"The status of the last answer."`
	Class       string `json:"class,omitempty" doc:"The class of the last failure; docs/troubleshooting.md explains each."`
	Reason      string `json:"reason,omitempty" doc:"What happened last."`
	NextStep    string `json:"next_step,omitempty" doc:"What to do about the class."`
}

// DeliveryDetail is a delivery with everything that became of it.
type DeliveryDetail struct {
	Delivery

	Outcomes []Outcome `json:"outcomes" doc:"Attempts and decisions, oldest first."`
}

// Outcome is the end of an attempt, or a decision.
type Outcome struct {
	Time       Time     `json:"time"`
	State      string   `json:"state" enum:"pending,held,delivered,dead,canceled,expired,interrupted"`
	Attempt    int      `json:"attempt,omitempty" doc:"The number of the attempt from 1; left out for a decision."`
	Counted    bool     `json:"counted,omitempty" doc:"Whether it counts against the policy."`
	Reset      bool     `json:"reset,omitempty" doc:"Whether the count began anew."`
	Duration   Duration `json:"duration,omitempty"`
	Status     int      `json:"status,omitempty"`
	Class      string   `json:"class,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	NextStep   string   `json:"next_step,omitempty"`
	NextAt     *Time    `json:"next_at,omitempty"`
	Generation string   `json:"generation,omitempty" doc:"The configuration that made the attempt."`
	Excerpt    *Content `json:"excerpt,omitempty" doc:"The beginning of the answer."`
	By         string   `json:"by,omitempty" doc:"Who decided."`
}

// BulkRetry asks to retry the deliveries that fit a filter.
type BulkRetry struct {
	Filter DeliveryFilter `json:"filter" doc:"State is dead unless given."`
	Rate   float64        `json:"rate,omitempty" exclusiveMinimum:"0" maximum:"10000" doc:"At most so many in a second; 50 unless given."`
	Limit  int            `json:"limit,omitempty" minimum:"1" maximum:"10000" doc:"At most so many in this request, and what four minutes of the rate allow; 1000 unless given."`
	Cursor string         `json:"cursor,omitempty" doc:"The value of next of the answer before."`
	DryRun bool           `json:"dry_run,omitempty" doc:"Only count."`
}

// BulkRetried says what a BulkRetry did.
type BulkRetried struct {
	Matched int         `json:"matched" doc:"Deliveries that fit, at most the limit."`
	Retried int         `json:"retried"`
	Failed  int         `json:"failed" doc:"Deliveries that cannot be retried now."`
	DryRun  bool        `json:"dry_run"`
	Next    string      `json:"next,omitempty" doc:"The cursor to go on from, if others fit beyond the limit."`
	Errors  []BulkError `json:"errors" doc:"The first 20 that failed."`
}

// BulkError is a delivery that could not be retried.
type BulkError struct {
	ID      string `json:"id"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

type deliveryInput struct {
	ID    string `path:"id" maxLength:"64" doc:"A delivery id."`
	Agent string `header:"User-Agent" hidden:"true"`
}

type bulkInput struct {
	Agent string `header:"User-Agent" hidden:"true"`
	Body  BulkRetry
}

func (s *server) listDeliveries(ctx context.Context, in *DeliveryList) (*output[DeliveryPage], error) {
	query, err := s.deliveryQuery(ctx, &in.DeliveryFilter)
	if err != nil {
		return nil, err
	}
	if query.After, err = parseDeliveryCursor(in.Cursor); err != nil {
		return nil, err
	}
	query.Limit = pageLimit(in.Limit)
	page, err := s.config.History.Deliveries(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("listing deliveries: %w", err)
	}
	out := DeliveryPage{Deliveries: make([]Delivery, 0, len(page.Deliveries)), Next: deliveryCursor(page.Next)}
	for _, d := range page.Deliveries {
		out.Deliveries = append(out.Deliveries, s.deliveryOf(d))
	}
	return &output[DeliveryPage]{Body: out}, nil
}

func (s *server) deliveryQuery(ctx context.Context, f *DeliveryFilter) (store.DeliveryQuery, error) {
	now := s.config.Now()
	query := store.DeliveryQuery{
		Rule: f.Rule, Target: f.Target, Destination: f.Destination, Class: f.Class,
		Since: f.Since.On(now), Until: f.Until.On(now),
	}
	var err error
	if query.State, err = parseState(f.State); err != nil {
		return query, err
	}
	if f.Event != "" {
		all, i, err := s.find(ctx, f.Event)
		if err != nil {
			return query, err
		}
		query.Event = all[i].At
	}
	return query, nil
}

func (s *server) showDelivery(ctx context.Context, in *deliveryInput) (*output[DeliveryDetail], error) {
	id, err := parseDeliveryID(in.ID)
	if err != nil {
		return nil, err
	}
	return s.readDelivery(ctx, id)
}

func (s *server) readDelivery(ctx context.Context, id store.DeliveryID) (*output[DeliveryDetail], error) {
	d, err := s.config.History.Delivery(ctx, id)
	if err != nil {
		return nil, deliveryError("reading", id, err)
	}
	return &output[DeliveryDetail]{Body: s.deliveryDetail(d)}, nil
}

func (s *server) retryDelivery(ctx context.Context, in *deliveryInput) (*output[DeliveryDetail], error) {
	id, err := parseDeliveryID(in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.config.Redelivery.Retry(ctx, id, by(in.Agent)); err != nil {
		return nil, deliveryError("retrying", id, err)
	}
	return s.readDelivery(ctx, id)
}

func (s *server) cancelDelivery(ctx context.Context, in *deliveryInput) (*output[DeliveryDetail], error) {
	id, err := parseDeliveryID(in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.config.Redelivery.Cancel(ctx, id, by(in.Agent)); err != nil {
		return nil, deliveryError("canceling", id, err)
	}
	return s.readDelivery(ctx, id)
}

// retryDeliveries retries the deliveries that fit, no faster than the rate, so
// that a receiver that has just come back is not run over.
func (s *server) retryDeliveries(ctx context.Context, in *bulkInput) (*output[BulkRetried], error) {
	request := in.Body
	request.Filter.State = cmp.Or(request.Filter.State, store.Dead.String())
	perSecond := cmp.Or(request.Rate, bulkRate)
	limit := min(cmp.Or(request.Limit, bulkDefault), max(1, int(perSecond*bulkTime.Seconds())))
	query, err := s.deliveryQuery(ctx, &request.Filter)
	if err != nil {
		return nil, err
	}
	if query.After, err = parseDeliveryCursor(request.Cursor); err != nil {
		return nil, err
	}
	ids, more, err := s.collect(ctx, query, limit)
	if err != nil {
		return nil, err
	}
	out := BulkRetried{Matched: len(ids), DryRun: request.DryRun, Errors: []BulkError{}}
	if more {
		out.Next = deliveryCursor(ids[len(ids)-1])
	}
	if !request.DryRun {
		if err := s.retryAll(ctx, ids, perSecond, by(in.Agent), &out); err != nil {
			return nil, err
		}
	}
	return &output[BulkRetried]{Body: out}, nil
}

// collect returns the ids of the deliveries that fit, newest event first, and
// whether there are more than limit. They are collected before the first one is
// retried, because a retry changes what fits.
func (s *server) collect(ctx context.Context, query store.DeliveryQuery, limit int) ([]store.DeliveryID, bool, error) {
	var ids []store.DeliveryID
	for {
		query.Limit = min(limit-len(ids)+1, 1000)
		page, err := s.config.History.Deliveries(ctx, query)
		if err != nil {
			return nil, false, fmt.Errorf("collecting deliveries: %w", err)
		}
		for _, d := range page.Deliveries {
			if len(ids) == limit {
				return ids, true, nil
			}
			ids = append(ids, d.ID)
		}
		if page.Next.IsZero() {
			return ids, false, nil
		}
		query.After = page.Next
	}
}

// retryAll retries every delivery, and stops early only when ctx ends. What one
// of them cannot do is counted, and does not keep the others from it.
func (s *server) retryAll(ctx context.Context, ids []store.DeliveryID, perSecond float64, by string, out *BulkRetried) error {
	limiter := rate.NewLimiter(rate.Limit(perSecond), 1)
	for i, id := range ids {
		if err := limiter.Wait(ctx); err != nil {
			if ctx.Err() == nil && i > 0 { // the time left is not enough: say where to go on
				out.Matched, out.Next = i, deliveryCursor(ids[i-1])
				return nil
			}
			return fmt.Errorf("retrying deliveries: %w", err)
		}
		err := s.config.Redelivery.Retry(ctx, id, by)
		if err == nil {
			out.Retried++
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("retrying delivery %s: %w", id, err)
		}
		out.Failed++
		if len(out.Errors) < bulkErrors {
			p := s.problemOf(ctx, err)
			out.Errors = append(out.Errors, BulkError{ID: id.String(), Code: p.Code, Message: p.Detail})
		}
	}
	return nil
}

func parseDeliveryID(text string) (store.DeliveryID, error) {
	id, err := store.ParseDeliveryID(text)
	if err != nil {
		return id, fault.New(fault.Invalid, codeDeliveryID, "%v", err).
			WithHint("look with: grapnel deliveries list")
	}
	return id, nil
}

func deliveryError(doing string, id store.DeliveryID, err error) error {
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, codeDeliveryUnknown, "no delivery has the id %s", id).
			WithHint("its event may have left with its retention; look with: grapnel deliveries list")
	}
	return fmt.Errorf("%s delivery %s: %w", doing, id, err)
}

// by returns who decides, as outcomes record it.
func by(agent string) string {
	if strings.HasPrefix(agent, AgentCLI) {
		return "cli"
	}
	return "api"
}

// AgentCLI begins the User-Agent of the command line.
const AgentCLI = "grapnel-cli/"

func (s *server) deliveryOf(d *store.DeliveryRecord) Delivery {
	return Delivery{
		ID: d.ID.String(), EventID: string(d.EventID), Event: d.Event.String(), Rule: d.Rule, Target: d.Target,
		Destination: d.Destination, Origin: d.Origin.String(), Run: d.Run, Mode: modeText(d.Mode),
		State: d.State.String(), Hold: d.Hold, Attempts: d.Attempts, Counted: d.Counted,
		NextAt: timeOrNil(d.NextAt), Deadline: timeOrNil(d.Deadline), Updated: timeOrNil(d.Updated),
		Status: d.Status, Class: d.Class, Reason: d.Reason, NextStep: s.nextStep(d.Class),
	}
}

func (s *server) deliveryDetail(d *store.DeliveryRecord) DeliveryDetail {
	out := DeliveryDetail{Delivery: s.deliveryOf(d), Outcomes: make([]Outcome, 0, len(d.Outcomes))}
	for _, o := range d.Outcomes {
		row := Outcome{
			Time: Time{o.Time}, State: o.State.String(), Attempt: o.Attempt, Counted: o.Counted, Reset: o.Reset,
			Duration: Duration(o.Duration), Status: o.Status, Class: o.Class, Reason: o.Reason,
			NextStep: s.nextStep(o.Class), NextAt: timeOrNil(o.NextAt), Generation: o.Generation, By: o.By,
		}
		if len(o.Excerpt) > 0 {
			row.Excerpt = NewContent("", o.Excerpt, 0, shownExcerpt)
		}
		out.Outcomes = append(out.Outcomes, row)
	}
	return out
}

func (s *server) nextStep(class string) string {
	if class == "" {
		return ""
	}
	return s.config.Advise(class).Next
}

func modeText(m store.Mode) string {
	if m == store.Sync {
		return "sync"
	}
	return "async"
}

// newRun names a replay that the request did not name.
func newRun(now time.Time) string { return "replay-" + string(event.NewID(now)) }
