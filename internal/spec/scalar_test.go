package spec_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// fields is a Fielder made of any fields.
type fields []spec.Field

func (f fields) Fields() []spec.Field { return f }

func TestDurationsAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	good := map[string]time.Duration{
		"0": 0, "500ms": 500 * time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute,
		"30d": 720 * time.Hour, "2w": 336 * time.Hour, "1.5h": 90 * time.Minute, "1d12h": 36 * time.Hour, "5µs": 5000,
	}
	for text, want := range good {
		if got, err := spec.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "30", "s", "-1s", "+1s", "1 s", "1y", "1s ", "1e3s", "9999999999w", "1s2"} {
		if got, err := spec.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestDurationsAndSizesSurviveBeingWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(10_000*time.Hour)).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "whole") {
			d = d.Truncate(time.Minute)
		}
		// The parser adds parts as floating point numbers, which are exact to a nanosecond in 100 days.
		if got, err := spec.ParseDuration(spec.FormatDuration(d)); err != nil || (got-d).Abs() > 1 {
			t.Errorf("%d is written %q and read %d, %v", d, spec.FormatDuration(d), got, err)
		}
		n := rapid.Int64Min(0).Draw(t, "size")
		if rapid.Bool().Draw(t, "round") {
			n &^= 1<<20 - 1
		}
		if got, err := spec.ParseBytes(spec.FormatBytes(n)); err != nil || got != n {
			t.Errorf("%d is written %q and read %d, %v", n, spec.FormatBytes(n), got, err)
		}
	})
}

func TestSizesAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	good := map[string]int64{
		"0": 0, "1024": 1024, "10B": 10, "1KiB": 1024, "25MiB": 25 << 20, "1.5GiB": 3 << 29, "10MB": 10_000_000, "2 GiB": 2 << 30,
	}
	for text, want := range good {
		if got, err := spec.ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1e3", "1MiBs", "Inf", "NaN", "0x10", "9999999PiB", "1_000", "+1"} {
		if got, err := spec.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %v, want an error", text, got)
		}
	}
}

func TestEveryTypeTakesItsValuesAndRefusesOthers(t *testing.T) {
	t.Parallel()
	var v struct {
		text    string
		flag    bool
		n       int
		size    int64
		rate    spec.Rate
		words   []string
		numbers []int
		nets    []netip.Prefix
		secrets map[string]secret.String
		lists   map[string][]string
		raw     spec.RawJSON
	}
	all := fields{
		spec.String("text", &v.text), spec.Bool("flag", &v.flag), spec.Int("n", &v.n).Min("1").Max("5"),
		spec.Bytes("size", &v.size), spec.RateOf("rate", &v.rate), spec.Strings("words", &v.words).MinItems(2),
		spec.Ints("numbers", &v.numbers).Max("9"), spec.CIDRs("nets", &v.nets), spec.SecretMap("secrets", &v.secrets),
		spec.Lists("lists", &v.lists, "key"), spec.JSON("raw", &v.raw),
	}
	_, problems := decode(t, `{"text": 1.50, "flag": true, "n": 5, "size": "1KiB", "rate": "10/m", "words": ["a", "b"],
		"numbers": [1, 9], "nets": ["10.0.0.0/8", "::1"], "secrets": {"a": "x"}, "lists": {"one": "a", "two": ["b", "c"]},
		"raw": {"a": [1.0, "<&>", null, true]}}`, all)
	if problems != nil {
		t.Fatalf("problems: %v", problems)
	}
	if v.text != "1.50" || !v.flag || v.n != 5 || v.size != 1024 || v.rate.String() != "10/m" ||
		!cmp.Equal(v.numbers, []int{1, 9}) || v.secrets["a"].Reveal() != "x" ||
		!cmp.Equal(v.lists, map[string][]string{"one": {"a"}, "two": {"b", "c"}}) ||
		!cmp.Equal(v.nets, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			cmpopts.EquateComparable(netip.Prefix{})) || string(v.raw.Text) != `{"a":[1.0,"<&>",null,true]}` {
		t.Errorf("decoded %+v", v)
	}
	_, problems = decode(t, `{"text": true, "flag": "true", "n": 6, "size": [], "rate": "10/y", "words": ["a"],
		"numbers": [10, "2"], "nets": ["10.0.0.1/8"], "secrets": {"a": {}}, "lists": {"one": [], "key": [1, {}]}}`, all)
	want := []string{
		`f:1:10: text: expected text, not a boolean, found "true"`,
		`f:1:24: flag: expected true or false, not text, found "true"; write it without quotes`,
		`f:1:37: n: must be at most 5, found "6"`,
		`f:1:48: size: expected a size such as 512KiB, 25MiB or 20GiB, not a list`,
		`f:1:60: rate: expected a rate such as 100/s, 10/m or 1000/h, found "10/y"`,
		`f:1:77: words: must have at least 2, has 1`,
		`f:2:15: numbers[0]: must be at most 9, found "10"`,
		`f:2:19: numbers[1]: expected a whole number, not text, found "2"; write it without quotes`,
		`f:2:34: nets[0]: the address has bits set behind the prefix length, found "10.0.0.1/8"; write 10.0.0.0/8 or 10.0.0.1/32`,
		`f:2:66: secrets.a: expected a secret, not a map`,
		`f:2:88: lists.one: must have at least 1, has 0`,
		`f:2:103: lists.key[1]: expected text, not a map`,
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestChecksRunOnDefaultsAndNeverShowHiddenValues(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2hunter2"
	var text, other string
	check := func(err error) func() error { return func() error { return err } }
	tests := map[string]struct {
		field spec.Field
		node  *spec.Node
		want  string
	}{
		"default": {
			field: spec.String("a", &text).Default("x").Check(check(fault.New(fault.Invalid, "", "is bad").WithHint("do good"))),
			want:  "f:1:1: a: is bad, found \"x\"; do good",
		},
		"plain error": {
			field: spec.String("a", &text).Check(check(plainError("is bad"))), node: &spec.Node{Type: spec.Text, Text: "v"},
			want: `f: a: is bad, found "v"`,
		},
		"plain error about a secret": {
			field: spec.String("a", &text).Secret().Check(check(plainError("bad: " + hidden[:5]))),
			node:  &spec.Node{Type: spec.Text, Text: hidden}, want: "f: a: is not accepted",
		},
		"fault about a secret": {
			field: spec.String("a", &text).Secret().Check(check(fault.New(fault.Invalid, "", "%q is bad", hidden))),
			node:  &spec.Node{Type: spec.Text, Text: hidden}, want: `f: a: "[secret]" is bad`,
		},
		"fault about an expanded value": {
			field: spec.String("a", &text).Check(check(fault.New(fault.Invalid, "", "no %q", "x"+hidden).WithHint("write hunter3"))),
			node: &spec.Node{
				Type: spec.Text, Text: "x" + hidden, Hidden: []string{hidden}, Origin: "${SECRET}",
			},
			want: `f: a: no "[secret]"; the value of ${SECRET} is not shown`,
		},
		"an address with credentials": {
			field: spec.URL("a", &text), node: &spec.Node{Type: spec.Text, Text: "https://me:" + hidden + "@x/#y"},
			want: "f: a: an address here has no #fragment, it would not be sent",
		},
		"a word close to a hidden one": {
			field: spec.Enum("a", &other, "hunter2hunter3"),
			node:  &spec.Node{Type: spec.Text, Text: hidden, Hidden: []string{hidden}, Origin: "${SECRET}"},
			want:  "f: a: expected `hunter2hunter3`; the value of ${SECRET} is not shown",
		},
	}
	for name, tt := range tests {
		root := &spec.Node{Type: spec.Map, Pos: spec.Pos{Line: 1, Col: 1}}
		if tt.node != nil {
			tt.node.Path = "a"
			root.Entries = []spec.Entry{{Key: "a", Value: tt.node}}
		}
		r := &spec.Report{File: "f"}
		spec.Decode(r, root, fields{tt.field})
		if got := r.Problems(); len(got) != 1 || got[0].String() != tt.want {
			t.Errorf("%s: problems = %v, want %s", name, got, tt.want)
		}
	}
}

type plainError string

func (e plainError) Error() string { return string(e) }
