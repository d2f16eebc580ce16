package deliver

import (
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// Limits of a destination that sets none of its own.
const (
	DefaultTimeout     = 30 * time.Second
	MaxTimeout         = 300 * time.Second
	DefaultMaxInFlight = 16
	// DefaultDisableAfterGone is how many answers 410 in a row disable a
	// destination. It is 1: every further one would end a delivery, while a
	// disabled destination holds them for the day on which it is enabled.
	DefaultDisableAfterGone = 1
	// DefaultBreakAfter is how many failures in a row open the breaker.
	DefaultBreakAfter = 10
)

// Destination is one configured destination. It is immutable. Its address is
// its identity: a snapshot that holds the same pointer as the one before says
// that the destination has not changed.
type Destination struct {
	Name   string
	Handle destination.Destination
	// Disabled holds deliveries instead of attempting them.
	Disabled bool
	// Timeout bounds one attempt. Zero: DefaultTimeout; at most MaxTimeout.
	Timeout time.Duration
	// MaxInFlight bounds the attempts under way. Zero: DefaultMaxInFlight.
	MaxInFlight int
	// Rate is how many attempts may begin in a second. Zero: no limit.
	Rate float64
	// DisableAfterGone is how many answers 410 in a row disable the
	// destination. Zero: DefaultDisableAfterGone; negative: never.
	DisableAfterGone int
	// BreakAfter is how many failures in a row open the breaker. Zero:
	// DefaultBreakAfter; negative: never.
	BreakAfter int
}

func (d *Destination) timeout() time.Duration {
	if d.Timeout <= 0 {
		return DefaultTimeout
	}
	return min(d.Timeout, MaxTimeout)
}

func (d *Destination) maxInFlight() int { return orDefault(d.MaxInFlight, DefaultMaxInFlight) }
func (d *Destination) breakAfter() int  { return orDefault(d.BreakAfter, DefaultBreakAfter) }
func (d *Destination) disableAfterGone() int {
	return orDefault(d.DisableAfterGone, DefaultDisableAfterGone)
}

func orDefault(n, fallback int) int {
	if n == 0 {
		return fallback
	}
	return n
}

// Input makes the body of a request from an event. An error ends the delivery
// with class input_failed; its text is shown to people.
type Input func(ev *store.Event) (body []byte, contentType string, err error)

// TargetKey names a target: its id is unique in its rule.
type TargetKey struct{ Rule, Target string }

// Target is a rule's reference to a destination, as far as deliveries need it.
type Target struct {
	Input      Input // nil: the envelope as JSON
	Retry      Policy
	DeadLetter string // name of a destination; "": what ends badly is kept dead
	// RuleARN and TargetARN are told to the dead letter destination; where they
	// are empty the names of rule and target are.
	RuleARN, TargetARN string
}

// Snapshot is one configuration. It is never changed once Configure has it.
type Snapshot struct {
	// Generation names the configuration in outcomes.
	Generation   string
	Destinations map[string]*Destination
	Targets      map[TargetKey]*Target
	// Account and Region stand in the envelopes of notices.
	Account, Region string
}

// Why a delivery is held. They are the Class of its outcome and
// store.Delivery.Hold of one that starts out held.
const (
	HoldTargetRemoved       = "target_removed"
	HoldDestinationRemoved  = "destination_removed"
	HoldDestinationDisabled = "destination_disabled"
)

// Plan says how a delivery is attempted by one configuration.
type Plan struct {
	Destination        *Destination
	Input              Input // nil: the envelope as JSON
	Retry              Policy
	DeadLetter         string
	RuleARN, TargetARN string
}

// Resolve returns the plan for a delivery, or why it must be held. Deliveries
// to a dead letter destination and direct ones need no target; they get the
// envelope and the default policy.
func (s *Snapshot) Resolve(d *store.Delivery) (plan Plan, hold string) {
	plan = Plan{Retry: DefaultPolicy(), RuleARN: d.Rule, TargetARN: d.Target}
	t := s.Targets[TargetKey{d.Rule, d.Target}]
	needed := d.Origin != store.OriginDeadLetter && d.Origin != store.OriginDirect
	if t != nil {
		if t.RuleARN != "" {
			plan.RuleARN = t.RuleARN
		}
		if t.TargetARN != "" {
			plan.TargetARN = t.TargetARN
		}
		if needed {
			plan.Input, plan.Retry, plan.DeadLetter = t.Input, t.Retry.WithDefaults(), t.DeadLetter
		}
	}
	if needed && t == nil {
		return plan, HoldTargetRemoved
	}
	plan.Destination = s.Destinations[d.Destination]
	if plan.Destination == nil {
		return plan, HoldDestinationRemoved
	}
	return plan, ""
}

func holdText(hold, name string) string {
	switch hold {
	case HoldTargetRemoved:
		return "the rule or its target is not in the configuration"
	case HoldDestinationDisabled:
		return "destination " + name + " is disabled"
	default:
		return "destination " + name + " is not in the configuration"
	}
}
