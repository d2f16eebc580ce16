package pattern

// This file reads match expressions: the objects with one operator in a list
// of alternatives. The messages, and the order of the checks that decides
// between them, are those of the service.

const (
	oneKeyOnly      = "Only one key allowed in match expression"
	tooManyElements = "Too many elements in numeric expression"
)

// operator reads a match expression, whose brace was read, into a condition.
// Wildcard texts are noted for the check of their complexity.
func (c *compiler) operator(cond *condition, wildcards *[]string) error {
	name, err := c.next()
	if err != nil {
		return err
	}
	add := func(t test) { cond.tests = append(cond.tests, t) }
	switch name.text {
	case "exactly":
		return c.stringArgument("exact", cond.exact.add)
	case "equals-ignore-case":
		return c.stringArgument(name.text, func(s string) { add(foldedTest(fold(s))) })
	case "prefix":
		return c.affix("Prefix", name.text, func(s string) { add(prefixTest(s)) },
			func(s string) { add(foldedPrefixTest(fold(s))) })
	case "suffix":
		return c.affix("Suffix", name.text, func(s string) { add(suffixTest(s)) },
			func(s string) { add(foldedSuffixTest(fold(s))) })
	case "wildcard":
		return c.wildcard(add, wildcards)
	case "numeric":
		return c.numeric(add)
	case "cidr":
		return c.cidr(add)
	case "exists":
		return c.exists(cond)
	case "anything-but":
		return c.anythingBut(add, wildcards)
	}
	if name.kind != tokenKey {
		return c.refuse("Match expression name not found")
	}
	return c.refuse("Unrecognized match type " + name.text)
}

// stringArgument reads the argument of an operator and the brace after it.
func (c *compiler) stringArgument(operator string, use func(string)) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	if t.kind != tokenString {
		return c.refuse(operator + " match pattern must be a string")
	}
	use(t.text)
	return c.closing(oneKeyOnly)
}

// closing reads the brace that ends an expression.
func (c *compiler) closing(otherwise string) error {
	t, err := c.next()
	if err == nil && t.kind != tokenEndObject {
		err = c.refuse(otherwise)
	}
	return err
}

// affix reads the argument of prefix or suffix: a string, or
// equals-ignore-case with one.
func (c *compiler) affix(title, operator string, plain, ignoringCase func(string)) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	switch t.kind {
	case tokenString:
		plain(t.text)
		return c.closing(oneKeyOnly)
	case tokenObject:
	default:
		return c.refuse(operator + " match pattern must be a string")
	}
	if t, err = c.next(); err != nil {
		return err
	}
	if t.kind != tokenKey {
		return c.refuse(title + " expression name not found")
	}
	if t.text != "equals-ignore-case" {
		return c.refuse("Unsupported " + operator + " pattern: " + t.text)
	}
	if err := c.stringArgument(t.text, ignoringCase); err != nil {
		return err
	}
	return c.closing(oneKeyOnly)
}

func (c *compiler) wildcard(add func(test), wildcards *[]string) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	if t.kind != tokenString {
		return c.refuse("wildcard match pattern must be a string")
	}
	g, reason := parseGlob(t.text)
	if reason != "" {
		return c.refuse(reason)
	}
	*wildcards = append(*wildcards, t.text)
	add(wildcardTest(g))
	return c.closing(oneKeyOnly)
}

func (c *compiler) cidr(add func(test)) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	if t.kind != tokenString {
		// The service says prefix here.
		return c.refuse("prefix match pattern must be a string")
	}
	block, reason := parseBlock(t.text)
	if reason != "" {
		return c.bare(reason, t)
	}
	add(blockTest(block))
	return c.closing(oneKeyOnly)
}

func (c *compiler) exists(cond *condition) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	switch t.kind {
	case tokenTrue:
		cond.any = true
	case tokenFalse:
		cond.absent = true
	default:
		return c.refuse("exists match pattern must be either true or false.")
	}
	return c.closing(oneKeyOnly)
}

// numeric reads the list of an operator, a number and, for a range, a second
// operator and number.
func (c *compiler) numeric(add func(test)) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	if t.kind != tokenArray {
		return c.refuse("Value of numeric must be an array.")
	}
	operator, err := c.next()
	if err != nil {
		return err
	}
	if operator.kind != tokenString {
		return c.refuse("Invalid member in numeric match: " + operator.text)
	}
	r, err := c.comparison(operator.text)
	if err != nil {
		return err
	}
	add(r)
	return c.closing(tooManyElements)
}

// comparison reads the rest of a numeric list, up to its bracket.
func (c *compiler) comparison(operator string) (rangeTest, error) {
	number, err := c.next()
	if err != nil {
		return rangeTest{}, err
	}
	title := operator
	switch operator {
	case "=":
		title = "equals"
	case "<", "<=", ">", ">=":
	default:
		return rangeTest{}, c.refuse("Unrecognized numeric range operator: " + operator)
	}
	if number.kind != tokenNumber {
		return rangeTest{}, c.refuse("Value of " + title + " must be numeric")
	}
	after, err := c.next()
	if err != nil {
		return rangeTest{}, err
	}
	lower := operator == ">" || operator == ">="
	if after.kind != tokenEndArray {
		if !lower {
			return rangeTest{}, c.refuse(tooManyElements)
		}
		return c.numericRange(operator, number, after)
	}
	f, err := c.number(number)
	if err != nil {
		return rangeTest{}, err
	}
	r := everyNumber()
	if lower || operator == "=" {
		r.low, r.openLow = f, operator == ">"
	}
	if !lower {
		r.high, r.openHigh = f, operator == "<"
	}
	return r, nil
}

// numericRange reads the upper bound of a range, whose operator is the token
// after the lower bound.
func (c *compiler) numericRange(operator string, bottom, after token) (rangeTest, error) {
	if after.kind != tokenString {
		return rangeTest{}, c.refuse("Bad value in numeric range: " + after.text)
	}
	if after.text != "<" && after.text != "<=" {
		return rangeTest{}, c.refuse("Bad numeric range operator: " + after.text)
	}
	top, err := c.next()
	if err != nil {
		return rangeTest{}, err
	}
	if top.kind != tokenNumber {
		return rangeTest{}, c.refuse("Value of " + after.text + " must be numeric")
	}
	t, err := c.next()
	if err != nil {
		return rangeTest{}, err
	}
	if t.kind != tokenEndArray {
		return rangeTest{}, c.refuse("Too many terms in numeric range expression")
	}
	low, err := c.number(bottom)
	if err != nil {
		return rangeTest{}, err
	}
	high, err := c.number(top)
	if err != nil {
		return rangeTest{}, err
	}
	if low >= high {
		return rangeTest{}, c.refuse("Bottom must be less than top")
	}
	return rangeTest{low: low, high: high, openLow: operator == ">", openHigh: after.text == "<"}, nil
}

// number returns the value of a literal that has to be comparable.
func (c *compiler) number(t token) (float64, error) {
	f, ok := comparableNumber(t.text)
	if !ok {
		return 0, c.refuse("Cannot compare number : " + t.text)
	}
	return f, nil
}
