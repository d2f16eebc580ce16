package cli_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/cli"
	"github.com/grapnel/grapnel/internal/daemon"
	"github.com/grapnel/grapnel/signature"
)

// shell runs commands against a Grapnel in this process.
type shell struct {
	env   map[string]string
	token string
}

// newShell starts Grapnel with the configuration, in a directory of its own.
func newShell(t *testing.T, config string) *shell {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "grapnel.yaml")
	config = fmt.Sprintf("listen: \"127.0.0.1:0\"\nadmin: {listen: \"127.0.0.1:0\"}\ndata: %q\n%s", filepath.Join(dir, "data"), config)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(t.Context(), daemon.Options{
		ConfigPath: path, Version: "test", Log: slog.New(slog.DiscardHandler), WatchEvery: -1,
	})
	if err != nil {
		t.Fatalf("starting: %v\n%s", err, config)
	}
	// The test's own context has ended when this runs.
	t.Cleanup(func() {
		if err := d.Stop(context.Background()); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	if err := d.Start(t.Context()); err != nil {
		t.Fatalf("starting: %v", err)
	}
	return &shell{token: d.Token().Reveal(), env: map[string]string{
		"GRAPNEL_CONFIG": path, "GRAPNEL_ADMIN": "http://" + d.AdminAddr(), "GRAPNEL_TOKEN": d.Token().Reveal(),
	}}
}

// run runs a command and returns what it printed and its exit code.
func (s *shell) run(args ...string) (stdout, stderr string, code int) {
	var out, note bytes.Buffer
	code = cli.Main(cli.Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &note, Now: time.Now,
		LookupEnv: func(name string) (string, bool) { value, ok := s.env[name]; return value, ok },
	})
	return out.String(), note.String(), code
}

// must runs a command that has to succeed and returns what it printed.
func (s *shell) must(t *testing.T, args ...string) string {
	t.Helper()
	out, note, code := s.run(args...)
	if code != 0 {
		t.Fatalf("grapnel %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, note)
	}
	return out
}

// secretOf is a secret in the form that the profile wants, different for each.
func secretOf(p *signature.Profile, name string) string {
	text := (name + "-s3cret-s3cret-s3cret-s3cret-s3cret")[:32]
	if p.Key == "base64" {
		return p.KeyStrip + base64.StdEncoding.EncodeToString([]byte(text))
	}
	if p.Key == "hex" {
		return fmt.Sprintf("%x", text)
	}
	if p.Basic {
		return "user:" + text
	}
	return text
}

// everyProvider returns sources of all providers whose requests can be made
// with a secret, by name, and the secrets.
func everyProvider(t *testing.T) (config string, names, secrets []string) {
	t.Helper()
	extra := map[string]string{ //nolint:gosec // Secrets of tests.
		"hmac": ", hmac: {header: X-Signature}", "token": ", token: {query: token}",
		"pusher": ", params: {app_key: [key]}", "meta": ", params: {verify_token: [v3rify]}",
	}
	var b strings.Builder
	b.WriteString("sources:\n")
	for _, provider := range signature.Providers() {
		p, ok := signature.LookupProfile(provider.Profiles[0])
		if !ok || p.Mech == "pubkey" || p.Mech == "ip" || p.Mech == "jwt" && provider.Name != "netlify" && provider.Name != "jwt" {
			continue // signed with a private key that nobody here has
		}
		secret := secretOf(&p, provider.Name)
		if p.Mech == "none" {
			fmt.Fprintf(&b, "  %s: {provider: %s}\n", provider.Name, provider.Name)
		} else {
			fmt.Fprintf(&b, "  %s: {provider: %s, secrets: [%q]%s}\n", provider.Name, provider.Name, secret, extra[provider.Name])
			if p.Token == nil || p.Token.In != "json" { // bodies are stored and shown exactly as they came
				secrets = append(secrets, secret)
			}
		}
		names = append(names, provider.Name)
	}
	if len(names) < 30 {
		t.Fatalf("%d providers, the selection is broken", len(names))
	}
	return b.String(), names, secrets
}

func TestSendPlaysEveryProvider(t *testing.T) {
	t.Parallel()
	config, names, _ := everyProvider(t)
	s := newShell(t, config)
	for _, name := range names {
		out, note, code := s.run("send", name, "--json")
		if code != 0 {
			refused, _, _ := s.run("refused", "list", "--source", name, "--json")
			t.Errorf("send %s: exit code %d\n%s%s%s", name, code, out, note, refused)
		}
	}
	var page struct {
		Events []struct {
			Endpoint   string
			DetailType string `json:"detail_type"`
			ProviderID string `json:"provider_id"`
		}
	}
	if err := json.Unmarshal([]byte(s.must(t, "events", "list", "--limit", "1000", "--json")), &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Events) != len(names) {
		t.Errorf("%d events, want one of each of %d sources", len(page.Events), len(names))
	}
}

// Whatever a command prints, no secret of the configuration and no admin token
// is in it: neither for people nor with --json, neither on stdout nor on stderr.
func TestNoCommandPrintsASecret(t *testing.T) {
	t.Parallel()
	config, names, secrets := everyProvider(t)
	const inURL, signing = "url-s3cret-url-s3cret", "c2lnbmluZy1zM2NyZXQtc2lnbmluZy1zM2NyZXQ="
	config += fmt.Sprintf(`destinations:
  crm:
    kind: webhook
    url: "http://user:%[1]s@127.0.0.1:1/hook?token=%[1]s"
    headers: {X-Api-Key: %[1]q}
    signing: {secrets: [%[2]q]}
rules:
  all:
    pattern: {source: [{exists: true}]}
    targets: [{to: crm, retry: {attempts: 1}}]
`, inURL, signing)
	s := newShell(t, config)
	secrets = append(secrets, inURL, signing, s.token)
	check := func(args ...string) string {
		out, note, _ := s.run(args...)
		for _, text := range secrets {
			if strings.Contains(out+note, text) {
				t.Errorf("grapnel %s prints the secret %q", strings.Join(args, " "), text)
			}
		}
		return out
	}
	for i, name := range names {
		json := []string{"--json"}[:i%2]
		check(append([]string{"send", name}, json...)...)
		check(append([]string{"sources", "show", name}, json...)...)
		check("sign", "--source", name, "--body", `{"signature": {"token": "", "timestamp": 0, "signature": ""}}`)
	}
	for _, args := range [][]string{
		{"check"},
		{"status"},
		{"sources", "list"},
		{"rules", "list"},
		{"destinations", "list"},
		{"destinations", "show", "crm"},
		{"test", "crm"},
		{"deliveries", "list", "--limit", "1000"},
		{"events", "list", "--limit", "1000"},
		{"refused", "list"},
	} {
		check(args...)
		check(append(args, "--json")...)
	}
	var page struct{ Events []struct{ ID string } }
	if err := json.Unmarshal([]byte(check("events", "list", "--limit", "1000", "--json")), &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Events) < len(names) {
		t.Errorf("%d events, want those of %d sources", len(page.Events), len(names))
	}
	for _, e := range page.Events {
		check("events", "show", e.ID)
		check("events", "show", e.ID, "--json")
	}
}
