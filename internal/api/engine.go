package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/grapnel/grapnel/internal/store"
)

// Events reads stored events, as store.Reader does.
type Events interface {
	Event(ctx context.Context, at store.Position) (*store.Event, error)
	EventsByID(ctx context.Context, id string) ([]*store.Event, error)
	Events(ctx context.Context, query store.EventQuery) (store.EventPage, error)
}

// Deliveries reads deliveries, as store.Reader does.
type Deliveries interface {
	Deliveries(ctx context.Context, query store.DeliveryQuery) (store.DeliveryPage, error)
	Delivery(ctx context.Context, id store.DeliveryID) (*store.DeliveryRecord, error)
}

// Feed follows the journal, as store.Reader does.
type Feed interface {
	Scan(ctx context.Context, from store.Position, fn func(store.Record) error) (store.Position, error)
	Horizon() store.Position
	Changed() <-chan struct{}
}

// History is what the API reads of the store; every store.Store is one.
type History interface {
	Events
	Deliveries
	Feed
	Stats() store.Stats
}

// Publisher commits events together with the deliveries that their bus's rules
// cause. It fills in positions and delivery ids.
type Publisher interface {
	// Publish returns a *store.DuplicateError if a dedupe key is committed
	// already, and otherwise faults.
	Publish(ctx context.Context, batch *store.Batch) error
}

// Matcher answers for the rules in force.
type Matcher interface {
	// Explain asks every rule about the event, and names the configuration
	// that answered.
	Explain(ctx context.Context, ev *store.Event) (verdicts []RuleVerdict, generation string, err error)
	// Replay dispatches the event again, to all rules that match it now or only
	// to those named. The same run results in the same deliveries.
	Replay(ctx context.Context, ev *store.Event, run string, only []string) ([]store.DeliveryID, error)
	// TestPattern asks a pattern about an event, both JSON texts. A fault of
	// kind Invalid says what is wrong with either.
	TestPattern(pattern, event json.RawMessage) (RuleVerdict, error)
}

// Redelivery decides about deliveries for a person.
type Redelivery interface {
	// Retry makes a delivery due at once, with its attempts and deadline anew.
	// Returns NotFound if there is none, Conflict if it cannot be retried now.
	Retry(ctx context.Context, id store.DeliveryID, by string) error
	// Cancel ends a delivery that is not final. Returns NotFound, or Conflict
	// if it is final.
	Cancel(ctx context.Context, id store.DeliveryID, by string) error
}

// Destinations shows and steers the destinations in force.
type Destinations interface {
	// Destinations returns all of them. No address shows user-info or query values.
	Destinations() []Destination
	// Test sends one message now and says what came back. A receiver that
	// refuses is a result, not an error. Returns NotFound if there is no such
	// destination.
	Test(ctx context.Context, name string, request TestRequest) (TestResult, error)
	// Disable holds what is bound for the destination until Enable.
	Disable(ctx context.Context, name, reason, by string) error
	// Enable lets deliveries go again; the breaker starts closed.
	Enable(ctx context.Context, name, by string) error
}

// Components shows what the configuration in force consists of.
type Components interface {
	// Sources returns the inbound endpoints. Refused is filled in by the API.
	Sources() []Source
	Rules() []Rule
}

// Refusals are the requests that were not accepted.
type Refusals interface {
	// Refused returns what is kept of one source, in any order; of all sources
	// if the name is empty.
	Refused(source string) []*Refusal
	// RefusedCounts returns exact numbers since the start of the process, by
	// source and reason.
	RefusedCounts() map[string]map[string]int64
}

// Refusal is a request that was not accepted, as the engine keeps it. Values
// of credential headers and parameters are masked.
type Refusal struct {
	ID       string
	Time     time.Time
	Source   string // "" when the path belongs to no source
	Reason   string // reason code
	Status   int    // of the answer
	Detail   string // what exactly was wrong
	Hint     string // what to do
	Raw      store.Raw
	BodySize int64 // bytes received; Raw.Body may hold fewer
}

// Instance describes the running process.
type Instance interface {
	Info() Info
}

// Info is what an Instance says of itself.
type Info struct {
	Version    string
	Generation string // of the configuration in force
	ConfigPath string
	Started    time.Time
	DataDir    string
	// Public and Admin are the addresses that are listened on; PublicURL is
	// what senders see.
	Public, Admin, PublicURL string
	LoadedAt                 time.Time // of the configuration in force
	LastReload               Reload    // the zero Reload if there was none
	// NotReady are reasons for which requests should go elsewhere, besides
	// those of the store: starting, stopping.
	NotReady []string
	// Account and Region are those of the envelopes made here.
	Account, Region string
}

// Advice explains a class of failed attempts.
type Advice struct {
	What string // what happened, one sentence
	Next string // the next step to take
}

// Metrics counts what must not happen.
type Metrics interface {
	Panicked(component string)
}
