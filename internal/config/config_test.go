package config_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/destination/all"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/signature"
)

// must loads text that has no errors.
func must(t *testing.T, text string) *config.Config {
	t.Helper()
	c, problems := load("test.yaml", []byte(text))
	if c == nil {
		t.Fatalf("problems:\n%s", lines(problems))
	}
	return c
}

func TestLoadGivesTheFileOfTheDesign(t *testing.T) {
	t.Parallel()
	c := must(t, string(read(t, testdata, "design_now.yaml")))
	if c.PublicURL != "https://hooks.example.com" || c.Retention.Age != 30*24*time.Hour ||
		c.Retention.Bytes != 20<<30 || c.AWS.Account != "000000000000" ||
		!cmp.Equal(c.Network.Allow, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, cmpopts.EquateComparable(netip.Prefix{})) {
		t.Errorf("top of the file: %+v", c)
	}
	if len(c.Buses) != 2 || len(c.Sources) != 4 || len(c.Destinations) != 3 || len(c.Rules) != 1 {
		t.Fatalf("%d buses, %d sources, %d destinations, %d rules", len(c.Buses), len(c.Sources), len(c.Destinations),
			len(c.Rules))
	}
	legacy := c.Sources[3]
	if legacy.Path != "/in/legacy" || legacy.MaxBody != 1<<20 || legacy.Rate.Source != (spec.Rate{Count: 100, Per: time.Second}) ||
		legacy.HMAC.Prefix != "sha256=" || legacy.Bus != config.DefaultBus || legacy.PublicURL != c.PublicURL {
		t.Errorf("source: %+v", legacy)
	}
	crm := c.Destinations[1]
	if crm.Kind != "webhook" || crm.Timeout != 30*time.Second || crm.MaxInFlight != 16 || crm.Rate.PerSecond() != 50 {
		t.Errorf("destination: %+v", crm)
	}
	if hook, ok := crm.Config.(*webhook); !ok || hook.Headers["X-Team"] != "platform" {
		t.Errorf("configuration of the kind: %+v", crm.Config)
	}
	rule := c.Rules[0]
	if want := `{"source":["github.com"],"detail-type":["pull_request"],"detail":{"action":["opened"]}}`; string(rule.Pattern) != want {
		t.Errorf("pattern = %s, want %s", rule.Pattern, want)
	}
	want := []config.Target{
		{
			ID: "triage", To: "triage", DeadLetter: "graveyard",
			Retry: config.Retry{Attempts: 20, MaxAge: 24 * time.Hour, Base: time.Second, Cap: 16 * time.Minute},
			Input: &config.Input{
				Paths:    map[string]string{"title": "$.detail.pull_request.title"},
				Template: `{"title": <title>}`,
			},
		},
		{
			ID: "crm", To: "crm",
			Retry: config.Retry{Attempts: 185, MaxAge: 24 * time.Hour, Base: time.Second, Cap: 16 * time.Minute},
		},
	}
	if diff := cmp.Diff(want, rule.Targets, cmpopts.IgnoreUnexported(config.Input{})); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestAnEmptyFileHasTheDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "{}"} {
		c := must(t, text)
		if c.Listen != ":8080" || c.Admin.Listen != "127.0.0.1:8081" || c.Admin.Auth != config.AuthToken ||
			c.Data != "./data" || len(c.Buses) != 1 || c.Buses[0].Name != config.DefaultBus {
			t.Errorf("Load(%q) = %+v", text, c)
		}
	}
}

func TestNothingThatPrintsShowsASecret(t *testing.T) {
	t.Parallel()
	c := must(t, `
public_url: "https://${HOST}"
sources:
  a: {provider: github, secrets: ["${SECRET}", "${file:/run/secret}", "`+hidden+`"], description: "of ${SECRET}"}
  m: {provider: meta, secrets: ["${SECRET}"], params: {verify_token: `+hidden+`}}
destinations:
  crm:
    kind: webhook
    url: "https://user:${SECRET}@crm.example.com/${SECRET}"
    headers: {X-Key: "${SECRET}"}
    signing: {secrets: ["${SECRET}"]}
rules:
  r:
    pattern: {source: ["${SECRET}", plain]}
    targets: [{to: crm, input: {constant: {key: "${SECRET}"}}}]
`)
	if got := c.Sources[0].Keys().Secrets; !cmp.Equal(got, []string{hidden, hidden, hidden}) {
		t.Errorf("secrets = %d of them, want the texts of variable, file and literal", len(got))
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), hidden) || strings.Contains(string(text), "crm.example.com") {
		t.Errorf("JSON shows a secret: %s", text)
	}
	for _, want := range []string{secret.Redacted, `"provider":"github"`, `"X-Key"`, `"timeout":"30s"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("JSON lacks %s: %s", want, text)
		}
	}
	if g := c.Generation([]byte("key")); strings.Contains(g, hidden) || len(g) != 16 {
		t.Errorf("generation = %q", g)
	}
}

func TestGenerationChangesWithTheMeaningOnly(t *testing.T) {
	t.Parallel()
	const base = `
sources: {a: {provider: github, secrets: ["${SECRET}"]}, b: {provider: github, secrets: [two]}}
destinations: {out: {kind: log}}
rules: {r: {pattern: {source: [a]}, targets: [{to: out}]}}
`
	key := []byte("of this data directory")
	want := must(t, base).Generation(key)
	same := map[string]string{
		"comments":         "# hello\n" + base,
		"order":            strings.Replace(base, `{a: {provider: github, secrets: ["${SECRET}"]}, b: {provider: github, secrets: [two]}}`, `{b: {secrets: [two], provider: github}, a: {provider: github, secrets: ["${SECRET}"]}}`, 1),
		"another spelling": strings.Replace(base, "${SECRET}", hidden, 1),
		"default written":  "listen: ':8080'\nretention: {age: 720h}\n" + base,
	}
	for name, text := range same {
		if got := must(t, text).Generation(key); got != want {
			t.Errorf("%s: generation = %s, want %s", name, got, want)
		}
	}
	differs := map[string]string{
		"another secret":  strings.Replace(base, "two", "three", 1),
		"another value":   "listen: ':8090'\n" + base,
		"another name":    strings.Replace(base, "b: {p", "c: {p", 1),
		"another pattern": strings.Replace(base, "source: [a]", "source: [b]", 1),
		"moved":           strings.Replace(base, "secrets: [two]", "description: two, secrets: [x]", 1),
	}
	for name, text := range differs {
		if got := must(t, text).Generation(key); got == want {
			t.Errorf("%s: generation is the same", name)
		}
	}
	if got := must(t, base).Generation([]byte("of another")); got == want {
		t.Error("generation does not depend on the key")
	}
}

func TestSameComparesOneComponent(t *testing.T) {
	t.Parallel()
	const base = `
destinations:
  one: {kind: webhook, url: "https://x.example", signing: {secrets: [secret-one]}}
  two: {kind: log}
`
	a, b := must(t, base), must(t, strings.Replace(base, "secret-one", "secret-two", 1))
	if a.Same(b, "destinations", "one") || !a.Same(b, "destinations", "two") || a.Same(b, "destinations") {
		t.Error("a changed secret is not seen where it is, or elsewhere")
	}
	if c := must(t, ""); a.Same(c, "destinations", "one") || !a.Same(c, "destinations", "three") || !a.Same(c, "aws") {
		t.Error("what is missing is not told apart")
	}
}

// sign returns the hexadecimal HMAC-SHA256.
func sign(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestVerifiersAcceptWhatTheFileDescribes(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	const body = `{"a":1}`
	tests := map[string]struct {
		source string
		header http.Header
		url    string
		want   signature.Reason // "" accepts
	}{
		"github": {
			source: `{provider: github, secrets: ["${SECRET}"]}`,
			header: http.Header{"X-Hub-Signature-256": {"sha256=" + sign(hidden, body)}},
		},
		"second secret": {
			source: `{provider: github, secrets: [other, "${SECRET}"]}`,
			header: http.Header{"X-Hub-Signature-256": {"sha256=" + sign(hidden, body)}},
		},
		"hmac with pairs": {
			source: `{provider: hmac, secrets: ["${SECRET}"], hmac: {header: X-S, separator: ",", timestamp_key: t, signature_key: v1, content: "{ts}.{body}"}}`,
			header: http.Header{"X-S": {"t=1700000000,v1=" + sign(hidden, "1700000000."+body)}},
		},
		"hmac with pairs, too old": {
			source: `{provider: hmac, secrets: ["${SECRET}"], hmac: {header: X-S, separator: ",", timestamp_key: t, signature_key: v1, content: "{ts}.{body}"}}`,
			header: http.Header{"X-S": {"t=1699999000,v1=" + sign(hidden, "1699999000."+body)}},
			want:   signature.StaleTimestamp,
		},
		"hmac with a timestamp header": {
			source: `{provider: hmac, secrets: ["${SECRET}"], hmac: {header: X-S, prefix: "v0=", content: "{ts}{body}", timestamp: {header: X-T, unit: ms}}}`,
			header: http.Header{"X-S": {"v0=" + sign(hidden, "1700000000000"+body)}, "X-T": {"1700000000000"}},
		},
		"hmac in a list": {
			source: `{provider: hmac, secrets: ["${SECRET}"], hmac: {header: X-S, prefix: "v1=", separator: " "}}`,
			header: http.Header{"X-S": {"v0=00 v1=" + sign(hidden, body)}},
		},
		"hmac alone": {
			source: `{provider: hmac, secrets: ["${SECRET}"], hmac: {header: X-S}}`,
			header: http.Header{"X-S": {sign("wrong", body)}}, want: signature.BadSignature,
		},
		"token in the query": {
			source: `{provider: token, secrets: ["${SECRET}"], token: {query: token}}`, url: "/in/a?token=" + hidden,
		},
		"token in the path": {
			source: `{provider: token, secrets: ["${SECRET}"], token: {path: -1}}`, url: "/in/a/" + hidden,
		},
		"token in a header": {
			source: `{provider: token, secrets: ["${SECRET}"], token: {header: X-K, scheme: "Key "}}`,
			header: http.Header{"X-K": {"Key " + hidden}},
		},
		"token in the body": {
			source: `{provider: token, secrets: ["1"], token: {json: /a}}`,
		},
		"basic with a user": {
			source: `{provider: basic, basic: {user: bob}, secrets: ["${SECRET}"]}`,
			header: http.Header{"Authorization": {"Basic " + basic("bob", hidden)}},
		},
		"basic without": {
			source: `{provider: basic, secrets: ["eve:${SECRET}"]}`,
			header: http.Header{"Authorization": {"Basic " + basic("eve", hidden)}},
		},
		"basic, another user": {
			source: `{provider: basic, basic: {user: bob}, secrets: ["${SECRET}"]}`,
			header: http.Header{"Authorization": {"Basic " + basic("eve", hidden)}}, want: signature.BadToken,
		},
		"any, the second": {
			source: `{provider: github, verify: {any: [{secrets: [x]}, {provider: token, token: {query: t}, secrets: ["${SECRET}"]}]}}`,
			url:    "/in/a?t=" + hidden,
		},
		"all, one missing": {
			source: `{provider: github, verify: {all: [{secrets: ["${SECRET}"]}, {provider: token, token: {query: t}, secrets: ["${SECRET}"]}]}}`,
			header: http.Header{"X-Hub-Signature-256": {"sha256=" + sign(hidden, body)}}, want: signature.MissingToken,
		},
		"pusher": {
			source: `{provider: pusher, secrets: [other, "${SECRET}"], params: {app_key: [k1, k2]}}`,
			header: http.Header{"X-Pusher-Key": {"k2"}, "X-Pusher-Signature": {sign(hidden, body)}},
		},
		"none": {source: `{provider: none}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := must(t, "sources: {a: "+tt.source+"}")
			v, err := c.Sources[0].Verifier(nil)
			if err != nil {
				t.Fatal(err)
			}
			url := tt.url
			if url == "" {
				url = "/in/a"
			}
			_, err = v.Verify(&signature.Request{
				Method: "POST", URL: "https://hooks.example.com" + url, Header: tt.header, Body: []byte(body),
			}, now)
			if got := reason(err); got != tt.want {
				t.Errorf("Verify = %v, want %q", err, tt.want)
			}
		})
	}
}

func basic(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

func reason(err error) signature.Reason {
	if e, ok := err.(*signature.Error); ok { //nolint:errorlint // the documented type of a refusal
		return e.Reason
	}
	if err != nil {
		return "another error"
	}
	return ""
}

func TestCredentialsOfAllWaysAreMasked(t *testing.T) {
	t.Parallel()
	c := must(t, `
sources:
  a:
    provider: github
    verify: {any: [{provider: token, token: {query: key}, secrets: [x]}, {provider: token, token: {path: -1}, secrets: [x]}]}
`)
	got := c.Sources[0].Credentials()
	if !cmp.Equal(got.Query, []string{"key"}) || !cmp.Equal(got.Segments, []int{-1}) || !c.Sources[0].TokenInPath() {
		t.Errorf("credentials = %+v", got)
	}
}

func TestJWKSAddressesAreFetchedByTheCaller(t *testing.T) {
	t.Parallel()
	c := must(t, `sources: {a: {provider: jwt, jwt: {jwks_url: "https://issuer.example/keys", audience: me, header: X-Jwt}}}`)
	asked := ""
	_, err := c.Sources[0].Verifier(func(url string) signature.KeySource {
		asked = url
		return noKeys{}
	})
	if err != nil || asked != "https://issuer.example/keys" {
		t.Errorf("Verifier asked for %q, %v", asked, err)
	}
	p := c.Sources[0].Scheme()
	if p.Expect["aud"] != "me" || p.Token.Name[0] != "X-Jwt" || p.Token.Scheme != "" || !p.RequireExp || p.Leeway != 60 {
		t.Errorf("profile = %+v", p)
	}
}

type noKeys struct{}

func (noKeys) Keys(string, time.Time) ([]signature.Key, error) { return nil, nil }

// TestExamplesLoad loads every file of examples/ and the one of "grapnel init" with the real kinds.
func TestExamplesLoad(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(repository, "examples/*/grapnel.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d examples, %v", len(files), err)
	}
	texts := map[string]string{"grapnel init": config.Example}
	for _, file := range files {
		texts[file] = string(read(t, repository, file))
	}
	o := config.Options{
		Env: func(name string) (string, bool) {
			if name == "STRIPE_SECRET" || strings.Contains(name, "_SECRET") {
				return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true
			}
			return "value", true
		},
		ReadFile: func(string) ([]byte, error) { return []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), nil },
		Kinds:    all.Specs(),
	}
	for name, text := range texts {
		c, problems := config.Load(name, []byte(text), o)
		if c == nil {
			t.Errorf("%s:\n%s", name, lines(problems))
			continue
		}
		for _, p := range problems {
			if !strings.Contains(p.Message, "unencrypted") {
				t.Errorf("%s: an example with a warning: %s", name, p)
			}
		}
		// What people start from, and what they are told to do on the internet, is closed.
		if open := c.Exposure(); len(open) > 0 && (name == "grapnel init" || strings.Contains(name, "internet")) {
			t.Errorf("%s is too open:\n%s", name, lines(open))
		}
	}
}

// TestExampleWorksWithItsCommentsUncommented holds the commented parts of the file of "grapnel init".
func TestExampleWorksWithItsCommentsUncommented(t *testing.T) {
	t.Parallel()
	var out []string
	for line := range strings.SplitSeq(config.Example, "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		rest, ok := strings.CutPrefix(line[len(indent):], "# ")
		if word, _, _ := strings.Cut(strings.TrimSpace(rest), " "); ok && (strings.HasSuffix(word, ":") || word == "-") {
			line = indent + rest
		}
		out = append(out, line)
	}
	text := strings.Join(out, "\n")
	if strings.Count(text, "to: crm") != 1 || strings.Contains(text, "# crm:") {
		t.Fatalf("nothing was uncommented:\n%s", text)
	}
	c, problems := config.Load("init", []byte(text), config.Options{
		Env: func(string) (string, bool) { return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true }, Kinds: all.Specs(),
	})
	if c == nil {
		t.Errorf("problems:\n%s", lines(problems))
	}
}
