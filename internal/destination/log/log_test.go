package log_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/log"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.RunOffline(t, log.Kind(), `{}`)
	destinationtest.RunOffline(t, log.Kind(), `{"body": true}`)
}

// line returns what one request writes.
func line(t *testing.T, config, body string) map[string]any {
	t.Helper()
	var out bytes.Buffer
	deps := destinationtest.Deps(t)
	deps.Name, deps.Log = "graveyard", slog.New(slog.NewJSONHandler(&out, nil))
	request := destinationtest.Request(body)
	request.Event.ID = "0199d2c4-0000-7000-8000-000000000000"
	request.Attributes = map[string]string{"ERROR_CODE": "TIMEOUT", "ATTEMPTS": "185"}
	resp, err := destinationtest.Build(t, log.Kind(), config, deps).Do(t.Context(), request)
	if err != nil || resp.Status != 200 {
		t.Fatalf("Do = %+v, %v", resp, err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	return got
}

func TestALineSaysWhatCameFromWhere(t *testing.T) {
	t.Parallel()
	want := map[string]any{
		"level": "INFO", "msg": "event delivered to the log", "destination": "graveyard",
		"delivery": "dlv_0199d2c4-1-2", "attempt": 1.0, "event": "0199d2c4-0000-7000-8000-000000000000",
		"source": "test", "detail_type": "sample", "bus": "default", "rule": "rule", "target": "target", "size": 14.0,
		"attributes": map[string]any{"ERROR_CODE": "TIMEOUT", "ATTEMPTS": "185"},
	}
	if diff := cmp.Diff(want, line(t, `{}`, `{"a": "s3cret"}`[:14])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheMessageIsWrittenOnlyIfAskedFor(t *testing.T) {
	t.Parallel()
	const body = `{"card": "4111"}`
	if got := line(t, `{"body": true}`, body); got["body"] != body || got["truncated"] != false {
		t.Errorf("line %v, want the message", got)
	}
	got := line(t, `{"body": true}`, strings.Repeat("x", 100<<10))
	if text, _ := got["body"].(string); len(text) != 64<<10 || got["truncated"] != true {
		t.Errorf("%d bytes of a long message, truncated %v, want 64 KiB", len(text), got["truncated"])
	}
	if got := line(t, `{"body": false}`, body); got["body"] != nil {
		t.Errorf("line %v, want no message", got)
	}
}
