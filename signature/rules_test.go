package signature_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/signature"
)

func mustNew(tb testing.TB, name string, c signature.Config) *signature.Verifier {
	tb.Helper()
	v, err := signature.New(name, c)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// signed returns a request that the profile signed with the secrets.
func signed(tb testing.TB, name, body string, secrets ...string) *signature.Request {
	tb.Helper()
	signer, err := signature.NewSigner(name, signature.Config{
		Secrets: secrets, Params: map[string][]string{"app_key": {"k1"}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	req := &signature.Request{
		Method: http.MethodPost, URL: "https://hooks.example.com/in/x",
		Header: http.Header{"Webhook-Id": {"msg_1"}, "Content-Type": {"application/json"}}, Body: []byte(body),
	}
	if err := signer.Sign(req, sentAt); err != nil {
		tb.Fatal(err)
	}
	return req
}

func TestNoVerifierWithoutSecret(t *testing.T) {
	t.Parallel()
	for _, p := range signature.Profiles() {
		if p.Mech == "none" || p.Mech == "ip" {
			continue
		}
		empty := map[string]signature.Config{
			"nothing":       {},
			"empty":         {Secrets: []string{""}, PublicKeys: []string{""}},
			"prefix only":   {Secrets: []string{p.KeyStrip}},
			"second empty":  {Secrets: []string{"user:MDAw", ""}},
			"empty list":    {Secrets: []string{}},
			"empty key":     {PublicKeys: []string{""}},
			"two are empty": {Secrets: []string{"", ""}},
		}
		for name, c := range empty {
			c.Params = map[string][]string{"app_key": {"k"}}
			if _, err := signature.NewProfile(p, c); err == nil {
				t.Errorf("NewProfile(%s) with %s: no error", p.Name, name)
			}
			if _, err := signature.NewProfileSigner(p, c); err == nil {
				t.Errorf("NewProfileSigner(%s) with %s: no error", p.Name, name)
			}
		}
	}
	_, err := signature.New("github", signature.Config{})
	if reasonOf(err) != signature.NoSecret {
		t.Errorf("New(github) without secrets = %v, want no_secret", err)
	}
	for name, v := range map[string]*signature.Verifier{"All": signature.All(), "Any": signature.Any()} {
		if _, err := v.Verify(&signature.Request{}, sentAt); reasonOf(err) != signature.NoSecret {
			t.Errorf("%s() = %v, want no_secret", name, err)
		}
	}
}

func TestKeyIndexTellsWhichSecretVerified(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body string }{
		{"github", "x"},
		{"standard-webhooks", "x"},
		{"stripe", "x"},
		{"bearer", "x"},
		{"netlify", "x"},
	}
	secrets := []string{"MDAwMDAw", "MTExMTEx", "MjIyMjIy"}
	for _, tt := range tests {
		for i, secret := range secrets {
			proof, err := mustNew(t, tt.name, signature.Secrets(secrets...)).Verify(signed(t, tt.name, tt.body, secret), sentAt)
			if err != nil || proof.KeyIndex != i {
				t.Errorf("%s: Verify = key %d, %v, want key %d", tt.name, proof.KeyIndex, err, i)
			}
		}
	}
}

func TestProofHoldsTheTimeOfSending(t *testing.T) {
	t.Parallel()
	got, err := mustNew(t, "stripe", signature.Secrets("s")).Verify(signed(t, "stripe", "{}", "s"), sentAt.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := signature.Proof{Profile: "stripe", Timestamp: sentAt}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Proof differs (-want +got):\n%s", diff)
	}
}

// The verdict on the signature comes before the one on the time, so that an old request does not
// serve to try secrets; but what cannot be a time is refused at once.
func TestOrderOfVerdicts(t *testing.T) {
	t.Parallel()
	later := sentAt.Add(time.Hour)
	change := func(edit func(h http.Header)) *signature.Request {
		req := signed(t, "slack", "{}", "s")
		edit(req.Header)
		return req
	}
	tests := map[string]struct {
		req    *signature.Request
		now    time.Time
		secret string
		want   signature.Reason
	}{
		"wrong and old":         {change(func(http.Header) {}), later, "other", signature.BadSignature},
		"right and old":         {change(func(http.Header) {}), later, "s", signature.StaleTimestamp},
		"wrong and no time":     {change(func(h http.Header) { h.Del("X-Slack-Request-Timestamp") }), sentAt, "other", signature.MissingTimestamp},
		"no signature, no time": {&signature.Request{Header: http.Header{}}, sentAt, "s", signature.MissingSignature},
		"garbage twice": {change(func(h http.Header) {
			h.Set("X-Slack-Signature", "v0=zz")
			h.Set("X-Slack-Request-Timestamp", "zz")
		}), sentAt, "s", signature.MalformedSignature},
		"two times":       {change(func(h http.Header) { h.Add("X-Slack-Request-Timestamp", "1") }), sentAt, "s", signature.DuplicateHeader},
		"two signatures":  {change(func(h http.Header) { h.Add("X-Slack-Signature", "v0=00") }), sentAt, "s", signature.DuplicateHeader},
		"negative time":   {change(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "-1") }), sentAt, "s", signature.MalformedTimestamp},
		"signed time":     {change(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "+1") }), sentAt, "s", signature.MalformedTimestamp},
		"fraction":        {change(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "1.5") }), sentAt, "s", signature.MalformedTimestamp},
		"overlong time":   {change(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", strings.Repeat("1", 30)) }), sentAt, "s", signature.MalformedTimestamp},
		"a date":          {change(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "2023-11-14T22:13:20Z") }), sentAt, "s", signature.MalformedTimestamp},
		"another reading": {change(func(h http.Header) { h.Set("X-Slack-Request-Timestamp", "01700000000") }), sentAt, "s", signature.BadSignature},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := mustNew(t, "slack", signature.Secrets(tt.secret)).Verify(tt.req, tt.now)
			if got := reasonOf(err); got != tt.want {
				t.Errorf("Verify = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestNoDowngrade(t *testing.T) {
	t.Parallel()
	sha1 := signed(t, "github-sha1", "x", "s")
	if _, err := mustNew(t, "github", signature.Secrets("s")).Verify(sha1, sentAt); reasonOf(err) != signature.MissingSignature {
		t.Errorf("github with a SHA-1 header = %v, want missing_signature", err)
	}
	// The weaker signature is right, the configured one wrong.
	both := signed(t, "github", "x", "other")
	both.Header.Set("X-Hub-Signature", sha1.Header.Get("X-Hub-Signature"))
	if _, err := mustNew(t, "github", signature.Secrets("s")).Verify(both, sentAt); reasonOf(err) != signature.BadSignature {
		t.Errorf("github with a wrong SHA-256 and a right SHA-1 = %v, want bad_signature", err)
	}
}

func TestAlternativeHeadersMustAgree(t *testing.T) {
	t.Parallel()
	v := mustNew(t, "shopify", signature.Secrets("s"))
	req := signed(t, "shopify", "x", "s")
	right := req.Header.Get("X-Shopify-Hmac-Sha256")
	req.Header.Set("Shopify-Hmac-Sha256", right)
	if _, err := v.Verify(req, sentAt); err != nil {
		t.Errorf("two equal headers = %v", err)
	}
	req.Header.Set("Shopify-Hmac-Sha256", "AAAA")
	if _, err := v.Verify(req, sentAt); reasonOf(err) != signature.DuplicateHeader {
		t.Errorf("two different headers = %v, want duplicate_header", err)
	}
	req.Header.Del("X-Shopify-Hmac-Sha256")
	req.Header.Set("Shopify-Hmac-Sha256", right)
	if _, err := v.Verify(req, sentAt); err != nil {
		t.Errorf("the other header alone = %v", err)
	}
}

// An id that holds the delimiter would let one signature stand for two messages.
func TestSignedHeaderMustNotHoldItsDelimiter(t *testing.T) {
	t.Parallel()
	req := signed(t, "standard-webhooks", "2.x", "MDAw")
	req.Header.Set("Webhook-Id", "msg.1")
	_, err := mustNew(t, "standard-webhooks", signature.Secrets("MDAw")).Verify(req, sentAt)
	if reasonOf(err) != signature.MalformedHeader {
		t.Errorf("Verify = %v, want malformed_header", err)
	}
}

func TestTwilioBody(t *testing.T) {
	t.Parallel()
	v := mustNew(t, "twilio", signature.Secrets("s"))
	form := func(req *signature.Request) {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	}
	tests := map[string]struct {
		edit func(req *signature.Request)
		want signature.Reason
	}{
		"as signed":      {func(*signature.Request) {}, ""},
		"another body":   {func(r *signature.Request) { r.Body = []byte("{}") }, signature.BadBodyHash},
		"no body":        {func(r *signature.Request) { r.Body = nil }, signature.BadBodyHash},
		"empty form":     {func(r *signature.Request) { r.Body = []byte("&&"); form(r) }, signature.BadBodyHash},
		"hash twice":     {func(r *signature.Request) { r.URL += "&bodySHA256=00" }, signature.DuplicateParameter},
		"escaped twice":  {func(r *signature.Request) { r.URL += "&body%53HA256=00" }, signature.DuplicateParameter},
		"no hash":        {func(r *signature.Request) { r.URL, _, _ = strings.Cut(r.URL, "?") }, signature.MissingBodyHash},
		"hash in anchor": {func(r *signature.Request) { r.URL = strings.Replace(r.URL, "?", "#?", 1) }, signature.MissingBodyHash},
		"an anchor":      {func(r *signature.Request) { r.URL += "#rc=2" }, ""},
		"broken form":    {func(r *signature.Request) { r.Body = []byte("a=%zz"); form(r) }, signature.MalformedBody},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := signed(t, "twilio", `{"a":1}`, "s")
			tt.edit(req)
			if _, err := v.Verify(req, sentAt); reasonOf(err) != tt.want {
				t.Errorf("Verify = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMandrillRefusesABodyThatIsNotSigned(t *testing.T) {
	t.Parallel()
	v := mustNew(t, "mandrill", signature.Secrets("s"))
	req := signed(t, "mandrill", "", "s")
	if _, err := v.Verify(req, sentAt); err != nil {
		t.Fatalf("without a body: %v", err)
	}
	req.Body = []byte(`{"event":"forged"}`)
	if _, err := v.Verify(req, sentAt); reasonOf(err) != signature.MalformedBody {
		t.Errorf("Verify = %v, want malformed_body", err)
	}
}

func TestURLSpellings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		provider, sent, seen string
		want                 signature.Reason
	}{
		{"twilio", "https://h.example/a?b=1", "https://h.example:443/a?b=1", ""},
		{"twilio", "https://h.example:8443/a", "https://h.example:8443/a", ""},
		{"twilio", "https://h.example/a", "https://h.example:8443/a", ""},
		{"twilio", "http://h.example:80/a", "http://h.example/a", ""},
		{"twilio", "https://u:p@h.example:443", "https://u:p@h.example", ""},
		{"twilio", "https://[::1]:443/a", "https://[::1]/a", ""},
		{"twilio", "https://h.example/a?b=it%27s", "https://h.example/a?b=it's", ""},
		{"twilio", "https://h.example:443/a?b=it%27s", "https://h.example/a?b=it's", ""},
		{"twilio", "https://h.example/it%27s", "https://h.example/it's", signature.BadSignature},
		{"twilio", "http://h.example/a", "https://h.example/a", signature.BadSignature},
		{"twilio", "https://h.example:8443/a", "https://h.example/a", signature.BadSignature},
		{"square", "https://h.example:443/a", "https://h.example/a", signature.BadSignature},
		{"hubspot", "https://h.example/a?u=https://b.c/@x&d=%20%26", "https://h.example/a?u=https%3A%2F%2fb.c%2F%40x&d=%20%26", ""},
		{"hubspot", "https://h.example/a?u=%3A", "https://h.example/a?u=%3A", ""},
	}
	for _, tt := range tests {
		signer, err := signature.NewSigner(tt.provider, signature.Secrets("s"))
		if err != nil {
			t.Fatal(err)
		}
		req := &signature.Request{Method: http.MethodPost, URL: tt.sent, Header: http.Header{}}
		if err := signer.Sign(req, sentAt); err != nil {
			t.Fatal(err)
		}
		req.URL = tt.seen
		if _, err := mustNew(t, tt.provider, signature.Secrets("s")).Verify(req, sentAt); reasonOf(err) != tt.want {
			t.Errorf("%s: signed %s, seen %s: Verify = %v, want %q", tt.provider, tt.sent, tt.seen, err, tt.want)
		}
	}
}

func TestPusherKeyChoosesTheSecret(t *testing.T) {
	t.Parallel()
	c := signature.Config{Secrets: []string{"s1", "s2"}, Params: map[string][]string{"app_key": {"k1", "k2"}}}
	v := mustNew(t, "pusher", c)
	tests := map[string]struct {
		secret string
		keys   []string
		want   signature.Reason
	}{
		"its own":     {"s1", []string{"k1"}, ""},
		"the other's": {"s1", []string{"k2"}, signature.BadSignature},
		"unknown":     {"s1", []string{"k3"}, signature.UnknownKey},
		"none":        {"s1", nil, signature.MissingHeader},
		"two":         {"s1", []string{"k1", "k1"}, signature.DuplicateHeader},
		"second":      {"s2", []string{"k2"}, ""},
	}
	for name, tt := range tests {
		req := signed(t, "pusher", "{}", tt.secret)
		req.Header["X-Pusher-Key"] = tt.keys
		if _, err := v.Verify(req, sentAt); reasonOf(err) != tt.want {
			t.Errorf("%s: Verify = %v, want %q", name, err, tt.want)
		}
	}
	for name, params := range map[string]map[string][]string{
		"none": nil, "empty": {"app_key": {""}}, "too many": {"app_key": {"a", "b", "c"}},
	} {
		c.Params = params
		if _, err := signature.New("pusher", c); !errors.Is(err, signature.ErrProfile) {
			t.Errorf("New(pusher) with app_key %s = %v, want ErrProfile", name, err)
		}
	}
}

func TestTokenPlaces(t *testing.T) {
	t.Parallel()
	tests := []struct {
		profile, url, header, body string
		want                       signature.Reason
	}{
		{"query-token", "https://h.example/?token=s", "", "", ""},
		{"query-token", "https://h.example/?token=s&token=s", "", "", signature.DuplicateParameter},
		{"query-token", "https://h.example/?token=s&%74oken=s", "", "", signature.DuplicateParameter},
		{"query-token", "https://h.example/?token=%zz", "", "", signature.MalformedToken},
		{"query-token", "https://h.example/?a;token=s", "", "", signature.MissingToken},
		{"query-token", "https://h.example/?Token=s", "", "", signature.MissingToken},
		{"path-token", "https://h.example/in/s?x=1", "", "", ""},
		{"path-token", "https://h.example/in/%73#x", "", "", ""},
		{"path-token", "https://h.example/in/s/", "", "", signature.MissingToken},
		{"path-token", "https://h.example", "", "", signature.MissingToken},
		{"path-token", "https://s", "", "", signature.MissingToken},
		{"bearer", "", "BEARER s", "", ""},
		{"bearer", "", "Bearer  s", "", ""},
		{"bearer", "", "Bearer", "", signature.MalformedToken},
		{"bearer", "", "Bearer ", "", signature.BadToken},
		{"bearer", "", "Bearers", "", signature.MalformedToken},
		{"graph-client-state", "", "", `{"value":[{"clientState":"s"}]}`, ""},
		{"graph-client-state", "", "", `{"value":[{"clientState":"x","clientState":"s"}]}`, ""},
		{"graph-client-state", "", "", `{"value":[{"clientState":"s"}]`, signature.MalformedBody},
	}
	for _, tt := range tests {
		req := &signature.Request{URL: tt.url, Header: http.Header{}, Body: []byte(tt.body)}
		if tt.header != "" {
			req.Header.Set("Authorization", tt.header)
		}
		if _, err := mustNew(t, tt.profile, signature.Secrets("s")).Verify(req, sentAt); reasonOf(err) != tt.want {
			t.Errorf("%s %s %s%s: Verify = %v, want %q", tt.profile, tt.url, tt.header, tt.body, err, tt.want)
		}
	}
}

func TestBase64IsStrict(t *testing.T) {
	t.Parallel()
	v := mustNew(t, "line", signature.Secrets("s"))
	right := signed(t, "line", "x", "s").Header.Get("X-Line-Signature")
	for name, text := range map[string]string{
		"no padding": strings.TrimRight(right, "="),
		"line break": right[:8] + "\n" + right[8:],
		"space":      right[:8] + " " + right[8:],
		"URL":        strings.NewReplacer("A", "-").Replace(right[:40]) + "-_8=",
		"more":       right + "AAAA",
	} {
		req := &signature.Request{Header: http.Header{"X-Line-Signature": {text}}, Body: []byte("x")}
		if _, err := v.Verify(req, sentAt); reasonOf(err) != signature.MalformedSignature {
			t.Errorf("%s: Verify = %v, want malformed_signature", name, err)
		}
	}
}

func TestTooManyCandidatesAreRefused(t *testing.T) {
	t.Parallel()
	req := signed(t, "pagerduty", "x", "s")
	right := req.Header.Get("X-Pagerduty-Signature")
	req.Header.Set("X-Pagerduty-Signature", strings.Repeat("v1=00,", 63)+right)
	v := mustNew(t, "pagerduty", signature.Secrets("s"))
	if _, err := v.Verify(req, sentAt); err != nil {
		t.Errorf("64 candidates = %v", err)
	}
	req.Header.Set("X-Pagerduty-Signature", strings.Repeat("v1=00,", 64)+right)
	if _, err := v.Verify(req, sentAt); reasonOf(err) != signature.MalformedSignature {
		t.Errorf("65 candidates = %v, want malformed_signature", err)
	}
}

func TestCombinations(t *testing.T) {
	t.Parallel()
	github := mustNew(t, "github", signature.Secrets("a", "b"))
	gitlab := mustNew(t, "gitlab", signature.Secrets("s"))
	stripe := mustNew(t, "stripe", signature.Secrets("s"))
	ip := mustNew(t, "ip-allowlist", signature.Config{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	req := signed(t, "github", "x", "b")
	req.RemoteAddr = "192.0.2.7:1"
	tests := []struct {
		name string
		v    *signature.Verifier
		want signature.Proof
		err  signature.Reason
	}{
		{"all", signature.All(ip, github), signature.Proof{Profile: "ip-allowlist+github", KeyIndex: 1}, ""},
		{"all but one", signature.All(ip, github, gitlab), signature.Proof{}, signature.MissingToken},
		{"any", signature.Any(gitlab, github), signature.Proof{Profile: "github", KeyIndex: 1}, ""},
		{"any of none", signature.Any(gitlab, stripe), signature.Proof{}, signature.MissingToken},
		{
			"the tried one is blamed",
			signature.Any(gitlab, mustNew(t, "github", signature.Secrets("c")), stripe),
			signature.Proof{},
			signature.BadSignature,
		},
	}
	for _, tt := range tests {
		got, err := tt.v.Verify(req, sentAt)
		if diff := cmp.Diff(tt.want, got); diff != "" || reasonOf(err) != tt.err {
			t.Errorf("%s: Verify = %v, want %q; proof differs (-want +got):\n%s", tt.name, err, tt.err, diff)
		}
	}
}

// brokenSource cannot be reached.
type brokenSource struct{}

var errUnreachable = errors.New("unreachable")

func (brokenSource) Keys(string, time.Time) ([]signature.Key, error) { return nil, errUnreachable }

// secretSource provides a shared secret under an id.
type secretSource struct{ id, secret string }

func (s secretSource) Keys(id string, _ time.Time) ([]signature.Key, error) {
	if id != "" && id != s.id {
		return nil, nil
	}
	return []signature.Key{{ID: s.id, Alg: "HS256", Secret: []byte(s.secret)}}, nil
}

func TestKeySource(t *testing.T) {
	t.Parallel()
	req := signed(t, "netlify", "x", "s")
	proof, err := mustNew(t, "netlify", signature.Config{Keys: secretSource{"k", "s"}}).Verify(req, sentAt)
	if err != nil || proof.KeyIndex != 0 {
		t.Errorf("Verify = %+v, %v, want it accepted", proof, err)
	}
	_, err = mustNew(t, "netlify", signature.Config{Keys: brokenSource{}}).Verify(req, sentAt)
	var refusal *signature.Error
	if !errors.Is(err, errUnreachable) || errors.As(err, &refusal) {
		t.Errorf("Verify = %v, want the error of the source and no refusal", err)
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	v := mustNew(t, "standard-webhooks", signature.Secrets("MDAw", "MTEx"))
	var wg sync.WaitGroup
	for i := range 8 {
		good := signed(t, "standard-webhooks", strings.Repeat("x", i*100), "MTEx")
		forged := signed(t, "standard-webhooks", strings.Repeat("x", i*100), "MjIy")
		wg.Go(func() {
			for range 200 {
				if _, err := v.Verify(good, sentAt); err != nil {
					t.Errorf("Verify = %v", err)
				}
				if _, err := v.Verify(forged, sentAt); reasonOf(err) != signature.BadSignature {
					t.Errorf("Verify of a forgery = %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestUnusableProfilesAreRefused(t *testing.T) {
	t.Parallel()
	good, _ := signature.LookupProfile("slack")
	edit := func(change func(p *signature.Profile)) signature.Profile {
		p := good
		sig, ts := *good.Sig, *good.TS
		p.Sig, p.TS = &sig, &ts
		change(&p)
		return p
	}
	tests := map[string]signature.Profile{
		"mechanism":     edit(func(p *signature.Profile) { p.Mech = "magic" }),
		"algorithm":     edit(func(p *signature.Profile) { p.Alg = "md5" }),
		"encoding":      edit(func(p *signature.Profile) { p.Enc = "base32" }),
		"no signature":  edit(func(p *signature.Profile) { p.Sig = nil }),
		"place":         edit(func(p *signature.Profile) { p.Sig.In = "cookie" }),
		"parse":         edit(func(p *signature.Profile) { p.Sig.Parse = "guess" }),
		"no prefix":     edit(func(p *signature.Profile) { p.Sig.Prefix = "" }),
		"no name":       edit(func(p *signature.Profile) { p.Sig.Name = nil }),
		"no content":    edit(func(p *signature.Profile) { p.Content = "" }),
		"placeholder":   edit(func(p *signature.Profile) { p.Content = "{bodies}" }),
		"open brace":    edit(func(p *signature.Profile) { p.Content = "{body" }),
		"stray brace":   edit(func(p *signature.Profile) { p.Content = "body}" }),
		"no time":       edit(func(p *signature.Profile) { p.TS = nil }),
		"unit":          edit(func(p *signature.Profile) { p.TS.Unit = "h" }),
		"tolerance":     edit(func(p *signature.Profile) { p.Tolerance = -1 }),
		"secret in MAC": edit(func(p *signature.Profile) { p.Content = "{secret}{body}" }),
		"key encoding":  edit(func(p *signature.Profile) { p.Key = "rot13" }),
		"hex key":       edit(func(p *signature.Profile) { p.Key = "hex" }),
		"variant":       edit(func(p *signature.Profile) { p.URLVariants = []string{"upside-down"} }),
		"parameter":     edit(func(p *signature.Profile) { p.Content = "{param:none}{body}" }),
		"pointer":       edit(func(p *signature.Profile) { p.Content = "{json:a}{body}" }),
	}
	for name, p := range tests {
		if _, err := signature.NewProfile(p, signature.Secrets("s")); !errors.Is(err, signature.ErrProfile) {
			t.Errorf("NewProfile with a bad %s = %v, want ErrProfile", name, err)
		}
	}
	for _, name := range []string{"gihtub", ""} {
		if _, err := signature.New(name, signature.Secrets("s")); !errors.Is(err, signature.ErrProfile) {
			t.Errorf("New(%q) = %v, want ErrProfile", name, err)
		}
	}
	if _, err := signature.New("github", signature.Config{Profile: "gitea", Secrets: []string{"s"}}); err == nil {
		t.Error("New takes another provider's profile")
	}
	if _, err := signature.ParseProfiles([]byte(`{"a":{"mech":"mac","sign":5}}`)); err == nil {
		t.Error("ParseProfiles takes an unknown field")
	}
}

// Nothing that a refusal says may help to forge.
func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	const secret = "very-secret-value"
	for _, p := range signature.Profiles() {
		if p.Mech != "mac" && p.Mech != "token" {
			continue
		}
		c := signature.Config{Secrets: []string{secret}, Params: map[string][]string{"app_key": {"k"}}}
		v, err := signature.NewProfile(p, c)
		if err == nil {
			_, err = v.Verify(&signature.Request{URL: "https://h.example/" + secret + "x?token=" + secret + "x"}, sentAt)
		}
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: error is %v", p.Name, err)
		}
	}
}
