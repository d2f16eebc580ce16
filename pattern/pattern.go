package pattern

// A Pattern is a compiled event pattern. It is immutable and safe for
// concurrent use.
type Pattern struct {
	text     string
	branches []compiledBranch
	program  *program
}

// compiledBranch is a combination of $or alternatives, in the order in which
// the language visits its fields.
type compiledBranch struct {
	names []string
	conds []*condition
}

// Limits are the bounds of the service on a pattern. A zero bound does not
// apply, but for Combinations.
type Limits struct {
	// Text is the most characters that a pattern may have.
	Text int
	// Combinations is the most patterns without $or that $or may expand to.
	// Zero stands for 1,000, because each of them takes memory and time.
	Combinations int
	// Fields is the most fields that one of these combinations may have.
	Fields int
	// Complexity is the most starts of wildcard texts of one field that a
	// value may be at. The service needs this bound; matching here takes
	// linear time for any wildcard.
	Complexity int
}

const maxCombinations = 1000

// AWSLimits returns the bounds of the service.
func AWSLimits() Limits {
	return Limits{Text: 4096, Combinations: maxCombinations, Fields: 256, Complexity: 10}
}

func (l Limits) combinations() int {
	if l.Combinations == 0 {
		return maxCombinations
	}
	return l.Combinations
}

// Compile compiles a pattern, which is JSON text, within the limits of the
// service: what it accepts can be moved to the service and back. Errors are of
// type *Error and read like those of the service.
func Compile(text []byte) (*Pattern, error) { return CompileWithin(text, AWSLimits()) }

// CompileWithin is Compile with other limits; the zero Limits leave only the
// bound on combinations.
func CompileWithin(text []byte, limits Limits) (*Pattern, error) {
	p := &Pattern{text: string(text)}
	branches, err := compile(p.text, limits)
	if err != nil {
		return nil, err
	}
	for _, fields := range branches {
		b := compiledBranch{names: sortedNames(fields)}
		for _, name := range b.names {
			b.conds = append(b.conds, fields[name])
		}
		p.branches = append(p.branches, b)
	}
	p.program = newProgram([]*Pattern{p})
	return p, nil
}

// String returns the text that the pattern was compiled from.
func (p *Pattern) String() string { return p.text }

// Match reports whether the pattern matches an event, a JSON object. It
// returns an *EventError if the text is not one, and ErrTooComplex.
func (p *Pattern) Match(event []byte) (bool, error) { return p.MatchEvent(Event{Envelope: event}) }

// MatchEvent is Match for an event whose detail is held apart.
func (p *Pattern) MatchEvent(e Event) (bool, error) {
	r := p.program.take()
	defer p.program.put(r)
	if err := r.leaves.collect(&p.program.tree, e); err != nil {
		return false, err
	}
	var failure error
	for i := range p.program.branches {
		ok, err := r.search.run(&r.leaves, p.program.branches[i].fields)
		if ok {
			return true, nil
		}
		if err != nil {
			failure = err
		}
	}
	return false, failure
}
