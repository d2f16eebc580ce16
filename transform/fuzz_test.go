package transform_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/transform"
)

// FuzzTransform holds the promises for any specification and any event: no panic, errors of the
// documented types, and JSON out of everything but text templates.
func FuzzTransform(f *testing.F) {
	for _, c := range readCases(f) {
		spec := c.spec()
		tr := spec.Transformer
		if tr == nil {
			tr = &transform.Transformer{}
		}
		path := spec.Path
		for _, p := range tr.Paths {
			path = p
		}
		text := tr.Template
		for name := range tr.Paths {
			text = strings.ReplaceAll(text, "<"+name+">", "<a>")
		}
		f.Add(path, text, []byte(c.Event), []byte(nil), false)
	}
	f.Add("$.a[*].b", `{"x":"\"<a>"}`, []byte(`{"detail":{}}`), []byte(`{"a":"\ud800\n"}`), true)
	f.Add("$.detail.a[0]", `<a>1`, []byte(" {\"a\" : [ ] } "), []byte(`{"a":[1,2]} `), false)
	f.Fuzz(func(t *testing.T, path, text string, envelope, detail []byte, escape bool) {
		event := transform.Event{Envelope: envelope, Detail: detail}
		checkApply(t, transform.Spec{Path: path}, event)
		checkApply(t, transform.Spec{Constant: []byte(text)}, event)
		checkApply(t, transform.Spec{Transformer: &transform.Transformer{
			Paths: map[string]string{"a": path, "b": "$.detail"}, Template: text, Escape: escape,
		}}, event)
	})
}

func checkApply(t *testing.T, spec transform.Spec, event transform.Event) {
	t.Helper()
	compiled, err := transform.Compile(spec)
	if err != nil {
		var all transform.Errors
		if !errors.As(err, &all) || len(all) == 0 || err.Error() == "" {
			t.Fatalf("Compile: %#v, want Errors", err)
		}
		for _, e := range all {
			if e.EventBridge("x") == "" {
				t.Errorf("no words for %v", e)
			}
		}
		return
	}
	envelope, detail := string(event.Envelope), string(event.Detail)
	out, err := compiled.Apply(event, vars())
	if string(event.Envelope) != envelope || string(event.Detail) != detail {
		t.Fatal("Apply changed the event")
	}
	if err != nil {
		var e *transform.Error
		if !errors.As(err, &e) || e.Problem == "" || e.Hint == "" {
			t.Fatalf("Apply: %#v, want an *Error with problem and hint", err)
		}
		return
	}
	if compiled.JSON() && !json.Valid(out) {
		t.Fatalf("Apply = %q, which is not JSON (%+v)", out, spec)
	}
}
