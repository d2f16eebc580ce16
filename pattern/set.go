package pattern

import (
	"slices"
	"sync"
)

// A Set holds the patterns of all rules of a bus, to match an event against
// all of them at once: the event is read one time, only the fields that some
// pattern names are kept, and only those patterns are evaluated whose rarest
// exact value is in the event. A Set is immutable and safe for concurrent use.
type Set struct {
	size    int
	program *program
	always  []int32 // branches to evaluate for every event
	byValue []valueIndex
	buckets [][]int32 // branches that need the same value
	pool    sync.Pool // of *setRun
}

// valueIndex leads from the values of a path to buckets.
type valueIndex struct {
	path   int32
	bucket map[string]int32
}

// setRun is what one evaluation of a set writes to.
type setRun struct {
	run
	// Marks equal to epoch tell what this evaluation has seen or matched
	// already; a new epoch clears all of them.
	epoch       uint32
	seenBucket  []uint32
	seenBranch  []uint32
	seenPattern []uint32
}

// program is the branches of one or more patterns over one tree of paths.
type program struct {
	tree     tree
	branches []branch
	pool     sync.Pool // of *run
}

// run is what one evaluation of a program writes to.
type run struct {
	leaves leaves
	search search
}

func newProgram(patterns []*Pattern) *program {
	p := &program{tree: *newTree()}
	for i, each := range patterns {
		if each == nil {
			continue
		}
		for _, b := range each.branches {
			p.branches = append(p.branches, branch{pattern: i, fields: newFields(b.names, b.conds, p.tree.add)})
		}
	}
	p.tree.seal()
	return p
}

func (p *program) take() *run {
	if r, ok := p.pool.Get().(*run); ok {
		return r
	}
	return &run{}
}

func (p *program) put(r *run) {
	if r.reset() {
		p.pool.Put(r)
	}
}

// reset reports whether the run is worth keeping.
func (r *run) reset() bool {
	kept := r.leaves.reset()
	r.search.leaves = nil
	return kept && len(r.search.failed) <= tooLarge
}

// NewSet joins patterns. Matches are reported by their index; a nil pattern
// keeps its index and matches nothing.
func NewSet(patterns []*Pattern) *Set {
	s := &Set{size: len(patterns), program: newProgram(patterns)}
	s.index()
	return s
}

// Len returns how many patterns the set was made of.
func (s *Set) Len() int { return s.size }

// Match appends to dst the indexes of the patterns that match an event, in
// ascending order, and returns the extended slice. It returns an *EventError
// if the event is not a JSON object; dst is then returned as it was. With
// ErrTooComplex the patterns that could be decided are appended all the same.
func (s *Set) Match(event []byte, dst []int) ([]int, error) {
	return s.MatchEvent(Event{Envelope: event}, dst)
}

// MatchEvent is Match for an event whose detail is held apart.
func (s *Set) MatchEvent(e Event, dst []int) ([]int, error) {
	r := s.take()
	defer s.put(r)
	if err := r.leaves.collect(&s.program.tree, e); err != nil {
		return dst, err
	}
	m := matching{set: s, run: r, dst: dst}
	m.evaluate(s.always)
	for i := range s.byValue {
		index := &s.byValue[i]
		for n := range r.leaves.byPath[index.path] {
			l := &r.leaves.byPath[index.path][n]
			if l.kind != kindString {
				continue
			}
			if b, ok := index.bucket[string(l.text)]; ok && r.seenBucket[b] != r.epoch {
				r.seenBucket[b] = r.epoch
				m.evaluate(s.buckets[b])
			}
		}
	}
	slices.Sort(m.dst[len(dst):])
	return m.dst, m.err
}

// matching is one evaluation of a set.
type matching struct {
	set *Set
	run *setRun
	dst []int
	err error
}

func (m *matching) evaluate(branches []int32) {
	r := m.run
	for _, id := range branches {
		b := &m.set.program.branches[id]
		if r.seenBranch[id] == r.epoch || r.seenPattern[b.pattern] == r.epoch {
			continue
		}
		r.seenBranch[id] = r.epoch
		ok, err := r.search.run(&r.leaves, b.fields)
		if err != nil {
			m.err = err
		}
		if ok {
			r.seenPattern[b.pattern] = r.epoch
			m.dst = append(m.dst, b.pattern)
		}
	}
}

func (s *Set) take() *setRun {
	r, ok := s.pool.Get().(*setRun)
	if !ok {
		r = &setRun{
			seenBucket:  make([]uint32, len(s.buckets)),
			seenBranch:  make([]uint32, len(s.program.branches)),
			seenPattern: make([]uint32, s.size),
		}
	}
	r.epoch++
	if r.epoch == 0 { // marks of 2^32 evaluations ago would count
		clear(r.seenBucket)
		clear(r.seenBranch)
		clear(r.seenPattern)
		r.epoch = 1
	}
	return r
}

func (s *Set) put(r *setRun) {
	if r.reset() {
		s.pool.Put(r)
	}
}

// pathValue is an exact value that a branch needs at a path.
type pathValue struct {
	path  int32
	value string
}

// index sorts each branch under the values of one of its fields: the field
// whose values the fewest other branches want.
func (s *Set) index() {
	wanting := map[pathValue]int{}
	for i := range s.program.branches {
		for _, f := range s.program.branches[i].fields {
			values, _ := f.cond.onlyStrings()
			for _, v := range values {
				wanting[pathValue{f.path, v}]++
			}
		}
	}
	buckets := map[pathValue]int32{}
	indexes := map[int32]int{}
	for i := range s.program.branches {
		path, values := rarest(&s.program.branches[i], wanting)
		if values == nil {
			s.always = append(s.always, int32(i))
		}
		for _, v := range values {
			b, ok := buckets[pathValue{path, v}]
			if !ok {
				b = s.bucket(indexes, path, v)
				buckets[pathValue{path, v}] = b
			}
			s.buckets[b] = append(s.buckets[b], int32(i))
		}
	}
}

func (s *Set) bucket(indexes map[int32]int, path int32, value string) int32 {
	i, ok := indexes[path]
	if !ok {
		i = len(s.byValue)
		indexes[path] = i
		s.byValue = append(s.byValue, valueIndex{path: path, bucket: map[string]int32{}})
	}
	b := int32(len(s.buckets))
	s.buckets = append(s.buckets, nil)
	s.byValue[i].bucket[value] = b
	return b
}

// rarest returns the field of a branch that is a list of strings and whose
// most wanted string is wanted least, or no values if there is no such field.
func rarest(b *branch, wanting map[pathValue]int) (int32, []string) {
	var path int32
	var best []string
	least := 0
	for _, f := range b.fields {
		values, ok := f.cond.onlyStrings()
		if !ok {
			continue
		}
		most := 0
		for _, v := range values {
			most = max(most, wanting[pathValue{f.path, v}])
		}
		if best == nil || most < least {
			path, best, least = f.path, values, most
		}
	}
	return path, best
}
