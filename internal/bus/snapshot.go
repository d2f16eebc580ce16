package bus

import (
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/pattern"
)

// Rule is one rule as the bus uses it.
type Rule struct {
	Name    string
	Bus     string
	Pattern *pattern.Pattern
	Targets []Target
}

// Target is where a rule sends what it matches.
type Target struct {
	ID          string // unique in the rule
	Destination string
	MaxAge      time.Duration // how long a delivery is tried
	// Hold returns why deliveries for the destination must wait now, or "".
	// It is asked at every dispatch; nil: never.
	Hold func() string
}

func (r *Rule) delivery(t *Target, now time.Time) *store.Delivery {
	d := &store.Delivery{
		Rule: r.Name, Target: t.ID, Destination: t.Destination,
		Origin: store.OriginMatch, Mode: store.Async, Deadline: now.Add(t.MaxAge),
	}
	if t.Hold != nil {
		d.Hold = t.Hold()
	}
	return d
}

// Snapshot is an immutable set of buses and rules.
type Snapshot struct {
	generation string
	buses      map[string]*busRules
	rules      map[string]*Rule
}

type busRules struct {
	set   *pattern.Set
	rules []*Rule
}

// NewSnapshot compiles the rules of all buses. Generation names the
// configuration they come from. Every bus of a rule must be in buses; names of
// rules are unique.
func NewSnapshot(generation string, buses []string, rules []Rule) *Snapshot {
	s := &Snapshot{generation: generation, buses: map[string]*busRules{}, rules: map[string]*Rule{}}
	for _, name := range buses {
		s.buses[name] = &busRules{}
	}
	for i := range rules {
		r := &rules[i]
		s.rules[r.Name] = r
		b := s.buses[r.Bus]
		b.rules = append(b.rules, r)
	}
	for _, b := range s.buses {
		patterns := make([]*pattern.Pattern, len(b.rules))
		for i, r := range b.rules {
			patterns[i] = r.Pattern
		}
		b.set = pattern.NewSet(patterns)
	}
	return s
}
