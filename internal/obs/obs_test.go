package obs_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/obs"
)

func TestEveryMetricOfTheReferenceIsServed(t *testing.T) {
	t.Parallel()
	m := obs.NewMetrics("v0.0.0")
	m.Observe(func() obs.Figures { return obs.Figures{Pending: 7, Available: true} })
	m.Accepted("github", time.Millisecond)
	m.Duplicate("github")
	m.Refused("github", "bad_signature")
	m.Handshake("slack", "slack")
	m.Matched("r")
	m.Unmatched("default")
	m.Committed(time.Millisecond)
	m.Synced(3)
	m.Panicked("deliver")
	m.Reloaded(true, time.Unix(5, 0))
	m.Reloaded(false, time.Unix(6, 0))
	d := m.Destination("crm")
	d.Attempt("", time.Second)
	d.Attempt("timeout", time.Second)
	d.Delivered(time.Second)
	d.Ended("delivered")
	d.Ended("delivered")
	d.InFlight(2)
	d.Breaker(2)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	body := w.Body.String()
	for _, row := range obs.Rows() {
		if !strings.Contains(body, "# TYPE "+row.Name+" "+row.Type+"\n") {
			t.Errorf("%s (%s) is in the reference and not served", row.Name, row.Type)
		}
	}
	for _, want := range []string{
		"grapnel_pending_deliveries 7\n", "grapnel_store_available 1\n",
		`grapnel_requests_refused_total{reason="bad_signature",source="github"} 1`,
		`grapnel_attempts_total{destination="crm",result="ok"} 1`,
		`grapnel_attempts_total{destination="crm",result="timeout"} 1`,
		`grapnel_deliveries_total{destination="crm",state="delivered"} 2`,
		"grapnel_commit_seconds_count 1\n", "grapnel_commit_batches_sum 3\n",
		`grapnel_in_flight{destination="crm"} 2`, "grapnel_config_loaded_timestamp_seconds 5\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestLoggersRefuseUnknownLevelsAndFormats(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := obs.NewLogger(&out, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hidden")
	obs.Component(log, "store").Warn("shown", slog.Int("n", 1))
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, `"component":"store","n":1`) {
		t.Errorf("log = %s", got)
	}
	if _, err := obs.NewLogger(&out, "loud", "json"); err == nil {
		t.Error("level loud is taken")
	}
	if _, err := obs.NewLogger(&out, "info", "xml"); err == nil {
		t.Error("format xml is taken")
	}
}
