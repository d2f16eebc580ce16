package transform_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/grapnel/grapnel/transform"
)

const push = `{"version":"0","id":"6a7e8feb","detail-type":"push","source":"github.com",` +
	`"account":"123456789012","time":"2026-10-02T08:15:30Z","region":"us-east-1","resources":[],` +
	`"detail":{"ref":"refs/heads/main","pusher":{"name":"ann"},"commits":[{"id":"c1"},{"id":"c2"}],` +
	`"message":"say \"hi\""}}`

func Example() {
	t, err := transform.Compile(transform.Spec{Transformer: &transform.Transformer{
		Paths: map[string]string{
			"ref":     "$.detail.ref",
			"who":     "$.detail.pusher.name",
			"commits": "$.detail.commits[*].id",
		},
		Template: `{"text": "<who> pushed to <ref>", "commits": <commits>, "rule": <aws.events.rule-name>}`,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := t.Apply(
		transform.Event{Envelope: []byte(push)},
		transform.Vars{RuleName: "pushes", IngestionTime: time.Unix(1790928931, 0)},
	)
	fmt.Println(string(out), err)
	// Output: {"text": "ann pushed to refs/heads/main", "commits": ["c1","c2"], "rule": "pushes"} <nil>
}

func ExampleCompile_path() {
	t, err := transform.Compile(transform.Spec{Path: "$.detail.pusher"})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := t.Apply(transform.Event{Envelope: []byte(push)}, transform.Vars{})
	fmt.Println(string(out), err)
	// Output: {"name":"ann"} <nil>
}

func ExampleCompile_text() {
	t, err := transform.Compile(transform.Spec{Transformer: &transform.Transformer{
		Paths:    map[string]string{"who": "$.detail.pusher", "ref": "$.detail.ref"},
		Template: `"<who> pushed to <ref>"`,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := t.Apply(transform.Event{Envelope: []byte(push)}, transform.Vars{})
	fmt.Println(string(out), t.JSON(), err)
	// Output: "{name:ann} pushed to refs/heads/main" false <nil>
}

// Every problem is reported at once, with its place.
func ExampleCompile_errors() {
	_, err := transform.Compile(transform.Spec{Transformer: &transform.Transformer{
		Paths:    map[string]string{"title": "$.detail.title"},
		Template: `{"title": <titel>, "<title>": 1}`,
	}})
	fmt.Println(err)

	if first, ok := errors.AsType[*transform.Error](err); ok {
		fmt.Println(first.EventBridge("crm"))
	}
	// Output:
	// input template, placeholder <titel>, offset 10: no path has this name, and it is not predefined; did you mean <title>?
	// input template, placeholder <title>, offset 20: a placeholder cannot be a key, or part of one; use it as a value
	// InputTemplate for target crm contains invalid placeholder titel.
}

// A value that does not fit is an error that says what to change.
func ExampleTransform_Apply_error() {
	t, err := transform.Compile(transform.Spec{Transformer: &transform.Transformer{
		Paths:    map[string]string{"msg": "$.detail.message"},
		Template: `{"text": "<msg>"}`,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = t.Apply(transform.Event{Envelope: []byte(push)}, transform.Vars{})
	fmt.Println(err)
	// Output: input template, placeholder <msg>, offset 10: the string at $.detail.message has a double quote at byte 4 and does not fit inside quotes: the document would not be valid JSON; leave out the quotes, so that the value is written as JSON, or let the transformer escape values
}

// A caller that keeps the webhook's body apart from the envelope passes both.
func ExampleEvent() {
	t, err := transform.Compile(transform.Spec{})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := t.Apply(transform.Event{
		Envelope: []byte(`{"id":"1","source":"github.com"}`),
		Detail:   []byte(`{ "size": 1.50 }`),
	}, transform.Vars{})
	fmt.Println(string(out), err)
	// Output: {"id":"1","source":"github.com","detail":{"size":1.50}} <nil>
}

func ExampleValidatePath() {
	fmt.Println(transform.ValidatePath("$.detail.commits[*].id"))
	fmt.Println(transform.ValidatePath("$.detail['ref']"))
	// Output:
	// <nil>
	// input path, offset 8: brackets hold one index from zero, or *; filters, slices, negative indexes and quoted names are not supported
}
