package bus

import (
	"fmt"
	"maps"
	"slices"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/pattern"
)

// Verdict is what one rule says to an event.
type Verdict struct {
	Rule    string
	Bus     string
	Matched bool
	// OtherBus says that the rule was not asked: it watches another bus.
	OtherBus    bool
	Explanation pattern.Explanation
}

// Explained is why an event went where it went, by today's rules.
type Explained struct {
	Verdicts []Verdict
	// Generation is the configuration in force now; Changed says that the event
	// was matched by another one, so that the answer may differ from what
	// happened then.
	Generation string
	Changed    bool
}

// Explain asks every rule about the event.
func (b *Bus) Explain(ev *store.Event) (Explained, error) {
	snap := b.snapshot.Load()
	out := Explained{Generation: snap.generation, Changed: ev.Generation != snap.generation}
	view := pattern.Event{Envelope: ev.Envelope.AppendHead(nil), Detail: detailOf(&ev.Envelope)}
	for _, bus := range slices.Sorted(maps.Keys(snap.buses)) {
		for _, r := range snap.buses[bus].rules {
			v := Verdict{Rule: r.Name, Bus: r.Bus, OtherBus: r.Bus != ev.Bus}
			if !v.OtherBus {
				explanation, err := r.Pattern.ExplainEvent(view)
				if err != nil {
					return Explained{}, fmt.Errorf("explaining rule %s: %w", r.Name, err)
				}
				v.Explanation, v.Matched = explanation, explanation.Matched
			}
			out.Verdicts = append(out.Verdicts, v)
		}
	}
	return out, nil
}
