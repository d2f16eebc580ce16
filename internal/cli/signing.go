package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/daemon"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/signature"
)

// signing are the flags of sign and verify: by which scheme, with which
// secrets, and the request.
type signing struct {
	source, provider, profile, profileFile string
	secrets, secretFiles, secretEnvs       []string
	publicKeys                             []string
	method, url, body                      string
	headers                                headers
	at                                     string
	reveal                                 bool
}

func (a *app) signingFlags(cmd *cobra.Command, s *signing) {
	flags := cmd.Flags()
	flags.StringVar(&s.source, "source", "", "scheme and secrets of this source of the configuration")
	flags.StringVar(&s.provider, "provider", "", "scheme of this provider or profile: grapnel providers lists them")
	flags.StringVar(&s.profile, "profile", "", "one of the provider's schemes, or of the file's")
	flags.StringVar(&s.profileFile, "profile-file", "", "JSON file with schemes of your own: {\"name\": {\"mech\": \"mac\", ...}}")
	flags.StringArrayVar(&s.secretFiles, "secret-file", nil, "file with a secret; may be repeated, the newest first")
	flags.StringArrayVar(&s.secretEnvs, "secret-env", nil, "environment variable with a secret; may be repeated")
	flags.StringArrayVar(&s.secrets, "secret", nil, "a secret; other users see it in the list of processes")
	flags.StringVar(&s.method, "method", http.MethodPost, "method of the request")
	flags.StringVar(&s.url, "url", "http://localhost:8080/", "URL of the request as the sender knows it; some schemes sign it")
	flags.StringVar(&s.body, "body", "-", "body: text, @file, or - for stdin")
	flags.StringArrayVarP((*[]string)(&s.headers), "header", "H", nil, "header of the request, 'Name: value'; may be repeated")
	flags.StringVar(&s.at, "at", "", "time of the signature or check, RFC 3339 (default now)")
	a.configFlag(cmd)
	a.jsonFlag(cmd)
}

func (a *app) newSign() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use: "sign", Short: "Sign a request as a provider would", Args: none,
		Long: `Sign a request as a provider would and print the headers to send with it, for scripts and
for trying out receivers. A scheme that puts its signature into the URL or the body gets
those printed too. Where the signature is the secret itself (tokens) it is masked, unless
--reveal is given.` + exitsOffline,
		Example: `  grapnel sign --provider github --secret-file secrets/github --body @push.json
  grapnel sign --provider standard-webhooks --secret-env CRM_SECRET -H 'Webhook-Id: 7' --body '{}'`,
		RunE: func(*cobra.Command, []string) error { return a.sign(&s) },
	}
	a.signingFlags(cmd, &s)
	cmd.Flags().BoolVar(&s.reveal, "reveal", false, "print tokens that are secrets themselves")
	return cmd
}

func (a *app) newVerify() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use: "verify", Short: "Verify the signature of a request, and say why it fails", Args: none,
		Long: `Verify a request by a provider's scheme, exactly as a source does, and say with reason code
and meaning why it would be refused.` + exitsAnswer,
		Example: `  grapnel verify --provider github --secret-file secrets/github \
    -H 'X-Hub-Signature-256: sha256=757107ea...' --body @push.json
  grapnel verify --source github -H "$header" --body @push.json --at 2026-01-02T03:04:05Z`,
		RunE: func(*cobra.Command, []string) error { return a.verify(&s) },
	}
	a.signingFlags(cmd, &s)
	cmd.Flags().StringArrayVar(&s.publicKeys, "public-key", nil, "public key that verifies: text or @file; may be repeated")
	return cmd
}

// request builds the request that the flags describe.
func (a *app) request(s *signing) (*signature.Request, time.Time, error) {
	now := a.env.Now()
	if s.at != "" {
		t, err := time.Parse(time.RFC3339, s.at)
		if err != nil {
			return nil, now, usage("write it as 2026-01-02T03:04:05Z", "--at %q is not a time", s.at)
		}
		now = t
	}
	body, err := a.input("--body", s.body)
	if err != nil {
		return nil, now, err
	}
	req := &signature.Request{Method: strings.ToUpper(s.method), URL: s.url, Header: http.Header{}, Body: body}
	return req, now, s.headers.set(req.Header)
}

// keys returns the secrets that the flags name.
func (a *app) keys(s *signing) (signature.Config, error) {
	c := signature.Config{Profile: s.profile, Secrets: slices.Clone(s.secrets)}
	for _, path := range s.secretFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			return c, usage("--secret-file names a file with one secret", "the secret file %s cannot be read: %v", path, cause(err))
		}
		c.Secrets = append(c.Secrets, strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
	}
	for _, name := range s.secretEnvs {
		text, ok := a.env.LookupEnv(name)
		if !ok {
			return c, usage("export it, or use --secret-file", "the environment variable %s is not set", name)
		}
		c.Secrets = append(c.Secrets, text)
	}
	for _, key := range s.publicKeys {
		text, err := a.input("--public-key", key)
		if err != nil {
			return c, err
		}
		c.PublicKeys = append(c.PublicKeys, string(text))
	}
	return c, nil
}

// scheme returns the profile that --provider and --profile-file name.
func (a *app) scheme(s *signing) (signature.Profile, error) {
	none := signature.Profile{}
	if s.profileFile != "" {
		return profileIn(s.profileFile, s.profile)
	}
	if s.provider == "" {
		return none, usage("give --provider, --profile-file or --source", "nothing says how the request is signed")
	}
	name := cmp.Or(s.profile, s.provider)
	if p, ok := signature.LookupProvider(s.provider); ok {
		if s.profile != "" && !slices.Contains(p.Profiles, s.profile) {
			return none, usage("it has: "+strings.Join(p.Profiles, ", "), "provider %s has no profile %q", p.Name, s.profile)
		}
		name = cmp.Or(s.profile, p.Profiles[0])
	}
	profile, ok := signature.LookupProfile(name)
	if !ok {
		var all []string
		for _, p := range signature.Providers() {
			all = append(all, p.Name)
		}
		return none, usage(cmp.Or(spec.Suggest(s.provider, all), "list them with: grapnel providers"), "no provider has the name %q", s.provider)
	}
	return profile, nil
}

func profileIn(path, name string) (signature.Profile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return signature.Profile{}, usage("--profile-file names a JSON file", "%s cannot be read: %v", path, cause(err))
	}
	all, err := signature.ParseProfiles(text)
	if err != nil {
		return signature.Profile{}, usage("see the fields of signature.Profile", "%s: %v", path, err)
	}
	for n, p := range all {
		if n == name || name == "" && len(all) == 1 {
			return p, nil
		}
	}
	return signature.Profile{}, usage("choose one with --profile", "%s has %s, none is chosen", path, plural(len(all), "profile"))
}

// sourceOf returns a source of the configuration with its secrets.
func (a *app) sourceOf(name string) (*config.Config, *config.Source, error) {
	cfg, _, err := daemon.LoadConfig(a.configPath(), a.env.LookupEnv)
	if broken, ok := errors.AsType[*daemon.ConfigError](err); ok {
		return nil, nil, a.brokenConfig(broken)
	}
	if err != nil {
		return nil, nil, err
	}
	var all []string
	for i := range cfg.Sources {
		if cfg.Sources[i].Name == name {
			return cfg, &cfg.Sources[i], nil
		}
		all = append(all, cfg.Sources[i].Name)
	}
	hint := spec.Suggest(name, all)
	if hint == "" {
		hint = "it has: " + strings.Join(all, ", ")
	}
	return nil, nil, fault.New(fault.NotFound, "source_not_found", "%s has no source %q", a.configPath(), name).WithHint("%s", hint)
}

// wayToSign is the way of a source that a sender follows: the first one.
func wayToSign(src *config.Source) (signature.Profile, signature.Config) {
	way := src.Ways()[0]
	return way.Scheme(), way.Keys()
}

// unusable words an error of package signature about flags.
func unusable(err error) error {
	if e, ok := errors.AsType[*signature.Error](err); ok && e.Reason == signature.NoSecret {
		return usage("give --secret-file or --secret-env", "no secret is given")
	}
	return usage("see --help", "%v", err)
}

// signed is what sign prints with --json.
type signed struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body,omitempty"` // if the scheme changed it
}

func (a *app) sign(s *signing) error {
	req, now, err := a.request(s)
	if err != nil {
		return err
	}
	profile, keys, err := a.schemeToSign(s)
	if err != nil {
		return err
	}
	signer, err := signature.NewProfileSigner(profile, keys)
	if err != nil {
		return unusable(err)
	}
	before, url := req.Header.Clone(), req.URL
	body := string(req.Body)
	if err := signer.Sign(req, now); err != nil {
		return usage("give what is signed with -H or in the body", "%v", err)
	}
	out := signed{Method: req.Method, URL: req.URL, Headers: map[string]string{}}
	for name, values := range req.Header {
		if len(values) > 0 && before.Get(name) != values[0] {
			out.Headers[name] = values[0]
		}
	}
	if string(req.Body) != body {
		out.Body = string(req.Body)
	}
	if !s.reveal {
		mask(&out, &profile, keys.Secrets)
	}
	if a.json {
		return a.out.json(out)
	}
	a.printSigned(&out, url)
	return nil
}

func (a *app) schemeToSign(s *signing) (signature.Profile, signature.Config, error) {
	if s.source != "" {
		_, src, err := a.sourceOf(s.source)
		if err != nil {
			return signature.Profile{}, signature.Config{}, err
		}
		profile, keys := wayToSign(src)
		return profile, keys, nil
	}
	keys, err := a.keys(s)
	if err != nil {
		return signature.Profile{}, keys, err
	}
	profile, err := a.scheme(s)
	keys.Profile = "" // it is the profile already
	return profile, keys, err
}

// mask takes the secret out where the scheme sends it as it is.
func mask(out *signed, profile *signature.Profile, secrets []string) {
	if profile.Mech != "token" {
		return
	}
	for name, value := range out.Headers {
		out.Headers[name] = secret.Redacted
		if scheme := profile.Token.Scheme; scheme != "" && strings.HasPrefix(value, scheme) {
			out.Headers[name] = scheme + secret.Redacted
		}
	}
	out.URL, out.Body = spec.Scrub(out.URL, secrets), spec.Scrub(out.Body, secrets)
}

func (a *app) printSigned(out *signed, url string) {
	var names []string
	for name := range out.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a.out.line("%s: %s", name, word(out.Headers[name]))
	}
	if out.URL != url {
		a.out.line("URL: %s", word(out.URL))
	}
	if out.Body != "" {
		a.out.line("")
		a.out.line("%s", out.Body)
	}
}

// verdict is what verify prints with --json.
type verdict struct {
	OK       bool   `json:"ok"`
	Profile  string `json:"profile"`
	KeyIndex *int   `json:"key_index,omitempty"`
	SignedAt string `json:"signed_at,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Meaning  string `json:"meaning,omitempty"`
	Next     string `json:"next,omitempty"`
	Status   int    `json:"status"` // what the sender would be answered
}

func (a *app) verify(s *signing) error {
	req, now, err := a.request(s)
	if err != nil {
		return err
	}
	verifier, err := a.verifier(s)
	if err != nil {
		return err
	}
	proof, err := verifier.Verify(req, now)
	refused, isRefusal := errors.AsType[*signature.Error](err)
	if err != nil && !isRefusal {
		return fmt.Errorf("verifying: %w", err)
	}
	v := verdict{OK: err == nil, Profile: proof.Profile, Status: http.StatusOK}
	if err != nil {
		v.Profile, v.Reason, v.Detail, v.Status = refused.Profile, string(refused.Reason), refused.Detail, refused.Reason.Status()
		for _, row := range signature.Reasons() {
			if row.Reason == refused.Reason {
				v.Meaning, v.Next = row.Meaning, row.Next
			}
		}
	} else {
		v.KeyIndex = &proof.KeyIndex
		if !proof.Timestamp.IsZero() {
			v.SignedAt = proof.Timestamp.UTC().Format(time.RFC3339)
		}
	}
	if err := a.printProof(&v); err != nil {
		return err
	}
	if !v.OK {
		return answerError{exitFailed}
	}
	return nil
}

func (a *app) verifier(s *signing) (*signature.Verifier, error) {
	if s.source != "" {
		_, src, err := a.sourceOf(s.source)
		if err != nil {
			return nil, err
		}
		v, err := src.Verifier(nil)
		if err != nil {
			return nil, unusable(err)
		}
		return v, nil
	}
	keys, err := a.keys(s)
	if err != nil {
		return nil, err
	}
	profile, err := a.scheme(s)
	if err != nil {
		return nil, err
	}
	keys.Profile = ""
	v, err := signature.NewProfile(profile, keys)
	if err != nil {
		return nil, unusable(err)
	}
	return v, nil
}

func (a *app) printProof(v *verdict) error {
	if a.json {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
		a.out.line("%s", text)
		return nil
	}
	if v.OK {
		key := ""
		if *v.KeyIndex >= 0 {
			key = fmt.Sprintf("secret %d", *v.KeyIndex+1)
		}
		a.out.line("%s  by %s", a.out.green("verified"), v.Profile)
		a.out.facts("  ", "key", key, "signed", v.SignedAt)
		return nil
	}
	a.out.line("%s  %s", a.out.red("refused"), v.Reason)
	a.out.facts("  ", "profile", v.Profile, "where", v.Detail, "meaning", v.Meaning, "next", v.Next, "answer", number(v.Status))
	return nil
}
