package pattern_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The model is the language written down a second time, for tests only and
// without any care for speed: it flattens the whole event with encoding/json,
// expands $or, and tries every combination of leaves.

// errModel is returned for what the model does not know.
var errModel = errors.New("not in the model")

// modelLeaf is a scalar: a string, json.Number, bool or nil.
type modelLeaf struct {
	path  string
	value any
	in    map[int]int // array -> index of its element
}

// modelObject keeps the order and the repeats of keys.
type modelObject []modelMember

type modelMember struct {
	key   string
	value any
}

func modelDecode(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := modelValue(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("trailing text")
	}
	return v, nil
}

func modelValue(dec *json.Decoder) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := modelObject{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := modelValue(dec)
			if err != nil {
				return nil, err
			}
			o = append(o, modelMember{key.(string), v})
		}
		_, err := dec.Token()
		return o, err
	case json.Delim('['):
		a := []any{}
		for dec.More() {
			v, err := modelValue(dec)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err := dec.Token()
		return a, err
	default:
		return t, nil
	}
}

// modelFlatten lists the leaves of a value.
func modelFlatten(v any, path []string, in map[int]int, arrays *int, out *[]modelLeaf) {
	switch v := v.(type) {
	case modelObject:
		for _, m := range v {
			modelFlatten(m.value, append(slices.Clone(path), m.key), in, arrays, out)
		}
	case []any:
		id := *arrays
		*arrays++
		for i, element := range v {
			inner := in
			switch element.(type) {
			case modelObject, []any:
				inner = map[int]int{id: i}
				maps.Copy(inner, in)
			}
			modelFlatten(element, path, inner, arrays, out)
		}
	default:
		if n := len(path); n > 1 && path[n-1] == "" {
			return // an empty key below the top ends no path
		}
		*out = append(*out, modelLeaf{strings.Join(path, "."), v, in})
	}
}

// modelExpand returns the combinations of a pattern: alternatives by path.
func modelExpand(o modelObject, prefix string, sofar []map[string][]any) []map[string][]any {
	for _, m := range o {
		path := prefix + m.key
		switch v := m.value.(type) {
		case modelObject:
			sofar = modelExpand(v, path+".", sofar)
		case []any:
			if m.key != "$or" {
				for _, c := range sofar {
					c[path] = v
				}
				continue
			}
			var all []map[string][]any
			for _, branch := range v {
				var copies []map[string][]any
				for _, c := range sofar {
					copies = append(copies, maps.Clone(c))
				}
				all = append(all, modelExpand(branch.(modelObject), prefix, copies)...)
			}
			sofar = all
		}
	}
	return sofar
}

// modelMatch decides a valid pattern and event.
func modelMatch(pattern, event []byte) (matched bool, err error) {
	p, err := modelDecode(pattern)
	if err != nil {
		return false, err
	}
	e, err := modelDecode(event)
	if err != nil {
		return false, err
	}
	var leaves []modelLeaf
	arrays := 0
	modelFlatten(e, nil, nil, &arrays, &leaves)
	for _, c := range modelExpand(p.(modelObject), "", []map[string][]any{{}}) {
		paths := make([]string, 0, len(c))
		for path := range c {
			paths = append(paths, path)
		}
		slices.Sort(paths)
		ok, err := modelSearch(paths, c, leaves, map[int]int{})
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func modelSearch(paths []string, c map[string][]any, leaves []modelLeaf, in map[int]int) (bool, error) {
	if len(paths) == 0 {
		return true, nil
	}
	absent := true
	for _, l := range leaves {
		if l.path != paths[0] || !modelCompatible(l.in, in) {
			continue
		}
		absent = false
		ok, err := modelAny(c[paths[0]], l.value)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		more := maps.Clone(in)
		maps.Copy(more, l.in)
		if ok, err := modelSearch(paths[1:], c, leaves, more); ok || err != nil {
			return ok, err
		}
	}
	if !absent {
		return false, nil
	}
	for _, alt := range c[paths[0]] {
		if o, ok := alt.(modelObject); ok && o[0].key == "exists" && o[0].value == false {
			return modelSearch(paths[1:], c, leaves, in)
		}
	}
	return false, nil
}

func modelCompatible(a, b map[int]int) bool {
	for array, i := range a {
		if j, ok := b[array]; ok && i != j {
			return false
		}
	}
	return true
}

func modelAny(alternatives []any, v any) (bool, error) {
	for _, alt := range alternatives {
		if ok, err := modelAlternative(alt, v); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func modelAlternative(alt, v any) (bool, error) {
	o, ok := alt.(modelObject)
	if ok {
		return modelOperator(o[0].key, o[0].value, v)
	}
	if want, ok := alt.(string); ok {
		got, isString := v.(string)
		a, okA := modelAddress(want)
		b, okB := modelAddress(got)
		return isString && (got == want || okA && okB && a == b), nil
	}
	if want, ok := alt.(json.Number); ok {
		got, isNumber := v.(json.Number)
		return isNumber && modelEqualNumbers(want, got), nil
	}
	return v == alt, nil
}

func modelOperator(name string, arg, v any) (bool, error) {
	s, isString := v.(string)
	if name == "exists" {
		return arg == true, nil
	}
	if name == "anything-but" {
		return modelAnythingBut(arg, v)
	}
	if name == "numeric" {
		return modelNumeric(arg.([]any), v), nil
	}
	if inner, ok := arg.(modelObject); ok { // prefix or suffix, ignoring case
		want, err := modelLower(inner[0].value.(string))
		return err == nil && isString && modelAffix(name, lowerASCII(s), want), err
	}
	want := arg.(string)
	switch name {
	case "exactly":
		return isString && s == want, nil
	case "equals-ignore-case":
		lower, err := modelLower(want)
		return err == nil && isString && lowerASCII(s) == lower, err
	case "wildcard":
		return isString && modelWildcard(want).MatchString(s), nil
	case "cidr":
		block, err := netip.ParsePrefix(want)
		if err != nil {
			return false, errModel // a spelling that only we read
		}
		addr, ok := modelAddress(s)
		return isString && ok && block.Contains(addr), nil
	default:
		return isString && modelAffix(name, s, want), nil
	}
}

// modelLower lowers ASCII; beyond it the language has rules of its own.
func modelLower(want string) (string, error) {
	for _, r := range want {
		if r > 127 {
			return "", errModel
		}
	}
	return lowerASCII(want), nil
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func modelAffix(name, s, want string) bool {
	if name == "prefix" {
		return strings.HasPrefix(s, want)
	}
	return strings.HasSuffix(s, want)
}

func modelAnythingBut(arg, v any) (bool, error) {
	list, ok := arg.([]any)
	if o, isOperator := arg.(modelObject); isOperator {
		if list, ok = o[0].value.([]any); !ok {
			list = []any{o[0].value}
		}
		if _, isString := v.(string); !isString {
			return true, nil
		}
		for _, each := range list {
			if hit, err := modelOperator(o[0].key, each, v); hit || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	if !ok {
		list = []any{arg}
	}
	for _, each := range list {
		want, isNumber := each.(json.Number)
		got, alsoNumber := v.(json.Number)
		if v == each || isNumber && alsoNumber && modelEqualNumbers(want, got) {
			return false, nil
		}
	}
	return true, nil
}

func modelNumeric(arg []any, v any) bool {
	n, ok := v.(json.Number)
	if !ok || !modelComparable(n) {
		return false
	}
	f, _ := n.Float64()
	for i := 0; i < len(arg); i += 2 {
		bound, _ := arg[i+1].(json.Number).Float64()
		switch arg[i] {
		case "=":
			ok = f == bound
		case "<":
			ok = f < bound
		case "<=":
			ok = f <= bound
		case ">":
			ok = f > bound
		case ">=":
			ok = f >= bound
		}
		if !ok {
			return false
		}
	}
	return true
}

func modelEqualNumbers(a, b json.Number) bool {
	if !modelComparable(a) || !modelComparable(b) {
		return a == b
	}
	x, _ := a.Float64()
	y, _ := b.Float64()
	return x == y
}

// modelComparable compares exact fractions.
func modelComparable(n json.Number) bool {
	f, err := n.Float64()
	if err != nil {
		return false
	}
	exact, ok := new(big.Rat).SetString(string(n))
	for _, precision := range []int{-1, 1} {
		shortest, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'e', precision, 64))
		if ok && exact.Cmp(shortest) == 0 {
			return true
		}
	}
	return false
}

func modelWildcard(s string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for i := 0; i < len(s); i++ {
		if s[i] == '*' {
			b.WriteString(`(?s:.*)`)
			continue
		}
		if s[i] == '\\' {
			i++
		}
		r := []rune(s[i:])[0]
		fmt.Fprintf(&b, `\x{%x}`, r)
		i += len(string(r)) - 1
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

var (
	modelIPv4 = regexp.MustCompile(`^0*([0-9]+)\.0*([0-9]+)\.0*([0-9]+)\.0*([0-9]+)$`)
	modelIPv6 = regexp.MustCompile(`^[0-9a-fA-F:]*:[0-9a-fA-F:]*$`)
)

func modelAddress(s string) (netip.Addr, bool) {
	if m := modelIPv4.FindStringSubmatch(s); m != nil && len(s) <= 15 {
		a, err := netip.ParseAddr(strings.Join(m[1:], "."))
		return a, err == nil
	}
	if !modelIPv6.MatchString(s) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil
}
