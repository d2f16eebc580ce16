package transform_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/transform"
)

// benchEvent is an event whose detail, like a webhook's, is 8 KiB of nested objects.
func benchEvent(tb testing.TB) transform.Event {
	tb.Helper()
	type commit struct {
		ID       string            `json:"id"`
		Message  string            `json:"message"`
		Author   map[string]string `json:"author"`
		Modified []string          `json:"modified"`
	}
	body := struct {
		Ref     string            `json:"ref"`
		Commits []commit          `json:"commits"`
		Pusher  map[string]string `json:"pusher"`
	}{Ref: "refs/heads/main", Pusher: map[string]string{"name": "ann"}}
	for i := range 29 {
		body.Commits = append(body.Commits, commit{
			ID:       strings.Repeat(strconv.Itoa(i%10), 40),
			Message:  "Explain why the queue is bounded, and what happens when it is full",
			Author:   map[string]string{"name": "Ann Example", "email": "ann@example.com"},
			Modified: []string{"internal/deliver/queue.go", "internal/deliver/queue_test.go", "docs/states.md"},
		})
	}
	detail, err := json.Marshal(body)
	if err != nil {
		tb.Fatal(err)
	}
	return transform.Event{
		Envelope: []byte(`{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"push",` +
			`"source":"github.com","account":"123456789012","time":"2026-10-02T08:15:30Z",` +
			`"region":"us-east-1","resources":["arn:x:1","arn:x:2"]}`),
		Detail: detail,
	}
}

func BenchmarkApply(b *testing.B) {
	event := benchEvent(b)
	paths := map[string]string{
		"ref": "$.detail.ref", "who": "$.detail.pusher.name", "ids": "$.detail.commits[*].id",
		"first": "$.detail.commits[0]", "type": "$.detail-type",
	}
	for name, spec := range map[string]transform.Spec{
		"envelope_path":  {Path: "$.source"},
		"detail_path":    {Path: "$.detail.commits[3].author"},
		"detail":         {Path: "$.detail"},
		"whole":          {},
		"template":       template(`{"text":"<who> pushed <ref>","type":<type>,"first":<first>}`, paths),
		"template_list":  template(`{"ids":<ids>}`, paths),
		"template_text":  template(`"<who> pushed <ref> (<type>)"`, paths),
		"template_whole": template(`{"e":<aws.events.event.json>,"rule":<aws.events.rule-name>}`, nil),
		"constant":       {Constant: []byte(`{"job":"sweep"}`)},
	} {
		b.Run(name, func(b *testing.B) {
			compiled := compile(b, spec)
			b.SetBytes(int64(len(event.Envelope) + len(event.Detail)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compiled.Apply(event, vars()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	spec := template(`{"text":"<who> pushed <ref>"}`,
		map[string]string{"ref": "$.detail.ref", "who": "$.detail.pusher.name"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transform.Compile(spec); err != nil {
			b.Fatal(err)
		}
	}
}
