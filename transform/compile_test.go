package transform_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/transform"
)

func compileErrors(tb testing.TB, spec transform.Spec) transform.Errors {
	tb.Helper()
	compiled, err := transform.Compile(spec)
	var all transform.Errors
	if !errors.As(err, &all) || compiled != nil {
		tb.Fatalf("Compile = %v, %v, want nil and Errors", compiled, err)
	}
	var first *transform.Error
	if !errors.As(err, &first) || first != all[0] {
		tb.Errorf("errors.As finds %v, want the first error %v", first, all[0])
	}
	return all
}

func TestCompileUsesTheWordsOfEventBridge(t *testing.T) {
	t.Parallel()
	paths := map[string]string{"title": "$.detail.title"}
	for _, tt := range []struct {
		spec transform.Spec
		want string
	}{
		{
			transform.Spec{Path: "$.detail", Transformer: &transform.Transformer{Template: `<a>`}},
			"Only one of Input, InputPath, or InputTransformer must be provided for target crm.",
		},
		{
			transform.Spec{Constant: []byte(`1`), Path: "$"},
			"Only one of Input, InputPath, or InputTransformer must be provided for target crm.",
		},
		{
			template(`{"a": <titel>}`, paths),
			"InputTemplate for target crm contains invalid placeholder titel.",
		},
		{
			template(`"<aws.events.nothing>"`, nil),
			"InputTemplate for target crm contains invalid placeholder aws.events.nothing.",
		},
		{
			transform.Spec{Constant: []byte("{\"a\":\n env:dev}")},
			"JSON syntax error in input for target crm: " +
				"[Source: (String)\"{\"a\":\n env:dev}\"; line: 2, column: 2]",
		},
		{template("", paths), "InputTemplate is required for target crm."},
	} {
		got := compileErrors(t, tt.spec)[0].EventBridge("crm")
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestCompileReportsEveryProblemWithItsPlace(t *testing.T) {
	t.Parallel()
	spec := template(`{"a": <titel>, "b": "<$.detail.x>", <title>: 1, "x<title>": 2, "c": "<zzz>"}`,
		map[string]string{"title": "$.title"})
	type problem struct {
		Code   transform.Code
		Name   string
		Offset int
	}
	var got []problem
	for _, e := range compileErrors(t, spec) {
		got = append(got, problem{e.Code, e.Name, e.Offset})
	}
	want := []problem{
		{transform.CodeUnknownPlaceholder, "titel", 6},
		{transform.CodeUnknownPlaceholder, "$.detail.x", 21},
		{transform.CodePlaceholderKey, "title", 36},
		{transform.CodePlaceholderKey, "title", 50},
		{transform.CodeUnknownPlaceholder, "zzz", 69},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	text := compileErrors(t, spec).Error()
	for _, part := range []string{
		"input template, placeholder <titel>, offset 6: ", "did you mean <title>?",
		"give it a name in paths", "cannot be a key",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in the errors:\n%s", part, text)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 101 {
		many[strconv.Itoa(i)] = "$"
	}
	for name, tt := range map[string]struct {
		spec transform.Spec
		want transform.Code
	}{
		"empty constant":       {transform.Spec{Constant: []byte{}}, transform.CodeInvalidConstant},
		"two constants":        {transform.Spec{Constant: []byte(`1 2`)}, transform.CodeInvalidConstant},
		"long constant":        {transform.Spec{Constant: long(8193)}, transform.CodeLimit},
		"long path":            {transform.Spec{Path: "$." + strings.Repeat("a", 255)}, transform.CodeLimit},
		"empty transformer":    {template("", nil), transform.CodeMissingTemplate},
		"long template":        {template(string(long(8193)), nil), transform.CodeLimit},
		"101 paths":            {template(`{}`, many), transform.CodeLimit},
		"long path of a name":  {template(`{}`, map[string]string{"a": strings.Repeat("a", 257)}), transform.CodeLimit},
		"long name":            {template(`{}`, map[string]string{strings.Repeat("a", 257): "$"}), transform.CodeLimit},
		"name with a dot":      {template(`{}`, map[string]string{"AWS.x": "$"}), transform.CodeInvalidName},
		"name with a blank":    {template(`{}`, map[string]string{"a b": "$"}), transform.CodeInvalidName},
		"empty name":           {template(`{}`, map[string]string{"": "$"}), transform.CodeInvalidName},
		"text without quotes":  {template(`push to main`, nil), transform.CodeInvalidTemplate},
		"blanks":               {template(" \n", nil), transform.CodeInvalidTemplate},
		"a name case differs":  {template(`<A>`, map[string]string{"a": "$"}), transform.CodeUnknownPlaceholder},
		"markup in text":       {template(`"<b>bold</b>"`, nil), transform.CodeUnknownPlaceholder},
		"key after a blank":    {template("{<a> \n: 1}", map[string]string{"a": "$"}), transform.CodePlaceholderKey},
		"predefined as a key":  {template(`{"<aws.events.rule-name>":1}`, nil), transform.CodePlaceholderKey},
		"unknown, other quote": {template(`{"\"<x>": 1}`, nil), transform.CodePlaceholderKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := compileErrors(t, tt.spec)[0]; got.Code != tt.want {
				t.Errorf("got %s (%v), want %s", got.Code, got, tt.want)
			}
		})
	}
}

// long is a JSON string of n bytes.
func long(n int) []byte {
	return []byte(`"` + strings.Repeat("x", n-2) + `"`)
}

func TestCompileAcceptsTheLimits(t *testing.T) {
	t.Parallel()
	paths := map[string]string{strings.Repeat("n", 256): "$." + strings.Repeat("a", 254)}
	for i := range 99 {
		paths[strconv.Itoa(i)] = "$"
	}
	compile(t, template(string(long(8192)), paths))
	compile(t, transform.Spec{Constant: long(8192)})
	compile(t, transform.Spec{Path: "$." + strings.Repeat("ä", 254)})
}

func TestConstantIsSentUnchanged(t *testing.T) {
	t.Parallel()
	text := []byte(" {\"b\": 1.0, \"a\": [ ]}\n")
	compiled := compile(t, transform.Spec{Constant: text})
	want := string(text)
	text[2] = 'X' // Compile took a copy.
	got, err := compiled.Apply(transform.Event{Envelope: []byte("not JSON")}, vars())
	if err != nil || string(got) != want {
		t.Errorf("Apply = %q, %v, want %q", got, err, want)
	}
}

func TestJSONTellsTextTemplatesApart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec transform.Spec
		want bool
	}{
		{transform.Spec{}, true},
		{transform.Spec{Constant: []byte(`"x"`)}, true},
		{transform.Spec{Path: "$.id"}, true},
		{template(` {"a":1}`, nil), true},
		{template(`[1]`, nil), true},
		{template("\n\t\"{a\"", nil), false},
	} {
		if got := compile(t, tt.spec).JSON(); got != tt.want {
			t.Errorf("JSON() of %+v = %v, want %v", tt.spec, got, tt.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	type warning struct {
		Code   transform.Code
		Field  transform.Field
		Name   string
		Offset int
	}
	for name, tt := range map[string]struct {
		spec transform.Spec
		want []warning
	}{
		"none": {template(`{"a":<a>}`, map[string]string{"a": "$.b"}), nil},
		"path": {
			transform.Spec{Path: "$..a"},
			[]warning{{transform.CodeInvalidPath, transform.FieldPath, "", 2}},
		},
		"paths": {
			template(`{"a":<a>}`, map[string]string{"a": "b", "c": "$.d"}),
			[]warning{
				{transform.CodeInvalidPath, transform.FieldPaths, "a", 0},
				{transform.CodeUnusedPath, transform.FieldPaths, "c", -1},
			},
		},
		"quoted event": {
			template(`{"a":"<aws.events.event>","b":"<r>"}`, map[string]string{"r": "$"}),
			[]warning{
				{transform.CodeQuotedEvent, transform.FieldTemplate, "aws.events.event", 6},
				{transform.CodeQuotedEvent, transform.FieldTemplate, "r", 31},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []warning
			for _, w := range compile(t, tt.spec).Warnings() {
				got = append(got, warning{w.Code, w.Field, w.Name, w.Offset})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
