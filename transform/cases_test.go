package transform_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/transform"
)

// transformCase is a line of testdata/transform-cases.jsonl.
type transformCase struct {
	ID            string             `json:"id"`
	Event         json.RawMessage    `json:"event"`
	Input         *string            `json:"input"`
	InputPath     string             `json:"input_path"`
	InputPathsMap *map[string]string `json:"input_paths_map"`
	InputTemplate *string            `json:"input_template"`
	Vars          struct {
		RuleARN       string    `json:"rule_arn"`
		RuleName      string    `json:"rule_name"`
		IngestionTime time.Time `json:"ingestion_time"`
	} `json:"vars"`
	Output     *string `json:"output"`
	Error      string  `json:"error"`
	Delivery   string  `json:"delivery"`
	Note       string  `json:"note"`
	Confidence string  `json:"confidence"`
}

func (c *transformCase) spec() transform.Spec {
	spec := transform.Spec{Path: c.InputPath}
	if c.Input != nil {
		spec.Constant = []byte(*c.Input)
	}
	if c.InputTemplate != nil || c.InputPathsMap != nil {
		spec.Transformer = &transform.Transformer{}
		if c.InputTemplate != nil {
			spec.Transformer.Template = *c.InputTemplate
		}
		if c.InputPathsMap != nil {
			spec.Transformer.Paths = *c.InputPathsMap
		}
	}
	return spec
}

func (c *transformCase) vars() transform.Vars {
	return transform.Vars{
		RuleARN: c.Vars.RuleARN, RuleName: c.Vars.RuleName, IngestionTime: c.Vars.IngestionTime,
	}
}

func readCases(tb testing.TB) []transformCase {
	tb.Helper()
	data, err := os.ReadFile("testdata/transform-cases.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	var cases []transformCase
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var c transformCase
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&c); err != nil {
			tb.Fatal(err)
		}
		cases = append(cases, c)
	}
	if len(cases) < 50 {
		tb.Fatalf("only %d cases in testdata", len(cases))
	}
	return cases
}

// views gives the event as one document, as envelope and detail apart, and indented.
func views(tb testing.TB, whole []byte) map[string]transform.Event {
	tb.Helper()
	views := map[string]transform.Event{"whole": {Envelope: whole}}
	var indented bytes.Buffer
	if err := json.Indent(&indented, whole, "", "\t"); err != nil {
		tb.Fatal(err)
	}
	views["indented"] = transform.Event{Envelope: indented.Bytes()}
	// The events of the corpus end with detail, as every EventBridge event does.
	head, tail, ok := strings.Cut(string(whole), `,"detail":`)
	if ok {
		views["apart"] = transform.Event{
			Envelope: []byte(head + "}"),
			Detail:   []byte(strings.TrimSuffix(tail, "}")),
		}
	}
	return views
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	for _, c := range readCases(t) {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			compiled, err := transform.Compile(c.spec())
			if c.Error != "" {
				if err == nil {
					t.Fatalf("Compile accepted it, want a refusal: %s", c.Note)
				}
				return
			}
			if err != nil {
				t.Fatalf("Compile: %v (%s)", err, c.Note)
			}
			for view, event := range views(t, c.Event) {
				got, err := compiled.Apply(event, c.vars())
				switch {
				case c.Delivery == "fail":
					if err == nil {
						t.Errorf("%s: Apply = %s, want an error: %s", view, got, c.Note)
					}
				case err != nil:
					t.Errorf("%s: Apply: %v (%s)", view, err, c.Note)
				case c.Output == nil:
					t.Fatal("the case has neither output, error nor delivery")
				default:
					if diff := cmp.Diff(*c.Output, string(got)); diff != "" {
						t.Errorf("%s: %s (-want +got):\n%s", view, c.Note, diff)
					}
				}
			}
		})
	}
}
