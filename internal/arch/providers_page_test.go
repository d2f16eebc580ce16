package arch_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/destination/all"
	"github.com/grapnel/grapnel/signature"
)

// extras are the keys that a source of a provider needs beside its secret.
var extras = map[string][]string{
	"hmac":        {`hmac: {header: X-Signature, prefix: "sha256=", content: "{body}"}`},
	"token":       {`token: {header: X-Token}`},
	"basic":       {`basic: {user: monitor}`},
	"jwt":         {`jwt: {jwks_url: "https://issuer.example/jwks.json", issuer: "https://issuer.example", audience: grapnel}`},
	"pusher":      {`params: {app_key: [the-app-key]}            # one for each secret`},
	"paypal":      {`params: {webhook_id: ["${PAYPAL_WEBHOOK_ID}"]}`},
	"meta":        {`params: {verify_token: ["${META_VERIFY_TOKEN}"]}`},
	"cloudevents": {`params: {allowed_origins: [eventemitter.example.com]}`},
}

// keyless are the providers whose source has neither secrets nor keys in the file.
var keyless = []string{"none", "jwt"}

// snippetOf is the part of a configuration that sets the provider up.
func snippetOf(p *signature.Provider, s *signature.Profile) string {
	var b strings.Builder
	if strings.Contains(s.Content, "{url}") {
		b.WriteString("public_url: https://hooks.example.com       # what the provider calls: it is signed\n")
	}
	fmt.Fprintf(&b, "sources:\n  %s:\n    provider: %s\n", p.Name, p.Name)
	for _, line := range extras[p.Name] {
		b.WriteString("    " + line + "\n")
	}
	name := strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))
	switch {
	case slices.Contains(keyless, p.Name):
	case s.Mech == "pubkey":
		fmt.Fprintf(&b, "    public_keys: [\"${%s_PUBLIC_KEY}\"]\n", name)
	default:
		fmt.Fprintf(&b, "    secrets: [\"${%s_SECRET}\"]\n", name)
	}
	return b.String()
}

// sampleKey is a key of the form that the profile takes.
func sampleKey(t *testing.T, s *signature.Profile) string {
	t.Helper()
	switch {
	case s.Keyfmt == "ed25519-hex":
		return "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" // RFC 8032 7.1
	case s.Keyfmt == "spki-base64":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(der)
	case s.CertURL != nil:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	case s.Key == "hex":
		return strings.Repeat("0badc0de", 8)
	case s.Basic:
		return "monitor:correct horse battery staple"
	default:
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte("correct horse battery staple 00!"))
	}
}

// algorithms as people write them.
var algorithms = map[string]string{
	"sha1": "HMAC-SHA1", "sha256": "HMAC-SHA256", "sha512": "HMAC-SHA512", "concat-sha256": "SHA-256 over secret and text",
	"ed25519": "Ed25519", "ecdsa-p256-sha256-der": "ECDSA P-256 with SHA-256", "rsa-pkcs1-sha256": "RSA with SHA-256",
}

// mechanism says in a few words how a profile proves a request.
func mechanism(s *signature.Profile) string {
	switch s.Mech {
	case "mac", "pubkey":
		if s.Tolerance > 0 {
			return algorithms[s.Alg] + " with time"
		}
		return algorithms[s.Alg]
	case "token":
		if s.Basic {
			return "user and password"
		}
		return "token " + strings.SplitN(place(s.Token.In, s.Token.Name), " `", 2)[0]
	case "jwt":
		return "JSON Web Token"
	default:
		return "nothing"
	}
}

// scheme says in one line how a profile proves a request.
func scheme(s *signature.Profile) string {
	switch s.Mech {
	case "mac", "pubkey":
		line := fmt.Sprintf("%s in %s %s, %s, over `%s`", algorithms[s.Alg], s.Enc, place(s.Sig.In, s.Sig.Name), form(s.Sig), s.Content)
		if s.Tolerance > 0 {
			line += fmt.Sprintf("; refused when it is more than %d s old or ahead", s.Tolerance)
		}
		if s.CertURL != nil {
			line += "; by the certificate that is given as public key"
		}
		return line
	case "token":
		line := "a token " + place(s.Token.In, s.Token.Name)
		if s.Token.Scheme != "" {
			line += " after " + code(strings.TrimSpace(s.Token.Scheme))
		}
		return line
	case "jwt":
		return fmt.Sprintf("a JSON Web Token (%s) %s", strings.Join(s.Algs, ", "), place(s.Token.In, s.Token.Name))
	case "sigv4":
		return "AWS Signature Version 4 in headers; the secret is `access key id:secret access key`"
	case "none":
		return "not at all"
	default:
		return s.Mech
	}
}

func place(in string, names signature.Names) string {
	name := strings.Join(names, "` or `")
	switch in {
	case "header":
		return "in the header `" + name + "`"
	case "query":
		return "in the parameter `" + name + "`"
	case "path":
		return "in the path"
	case "form":
		return "in the form field `" + name + "`"
	default:
		return "in the body at `" + name + "`"
	}
}

func form(s *signature.Sig) string {
	switch s.Parse {
	case "prefix":
		return "after `" + s.Prefix + "`"
	case "list":
		return "one or several, each after `" + s.Prefix + "`"
	case "kv":
		return "as `" + s.TSKey + "=…" + s.Sep + s.SigKey + "=…`"
	default:
		return "alone"
	}
}

// located words where an id or a type is found.
func located(t *testing.T, list []signature.Locator) string {
	t.Helper()
	var words []string
	for _, l := range list {
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := strconv.Unquote(string(text))
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, code(plain))
	}
	return strings.Join(words, ", else ")
}

func answer(a signature.Answer) string {
	if a.Status == 0 {
		return "200 with the event id as JSON"
	}
	return strings.TrimSpace(strconv.Itoa(a.Status) + " " + http.StatusText(a.Status))
}

func TestGeneratedProviders(t *testing.T) {
	t.Parallel()
	list := signature.Providers()
	p := &paper{}
	p.add(providersIntro)
	p.head("provider", "`provider:`", "proven by")
	for i := range list {
		names := append([]string{list[i].Name}, list[i].Aliases...)
		s := profile(t, list[i].Profiles[0])
		p.row(fmt.Sprintf("[%s](#%s)", list[i].Title, list[i].Name), code(strings.Join(names, "`, `")), mechanism(&s))
	}
	for i := range list {
		provider(t, p, &list[i])
	}
	page(t, "providers.md", p.String())
}

func profile(t *testing.T, name string) signature.Profile {
	t.Helper()
	s, ok := signature.LookupProfile(name)
	if !ok {
		t.Fatalf("there is no profile %q", name)
	}
	return s
}

// provider writes the section of one provider, after its configuration was loaded.
func provider(t *testing.T, p *paper, v *signature.Provider) {
	t.Helper()
	first := profile(t, v.Profiles[0])
	text := snippetOf(v, &first)
	s := loads(t, v, &first, text)
	p.line("\n<a id=%q></a>\n\n## %s\n\n```yaml\n%s```\n", v.Name, v.Title, text)
	for i, step := range v.Steps {
		p.line("%d. %s", i+1, strings.ReplaceAll(step, "{url}", "`https://hooks.example.com/in/"+v.Name+"`"))
	}
	p.line("")
	p.head("", "")
	p.row("proven by", scheme(&s))
	for _, name := range v.Profiles[1:] {
		other := profile(t, name)
		p.row("or, with `profile: "+name+"`"+instead(v), scheme(&other))
	}
	p.row("covers", v.Signed)
	p.row("does not cover", v.Unsigned)
	if len(v.ID) > 0 {
		p.row("delivery id", located(t, v.ID))
	} else {
		p.row("delivery id", "none: repetitions cannot be known")
	}
	p.row("`source`", code(v.Source))
	kind := code(v.DetailType)
	if len(v.Type) > 0 {
		kind = located(t, v.Type) + ", else " + kind
	}
	p.row("`detail-type`", kind)
	if len(v.Handshakes) > 0 {
		p.row("handshake", "answered by itself")
	}
	p.row("expects", v.Expects)
	p.row("is answered", answer(v.Answer))
	p.row("tries again", v.Retries)
}

// instead says what a profile of a generic provider replaces.
func instead(v *signature.Provider) string {
	if len(extras[v.Name]) > 0 && strings.HasPrefix(extras[v.Name][0], v.Name+":") && v.Name != "jwt" {
		return " in place of " + code(v.Name+":")
	}
	return ""
}

// loads holds that the configuration on the page works, and returns the scheme by which it proves
// requests.
func loads(t *testing.T, v *signature.Provider, s *signature.Profile, text string) signature.Profile {
	t.Helper()
	key := sampleKey(t, s)
	c, problems := config.Load(v.Name+".yaml", []byte(text), config.Options{
		Env:      func(string) (string, bool) { return key, true },
		ReadFile: os.ReadFile,
		Kinds:    all.Specs(),
	})
	for _, problem := range problems {
		if !problem.Warning {
			t.Errorf("%s: the configuration on the page does not load: %s", v.Name, problem)
		} else if v.Name != "none" {
			t.Errorf("%s: the configuration on the page has a warning: %s", v.Name, problem)
		}
	}
	if c == nil || len(c.Sources) != 1 {
		return *s
	}
	scheme := c.Sources[0].Scheme()
	if extras[v.Name] == nil && scheme.Name != s.Name {
		t.Errorf("%s: requests are proven by %s, want the provider's first profile %s", v.Name, scheme.Name, s.Name)
	}
	if _, err := c.Sources[0].Verifier(noKeys); err != nil {
		t.Errorf("%s: %v", v.Name, err)
	}
	return scheme
}

// noKeys stands for the keys that a server would fetch.
func noKeys(string) signature.KeySource { return fetched{} }

type fetched struct{ signature.KeySource }

const providersIntro = `# Providers

Generated from the code by ` + "`make generate`" + `; the configurations below are loaded by the test that holds this page.

A source names its provider. From it follow how a request is proven, where the delivery id and the event type are, what
is answered, and which values are masked before anything is stored. ` + "`grapnel sources show NAME`" + ` prints the URL to paste
and the steps for a source of yours; ` + "`grapnel send NAME`" + ` sends it a sample, signed as the provider would.

* **The raw bytes are verified**, before anything is parsed. What is not covered by the signature can be changed by
  whoever can change the request on its way: do not let a rule depend on it.
* **Several secrets** may be live at once, the newest first: ` + "`secrets: [\"${NEW}\", \"${OLD}\"]`" + `.
* **A delivery id** that was accepted within the last 24 hours makes a request with the same body a repetition: it is
  answered like the first and not delivered again, unless the source says ` + "`duplicates: deliver`" + `.
* **Where**: ` + "`{header:X}`" + ` is a header, ` + "`{json:/a/b}`" + ` a JSON pointer into the body, ` + "`{form:x}`" + ` a form field,
  ` + "`{first-name:x}`" + ` the name of the first member that is not x, ` + "`{ts}`" + ` the signed time, ` + "`{url}`" + ` the address as the
  provider knows it (` + "`public_url`" + ` and the path).

`
