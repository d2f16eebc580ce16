package pagerduty_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/pagerduty"
)

const key = "r0utingkey0123456789abcdef012345"

// send sends a request to a destination of the configuration and returns the
// event that PagerDuty got.
func send(tb testing.TB, more string, r *destination.Request) map[string]any {
	tb.Helper()
	var got map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			tb.Errorf("reading the event: %v", err)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	config := fmt.Sprintf(`{"routing_key": %q, "url": %q%s}`, key, s.URL+"/v2/enqueue", more)
	resp, err := destinationtest.Build(tb, pagerduty.Kind(), config, destinationtest.Deps(tb)).Do(tb.Context(), r)
	if err != nil || resp.Status != http.StatusAccepted {
		tb.Fatalf("Do = %+v, %v", resp, err)
	}
	return got
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind:    pagerduty.Kind(),
		Config:  func(url string) string { return fmt.Sprintf(`{"routing_key": %q, "url": %q}`, key, url+"/v2/enqueue") },
		Secrets: []string{key},
	})
}

func TestAnEventIsCompleteWithoutConfiguration(t *testing.T) {
	t.Parallel()
	request := destinationtest.Request(`{"a": "<b>"}`)
	request.Event.Time = time.Unix(1_700_000_000, 0)
	want := map[string]any{
		"routing_key": key, "event_action": "trigger", "dedup_key": request.ID, "client": "Grapnel",
		"payload": map[string]any{
			"summary": "sample from test", "source": "test", "severity": "error", "class": "sample",
			"timestamp": "2023-11-14T22:13:20Z", "custom_details": map[string]any{"a": "<b>"},
		},
	}
	for attempt := 1; attempt < 3; attempt++ {
		request.Attempt = attempt
		if diff := cmp.Diff(want, send(t, "", request)); diff != "" {
			t.Errorf("attempt %d (-want +got):\n%s", attempt, diff)
		}
	}
}

func TestTheMessageDecides(t *testing.T) {
	t.Parallel()
	const config = `, "dedup_key": "$.alert.id", "summary": "$.alert.title", "source": "$.host", "severity": "warning",
		"severity_path": "$.alert.severity", "severity_map": {"SEV0": "critical", "low": "error"},
		"resolve_when": {"path": "$.alert.status", "is": ["Resolved", "0"]},
		"acknowledge_when": {"path": "$.alert.status", "is": ["seen", "resolved"]}`
	for body, want := range map[string][5]string{ // action, key, summary, source, severity
		`{"host": "db1", "alert": {"id": "a-1", "title": "full", "severity": "sev0", "status": "open"}}`: {
			"trigger", "a-1", "full", "db1", "critical",
		},
		`{"alert": {"id": 17, "severity": "LOW", "status": "RESOLVED"}}`: {"resolve", "17", "sample from test", "test", "error"},
		`{"alert": {"id": "x", "severity": "P1", "status": 0}}`:          {"resolve", "x", "sample from test", "test", "critical"},
		`{"alert": {"id": "x", "severity": "odd", "status": "seen"}}`:    {"acknowledge", "x", "sample from test", "test", "warning"},
		`{"alert": {"id": null, "title": ""}}`:                           {"trigger", "ID", "sample from test", "test", "warning"},
		`[1]`:                                                            {"trigger", "ID", "sample from test", "test", "warning"},
		`a=b`:                                                            {"trigger", "ID", "sample from test", "test", "warning"},
	} {
		request := destinationtest.Request(body)
		got := send(t, config, request)
		p, _ := got["payload"].(map[string]any)
		if want[1] == "ID" {
			want[1] = request.ID
		}
		if diff := cmp.Diff(want, [5]string{
			text(got["event_action"]), text(got["dedup_key"]), text(p["summary"]), text(p["source"]), text(p["severity"]),
		}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		if _, ok := p["custom_details"].(map[string]any); !ok {
			t.Errorf("%s: custom_details %v is no object", body, p["custom_details"])
		}
	}
}

func text(v any) string { return fmt.Sprint(v) }

func TestLimitsOfTheAPIAreKept(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 2000)
	got := send(t, `, "dedup_key": "$.id", "summary": "$.id"`, destinationtest.Request(`{"id": "`+long+`1"}`))
	other := send(t, `, "dedup_key": "$.id"`, destinationtest.Request(`{"id": "`+long+`2"}`))
	if n := len(text(got["dedup_key"])); n > 255 || got["dedup_key"] == other["dedup_key"] {
		t.Errorf("dedup_key of %d bytes, %v and %v: want short ones that differ", n, got["dedup_key"], other["dedup_key"])
	}
	p, _ := got["payload"].(map[string]any)
	if s := text(p["summary"]); len(s) > 1024 || !strings.HasSuffix(s, "ü…") {
		t.Errorf("summary of %d bytes, want at most 1024 that say that they were cut", len(s))
	}
}

func TestATestWakesNobody(t *testing.T) {
	t.Parallel()
	request := destinationtest.Request(`{"s": "resolved"}`)
	request.Test, request.Event = true, nil
	got := send(t, `, "severity": "critical", "dedup_key": "$.none", "resolve_when": {"path": "$.s", "is": ["resolved"]}`, request)
	p, _ := got["payload"].(map[string]any)
	if p["severity"] != "info" || got["event_action"] != "trigger" || !strings.Contains(text(p["summary"]), "Test") {
		t.Errorf("a test sent %v", got)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                     "routing_key: is missing",
		`{"routing_key": "a b"}`: "spaces",
		`{"routing_key": "a", "event_action": "close"}`:                                 "event_action",
		`{"routing_key": "a", "event_action": "resolve"}`:                               "dedup_key",
		`{"routing_key": "a", "resolve_when": {"path": "$.a", "is": ["x"]}}`:            "dedup_key",
		`{"routing_key": "a", "dedup_key": "$.a", "resolve_when": {"path": "$.a"}}`:     "is: is missing",
		`{"routing_key": "a", "dedup_key": "detail.id"}`:                                "not a path",
		`{"routing_key": "a", "severity": "high"}`:                                      "severity",
		`{"routing_key": "a", "severity_map": {"x": "info"}}`:                           "severity_path",
		`{"routing_key": "a", "severity_path": "$.s", "severity_map": {"x": "urgent"}}`: "no severity of PagerDuty",
		`{"routing_key": "a", "url": "https://u:p@h"}`:                                  "neither credentials",
	} {
		_, problems := destinationtest.Decode(t, pagerduty.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
