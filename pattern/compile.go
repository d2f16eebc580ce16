package pattern

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// branchFields is a pattern without $or under construction, by flattened path.
type branchFields map[string]*condition

// compiler turns the tokens of a pattern into its branches.
type compiler struct {
	lexer
	limits   Limits
	path     []string // where the compiler stands, for errors
	branches []branchFields
}

// reservedInOr are the names that a field inside $or must not have, so that an
// operator in the wrong place is noticed.
var reservedInOr = []string{
	"exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr",
	"=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case", "date-after",
	"date-on-or-after", "date-before", "date-on-or-before", "in-date-range", "ip-address-in-range",
	"ip-address-not-in-range",
}

const orKey = "$or"

// compile returns the branches of a pattern, at least one.
func compile(text string, limits Limits) ([]branchFields, error) {
	c := &compiler{lexer: lexer{src: text}, limits: limits}
	if limits.Text > 0 && utf16Len(text) > limits.Text {
		return nil, &Error{
			Reason:    fmt.Sprintf("Member must have length less than or equal to %d", limits.Text),
			Exception: invalidRequest, Line: 1, Column: 1,
		}
	}
	if i := invalidUTF8(text); i >= 0 {
		return nil, c.errorAt("Invalid UTF-8", token{start: i, end: i + 1})
	}
	if err := c.pattern(); err != nil {
		return nil, err
	}
	for _, fields := range c.branches {
		if limits.Fields > 0 && len(fields) > limits.Fields {
			return nil, c.bare(fmt.Sprintf("Size of rule exceeds max value of %d", limits.Fields), token{})
		}
	}
	return c.branches, nil
}

func (c *compiler) pattern() error {
	t, err := c.next()
	if err != nil {
		return err
	}
	if t.kind != tokenObject {
		return c.refuse("Filter is not an object")
	}
	if err := c.object("", true, false); err != nil {
		return err
	}
	c.path = nil
	_, err = c.next()
	return err
}

// object reads the members of an object whose brace was read. The prefix is
// the flattened path that it stands at; top tells that there is none yet.
func (c *compiler) object(prefix string, top, inOr bool) error {
	empty := true
	for {
		key, err := c.next()
		if err != nil {
			return err
		}
		if key.kind == tokenEndObject {
			break
		}
		empty = false
		if err := c.member(key, prefix, top, inOr); err != nil {
			return err
		}
	}
	if empty {
		return c.refuse("Empty objects are not allowed")
	}
	return nil
}

func (c *compiler) member(key token, prefix string, top, inOr bool) error {
	c.path = append(c.path, key.text)
	defer func(n int) { c.path = c.path[:n] }(len(c.path) - 1)
	if key.text == orKey {
		return c.or(prefix, top)
	}
	if inOr && slices.Contains(reservedInOr, key.text) {
		return c.refuse(key.text + " is Ruler reserved fieldName which cannot be used inside $or.")
	}
	name := key.text
	if !top {
		name = prefix + "." + key.text
	}
	t, err := c.next()
	if err != nil {
		return err
	}
	switch t.kind {
	case tokenObject:
		return c.object(name, false, inOr)
	case tokenArray:
		return c.field(name)
	default:
		return c.refuse(`"` + key.text + `" must be an object or an array`)
	}
}

// or multiplies the branches so far by the objects of a $or list.
func (c *compiler) or(prefix string, top bool) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	if t.kind != tokenArray {
		return c.refuse("It must be an Array followed with $or.")
	}
	before := c.branches
	if len(before) == 0 {
		before = []branchFields{{}}
	}
	var after []branchFields
	for count := 0; ; count++ {
		if t, err = c.next(); err != nil {
			return err
		}
		if t.kind == tokenEndArray && count < 2 {
			return c.refuse("There must have at least 2 Objects in $or relationship.")
		}
		if t.kind == tokenEndArray {
			break
		}
		if t.kind != tokenObject {
			return c.refuse("Only JSON object is allowed in array of $or relationship.")
		}
		c.branches = make([]branchFields, len(before))
		for i, b := range before {
			c.branches[i] = maps.Clone(b)
		}
		c.path = append(c.path, strconv.Itoa(count))
		if err := c.object(prefix, top, true); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
		if after = append(after, c.branches...); len(after) > c.limits.combinations() {
			return c.bare(fmt.Sprintf("over %d rule combinations", c.limits.combinations()), t)
		}
	}
	c.branches = after
	return nil
}

// field reads a list of alternatives and gives it to every branch; a list that
// the branch has for the same path already is replaced.
func (c *compiler) field(name string) error {
	cond := &condition{}
	wildcards := []string(nil)
	for i := 0; ; i++ {
		t, err := c.next()
		if err != nil {
			return err
		}
		if t.kind == tokenEndArray {
			break
		}
		c.path = append(c.path, strconv.Itoa(i))
		if err := c.alternative(cond, t, &wildcards); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
		cond.wanted = append(cond.wanted, c.src[t.start:c.last.end])
	}
	if len(cond.wanted) == 0 {
		return c.refuse("Empty arrays are not allowed")
	}
	if limit := c.limits.Complexity; limit > 0 && complexity(wildcards, limit+1) > limit {
		return c.bare(tooComplex, c.last)
	}
	if len(c.branches) == 0 {
		c.branches = []branchFields{{}}
	}
	for _, b := range c.branches {
		b[name] = cond
	}
	return nil
}

const tooComplex = "Rule is too complex - try using fewer wildcard characters or fewer repeating character " +
	"sequences after a wildcard character"

// alternative reads one element of a list whose first token is t.
func (c *compiler) alternative(cond *condition, t token, wildcards *[]string) error {
	switch t.kind {
	case tokenString:
		if addr, ok := parseAddress(t.text); ok {
			cond.ips = append(cond.ips, addr)
		} else {
			cond.exact.add(t.text)
		}
	case tokenNumber:
		if f, ok := comparableNumber(t.text); ok {
			cond.numbers = append(cond.numbers, f)
		} else {
			cond.texts = append(cond.texts, t.text)
		}
	case tokenTrue:
		cond.literals |= kindTrue
	case tokenFalse:
		cond.literals |= kindFalse
	case tokenNull:
		cond.literals |= kindNull
	case tokenObject:
		return c.operator(cond, wildcards)
	default:
		return c.refuse("Match value must be String, number, true, false, or null")
	}
	return nil
}

// refuse reports the token that was read last.
func (c *compiler) refuse(reason string) error { return c.refuseAt(reason, c.last) }

func (c *compiler) refuseAt(reason string, t token) *Error {
	e := c.errorAt(reason, t)
	e.Path = slices.Clone(c.path)
	return e
}

// bare is refuse for the reasons that the service states without a location.
func (c *compiler) bare(reason string, t token) error {
	e := c.refuseAt(reason, t)
	e.source = ""
	return e
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(s string) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
