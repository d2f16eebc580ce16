package pattern

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
)

// kind is the JSON type of a leaf, as a bit so that conditions hold sets.
type kind uint8

const (
	kindString kind = 1 << iota
	kindNumber
	kindTrue
	kindFalse
	kindNull
)

// leaf is one scalar of an event.
type leaf struct {
	text   []byte // content of a string, otherwise the literal
	number float64
	scope  int32 // array element it stands in
	at     int32 // place in the order of the event, to compare with scopes
	kind   kind
	read   numberState
}

type numberState uint8

const (
	numberUnread numberState = iota
	numberComparable
	numberText // not comparable: equal only by its literal
)

// value returns the number of a leaf and whether it can be compared. It reads
// the literal once, however many conditions ask.
func (l *leaf) value() (float64, bool) {
	if l.kind != kindNumber {
		return 0, false
	}
	if l.read == numberUnread {
		l.read = numberText
		if f, ok := comparableNumber(l.text); ok {
			l.number, l.read = f, numberComparable
		}
	}
	return l.number, l.read == numberComparable
}

// A condition is the list of alternatives of one field.
type condition struct {
	wanted []string // the alternatives as written, for explanations

	absent   bool // {"exists": false}: met when there is no leaf
	any      bool // {"exists": true}
	literals kind // true, false, null
	exact    stringSet
	numbers  []float64
	texts    []string // numbers that compare by their literal
	ips      []netip.Addr
	tests    []test
}

// test is an operator other than equality.
type test interface{ pass(l *leaf) bool }

// present reports whether some value could meet the condition.
func (c *condition) present() bool {
	return c.any || c.literals != 0 || c.exact.len() > 0 || len(c.numbers) > 0 || len(c.texts) > 0 ||
		len(c.ips) > 0 || len(c.tests) > 0
}

// match reports whether a leaf meets one of the alternatives.
func (c *condition) match(l *leaf) bool {
	if c.any || l.kind&c.literals != 0 {
		return true
	}
	switch l.kind {
	case kindString:
		if c.exact.has(l.text) || (len(c.ips) > 0 && c.matchAddress(l.text)) {
			return true
		}
	case kindNumber:
		if c.matchNumber(l) {
			return true
		}
	case kindTrue, kindFalse, kindNull:
	}
	for _, t := range c.tests {
		if t.pass(l) {
			return true
		}
	}
	return false
}

func (c *condition) matchAddress(text []byte) bool {
	addr, ok := parseAddress(text)
	return ok && slices.Contains(c.ips, addr)
}

func (c *condition) matchNumber(l *leaf) bool {
	if len(c.numbers) > 0 {
		if f, ok := l.value(); ok && slices.Contains(c.numbers, f) {
			return true
		}
	}
	return contains(c.texts, l.text)
}

// onlyStrings returns the accepted values of a condition that is nothing but a
// list of strings, which an index can stand for.
func (c *condition) onlyStrings() ([]string, bool) {
	if c.absent || c.any || c.literals != 0 || len(c.numbers)+len(c.texts)+len(c.ips)+len(c.tests) > 0 {
		return nil, false
	}
	return c.exact.list, true
}

// stringSet is a set of few strings, or of many.
type stringSet struct {
	list  []string
	index map[string]struct{} // used once the list is long
}

const longList = 8

func (s *stringSet) add(v string) {
	if s.has([]byte(v)) {
		return
	}
	s.list = append(s.list, v)
	if len(s.list) <= longList {
		return
	}
	if s.index == nil {
		s.index = make(map[string]struct{}, 2*longList)
		for _, old := range s.list {
			s.index[old] = struct{}{}
		}
	}
	s.index[v] = struct{}{}
}

func (s *stringSet) len() int { return len(s.list) }

func (s *stringSet) has(v []byte) bool {
	if s.index != nil {
		_, ok := s.index[string(v)]
		return ok
	}
	return contains(s.list, v)
}

// contains compares in place: slices.Contains would copy a long value.
func contains(list []string, v []byte) bool {
	return slices.ContainsFunc(list, func(w string) bool { return w == string(v) })
}

type prefixTest []byte

func (t prefixTest) pass(l *leaf) bool { return l.kind == kindString && bytes.HasPrefix(l.text, t) }

type suffixTest []byte

func (t suffixTest) pass(l *leaf) bool { return l.kind == kindString && bytes.HasSuffix(l.text, t) }

type foldedTest folded

func (t foldedTest) pass(l *leaf) bool { return l.kind == kindString && folded(t).equal(l.text) }

type foldedPrefixTest folded

func (t foldedPrefixTest) pass(l *leaf) bool {
	if l.kind != kindString {
		return false
	}
	_, ok := folded(t).prefix(l.text)
	return ok
}

type foldedSuffixTest folded

func (t foldedSuffixTest) pass(l *leaf) bool { return l.kind == kindString && folded(t).suffix(l.text) }

type wildcardTest glob

func (t wildcardTest) pass(l *leaf) bool { return l.kind == kindString && glob(t).match(l.text) }

type blockTest netip.Prefix

func (t blockTest) pass(l *leaf) bool {
	if l.kind != kindString {
		return false
	}
	addr, ok := parseAddress(l.text)
	return ok && netip.Prefix(t).Contains(addr)
}

// rangeTest accepts comparable numbers between two bounds.
type rangeTest struct {
	low, high         float64
	openLow, openHigh bool
}

func (t rangeTest) pass(l *leaf) bool {
	f, ok := l.value()
	if !ok || f < t.low || f > t.high {
		return false
	}
	return (!t.openLow || f != t.low) && (!t.openHigh || f != t.high)
}

func everyNumber() rangeTest {
	return rangeTest{low: -math.MaxFloat64, high: math.MaxFloat64}
}

// notStringsTest accepts every leaf but some strings.
type notStringsTest struct{ set stringSet }

func (t *notStringsTest) pass(l *leaf) bool { return l.kind != kindString || !t.set.has(l.text) }

// notNumbersTest accepts every leaf but some numbers.
type notNumbersTest []float64

func (t notNumbersTest) pass(l *leaf) bool {
	f, ok := l.value()
	return !ok || !slices.Contains(t, f)
}

// noneTest accepts every leaf that none of its tests accepts.
type noneTest []test

func (t noneTest) pass(l *leaf) bool {
	for _, inner := range t {
		if inner.pass(l) {
			return false
		}
	}
	return true
}
