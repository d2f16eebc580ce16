package spec_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// hook is a kind as a destination describes itself.
type hook struct {
	URL     string
	Timeout time.Duration
	Secrets []secret.String
	Headers map[string]string
	Retry   retry
	Signing *signing
}

func (h *hook) Fields() []spec.Field {
	return []spec.Field{
		spec.URL("url", &h.URL).Required().Doc("Where requests go."),
		spec.Duration("timeout", &h.Timeout).Default("30s").Min("1s").Max("300s").Doc("One attempt."),
		spec.Secrets("secrets", &h.Secrets).Doc("Signing secrets."),
		spec.StringMap("headers", &h.Headers).Doc("Further headers."),
		spec.Object("retry", &h.Retry).Doc("When it fails."),
		spec.Optional("signing", &h.Signing).Doc("How requests are signed."),
		spec.Reserved("payload", "payload templates come with a later version"),
	}
}

func (h *hook) Check(at *spec.Place) {
	if h.Signing != nil && len(h.Secrets) == 0 {
		at.Problem("secrets", "signing needs at least one secret")
	}
}

type retry struct{ Attempts int }

func (r *retry) Fields() []spec.Field {
	return []spec.Field{spec.Int("attempts", &r.Attempts).Default("185").Min("0").Max("185").Doc("Tries.")}
}

type signing struct{ Scheme string }

func (s *signing) Fields() []spec.Field {
	return []spec.Field{
		spec.Enum("scheme", &s.Scheme, "standard-webhooks", "hmac").Default("standard-webhooks").Doc("Scheme."),
	}
}

func decode(t *testing.T, text string, target spec.Fielder) (*spec.Value, []string) {
	t.Helper()
	node, err := spec.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r := &spec.Report{File: "f"}
	v := spec.Decode(r, node, target)
	var lines []string
	for _, p := range r.Problems() {
		lines = append(lines, p.String())
	}
	return v, lines
}

func TestDecodeFillsTheStructAndItsDefaults(t *testing.T) {
	t.Parallel()
	var got hook
	v, problems := decode(t, `{"url": "https://x.example/y", "secrets": ["s3cret"], "headers": {"X-A": "1"},
		"signing": {}}`, &got)
	if problems != nil {
		t.Fatalf("problems: %v", problems)
	}
	want := hook{
		URL: "https://x.example/y", Timeout: 30 * time.Second, Secrets: []secret.String{secret.New("s3cret")},
		Headers: map[string]string{"X-A": "1"}, Retry: retry{185}, Signing: &signing{"standard-webhooks"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b secret.String) bool {
		return a.Reveal() == b.Reveal()
	})); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if v.Get("signing", "scheme").Path != "signing.scheme" {
		t.Errorf("value = %+v", v.Get("signing", "scheme"))
	}
}

func TestDecodeReportsEveryProblemWithItsPlace(t *testing.T) {
	t.Parallel()
	_, got := decode(t, `{
	"uri": "https://x.example",
	"timeout": "301s",
	"secrets": ["", "ok"],
	"retry": {"attempts": "5", "atempts": 3},
	"signing": {"scheme": "standard-webhook"},
	"payload": "{}"
}`, &hook{})
	want := []string{
		`f:1:1: url: is missing`,
		`f:2:2: uri: is not a known key; did you mean "url"?`,
		`f:3:13: timeout: must be at most 300s, found "301s"`,
		`f:4:14: secrets[0]: a secret must not be empty`,
		`f:5:24: retry.attempts: expected a whole number, not text, found "5"; write it without quotes`,
		`f:5:29: retry.atempts: is not a known key; did you mean "attempts"?`,
		`f:6:24: signing.scheme: expected one of standard-webhooks or hmac, found "standard-webhook"; ` +
			`did you mean "standard-webhooks"?`,
		`f:7:2: payload: payload templates come with a later version`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
