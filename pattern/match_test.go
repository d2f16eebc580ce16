package pattern_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/grapnel/grapnel/pattern"
)

// matchCase is one alternative against one value of the field k.
type matchCase struct {
	alternative, value string
	want               bool
}

func runMatchCases(t *testing.T, tests []matchCase) {
	t.Helper()
	for _, tt := range tests {
		wantMatch(t, `{"k":[`+tt.alternative+`]}`, `{"k":`+tt.value+`}`, tt.want)
	}
}

func TestCaseIsFoldedByTheCharactersOfThePattern(t *testing.T) {
	t.Parallel()
	runMatchCases(t, []matchCase{
		{`{"equals-ignore-case":"Straße"}`, `"STRASSE"`, true},
		{`{"equals-ignore-case":"Straße"}`, `"strasse"`, false},
		{`{"equals-ignore-case":"STRASSE"}`, `"straße"`, false},
		{`{"equals-ignore-case":"\u212a"}`, `"k"`, true},
		{`{"equals-ignore-case":"\u212a"}`, `"\u212a"`, true},
		{`{"equals-ignore-case":"k"}`, `"\u212a"`, false},
		{`{"equals-ignore-case":"ς"}`, `"Σ"`, true},
		{`{"equals-ignore-case":"ς"}`, `"σ"`, false},
		{`{"equals-ignore-case":"Σ"}`, `"σ"`, true},
		{`{"equals-ignore-case":"İ"}`, `"i\u0307"`, true},
		{`{"equals-ignore-case":"ﬁn"}`, `"FIN"`, true},
		{`{"equals-ignore-case":"𐐀x"}`, `"𐐨X"`, true},
		{`{"prefix":{"equals-ignore-case":"éA"}}`, `"ÉaB"`, true},
		{`{"prefix":{"equals-ignore-case":"éA"}}`, `"É"`, false},
		{`{"suffix":{"equals-ignore-case":"é"}}`, `"caf\u00c9"`, true},
		{`{"suffix":{"equals-ignore-case":"ß"}}`, `"GRUSS"`, true},
		{`{"suffix":{"equals-ignore-case":"xß"}}`, `"SS"`, false},
		{`{"equals-ignore-case":"["}`, `"{"`, false},
		{`{"equals-ignore-case":"a@z"}`, "\"A`Z\"", false},
	})
}

func TestAddressesAreEqualInAnySpelling(t *testing.T) {
	t.Parallel()
	runMatchCases(t, []matchCase{
		{`"10.0.0.1"`, `"010.000.000.001"`, true},
		{`"10.0.0.1"`, `"0010.000.000.001"`, false}, // longer than any address
		{`"::1"`, `"0:0:0:0:0:0:0:1"`, true},
		{`"FE80::1"`, `"fe80:0::0001"`, true},
		{`"::ffff:a00:1"`, `"10.0.0.1"`, true},
		{`"300.1.1.1"`, `"300.1.1.1"`, true},
		{`"300.1.1.1"`, `"300.1.1.01"`, false},
		{`"1.2.3"`, `"1.2.03"`, false},
		{`"fe80::1%eth0"`, `"fe80::1%eth0"`, true},
		{`{"exactly":"10.0.0.1"}`, `"10.0.0.01"`, false},
		{`{"anything-but":"10.0.0.1"}`, `"10.0.0.01"`, true},
		{`{"cidr":"10.1.2.3/8"}`, `"10.255.0.1"`, true},
		{`{"cidr":"10.0.0.0/8"}`, `"0a00::1"`, false},
		{`{"cidr":"10.0.0.0/8"}`, `"10.0.0.1:80"`, false},
		{`{"cidr":"10.0.0.0/8"}`, `"::ffff:a00:1"`, true},
		{`{"cidr":"2001:db8::/32"}`, `"2001:db8::1%eth0"`, false},
		{`{"cidr":"2001:db8::/33"}`, `"2001:db8:8000::"`, false},
		{`{"cidr":"0.0.0.0/0"}`, `"::1"`, false},
		{`{"cidr":"::/0"}`, `"1.2.3.4"`, false},
		{`{"cidr":"0.0.0.0/0"}`, `"1..2.3"`, false},
		{`{"cidr":"0.0.0.0/0"}`, `".1.2.3"`, false},
	})
}

func TestNumbersCompareByValueWhenAFloatHoldsThem(t *testing.T) {
	t.Parallel()
	runMatchCases(t, []matchCase{
		{`300`, `3.0E+2`, true},
		{`0`, `-0.0e5`, true},
		{`0.1`, `1e-1`, true},
		{`-1.5`, `-15e-1`, true},
		{`123456789012345`, `123456789012345.0`, true},
		{`9007199254740993`, `9007199254740993`, true},
		{`9007199254740993`, `9007199254740992`, false},
		{`9007199254740992`, `9.007199254740992e15`, true},
		{`0.30000000000000004`, `0.30000000000000004`, true},
		{`0.3`, `0.30000000000000004`, false},
		{`0.1000000000000000055`, `0.1`, false},
		{`1e400`, `1e400`, true},
		{`1e400`, `10e399`, false},
		{`1e-400`, `0`, false},
		{`{"numeric":[">",4.9e-324]}`, `1e-323`, true},
		{`{"numeric":["=",5e-324]}`, `4.9e-324`, true},
		{`{"numeric":[">",0]}`, `1e400`, false},
		{`{"numeric":[">",0]}`, `1.7976931348623157e308`, true},
		{`{"numeric":["<",0]}`, `9007199254740993`, false},
		{`{"anything-but":5}`, `9007199254740993`, true},
		{`{"anything-but":[5,6]}`, `6.0`, false},
	})
}

func TestWildcards(t *testing.T) {
	t.Parallel()
	runMatchCases(t, []matchCase{
		{`{"wildcard":"a*b*c"}`, `"aXbYc"`, true},
		{`{"wildcard":"a*b*c"}`, `"abbc"`, true},
		{`{"wildcard":"a*b*c"}`, `"acb"`, false},
		{`{"wildcard":"ab*ba"}`, `"aba"`, false},
		{`{"wildcard":"ab*ba"}`, `"abba"`, true},
		{`{"wildcard":"*"}`, `"line\nbreak"`, true},
		{`{"wildcard":"*\\**"}`, `"a*b"`, true},
		{`{"wildcard":"*\\**"}`, `"ab"`, false},
		{`{"wildcard":"\\\\*"}`, `"\\x"`, true},
		{`{"wildcard":"*é*"}`, `"caf\u00e9s"`, true},
		{`{"wildcard":"*"}`, `5`, false},
		{`{"wildcard":"*y"},{"equals-ignore-case":"e"}`, `"zz"`, false},
	})
}

func TestTextOfEventsIsDecoded(t *testing.T) {
	t.Parallel()
	runMatchCases(t, []matchCase{
		{`"a\"\\/\b\f\n\r\té"`, `"\u0061\"\\\/\b\f\n\r\t\u00E9"`, true},
		{`"🚀"`, `"\uD83D\uDE80"`, true},
		{`"\ufffd"`, `"\ud83d"`, true},
		{`"\ufffdx"`, `"\ud83dx"`, true},
		{`"\ufffdA"`, `"\ud83d\u0041"`, true},
		{`"abcdefgh\""`, `"abcdefgh\""`, true},
		{`{"prefix":"say \""}`, `"say \"hi\""`, true},
		{`{"prefix":"say \""}`, `"say "`, false},
		{`{"suffix":"\"x"}`, `"x"`, false},
	})
	wantMatch(t, `{"kéy":["x"]}`, `{"k\u00e9y":"x"}`, true)
	wantMatch(t, `{"a":{"b":["x"]}}`, `{"\u0061\u002eb":"x"}`, true)
}

func TestEmptyKeys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, event string
		want        bool
	}{
		{`{"":["x"]}`, `{"":"x"}`, true},
		{`{"a":{"":["x"]}}`, `{"a":{"":"x"}}`, false},
		{`{"a.":["x"]}`, `{"a":{"":["x"]}}`, false},
		{`{"a.":["x"]}`, `{"a.":"x"}`, true},
		{`{"a":{"":{"b":["x"]}}}`, `{"a":{"":{"b":"x"}}}`, true},
		{`{"a":{"":["x"]},"a..b":["x"]}`, `{"a":{"":{"b":"x"}}}`, false},
		{`{"a":{"":[{"exists":false}],"":{"b":["x"],"":{"c":["x"]}}}}`, `{"a":{"":[{"b":"x"},{"b":"x","":{"c":"x"}}]}}`, true},
	}
	for _, tt := range tests {
		wantMatch(t, tt.text, tt.event, tt.want)
	}
}

func TestFieldsAreVisitedInTheOrderOfUTF16(t *testing.T) {
	t.Parallel()
	// U+1F680 sorts before U+FF5E by UTF-16 units and after it by bytes. The
	// absence of the later one is tested in the element of the earlier one.
	wantMatch(t, `{"m":{"🚀":[{"exists":true}],"～":[{"exists":false}]}}`, `{"m":[{"🚀":1},{"🚀":1,"～":1}]}`, true)
	wantMatch(t, `{"m":{"～":[{"exists":true}],"🚀":[{"exists":false}]}}`, `{"m":[{"～":1},{"🚀":1,"～":1}]}`, false)
}

func TestEventsThatAreNoJSONObjectAreRefused(t *testing.T) {
	t.Parallel()
	set := pattern.NewSet([]*pattern.Pattern{mustCompile(t, `{"a":["x"],"b":{"c":["x"]}}`)})
	tests := []struct {
		event  string
		reason string
		offset int
	}{
		{``, "unexpected end", 0},
		{`  `, "unexpected end", 2},
		{`[]`, "the top level is not an object", 0},
		{`"a"`, "the top level is not an object", 0},
		{`{"a":"x"`, "unexpected end", 8},
		{`{"a":"x"}}`, "unexpected text after the value", 9},
		{`{"a":"x",}`, "expected a field name", 9},
		{`{"a":"x" "b":1}`, "expected a comma or the end of the list", 9},
		{`{"a" "x"}`, "expected a colon", 5},
		{`{"q":[1,]}`, "expected a value", 8},
		{`{"q":{"r":[1 2]}}`, "expected a comma or the end of the list", 13},
		{`{"q":{"r":[1}}`, "expected a comma or the end of the list", 12},
		{`{"q":01}`, "expected a value", 5},
		{`{"q":nul}`, "expected a value", 5},
		{`{"q":"\x"}`, "invalid character in a string", 6},
		{"{\"q\":\"0123456789\n\"}", "invalid character in a string", 16},
		{`{"q":"\u12`, "invalid character in a string", 6},
		{"\uFEFF{}", "the top level is not an object", 0},
	}
	for _, tt := range tests {
		got, err := set.Match([]byte(tt.event), []int{5})
		var invalid *pattern.EventError
		if !errors.As(err, &invalid) || invalid.Reason != tt.reason || invalid.Offset != tt.offset || invalid.Detail {
			t.Errorf("Match(%q): %v, want %q at %d", tt.event, err, tt.reason, tt.offset)
		}
		if !slices.Equal(got, []int{5}) {
			t.Errorf("Match(%q) = %v, want dst as it was", tt.event, got)
		}
	}
}

func TestMatchAppendsInAscendingOrder(t *testing.T) {
	t.Parallel()
	set := pattern.NewSet([]*pattern.Pattern{
		mustCompile(t, `{"b":["y"]}`),
		nil,
		mustCompile(t, `{"a":[{"prefix":"x"}]}`),
		mustCompile(t, `{"$or":[{"a":["x"]},{"b":["y"]}]}`),
		mustCompile(t, `{"a":["z"]}`),
		mustCompile(t, `{"a":["x","q"]}`),
	})
	got, err := set.Match([]byte(`{"a":["q","x"],"b":"y"}`), []int{42})
	if want := []int{42, 0, 2, 3, 5}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Match = %v, %v, want %v", got, err, want)
	}
	if set.Len() != 6 {
		t.Errorf("Len() = %d, want 6", set.Len())
	}
}

func TestEmptySetMatchesNothingButReadsTheEvent(t *testing.T) {
	t.Parallel()
	set := pattern.NewSet(nil)
	if got, err := set.Match([]byte(`{"a":1}`), nil); err != nil || len(got) != 0 {
		t.Errorf("Match = %v, %v, want nothing", got, err)
	}
	if _, err := set.Match([]byte(`{"a":}`), nil); err == nil {
		t.Error("Match of malformed JSON: no error")
	}
}

// A pooled evaluation must not carry anything from one event to the next.
func TestSetIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var patterns []*pattern.Pattern
	for i := range 50 {
		patterns = append(patterns, mustCompile(t, fmt.Sprintf(`{"k":["v%d"],"l":{"a":[%d],"b":["\u0062"]}}`, i, i)))
	}
	set := pattern.NewSet(patterns)
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 500 {
				n := (i*7 + w) % 60
				event := fmt.Sprintf(`{"k":"v%d","l":[{"a":1e9,"b":"b"},{"a":%d,"b":"\u0062%s"}]}`, n, n, strings.Repeat("x", i%2))
				var want []int
				if n < 50 && i%2 == 0 {
					want = []int{n}
				}
				if got, err := set.Match([]byte(event), nil); err != nil || !slices.Equal(got, want) {
					t.Errorf("Match(%s) = %v, %v, want %v", event, got, err, want)
				}
			}
		})
	}
	workers.Wait()
}

func TestMatchAllocatesNothing(t *testing.T) {
	// Not parallel, since it counts the allocations of the process.
	event := pushEvent(t)
	set := setOf(t, 100, pushRule)
	dst := make([]int, 0, 100)
	if n := testing.AllocsPerRun(50, func() {
		if got, err := set.MatchEvent(event, dst); err != nil || len(got) != 1 {
			t.Fatalf("MatchEvent = %v, %v, want one match", got, err)
		}
	}); n > allocations {
		t.Errorf("MatchEvent allocates %v times", n)
	}
}
