package spec

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
)

// Rate is so many per time: "100/s", "10/m".
type Rate struct {
	Count int
	Per   time.Duration // a second, minute, hour or day
}

// String returns the rate as it is written in the file; "" for the zero value.
func (r Rate) String() string {
	for unit, d := range rateUnits {
		if d == r.Per {
			return strconv.Itoa(r.Count) + "/" + unit
		}
	}
	return ""
}

// PerSecond returns the rate as a number of events a second.
func (r Rate) PerSecond() float64 {
	if r.Per <= 0 {
		return 0
	}
	return float64(r.Count) / r.Per.Seconds()
}

var rateUnits = map[string]time.Duration{
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// nameText is what names of components look like.
var nameText = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// CheckName returns an error unless name can be the name of a component.
func CheckName(name string) error {
	if nameText.MatchString(name) {
		return nil
	}
	return fault.New(fault.Invalid, "invalid_name",
		"a name consists of 1 to 64 letters, digits, _, - and .")
}

// scalar is how a type of scalar is read and shown.
type scalar[T any] struct {
	typ     string // for people: "duration"
	expects string // "expected a duration such as 30s"
	from    []Type // the node types it is written as
	parse   func(text string) (T, error)
	compare func(a, b T) int // nil: no Min and Max
	text    func(v T) string // canonical
	raw     func(v T) any    // for JSON; nil: text
	schema  func() map[string]any
	quiet   func(text string) bool // reports text that must not print; nil: none
}

// String is a text. A number in the file is taken as it is spelled.
func String[S ~string](name string, target *S) Field { return bind(name, target, textScalar[S]()) }

func textScalar[S ~string]() scalar[S] {
	return scalar[S]{
		typ: "text", expects: "expected text", from: []Type{Text, Number},
		parse: func(text string) (S, error) {
			if text == "" {
				return "", fault.New(fault.Invalid, "empty", "must not be empty")
			}
			return S(text), nil
		},
		text:   func(v S) string { return string(v) },
		schema: func() map[string]any { return map[string]any{"type": []any{"string", "number"}} },
	}
}

// Name is a text that is the name of a component: 1 to 64 letters, digits, _, - and . characters.
func Name[S ~string](name string, target *S) Field {
	s := textScalar[S]()
	s.typ, s.expects = "name", "expected a name"
	s.parse = func(text string) (S, error) { return S(text), CheckName(text) }
	s.schema = func() map[string]any { return map[string]any{"type": "string", "pattern": nameText.String()} }
	return bind(name, target, s)
}

// Enum is one of a few words.
func Enum[S ~string](name string, target *S, values ...S) Field {
	s := textScalar[S]()
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	s.typ, s.expects = oneOf(words), "expected "+oneOf(words)
	s.parse = func(text string) (S, error) {
		if !slices.Contains(words, text) {
			return "", fault.New(fault.Invalid, "unknown_word", "expected %s", oneOf(words)).
				WithHint("%s", Suggest(text, words))
		}
		return S(text), nil
	}
	s.schema = func() map[string]any { return map[string]any{"enum": anys(words)} }
	f := bind(name, target, s)
	f.enum = words
	return f
}

// Bool is true or false.
func Bool(name string, target *bool) Field {
	return bind(name, target, scalar[bool]{
		typ: "true or false", expects: "expected true or false", from: []Type{Boolean},
		parse: func(text string) (bool, error) {
			switch text {
			case "true", "True", "TRUE":
				return true, nil
			case "false", "False", "FALSE":
				return false, nil
			}
			return false, errExpected
		},
		text:   strconv.FormatBool,
		raw:    func(v bool) any { return v },
		schema: func() map[string]any { return map[string]any{"type": "boolean"} },
	})
}

// Int is a whole number in decimal.
func Int(name string, target *int) Field { return bind(name, target, intScalar()) }

func intScalar() scalar[int] {
	return scalar[int]{
		typ: "number", expects: "expected a whole number", from: []Type{Number},
		parse:   func(text string) (int, error) { return quiet(strconv.Atoi(text)) },
		compare: cmp.Compare[int],
		text:    strconv.Itoa,
		raw:     func(v int) any { return v },
		schema:  func() map[string]any { return map[string]any{"type": "integer"} },
	}
}

// Duration is a time span: 500ms, 30s, 5m, 1h30m, 30d, 2w. A day has 24 hours.
func Duration(name string, target *time.Duration) Field {
	return bind(name, target, scalar[time.Duration]{
		typ: "duration", expects: "expected a duration such as 30s, 5m, 24h or 30d",
		from: []Type{Text, Number}, parse: ParseDuration, compare: cmp.Compare[time.Duration], text: FormatDuration,
		schema: func() map[string]any { return map[string]any{"type": "string"} },
	})
}

// Bytes is a size: 25MiB, 20GiB, 512KiB, 10MB, or a plain number of bytes.
func Bytes(name string, target *int64) Field {
	return bind(name, target, scalar[int64]{
		typ: "size", expects: "expected a size such as 512KiB, 25MiB or 20GiB",
		from: []Type{Text, Number}, parse: ParseBytes, compare: cmp.Compare[int64], text: FormatBytes,
		schema: func() map[string]any { return map[string]any{"type": []any{"string", "integer"}} },
	})
}

// RateOf is a rate: 100/s, 10/m, 1000/h, 5000/d.
func RateOf(name string, target *Rate) Field { return bind(name, target, rateScalar()) }

func rateScalar() scalar[Rate] {
	return scalar[Rate]{
		typ: "rate", expects: "expected a rate such as 100/s, 10/m or 1000/h", from: []Type{Text},
		parse: func(text string) (Rate, error) {
			count, unit, _ := strings.Cut(text, "/")
			n, err := strconv.Atoi(strings.TrimSpace(count))
			per, ok := rateUnits[strings.TrimSpace(unit)]
			if err != nil || !ok || n < 1 {
				return Rate{}, errExpected
			}
			return Rate{n, per}, nil
		},
		compare: func(a, b Rate) int { return cmp.Compare(a.PerSecond(), b.PerSecond()) },
		text:    Rate.String,
		schema:  func() map[string]any { return map[string]any{"type": "string", "pattern": `^[0-9]+ */ *[smhd]$`} },
	}
}

// URL is an absolute http or https address with a host and without a fragment. It stays text. One
// with credentials or a query does not print.
func URL(name string, target *string) Field {
	s := textScalar[string]()
	s.typ, s.expects, s.from = "address", "expected an address such as https://example.com/hooks", []Type{Text}
	s.parse = func(text string) (string, error) {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return "", errExpected // Its text would show the address.
		case u.Scheme != "http" && u.Scheme != "https":
			return "", fault.New(fault.Invalid, "invalid_url", "an address starts with https:// or http://")
		case u.Hostname() == "":
			return "", fault.New(fault.Invalid, "invalid_url", "the address has no host")
		case u.Fragment != "" || strings.HasSuffix(text, "#"):
			return "", fault.New(fault.Invalid, "invalid_url", "an address here has no #fragment, it would not be sent")
		}
		return text, nil
	}
	s.quiet = func(text string) bool { return strings.ContainsAny(text, "@?") }
	s.schema = func() map[string]any { return map[string]any{"type": "string", "format": "uri"} }
	return bind(name, target, s)
}

// Secret is a text that never prints.
func Secret(name string, target *secret.String) Field {
	f := bind(name, target, secretScalar())
	f.secret, f.credential, f.unprinted = true, true, true
	return f
}

func secretScalar() scalar[secret.String] {
	return scalar[secret.String]{
		typ: "secret", expects: "expected a secret", from: []Type{Text, Number},
		parse: func(text string) (secret.String, error) {
			if strings.TrimSpace(text) == "" {
				return secret.String{}, fault.New(fault.Invalid, "empty_secret", "a secret must not be empty")
			}
			return secret.New(text), nil
		},
		text:   secret.String.Reveal,
		schema: func() map[string]any { return map[string]any{"type": []any{"string", "number"}} },
	}
}

func cidrScalar() scalar[netip.Prefix] {
	return scalar[netip.Prefix]{
		typ: "network", expects: "expected a network such as 10.0.0.0/8, or one address", from: []Type{Text},
		parse: func(text string) (netip.Prefix, error) {
			if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
				return netip.PrefixFrom(a, a.BitLen()), nil
			}
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return netip.Prefix{}, errExpected
			}
			if p != p.Masked() {
				return netip.Prefix{}, fault.New(fault.Invalid, "invalid_network",
					"the address has bits set behind the prefix length").
					WithHint("write %s or %s/%d", p.Masked(), p.Addr(), p.Addr().BitLen())
			}
			return p, nil
		},
		text:   netip.Prefix.String,
		schema: func() map[string]any { return map[string]any{"type": "string"} },
	}
}

// errExpected stands for "it is not what the type expects".
var errExpected = errors.New("unexpected text")

// quiet replaces an error whose text shows the value.
func quiet[T any](v T, err error) (T, error) {
	if err != nil {
		return v, errExpected
	}
	return v, nil
}

// durationPart is a number with its unit.
var durationPart = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w)`)

var durationUnits = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond,
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// ParseDuration reads a duration as configuration files have it: time.ParseDuration without a sign,
// with days and weeks.
func ParseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	var sum float64
	rest := text
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, errExpected
		}
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, errExpected
		}
		sum += n * float64(durationUnits[m[2]])
		rest = rest[len(m[0]):]
	}
	if text == "" || sum >= math.MaxInt64 {
		return 0, errExpected
	}
	return time.Duration(sum), nil
}

// FormatDuration writes a duration the way ParseDuration reads it, as short as it goes: 30d, 1h30m.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	const day = 24 * time.Hour
	text := ""
	if d >= 2*day {
		text = strconv.FormatInt(int64(d/day), 10) + "d"
		d %= day
	}
	if d == 0 {
		return text
	}
	rest := d.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	return text + rest
}

var byteUnits = []struct {
	unit string
	size int64
}{
	{"PiB", 1 << 50},
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"PB", 1e15},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"KB", 1e3},
	{"B", 1},
}

// ParseBytes reads a size as configuration files have it.
func ParseBytes(text string) (int64, error) {
	number, size := text, int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(text, u.unit); ok {
			number, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	if strings.Trim(number, "0123456789.") != "" {
		return 0, errExpected
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n <= math.MaxInt64/size {
		return n * size, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f*float64(size) >= math.MaxInt64 {
		return 0, errExpected
	}
	return int64(f * float64(size)), nil
}

// FormatBytes writes a size the way ParseBytes reads it, exactly and as short as it goes.
func FormatBytes(n int64) string {
	for _, u := range byteUnits {
		if n >= u.size && n%u.size == 0 && (u.size&(u.size-1) == 0 || n < 1<<10) {
			return strconv.FormatInt(n/u.size, 10) + u.unit
		}
	}
	return strconv.FormatInt(n, 10)
}

func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// oneOf says which words there are.
func oneOf(words []string) string {
	if len(words) == 1 {
		return "`" + words[0] + "`"
	}
	return "one of " + list(words)
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// bind makes a field of a scalar type.
func bind[T any](name string, target *T, s scalar[T]) Field {
	return Field{name: name, typ: s.typ, schema: s.schema(), quiet: s.quiet, read: func(d *decoder, n *Node, f *Field) *Value {
		v, value, ok := readScalar(d, n, f, s)
		if !ok {
			return nil
		}
		*target = v
		return value
	}}
}

// readScalar parses n and checks its limits.
func readScalar[T any](d *decoder, n *Node, f *Field, s scalar[T]) (v T, value *Value, ok bool) {
	if n.Broken {
		return v, nil, false
	}
	if !n.Expanded() && !slices.Contains(s.from, n.Type) {
		hint := ""
		if _, err := s.parse(n.Text); n.Type == Text && err == nil {
			hint = "write it without quotes"
		}
		d.refuse(n, f, fmt.Sprintf("%s, not %s", s.expects, n.Type), hint)
		return v, nil, false
	}
	v, err := s.parse(n.Text)
	if err != nil {
		d.failed(n, f, s.expects, err)
		return v, nil, false
	}
	if s.compare != nil && !limits(d, n, f, s, v) {
		return v, nil, false
	}
	text := s.text(v)
	value = &Value{
		Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: Text, text: hiddenText(text),
		hidden: f.hides(n), literal: f.credential && !n.Expanded(),
	}
	if !value.hidden {
		value.raw = text
		if s.raw != nil {
			value.raw = s.raw(v)
		}
	}
	return v, value, true
}

// limits reports whether v lies between Min and Max.
func limits[T any](d *decoder, n *Node, f *Field, s scalar[T], v T) bool {
	if f.min != "" {
		if low, err := s.parse(f.min); err != nil || s.compare(v, low) < 0 {
			d.refuse(n, f, "must be at least "+f.min, "")
			return false
		}
	}
	if f.max != "" {
		if high, err := s.parse(f.max); err != nil || s.compare(v, high) > 0 {
			d.refuse(n, f, "must be at most "+f.max, "")
			return false
		}
	}
	return true
}
