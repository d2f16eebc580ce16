package pattern

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// branch is a pattern without $or: conditions that all have to be met, in the
// order in which the language visits them.
type branch struct {
	pattern int
	fields  []field
}

// field is one condition of a branch.
type field struct {
	path int32
	cond *condition
	// until says, for each number of leading path segments from 1, which field
	// of the branch is the last to share them: up to there it matters which
	// element of an array at those segments was chosen.
	until []int16
}

// newFields joins paths, in the order of the language and numbered by a
// function, with their conditions.
func newFields(names []string, conds []*condition, number func(string) int32) []field {
	fields := make([]field, len(names))
	last := map[string]int16{}
	prefixes := make([][]string, len(names))
	for i, name := range names {
		prefixes[i] = leadingPaths(name)
		for _, p := range prefixes[i] {
			last[p] = int16(i)
		}
	}
	for i, name := range names {
		f := field{path: number(name), cond: conds[i], until: make([]int16, len(prefixes[i]))}
		for d, p := range prefixes[i] {
			f.until[d] = last[p]
		}
		fields[i] = f
	}
	return fields
}

// leadingPaths returns a, a.b and a.b.c for a.b.c.
func leadingPaths(path string) []string {
	var out []string
	for i := range len(path) {
		if path[i] == '.' {
			out = append(out, path[:i])
		}
	}
	return append(out, path)
}

// shared returns how many leading segments a field has in common with some
// field after the given one.
func (f *field) shared(after int) int32 {
	n := int32(len(f.until))
	for n > 0 && int(f.until[n-1]) <= after {
		n--
	}
	return n
}

// search decides whether a branch matches: one leaf for each field, in the
// order of the fields, such that no array is asked for two of its elements.
//
// The choices made so far matter to the fields ahead only through the array
// elements that these can still be in, the anchors. A position in the fields
// with its anchors is therefore tried once. In an event without repeated keys
// the anchors are one element and those around it, so that there are no more
// positions than elements. The remaining events could take exponential time;
// the search counts its looks at leaves and gives up in proportion to how many
// there are.
type search struct {
	leaves  *leaves
	fields  []field
	failed  map[position]struct{}
	anchors []anchor // a stack: each position appends its own
	looks   int
	limit   int
	gaveUp  bool
}

// anchor is a chosen element and the field for which it was chosen.
type anchor struct {
	scope int32
	field int32
}

// position is a field with the anchors in force, as far as they fit; searches
// with more of them at a time are not remembered.
type position struct {
	field  int32
	scopes [3]int32
}

// looksPerLeaf is how often a search may look at each leaf, for each field.
// Ordinary events need about five for all fields together.
const looksPerLeaf = 8

// run evaluates a branch on the leaves of an event.
func (s *search) run(l *leaves, fields []field) (bool, error) {
	if len(l.scopes) == 1 {
		return alone(l, fields), nil
	}
	total := 0
	for i := range fields {
		n := len(l.byPath[fields[i].path])
		if n == 0 && !fields[i].cond.absent {
			return false, nil
		}
		total += n
	}
	s.leaves, s.fields = l, fields
	s.looks, s.limit, s.gaveUp = 0, looksPerLeaf*(len(fields)+8)*(total+64), false
	clear(s.failed)
	s.anchors = s.anchors[:0]
	ok := s.from(0, 0)
	if s.gaveUp {
		return false, ErrTooComplex
	}
	return ok, nil
}

// alone evaluates fields when no array keeps leaves apart.
func alone(l *leaves, fields []field) bool {
	for i := range fields {
		if !meets(l.byPath[fields[i].path], fields[i].cond) {
			return false
		}
	}
	return true
}

func meets(found []leaf, cond *condition) bool {
	if len(found) == 0 {
		return cond.absent
	}
	for i := range found {
		if cond.match(&found[i]) {
			return true
		}
	}
	return false
}

// from reports whether the fields from the i-th on can be met. The anchors in
// force are those on the stack from base.
func (s *search) from(i, base int) bool {
	if i == len(s.fields) {
		return true
	}
	pos, known := s.position(i, base)
	if known {
		if _, failed := s.failed[pos]; failed {
			return false
		}
	}
	if s.choose(i, base) {
		return true
	}
	if known {
		if s.failed == nil {
			s.failed = make(map[position]struct{})
		}
		s.failed[pos] = struct{}{}
	}
	return false
}

// choose tries the leaves of one field.
func (s *search) choose(i, base int) bool {
	f := &s.fields[i]
	found := s.leaves.byPath[f.path]
	if f.cond.absent && s.compatible(found, 0, base) == len(found) {
		return s.then(i, base, root)
	}
	if !f.cond.present() {
		return false
	}
	depth := f.shared(i)
	tried := none
	for n := s.compatible(found, 0, base); n < len(found); n = s.compatible(found, n+1, base) {
		l := &found[n]
		within := s.within(l.scope, depth)
		if within == tried {
			continue
		}
		s.look(1 + len(l.text)/64)
		if s.gaveUp {
			return false
		}
		if !f.cond.match(l) {
			continue
		}
		if s.then(i, base, within) {
			return true
		}
		if depth == 0 {
			return false // no choice here makes a difference to what follows
		}
		tried = within
	}
	return false
}

// then goes on to the next field, with one more element chosen.
func (s *search) then(i, base int, chosen int32) bool {
	top := len(s.anchors)
	s.keep(anchor{chosen, int32(i)}, i, top)
	for n := base; n < top; n++ {
		s.keep(s.anchors[n], i, top)
	}
	slices.SortFunc(s.anchors[top:], func(a, b anchor) int { return cmp.Compare(a.scope, b.scope) })
	ok := s.from(i+1, top)
	s.anchors = s.anchors[:top]
	return ok
}

// keep pushes an anchor as far as it matters to the fields after the i-th,
// unless one from base on implies it; those that it implies are dropped.
func (s *search) keep(a anchor, i, base int) {
	a.scope = s.within(a.scope, s.fields[a.field].shared(i))
	if a.scope == root {
		return
	}
	kept := s.anchors[base:base]
	for _, b := range s.anchors[base:] {
		if s.inside(b.scope, a.scope) {
			return
		}
		if !s.inside(a.scope, b.scope) {
			kept = append(kept, b)
		}
	}
	s.anchors = append(s.anchors[:base+len(kept)], a)
}

// within returns the innermost element around a scope, itself included, whose
// array stands at no more than depth segments.
func (s *search) within(at, depth int32) int32 {
	for s.leaves.scopes[at].depth > depth {
		at = s.leaves.scopes[at].up
	}
	return at
}

// inside reports whether a scope is another one or lies in it. Both hold a
// leaf, so that their extents tell.
func (s *search) inside(at, outer int32) bool {
	a, o := &s.leaves.scopes[at], &s.leaves.scopes[outer]
	return a.level >= o.level && a.start >= o.start && a.start < o.end
}

// compatible returns the index of the first leaf from n on that contradicts no
// anchor, or the number of leaves. It jumps over the elements that cannot be.
func (s *search) compatible(found []leaf, n, base int) int {
next:
	for n < len(found) {
		s.look(1)
		if s.gaveUp {
			return len(found)
		}
		for _, a := range s.anchors[base:] {
			if to, clash := s.clash(&found[n], a.scope); clash {
				n += sort.Search(len(found)-n, func(i int) bool { return found[n+i].at >= to })
				continue next
			}
		}
		return n
	}
	return n
}

// clash reports whether a leaf stands in another element of an array than a
// chosen one, and the next place at which a leaf may not.
func (s *search) clash(l *leaf, chosen int32) (to int32, clash bool) {
	scopes := s.leaves.scopes
	if scopes[chosen].has(l.at) {
		return 0, false
	}
	// Climb to the outermost element around the choice that the leaf is not in.
	x := chosen
	for !scopes[scopes[x].parent].has(l.at) {
		if jump := scopes[x].jump; !scopes[jump].has(l.at) {
			x = jump
		} else {
			x = scopes[x].parent
		}
	}
	// A scalar directly in that array would not clash, but there is none: its
	// path is visited before the longer paths of the elements.
	within := s.leaves.arrays[scopes[x].array]
	if l.at < within.start || l.at >= within.end {
		return 0, false
	}
	if l.at < scopes[x].start {
		return scopes[x].start, true
	}
	return within.end, true
}

func (s *search) look(n int) {
	s.looks += n
	if s.looks > s.limit {
		s.gaveUp = true
	}
}

func (s *search) position(i, base int) (position, bool) {
	p := position{field: int32(i)}
	if len(s.anchors)-base > len(p.scopes) {
		return p, false
	}
	for n, a := range s.anchors[base:] {
		p.scopes[n] = a.scope
	}
	return p, true
}

// sortedNames returns the paths of a branch in the order of the language.
func sortedNames(fields branchFields) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(compareUnits(a, b), strings.Compare(a, b))
	})
	return names
}
