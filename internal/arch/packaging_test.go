package arch_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/obs"
)

// packaged reads a file of packaging/.
func packaged(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "packaging", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	metricName = regexp.MustCompile(`grapnel_[a-z_]+`)
	// labeled is a metric with the labels that it is asked for: by (…) stands in front of it.
	labeled = regexp.MustCompile(`\bby \(([a-z, ]+)\)[^"']*?(grapnel_[a-z_]+)`)
)

// TestPackagedQueriesAskWhatThereIs holds that the dashboard and the alert rules name metrics and labels
// that exist: a query for another one shows nothing, and an alert on it never fires.
func TestPackagedQueriesAskWhatThereIs(t *testing.T) {
	t.Parallel()
	rows := map[string]obs.Row{}
	for _, r := range obs.Rows() {
		rows[r.Name] = r
		if r.Type == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				rows[r.Name+suffix] = r
			}
		}
	}
	for _, file := range []string{"grafana/dashboard.json", "prometheus/rules.yaml"} {
		text := packaged(t, file)
		names := metricName.FindAllString(text, -1)
		if len(names) < 10 {
			t.Fatalf("packaging/%s names %d metrics: the search is wrong", file, len(names))
		}
		for _, name := range names {
			if _, ok := rows[name]; !ok {
				t.Errorf("packaging/%s asks for %s, which is no metric", file, name)
			}
		}
		for _, m := range labeled.FindAllStringSubmatch(text, -1) {
			row := rows[m[2]]
			for label := range strings.SplitSeq(m[1], ", ") {
				histogram := label == "le" && row.Type == "histogram"
				if !histogram && !slices.Contains(row.Labels, label) {
					t.Errorf("packaging/%s asks %s by %s, a label that it does not have", file, m[2], label)
				}
			}
		}
	}
}

// TestTheDashboardShowsEveryMetric holds that a new metric gets a place on the dashboard.
func TestTheDashboardShowsEveryMetric(t *testing.T) {
	t.Parallel()
	text := packaged(t, "grafana/dashboard.json")
	var dashboard struct {
		Title  string `json:"title"`
		Panels []struct {
			ID      int    `json:"id"`
			Title   string `json:"title"`
			GridPos struct{ X, Y, W, H int }
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: there twice, without title or query, or wider than the page", p.ID, p.Title)
		}
		ids[p.ID] = true
	}
	// What is left out, each for a reason.
	left := []string{
		"grapnel_handshakes_total",                // once for each source, at its setup
		"grapnel_commit_batches",                  // for whoever works on the journal
		"grapnel_journal_segments",                // its bytes say more
		"grapnel_config_loaded_timestamp_seconds", // reloads are shown
	}
	for _, r := range obs.Rows() {
		if !strings.Contains(text, r.Name) && !slices.Contains(left, r.Name) {
			t.Errorf("the dashboard does not show %s: give it a panel, or leave it out with a reason", r.Name)
		}
	}
}

// TestAlertRulesHoldWhatTheDocumentationAsksFor holds that what docs/metrics.md says is worth waking
// somebody has a rule.
func TestAlertRulesHoldWhatTheDocumentationAsksFor(t *testing.T) {
	t.Parallel()
	rules := packaged(t, "prometheus/rules.yaml")
	_, worth, ok := strings.Cut(metricsQuestions, "Worth waking somebody")
	names := metricName.FindAllString(worth, -1)
	if !ok || len(names) < 5 {
		t.Fatalf("docs/metrics.md names %d metrics to alert on: the search is wrong", len(names))
	}
	for _, name := range names {
		if !strings.Contains(rules, name) {
			t.Errorf("packaging/prometheus/rules.yaml has no rule on %s", name)
		}
	}
	if alerts, texts := strings.Count(rules, "- alert: "), strings.Count(rules, "description: "); alerts != texts {
		t.Errorf("%d alerts with %d descriptions", alerts, texts)
	}
}
