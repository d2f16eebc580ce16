package transform

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// step is one part of a path: a name, an index, or all elements.
type step struct {
	name  string
	index int // wildcard: every element; named: by name
}

const (
	named    = -1
	wildcard = -2
)

// ValidatePath reports why path is not well formed, as an *Error with code CodeInvalidPath.
// EventBridge takes such a path at PutTargets and selects nothing with it; so does Compile.
func ValidatePath(path string) error {
	if _, err := parsePath(path); err != nil {
		return err
	}
	return nil
}

// parsePath reads the path syntax of EventBridge: dot notation, indexes, [*].
func parsePath(path string) ([]step, *Error) {
	if !strings.HasPrefix(path, "$") {
		return nil, pathError(path, 0, "a path starts with $", "write $."+path)
	}
	var steps []step
	for i := 1; i < len(path); {
		switch path[i] {
		case '.':
			n := nameLen(path[i+1:])
			if n == 0 {
				return nil, badName(path, i+1)
			}
			steps = append(steps, step{name: path[i+1 : i+1+n], index: named})
			i += 1 + n
		case '[':
			inside, _, closed := strings.Cut(path[i+1:], "]")
			index, ok := parseIndex(inside)
			if !closed || !ok {
				return nil, pathError(path, i, "brackets hold one index from zero, or *",
					"filters, slices, negative indexes and quoted names are not supported")
			}
			steps = append(steps, step{index: index})
			i += len(inside) + 2
		default:
			r, _ := utf8.DecodeRuneInString(path[i:])
			return nil, pathError(path, i, fmt.Sprintf("%q cannot stand in a path", r),
				"names hold letters, digits, _, - and / only")
		}
	}
	return steps, nil
}

func parseIndex(text string) (int, bool) {
	if text == "*" {
		return wildcard, true
	}
	index, err := strconv.Atoi(text)
	return index, err == nil && isDigit(text[0])
}

// nameLen is the length of the name at the start of text.
func nameLen(text string) int {
	for i, r := range text {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' && r != '/' {
			return i
		}
	}
	return len(text)
}

func badName(path string, at int) *Error {
	switch {
	case at < len(path) && path[at] == '.':
		return pathError(path, at, "two dots", "searching at any depth is not supported")
	case at < len(path) && path[at] == '*':
		return pathError(path, at, "a star after a dot", "write [*] for all elements of an array")
	default:
		return pathError(path, at, "a name is expected here",
			"names hold letters, digits, _, - and / only")
	}
}

func pathError(path string, at int, problem, hint string) *Error {
	return &Error{
		Code: CodeInvalidPath, Field: FieldPath, Path: path,
		Offset: at, Problem: problem, Hint: hint,
	}
}

// node is a place in the tree of all paths of a transform. Every path that ends somewhere has a
// slot; the slots at and below a node are a range, with the paths that end at the node first.
type node struct {
	lo, hi  int
	ends    bool // a path ends here: slot lo
	many    bool // below a [*]: a slot takes any number of values
	names   []nameEdge
	indexes []indexEdge
	all     *node
}

type nameEdge struct {
	name string
	to   *node
}

type indexEdge struct {
	index int
	to    *node
}

// add makes the place for steps below n and returns it.
func (n *node) add(steps []step) *node {
	for _, s := range steps {
		n = n.child(s)
	}
	n.ends = true
	return n
}

func (n *node) child(s step) *node {
	fresh := &node{many: n.many || s.index == wildcard}
	switch s.index {
	case wildcard:
		if n.all == nil {
			n.all = fresh
		}
		return n.all
	case named:
		if to := n.named(s.name); to != nil {
			return to
		}
		n.names = append(n.names, nameEdge{s.name, fresh})
	default:
		for _, e := range n.indexes {
			if e.index == s.index {
				return e.to
			}
		}
		n.indexes = append(n.indexes, indexEdge{s.index, fresh})
	}
	return fresh
}

func (n *node) named(name string) *node {
	for _, e := range n.names {
		if e.name == name {
			return e.to
		}
	}
	return nil
}

// number gives out the slots from next on and returns the first unused one.
func (n *node) number(next int) int {
	n.lo = next
	if n.ends {
		next++
	}
	for _, e := range n.names {
		next = e.to.number(next)
	}
	for _, e := range n.indexes {
		next = e.to.number(next)
	}
	if n.all != nil {
		next = n.all.number(next)
	}
	n.hi = next
	return next
}
