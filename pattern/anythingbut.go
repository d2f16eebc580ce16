package pattern

import "errors"

// anythingBut reads the argument of anything-but: a string, a number, a list
// of either, or an object with a string operator.
func (c *compiler) anythingBut(add func(test), wildcards *[]string) error {
	t, err := c.next()
	if err != nil {
		return err
	}
	inner := ""
	if t.kind == tokenObject {
		if inner, t, err = c.excludedOperator(); err != nil {
			return err
		}
	}
	switch {
	case t.kind != tokenArray && t.kind != tokenString && t.kind != tokenNumber:
		return c.refuse("Value of anything-but must be an array or single string/number value.")
	case inner == "":
		err = c.excludedValues(t, add)
	default:
		err = c.excludedTexts(inner, t, add, wildcards)
	}
	if err != nil {
		return err
	}
	if inner != "" {
		if err := c.closing(tooManyElements); err != nil {
			return err
		}
	}
	return c.closing(tooManyElements)
}

// excludedOperator reads the name of the operator inside anything-but, and the
// first token of its argument.
func (c *compiler) excludedOperator() (string, token, error) {
	name, err := c.next()
	if err != nil {
		return "", token{}, err
	}
	if name.kind != tokenKey {
		return "", token{}, c.refuse("Anything-But expression name not found")
	}
	switch name.text {
	case "equals-ignore-case", "prefix", "suffix", "wildcard":
	default:
		return "", token{}, c.refuse("Unsupported anything-but pattern: " + name.text)
	}
	t, err := c.next()
	return name.text, t, err
}

// excludedValues reads a string, a number, or a list of one of the two.
func (c *compiler) excludedValues(first token, add func(test)) error {
	var numbers notNumbersTest
	excluded := &notStringsTest{}
	err := c.each(first, func(t token) error {
		switch t.kind {
		case tokenString:
			excluded.set.add(t.text)
		case tokenNumber:
			f, ok := comparableNumber(t.text)
			if !ok && first.kind != tokenArray {
				return c.bare("Cannot compare number : "+t.text, t)
			}
			if !ok {
				return c.refuse("Cannot compare number : " + t.text)
			}
			numbers = append(numbers, f)
		default:
			return c.refuse("Inside anything but list, start|null|boolean is not supported.")
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case excluded.set.len() > 0 && len(numbers) == 0:
		add(excluded)
	case len(numbers) > 0 && excluded.set.len() == 0:
		add(numbers)
	default:
		return c.refuse("Inside anything but list, either all values are number or string, " +
			"mixed type is not supported")
	}
	return nil
}

// excludedTexts reads a string or a list of strings for an operator.
func (c *compiler) excludedTexts(operator string, first token, add func(test), wildcards *[]string) error {
	var none noneTest
	err := c.each(first, func(t token) error {
		if t.kind != tokenString {
			return c.refuse(excludedTypeReason(operator))
		}
		if t.text == "" && (operator == "prefix" || operator == "suffix") {
			return c.refuse("Null prefix/suffix not allowed")
		}
		switch operator {
		case "prefix":
			none = append(none, prefixTest(t.text))
		case "suffix":
			none = append(none, suffixTest(t.text))
		case "equals-ignore-case":
			none = append(none, foldedTest(fold(t.text)))
		default:
			g, reason := parseGlob(t.text)
			if reason != "" {
				return c.refuse(reason)
			}
			*wildcards = append(*wildcards, t.text)
			none = append(none, wildcardTest(g))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(none) == 0 {
		// The service's library accepts this and fails when it matches.
		return c.refuse("Empty arrays are not allowed")
	}
	add(none)
	return nil
}

func excludedTypeReason(operator string) string {
	switch operator {
	case "equals-ignore-case":
		return "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
	case "wildcard":
		return "wildcard match pattern must be a string"
	default:
		return "prefix/suffix match pattern must be a string"
	}
}

// each calls use for a value, or for the elements of the list that starts with
// first. Errors inside a list carry their location twice, as in the service.
func (c *compiler) each(first token, use func(token) error) error {
	if first.kind != tokenArray {
		return use(first)
	}
	for {
		t, err := c.next()
		if err == nil && t.kind == tokenEndArray {
			return nil
		}
		if err == nil {
			err = use(t)
		}
		if err != nil {
			if e, ok := errors.AsType[*Error](err); ok {
				e.repeat = true
			}
			return err
		}
	}
}
