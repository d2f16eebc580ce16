package arch_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/obs"
)

var update = flag.Bool("update", false, "rewrite the generated pages of docs")

// page compares a generated page with what docs/ has, or rewrites it.
func page(t *testing.T, name, want string) {
	t.Helper()
	file := filepath.Join(root, "docs", name)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil { //nolint:gosec // a page that everybody may read
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/%s is not what the code says (-want +got); run go test ./internal/arch -update:\n%s", name, diff)
	}
}

// paper is a page that is being written.
type paper struct{ text []byte }

func (p *paper) line(format string, args ...any) { p.text = fmt.Appendf(p.text, format+"\n", args...) }

// add appends a text as it is.
func (p *paper) add(text string) { p.text = append(p.text, text...) }

func (p *paper) String() string { return string(p.text) }

// row writes one row of a table.
func (p *paper) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	p.line("| %s |", strings.Join(cells, " | "))
}

// head writes the first two lines of a table.
func (p *paper) head(cells ...string) {
	p.row(cells...)
	p.line("|%s", strings.Repeat("---|", len(cells)))
}

func code(text string) string { return "`" + text + "`" }

// tries words what a class means for the next attempt.
func tries(r destination.Retry) (short, long string) {
	switch r {
	case destination.RetryTransient:
		return "yes, and counts", "Tried again; the attempt counts."
	case destination.RetryThrottled:
		return "yes, does not count", "Tried again, not before Retry-After if the receiver sent one; the attempt does not count, " +
			"only the age of the delivery does."
	case destination.RetryFunction:
		return "yes, and counts", "Tried again; the attempt counts, because the function did run."
	case destination.RetryNever:
		return "no", "Not tried again: the delivery is dead."
	default:
		return "", ""
	}
}

func TestGeneratedTroubleshooting(t *testing.T) {
	t.Parallel()
	p := &paper{}
	p.add(troubleshootingIntro)
	p.head("class", "tried again", "what happened")
	for _, c := range destination.Classes() {
		short, long := tries(c.Retry)
		if short == "" || long == "" || !strings.HasSuffix(c.What, ".") || !strings.HasSuffix(c.Next, ".") {
			t.Errorf("class %s: its row is not complete: %+v", c.Class, c)
		}
		p.row(fmt.Sprintf("[`%s`](#%s)", c.Class, c.Class), short, c.What)
	}
	for _, c := range destination.Classes() {
		_, long := tries(c.Retry)
		p.line("\n### `%s`\n\n%s\n\n%s\n\n**Next:** %s", c.Class, c.What, long, c.Next)
	}
	page(t, "troubleshooting.md", p.String())
}

const troubleshootingIntro = `# Troubleshooting deliveries

Generated from the code by ` + "`make generate`" + `. A request that was not accepted at all is another page:
[errors.md](errors.md). What the states mean: [states.md](states.md).

` + "```" + `
grapnel deliveries list --state dead --since 1d      # what was given up
grapnel deliveries list --class timeout              # what failed for one reason
grapnel deliveries show dlv_…                        # every attempt of one, and what to do next
grapnel test crm                                     # a sample to a destination, now
grapnel destinations list                            # which breaker is open, and the last failure
` + "```" + `

` + "`grapnel deliveries show`" + ` lists every attempt: its time, how long it took, the status or the *class* of the failure,
and the first part of what the receiver answered. The class is the word to look up below; its next step is printed
there too. When the cause is gone, ` + "`grapnel deliveries retry ID`" + ` tries it at once, with attempts and deadline anew
and under the same id; without an id and with a filter it does that for many, as fast as ` + "`--rate`" + ` allows.

Three things are not failures:

* **held**: the target or destination is missing or disabled. Nothing is attempted until it is back, or until the
  deadline passes.
* **no attempt while pending**: the breaker of the destination is open after many failures in a row. A probe is
  sent at the latest every minute (or when the receiver said), and once it is answered the attempts come back: 1, 2, 4, …
  ` + "`grapnel destinations show NAME`" + ` names state and last failure.
* **an attempt more than expected**: deliveries are made at least once. After a crash, or an answer that was lost, the
  receiver sees the same ` + "`webhook-id`" + ` again and can leave it out.

How often a delivery is tried is its target's ` + "`retry`" + `: 185 attempts within 24 hours unless it says otherwise,
after a random wait of at most 1 s that doubles with each failure up to 16 min. A Retry-After of the receiver is the
least that is waited.

## The classes

`

func TestGeneratedMetrics(t *testing.T) {
	t.Parallel()
	p := &paper{}
	p.add(metricsIntro)
	p.head("metric", "type", "labels", "what")
	known := map[string]bool{}
	for _, r := range obs.Rows() {
		if known[r.Name] || r.Help == "" || !strings.HasSuffix(r.Help, ".") {
			t.Errorf("metric %s: there twice, or without a sentence: %q", r.Name, r.Help)
		}
		known[r.Name] = true
		var labels []string
		for _, l := range r.Labels {
			labels = append(labels, code(l))
		}
		p.row(code(r.Name), r.Type, strings.Join(labels, ", "), r.Help)
	}
	p.add(metricsQuestions)
	for _, name := range regexp.MustCompile(`grapnel_[a-z_]+`).FindAllString(metricsQuestions, -1) {
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
		if !known[base] {
			t.Errorf("the questions ask %s, which is no metric", name)
		}
	}
	page(t, "metrics.md", p.String())
}

const metricsIntro = `# Metrics

Generated from the code by ` + "`make generate`" + `. The admin port serves them at ` + "`/metrics`" + ` in the Prometheus text
format, to whoever has the admin token:

` + "```yaml" + `
scrape_configs:
  - job_name: grapnel
    authorization: {credentials_file: /var/lib/grapnel/admin.token}
    static_configs: [{targets: ["127.0.0.1:8081"]}]
` + "```" + `

Labels are names from the configuration and codes from tables: [reasons](errors.md), [classes](troubleshooting.md),
[states](states.md). Nothing that a sender chooses becomes a label. The metrics of the Go runtime (` + "`go_…`" + `) and of
the process (` + "`process_…`" + `) stand beside these. Latencies are in seconds, in buckets from 100 µs to 300 s.

`

const metricsQuestions = `
## What to ask them

` + "```promql" + `
# Forged or misconfigured: what is refused, and why
sum by (source, reason) (rate(grapnel_requests_refused_total[5m]))

# Senders wait: the 99th percentile of the durable part
histogram_quantile(0.99, sum by (le) (rate(grapnel_commit_seconds_bucket[5m])))

# From acceptance to delivery, for each destination
histogram_quantile(0.99, sum by (destination, le) (rate(grapnel_accept_to_delivered_seconds_bucket[5m])))

# Failures by class
sum by (destination, result) (rate(grapnel_attempts_total{result!="ok"}[5m]))
` + "```" + `

Worth waking somebody:

| when | why |
|---|---|
| ` + "`grapnel_store_available == 0`" + ` | nothing can be stored: senders get 503 |
| ` + "`grapnel_disk_free_bytes < 1e9`" + ` | soon the same |
| ` + "`grapnel_oldest_pending_seconds > 3600`" + ` | something has not been delivered for an hour |
| ` + "`increase(grapnel_deliveries_total{state=\"dead\"}[10m]) > 0`" + ` | a delivery was given up |
| ` + "`grapnel_breaker_state >= 2`" + ` | a destination fails all the time, or was disabled |
| ` + "`increase(grapnel_config_reloads_total{result=\"refused\"}[10m]) > 0`" + ` | the file was changed, and the old one still runs |
| ` + "`grapnel_damaged_ranges > 0`" + ` | part of the journal cannot be read |
| ` + "`increase(grapnel_panics_total[1h]) > 0`" + ` | a bug: please report the log lines |
`

// TestPagesAreIndexed holds that docs/README.md leads to every page, and that links between pages lead
// somewhere.
func TestPagesAreIndexed(t *testing.T) {
	t.Parallel()
	docs := filepath.Join(root, "docs")
	index, err := os.ReadFile(filepath.Join(docs, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(docs, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(docs, "decisions", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range slices.Concat(pages, more) {
		rel, err := filepath.Rel(docs, file)
		if err != nil {
			t.Fatal(err)
		}
		if rel != "README.md" && !strings.Contains(string(index), "("+filepath.ToSlash(rel)+")") {
			t.Errorf("docs/README.md does not link %s", rel)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range links(string(text)) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), target)); err != nil {
				t.Errorf("docs/%s links %s, which is not there", rel, target)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

// links returns the files that the links of a page lead to.
func links(text string) []string {
	var files []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(m[1], "://") {
			files = append(files, m[1])
		}
	}
	return files
}
