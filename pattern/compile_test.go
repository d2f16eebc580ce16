package pattern_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/pattern"
)

// place is the part of an error that points.
func place(reason, path string, offset, line, column int) pattern.Error {
	e := pattern.Error{Reason: reason, Offset: offset, Line: line, Column: column, Exception: "InvalidEventPatternException"}
	if path != "" {
		e.Path = strings.Split(path, "/")
	}
	return e
}

func TestErrorsPointAtTheirPlace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want pattern.Error
	}{
		{`{"detail":{"k":[{"prefix":5}]}}`, place("prefix match pattern must be a string", "detail/k/0", 26, 1, 27)},
		{"{\n  \"é🚀\": {\"k\": [\"x\",\n {\"cidr\": \"1/2/3\"}]}}", place("Malformed CIDR, one '/' required", "é🚀/k/1", 36, 3, 11)},
		{`{"a":["x"],"$or":[{"b":["x"]},{"c":[[]]}]}`, place("Match value must be String, number, true, false, or null", "$or/1/c/0", 36, 1, 37)},
		{`{"a":[]}`, place("Empty arrays are not allowed", "a", 6, 1, 7)},
		{`{"a":"x"}`, place(`"a" must be an object or an array`, "a", 5, 1, 6)},
		{`["a"]`, place("Filter is not an object", "", 0, 1, 1)},
		{``, place("Filter is not an object", "", 0, 1, 1)},
		{"{\"a\":[\"x\"]}\n}", place("Unexpected character ('}' (code 125)): expected the end of the pattern", "", 12, 2, 1)},
		{`{"a":["x"`, place("Unexpected end-of-input: expected a comma", "", 9, 1, 10)},
		{"{\"a\":[\"\xff\"]}", place("Invalid UTF-8", "", 7, 1, 8)},
		{`{"a":[{"anything-but":{"prefix":[]}}]}`, place("Empty arrays are not allowed", "a/0", 33, 1, 34)},
		{`{"a":[{"wildcard":"é\\x"}]}`, place("Invalid escape character at pos 3", "a/0", 18, 1, 19)},
	}
	for _, tt := range tests {
		_, err := pattern.Compile([]byte(tt.text))
		var got *pattern.Error
		if !errors.As(err, &got) {
			t.Errorf("Compile(%s) = %v, want an *Error", tt.text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, *got, cmpopts.IgnoreUnexported(pattern.Error{})); diff != "" {
			t.Errorf("Compile(%s) (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestErrorsReadLikeThoseOfTheService(t *testing.T) {
	t.Parallel()
	long := `{"` + strings.Repeat("k", 520) + `": "x"}`
	tests := []struct{ name, text, want string }{
		{
			"after the token", `{"source": []}`,
			"Empty arrays are not allowed\n at [Source: (String)\"{\"source\": []}\"; line: 1, column: 14]",
		},
		{
			"twice for a list under anything-but", `{"a":[{"anything-but":[null]}]}`,
			"Inside anything but list, start|null|boolean is not supported." +
				strings.Repeat("\n at [Source: (String)\"{\"a\":[{\"anything-but\":[null]}]}\"; line: 1, column: 28]", 2),
		},
		{"without a location", `{"a":[{"cidr":"x"}]}`, "Malformed CIDR, one '/' required"},
		{
			"long text is cut", long,
			`"` + strings.Repeat("k", 520) + `" must be an object or an array` + "\n at [Source: (String)\"" + long[:500] +
				"\"[truncated 29 chars]; line: 1, column: 529]",
		},
	}
	for _, tt := range tests {
		_, err := pattern.Compile([]byte(tt.text))
		if want := "Event pattern is not valid. Reason: " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: Compile(%.60s):\n%v\nwant:\n%s", tt.name, tt.text, err, want)
		}
	}
}

// fields is a pattern of n fields.
func fields(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"f%d":[1]`, i)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func branches(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = `{"a":[1]}`
	}
	return `{"$or":[` + strings.Join(parts, ",") + "]}"
}

func TestLimitsOfTheService(t *testing.T) {
	t.Parallel()
	aws, none := pattern.AWSLimits(), pattern.Limits{}
	tests := []struct {
		name   string
		text   string
		limits pattern.Limits
		want   string // reason, or empty
	}{
		{"4096 characters", `{"a":["` + strings.Repeat("é", 4096-10) + `"]}`, aws, ""},
		{"4097 characters", `{"a":["` + strings.Repeat("é", 4097-10) + `"]}`, aws, "Member must have length less than or equal to 4096"},
		{"4097 characters without limits", `{"a":["` + strings.Repeat("é", 4097-10) + `"]}`, none, ""},
		{"256 fields", fields(256), aws, ""},
		{"257 fields", fields(257), aws, "Size of rule exceeds max value of 256"},
		{"257 fields without limits", fields(257), none, ""},
		{"1000 combinations", branches(1000), pattern.Limits{}, ""},
		{"1001 combinations", branches(1001), pattern.Limits{}, "over 1000 rule combinations"},
		{"own limit of combinations", branches(3), pattern.Limits{Combinations: 2}, "over 2 rule combinations"},
	}
	for _, tt := range tests {
		_, err := pattern.CompileWithin([]byte(tt.text), tt.limits)
		got := ""
		if invalid, ok := errors.AsType[*pattern.Error](err); ok {
			got = invalid.Reason
		}
		if got != tt.want {
			t.Errorf("%s: CompileWithin = %v, want reason %q", tt.name, err, tt.want)
		}
	}
}

func TestTooLongTextIsAValidationException(t *testing.T) {
	t.Parallel()
	_, err := pattern.Compile([]byte(strings.Repeat(" ", 4097)))
	var invalid *pattern.Error
	if !errors.As(err, &invalid) || invalid.Exception != "ValidationException" ||
		!strings.HasSuffix(err.Error(), "failed to satisfy constraint: Member must have length less than or equal to 4096") {
		t.Errorf("Compile of 4097 blanks: %v, want a ValidationException", err)
	}
}

// The numbers are those of the evaluator of event-ruler for one field.
func TestComplexityOfWildcards(t *testing.T) {
	t.Parallel()
	tests := []struct {
		wildcards string
		want      int
	}{
		{`"*"`, 2},
		{`"a*"`, 2},
		{`"*a"`, 2},
		{`"*a*"`, 3},
		{`"*a*b*"`, 4},
		{`"*:*"`, 3},
		{`"*:*:*"`, 5},
		{`"*:*:*:*"`, 7},
		{`"*:*:*:*:*"`, 9},
		{`"*:*:*:*:*:event-bus/*"`, 11},
		{`"/Users/*/dir/dir/dir/dir/dir/doc.txt"`, 7},
		{`"*aaaaaaaaaa"`, 11},
		{`"*:stack/1/*","*:stack/2/*","*:stack/3/*"`, 9},
		{`"*:stack/1/*","*:stack/2/*","*:stack/3/*","*:stack/4/*"`, 12},
		{`"*:stack/1/*","*:stack/1/*"`, 3},
		{`"\\*\\*a"`, 1},
	}
	for _, tt := range tests {
		var alternatives []string
		for w := range strings.SplitSeq(tt.wildcards, ",") {
			alternatives = append(alternatives, `{"wildcard":`+w+`}`)
		}
		nested := `{"a":["x",` + strings.Join(alternatives, ",") + `]}`
		excluded := `{"a":[{"anything-but":{"wildcard":[` + tt.wildcards + `]}}]}`
		for _, text := range []string{nested, excluded} {
			if _, err := pattern.CompileWithin([]byte(text), pattern.Limits{Complexity: tt.want}); err != nil {
				t.Errorf("limit %d: CompileWithin(%s): %v", tt.want, text, err)
			}
			if tt.want < 2 {
				continue
			}
			_, err := pattern.CompileWithin([]byte(text), pattern.Limits{Complexity: tt.want - 1})
			if err == nil || !strings.HasPrefix(err.Error(), "Event pattern is not valid. Reason: Rule is too complex - try using fewer") {
				t.Errorf("limit %d: CompileWithin(%s) = %v, want a refusal", tt.want-1, text, err)
			}
		}
	}
	if _, err := pattern.Compile([]byte(`{"a":[{"wildcard":"*aaaaaaaaaa"}]}`)); err == nil {
		t.Error("Compile accepts a complexity of 11")
	}
}

func TestPatternsAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{`{"k":[{"numeric":[]}]}`, "Invalid member in numeric match: ]"},
		{`{"k":[{"numeric":[{}]}]}`, "Invalid member in numeric match: {"},
		{`{"k":[{"numeric":5}]}`, "Value of numeric must be an array."},
		{`{"k":[{"numeric":[">",1,null]}]}`, "Bad value in numeric range: null"},
		{`{"k":[{"numeric":[">",1,">",2]}]}`, "Bad numeric range operator: >"},
		{`{"k":[{"numeric":[">=",1,"<=","2"]}]}`, "Value of <= must be numeric"},
		{`{"k":[{"numeric":["=",1,"<",2]}]}`, "Too many elements in numeric expression"},
		{`{"k":[{"numeric":["=",1],"x":1}]}`, "Too many elements in numeric expression"},
		{`{"k":[{"numeric":[">",1e400]}]}`, "Cannot compare number : 1e400"},
		{`{"k":[{"prefix":{}}]}`, "Prefix expression name not found"},
		{`{"k":[{"suffix":{}}]}`, "Suffix expression name not found"},
		{`{"k":[{"prefix":{"suffix":"x"}}]}`, "Unsupported prefix pattern: suffix"},
		{`{"k":[{"suffix":{"wildcard":"x"}}]}`, "Unsupported suffix pattern: wildcard"},
		{`{"k":[{"suffix":{"equals-ignore-case":1}}]}`, "equals-ignore-case match pattern must be a string"},
		{`{"k":[{"prefix":{"equals-ignore-case":"x","y":1}}]}`, "Only one key allowed in match expression"},
		{`{"k":[{"prefix":"x","suffix":"y"}]}`, "Only one key allowed in match expression"},
		{`{"k":[{"exactly":1}]}`, "exact match pattern must be a string"},
		{`{"k":[{"wildcard":"a\\"}]}`, "Invalid escape character at pos 2"},
		{`{"k":[{"wildcard":"**"}]}`, "Consecutive wildcard characters at pos 1"},
		{`{"k":[{"anything-but":null}]}`, "Value of anything-but must be an array or single string/number value."},
		{`{"k":[{"anything-but":[]}]}`, "Inside anything but list, either all values are number or string, mixed type is not supported"},
		{`{"k":[{"anything-but":{"anything-but":"x"}}]}`, "Unsupported anything-but pattern: anything-but"},
		{`{"k":[{"anything-but":{"prefix":""}}]}`, "Null prefix/suffix not allowed"},
		{`{"k":[{"anything-but":{"suffix":["x",""]}}]}`, "Null prefix/suffix not allowed"},
		{`{"k":[{"anything-but":{"prefix":5}}]}`, "prefix/suffix match pattern must be a string"},
		{`{"k":[{"anything-but":{"wildcard":["a**"]}}]}`, "Consecutive wildcard characters at pos 2"},
		{`{"k":[{"anything-but":{"wildcard":"a","x":1}}]}`, "Too many elements in numeric expression"},
		{`{"k":[{"anything-but":[1e400]}]}`, "Cannot compare number : 1e400"},
		{`{"k":[{"cidr":"10.0.0.0/"}]}`, "Malformed CIDR, one '/' required"},
		{`{"k":[{"cidr":"10.0.0.0/-1"}]}`, "Malformed CIDR, mask bits must not be negative"},
		{`{"k":[{"cidr":"10.0.0.0/99999999999"}]}`, "Malformed CIDR, mask bits must be an integer"},
		{`{"k":[{"cidr":"::/128"}]}`, "IPv6 mask bits must be < 128"},
		{`{"k":[{"cidr":"::ffff:a00:0/96"}]}`, "IPv4 mask bits must be < 32"},
		{`{"k":[{"cidr":"fe80::1%eth0/64"}]}`, "Nonstandard IP address: fe80::1%eth0"},
		{`{"$or":{}}`, "It must be an Array followed with $or."},
		{`{"$or":[{"a":[1]}]}`, "There must have at least 2 Objects in $or relationship."},
		{`{"$or":[]}`, "There must have at least 2 Objects in $or relationship."},
		{`{"$or":[{"a":[1]},{}]}`, "Empty objects are not allowed"},
		{`{"$or":[{"a":{"b":{"=":[1]}}},{"b":[1]}]}`, "= is Ruler reserved fieldName which cannot be used inside $or."},
		{`{}`, "Empty objects are not allowed"},
	}
	for _, tt := range tests {
		_, err := pattern.Compile([]byte(tt.text))
		var invalid *pattern.Error
		if !errors.As(err, &invalid) || invalid.Reason != tt.want {
			t.Errorf("Compile(%s) = %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestTextThatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"a":[01]}`, `{"a":[.5]}`, `{"a":[5.]}`, `{"a":[1e]}`, `{"a":[-]}`, `{"a":[NaN]}`, `{'a':[1]}`, `{a:[1]}`, `{"a":[1],}`,
		`{"a" [1]}`, `{"a":[1] "b":[1]}`, "{\"a\":[\"x\ty\"]}", "\uFEFF{\"a\":[1]}", `{"a":["\x"]}`, `{"a":["\u12g4"]}`, `{"a":[tru]}`,
		`{"a":["x]}`, `{"a":[1]} {}`, `{"a":[1]]`, `{"a":[1}`, `// x`, `{"a":["x\`, "{\"a\":[\"\u0000\"]}",
	} {
		if _, err := pattern.Compile([]byte(text)); err == nil {
			t.Errorf("Compile(%q) accepts it", text)
		}
	}
}
