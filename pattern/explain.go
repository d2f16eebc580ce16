package pattern

import (
	"slices"
	"strings"
)

// An Explanation says why an event matches a pattern or does not.
type Explanation struct {
	Matched bool `json:"matched"`
	// Combination and Combinations tell, for a pattern with $or, which of its
	// expanded combinations the failures are of: the one that came furthest.
	// Both count from 1.
	Combination  int `json:"combination"`
	Combinations int `json:"combinations"`
	// Failures are the fields that keep the event from matching, in the order
	// of their paths; none if it matches.
	Failures []Failure `json:"failures"`
}

// A Failure is a field whose condition is not met.
type Failure struct {
	// Path is the flattened path of the field, such as detail.action.
	Path string `json:"path"`
	// Reason tells in what way the condition is not met.
	Reason Reason `json:"reason"`
	// Wanted holds the alternatives as the pattern has them.
	Wanted []string `json:"wanted"`
	// Found holds the first values that the event has at the path, as JSON,
	// without repeats and cut when long; More says how many others there are.
	Found []string `json:"found"`
	More  int      `json:"more,omitempty"`
	// Hint is a sentence that helps further, or empty.
	Hint string `json:"hint,omitempty"`
}

// Reason is a way in which a condition is not met.
type Reason int

// The reasons of failures.
const (
	// ReasonMissing: the event has no value at the path.
	ReasonMissing Reason = iota + 1
	// ReasonNoScalar: there are objects or empty lists at the path, no values.
	ReasonNoScalar
	// ReasonOtherValue: no value at the path is accepted.
	ReasonOtherValue
	// ReasonOtherCase: a value would be accepted if case did not matter.
	ReasonOtherCase
	// ReasonOtherBlanks: a value would be accepted without blanks around it.
	ReasonOtherBlanks
	// ReasonOtherType: a value would be accepted as a string, or as a number
	// or literal, which it is not.
	ReasonOtherType
	// ReasonPresent: the field should not be there and is.
	ReasonPresent
	// ReasonOtherElement: several conditions are met, but by different elements
	// of one array.
	ReasonOtherElement
)

// String returns the name of a reason in lower snake case.
func (r Reason) String() string {
	names := [...]string{
		ReasonMissing: "missing", ReasonNoScalar: "no_scalar", ReasonOtherValue: "other_value",
		ReasonOtherCase: "other_case", ReasonOtherBlanks: "other_blanks", ReasonOtherType: "other_type",
		ReasonPresent: "present", ReasonOtherElement: "other_element",
	}
	if r < ReasonMissing || int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}

// MarshalText returns the name of a reason, which is what JSON shows.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// shownValues is how many values of a field an explanation lists.
const shownValues = 5

// Explain says why the pattern matches an event or does not. It takes more
// time than Match and returns the same errors.
func (p *Pattern) Explain(event []byte) (Explanation, error) {
	return p.ExplainEvent(Event{Envelope: event})
}

// ExplainEvent is Explain for an event whose detail is held apart.
func (p *Pattern) ExplainEvent(e Event) (Explanation, error) {
	r := p.program.take()
	defer p.program.put(r)
	if err := r.leaves.collect(&p.program.tree, e); err != nil {
		return Explanation{}, err
	}
	x := &explainer{pattern: p, run: r, event: e}
	best := Explanation{Combinations: len(p.branches)}
	furthest := 0
	for i := range p.branches {
		failed, reached, err := x.branch(i)
		if err != nil {
			return Explanation{}, err
		}
		if len(failed) == 0 {
			return Explanation{Matched: true, Combination: i + 1, Combinations: len(p.branches)}, nil
		}
		fewer := len(failed) < len(best.Failures) || (len(failed) == len(best.Failures) && reached > furthest)
		if best.Combination == 0 || fewer {
			best.Combination, best.Failures, furthest = i+1, failed, reached
		}
	}
	for i := range best.Failures {
		x.hint(&best.Failures[i])
	}
	return best, nil
}

// explainer evaluates a pattern slowly, to see what fails.
type explainer struct {
	pattern *Pattern
	run     *run
	event   Event
	tree    any // the event as Go values, once a hint needs it
}

// branch returns the failures of one combination, and how many of its fields
// could be met together, in their order, before the first that could not.
func (x *explainer) branch(n int) (failed []Failure, reached int, err error) {
	b := &x.pattern.branches[n]
	reached, err = x.reached(b)
	if err != nil || reached == len(b.names) {
		return nil, reached, err
	}
	for i, name := range b.names {
		found := x.found(name)
		ok := meets(found, b.conds[i])
		switch {
		case !ok && b.conds[i].absent && len(found) > 0 && i != reached:
			// Whether it is absent where it matters depends on the elements
			// that the other fields are met by.
		case !ok:
			failed = append(failed, x.failure(name, b.conds[i], found))
		case i == reached:
			f, err := x.apart(b, i)
			if err != nil {
				return nil, 0, err
			}
			failed = append(failed, f)
		}
	}
	return failed, reached, nil
}

// reached returns how many fields of a branch can be met together, in order.
func (x *explainer) reached(b *compiledBranch) (int, error) {
	for n := len(b.names); ; n-- {
		ok, err := x.together(b.names[:n], b.conds[:n])
		if ok || err != nil {
			return n, err
		}
	}
}

func (x *explainer) together(names []string, conds []*condition) (bool, error) {
	return x.run.search.run(&x.run.leaves, newFields(names, conds, x.pattern.program.tree.number))
}

func (x *explainer) found(name string) []leaf {
	return x.run.leaves.byPath[x.pattern.program.tree.number(name)]
}

// failure describes a condition that no value meets.
func (x *explainer) failure(name string, cond *condition, found []leaf) Failure {
	f := Failure{Path: name, Wanted: cond.wanted, Reason: ReasonOtherValue}
	f.Found, f.More = valuesOf(found)
	switch {
	case len(found) == 0:
		f.Reason = ReasonMissing
	case cond.absent && !cond.present():
		f.Reason = ReasonPresent
	default:
		f.Reason, f.Hint = near(cond, found)
	}
	return f
}

// apart describes a condition that is met, but not in the elements that meet
// the fields before it.
func (x *explainer) apart(b *compiledBranch, n int) (Failure, error) {
	f := Failure{Path: b.names[n], Reason: ReasonOtherElement, Wanted: b.conds[n].wanted}
	found := x.found(b.names[n])
	f.Found, f.More = valuesOf(found)
	partners := b.names[:n]
	for i := range n {
		ok, err := x.together([]string{b.names[i], b.names[n]}, []*condition{b.conds[i], b.conds[n]})
		if err != nil {
			return f, err
		}
		if !ok {
			partners = b.names[i : i+1]
			break
		}
	}
	place := x.array(partners[len(partners)-1], b.names[n], found)
	var those []string
	for _, p := range partners {
		if strings.HasPrefix(p, place+".") || p == place {
			those = append(those, p)
		}
	}
	f.Hint = "no single element of " + place + " satisfies all of " + strings.Join(append(those, b.names[n]), ", ")
	return f, nil
}

// array returns the path of the innermost array that two fields are in.
func (x *explainer) array(a, b string, found []leaf) string {
	common := 0
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for common < min(len(as), len(bs)) && as[common] == bs[common] {
		common++
	}
	depth := int32(0)
	x.run.search.leaves = &x.run.leaves
	for i := range found {
		within := x.run.search.within(found[i].scope, int32(common))
		depth = max(depth, x.run.leaves.scopes[within].depth)
	}
	if depth == 0 {
		depth = int32(common)
	}
	return strings.Join(bs[:depth], ".")
}

// valuesOf renders the first distinct values of a field.
func valuesOf(found []leaf) (shown []string, more int) {
	seen := map[string]bool{}
	for i := range found {
		v := found[i].json()
		if seen[v] {
			continue
		}
		seen[v] = true
		if len(shown) < shownValues {
			shown = append(shown, v)
		}
	}
	return shown, len(seen) - len(shown)
}

// String says in a few lines, for people, what an explanation holds:
//
//	no match
//	  detail.action is "closed", wanted "opened" or "reopened"
func (e Explanation) String() string {
	if e.Matched {
		return "match"
	}
	var b strings.Builder
	b.WriteString("no match")
	if e.Combinations > 1 {
		b.WriteString("; of the combinations of $or, this one came furthest:")
	}
	for _, f := range e.Failures {
		b.WriteString("\n  ")
		b.WriteString(f.String())
	}
	return b.String()
}

// String says a failure in one line.
func (f Failure) String() string {
	var b strings.Builder
	b.WriteString(f.Path)
	values := slices.Clone(f.Found)
	if f.More > 0 {
		values = append(values, "more")
	}
	wanted := list(f.Wanted, "or")
	switch f.Reason {
	case ReasonMissing:
		b.WriteString(" is not in the event, wanted " + wanted)
	case ReasonNoScalar:
		b.WriteString(" holds no value, wanted " + wanted)
	case ReasonPresent:
		b.WriteString(" is there as " + list(values, "and") + ", wanted it absent")
	case ReasonOtherElement:
		b.WriteString(" is not " + wanted + " where the other fields fit")
	case ReasonOtherValue, ReasonOtherCase, ReasonOtherBlanks, ReasonOtherType:
		b.WriteString(" is " + list(values, "and") + ", wanted " + wanted)
	}
	if f.Hint != "" {
		b.WriteString(": " + f.Hint)
	}
	return b.String()
}

func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}
