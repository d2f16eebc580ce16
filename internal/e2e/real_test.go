//go:build real

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	whsec     = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	publicURL = "https://hooks.example.com"
)

// install puts the npm packages into a temporary folder. A registry may fail
// once.
func install(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "real"))); err != nil {
		t.Fatal(err)
	}
	var out []byte
	var err error
	for range 2 {
		cmd := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
		cmd.Dir = dir
		if out, err = cmd.CombinedOutput(); err == nil {
			return dir
		}
	}
	t.Fatalf("npm install: %v\n%s", err, out)
	return ""
}

func node(t *testing.T, dir string, stdin io.Reader, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir, cmd.Stdin = dir, stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %s: %v\n%s\n%s", args[0], err, out, stderr.Bytes())
	}
	return out
}

func jsonLines[T any](t *testing.T, text []byte) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(string(text)) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

// TestReal installs the packages once and lets them judge.
func TestReal(t *testing.T) {
	npm := install(t)
	t.Run("senders", func(t *testing.T) { realSenders(t, npm) })
	t.Run("receivers", func(t *testing.T) { realReceivers(t, npm) })
}

// realSenders lets the libraries with which providers sign send to the
// binary. Everything correctly signed is accepted with the right detail-type
// and a byte-identical body; the rest is refused for the right reason.
func realSenders(t *testing.T, npm string) {
	t.Helper()
	s := serve(t, writeConfig(t, fmt.Sprintf(`
public_url: %s
sources:
  github: {provider: github, secrets: [%[2]q]}
  stripe: {provider: stripe, secrets: [%[2]q]}
  twilio: {provider: twilio, secrets: [%[2]q]}
  slack: {provider: slack, secrets: [%[2]q]}
  standard: {provider: standard-webhooks, secrets: [%[3]q]}
`, publicURL, githubSecret, whsec)))
	type sent struct {
		Source, Answer, SHA256, ID, Type, Refused, Handshake string
		Status                                               int
	}
	all := jsonLines[sent](t, node(t, npm, nil, "senders.mjs", s.public, publicURL, githubSecret, whsec))
	byAnswer := map[string]listed{}
	bySource := map[string][]listed{}
	for _, e := range s.events("") {
		byAnswer[e.ID] = e
		bySource[e.Endpoint] = append(bySource[e.Endpoint], e)
	}
	counts := map[string]int{}
	for _, x := range all {
		switch {
		case x.Refused != "":
			if x.Status != http.StatusUnauthorized {
				t.Errorf("%s: answered %d %s, want a refusal for %s", x.Source, x.Status, x.Answer, x.Refused)
			}
			continue
		case x.Handshake != "":
			if x.Status != http.StatusOK || x.Answer != x.Handshake {
				t.Errorf("%s: handshake answered %d %q", x.Source, x.Status, x.Answer)
			}
			continue
		case x.Status/100 != 2:
			t.Errorf("%s %s: answered %d %s", x.Source, x.Type, x.Status, x.Answer)
			continue
		}
		counts[x.Source]++
		e, ok := match(bySource[x.Source], byAnswer, x.Answer, x.ID, x.SHA256, s)
		if !ok {
			t.Errorf("%s %s: accepted and not stored byte for byte", x.Source, x.Type)
			continue
		}
		if e.DetailType != x.Type {
			t.Errorf("%s: detail-type %q, want %q", x.Source, e.DetailType, x.Type)
		}
	}
	t.Logf("accepted: %v", counts)
	if counts["github"] < 450 || counts["stripe"] != 1 || counts["twilio"] != 2 || counts["slack"] != 1 || counts["standard"] != 1 {
		t.Errorf("accepted %v: the test proves too little", counts)
	}
	var refused struct {
		Refused []struct{ Source, Reason string } `json:"refused"`
	}
	s.get("/api/v1/refused", &refused)
	got := map[string]int{}
	for _, r := range refused.Refused {
		got[r.Source+" "+r.Reason]++
	}
	if got["stripe stale_timestamp"] != 1 || got["twilio bad_signature"] != 1 || len(got) != 2 {
		t.Errorf("refused %v", got)
	}
}

// match finds the stored event of a request by the id in the answer, by the
// sender's id, or by its bytes, and compares the bytes.
func match(candidates []listed, byID map[string]listed, answer, providerID, sum string, s *server) (listed, bool) {
	var accepted struct{ ID string }
	if json.Unmarshal([]byte(answer), &accepted) == nil {
		if e, ok := byID[accepted.ID]; ok {
			candidates = []listed{e}
		}
	}
	for _, e := range candidates {
		if providerID != "" && e.ProviderID != providerID {
			continue
		}
		var body []byte
		s.get("/api/v1/events/"+e.Position+"/body", &body)
		if h := sha256.Sum256(body); hex.EncodeToString(h[:]) == sum {
			return e, true
		}
	}
	return listed{}, false
}

// realReceivers lets the published standardwebhooks library verify what the
// binary delivers, signed with two secrets at once as during a rotation.
func realReceivers(t *testing.T, npm string) {
	t.Helper()
	var mu sync.Mutex
	var lines bytes.Buffer
	count := 0
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		headers := map[string]string{}
		for name := range r.Header {
			headers[strings.ToLower(name)] = r.Header.Get(name)
		}
		line, err := json.Marshal(map[string]any{"headers": headers, "body_base64": base64.StdEncoding.EncodeToString(body)})
		if err != nil {
			panic(err)
		}
		mu.Lock()
		defer mu.Unlock()
		lines.Write(append(line, '\n'))
		count++
	}))
	t.Cleanup(target.Close)
	s := serve(t, writeConfig(t, fmt.Sprintf(`
network: {allow: [127.0.0.0/8]}
sources: {github: {provider: github, secrets: [%q]}}
destinations:
  app: {kind: webhook, url: %q, signing: {scheme: standard-webhooks, secrets: ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", %q]}}
rules:
  envelope: {pattern: {source: [github.com]}, targets: [{to: app}]}
  raw: {pattern: {source: [github.com]}, targets: [{to: app, input: {body: raw}}]}
`, githubSecret, target.URL, whsec)))
	for i, body := range []string{`{"a": 1}`, "{\"text\":\"é🚀 \\u00e9\"}\r\n", `{"pad":"` + strings.Repeat("x", 100_000) + `"}`} {
		if status, answer, err := sendGitHub(t.Context(), http.DefaultClient, s.public, "/in/github", "push", strconv.Itoa(i), []byte(body)); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	s.eventually("six deliveries", 20*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return count == 6 })
	mu.Lock()
	defer mu.Unlock()
	verdicts := jsonLines[struct {
		Accepted       bool `json:"accepted"`
		AcceptsChanged bool `json:"accepts_changed"`
	}](t, node(t, npm, &lines, "receivers.mjs", whsec))
	if len(verdicts) != 6 {
		t.Fatalf("%d verdicts, want 6", len(verdicts))
	}
	for i, v := range verdicts {
		if !v.Accepted || v.AcceptsChanged {
			t.Errorf("delivery %d: accepted %v, a changed body accepted %v", i, v.Accepted, v.AcceptsChanged)
		}
	}
}
