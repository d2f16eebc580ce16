package spec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/spec"
)

func TestScrubTakesOutHiddenTextsHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, want string
		hidden     []string
	}{
		{"no abcd here", "no [secret] here", []string{"abcd"}},
		{`no "a\tb\"cd" here`, `no "[secret]" here`, []string{"a\tb\"cd"}},
		{"at https://x/a%2Fb+c", "at https://x/[secret]", []string{"a/b c"}},
		{"at https://x/a%2Fb%20c", "at https://x/[secret]", []string{"a/b c"}},
		{"nothing", "nothing", []string{"", "other"}},
		{"a 7 stands here", "is not accepted (the reason is not shown, it would show a secret)", []string{"7"}},
	}
	for _, tt := range tests {
		if got := spec.Scrub(tt.text, tt.hidden); got != tt.want {
			t.Errorf("Scrub(%q, %q) = %q, want %q", tt.text, tt.hidden, got, tt.want)
		}
	}
}

func TestSuggestFindsWhatWasMeant(t *testing.T) {
	t.Parallel()
	known := []string{"github", "gitlab", "listen", "public_url", "to", "url", "retry"}
	tests := map[string]string{
		"githb": "github", "GITHUB": "github", "lisetn": "listen", "public-url": "public_url", "uri": "url",
		"rety": "retry", "too": "to", "nothing-like-it": "", "x": "", strings.Repeat("a", 1000): "",
	}
	for word, want := range tests {
		if want != "" {
			want = `did you mean "` + want + `"?`
		}
		if got := spec.Suggest(word, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestReportKeepsABoundedNumberOfProblems(t *testing.T) {
	t.Parallel()
	r := &spec.Report{File: "f"}
	for i := range 1000 {
		r.AddAt(&spec.Node{Pos: spec.Pos{Line: 1000 - i, Col: 1}}, "a", fmt.Sprintf("problem %d", i), "")
	}
	got := r.Problems()
	if len(got) != 501 || r.Errors() != 1000 || !strings.Contains(got[500].Message, "500 more") {
		t.Errorf("%d problems of %d, the last is %v", len(got), r.Errors(), got[len(got)-1])
	}
	if got[0].Line > got[1].Line {
		t.Error("problems are not in the order of the file")
	}
}

func TestLongValuesAreCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	r := &spec.Report{File: "f"}
	r.Add(&spec.Node{Type: spec.Text, Text: strings.Repeat("ä", 100)}, "is bad", "")
	if got := r.Problems()[0].Value; got != strings.Repeat("ä", 30)+"…" {
		t.Errorf("value = %q", got)
	}
}
