package signature_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/signature"
)

// sender is a profile that signs, with the requests that suit it.
type sender struct {
	profile signature.Profile
	// covered says that every byte of the body is signed.
	covered bool
}

// senders returns all built-in mac profiles.
func senders() []sender {
	var list []sender
	for _, p := range signature.Profiles() {
		if p.Mech == "mac" {
			list = append(list, sender{p, strings.Contains(p.Content, "{body}") || p.BodyHashParam != ""})
		}
	}
	return list
}

// draw returns a configuration and a request that the profile can sign.
func (s sender) draw(t *rapid.T) (signature.Config, *signature.Request) {
	secrets := rapid.SliceOfNDistinct(rapid.SliceOfN(rapid.Byte(), 24, 24), 1, 3,
		func(b []byte) string { return string(b) }).Draw(t, "secrets")
	var c signature.Config
	for _, b := range secrets {
		switch s.profile.Key {
		case "base64":
			c.Secrets = append(c.Secrets, s.profile.KeyStrip+base64.StdEncoding.EncodeToString(b))
		case "hex":
			c.Secrets = append(c.Secrets, hex.EncodeToString(b))
		default:
			c.Secrets = append(c.Secrets, string(b))
		}
	}
	c.Params = map[string][]string{"app_key": {"k"}}
	id := rapid.StringMatching(`[a-zA-Z0-9_-]{1,40}`).Draw(t, "id")
	req := &signature.Request{
		Method: http.MethodPost,
		URL:    "https://u:p@hooks.example.com:8443/in/x?a=" + rapid.StringMatching(`[a-z'%20]{0,10}`).Draw(t, "query"),
		Header: http.Header{
			"Webhook-Id": {id}, "Svix-Id": {id}, "Twitch-Eventsub-Message-Id": {id},
			"Date": {"Thu, 07 Sep 2017 06:30:04 GMT"}, "Content-Type": {"application/json"},
		},
	}
	req.Body = s.body(t, req.Header)
	return c, req
}

// body draws a body, and sets its content type if that matters.
func (s sender) body(t *rapid.T, header http.Header) []byte {
	text := rapid.String().Draw(t, "text")
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	switch s.profile.Name {
	case "mailgun":
		return fmt.Appendf(nil, `{"signature":{"token":%s,"timestamp":"","signature":""}}`, quoted)
	case "mailgun-form":
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return []byte("token=t&timestamp=&signature=")
	case "adyen-classic":
		return fmt.Appendf(nil, `{"notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":""},
			"pspReference":%s,"originalReference":"","merchantAccountCode":"m","merchantReference":"r",
			"amount":{"value":1,"currency":"EUR"},"eventCode":"E","success":"true"}}]}`, quoted)
	case "linear-strict":
		return fmt.Appendf(nil, `{"webhookTimestamp":0,"text":%s}`, quoted)
	case "mandrill":
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return []byte("a=1&b=2&b=1&c=%C3%BC")
	default:
		return append(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bytes"), 'x')
	}
}

var sentAt = time.Unix(1_700_000_000, 0)

// What we sign, we verify, under every secret that signs; nothing else.
func TestSignedRequestsVerify(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		t.Run(s.profile.Name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				c, req := s.draw(t)
				signer, err := signature.NewProfileSigner(s.profile, c)
				if err != nil {
					t.Fatal(err)
				}
				if err := signer.Sign(req, sentAt); err != nil {
					t.Fatal(err)
				}
				checkSigned(t, s, c, req)
				checkTampered(t, s, c, req)
			})
		})
	}
}

// checkSigned checks that the request verifies by the first secret, and by any other one if the
// scheme carries several signatures.
func checkSigned(t *rapid.T, s sender, c signature.Config, req *signature.Request) {
	all := s.profile.Sig.Parse == "list" || s.profile.Sig.Parse == "kv"
	for i, secret := range c.Secrets {
		if err := verifyWith(t, s.profile, c, req, sentAt, secret); (err == nil) != (i == 0 || all) {
			t.Fatalf("Verify with secret %d of %d = %v", i, len(c.Secrets), err)
		}
	}
	if err := verifyWith(t, s.profile, c, req, sentAt, c.Secrets...); err != nil {
		t.Fatalf("Verify = %v", err)
	}
	if s.profile.Tolerance == 0 {
		return
	}
	limit := time.Duration(s.profile.Tolerance) * time.Second
	for _, d := range []struct {
		after time.Duration
		want  signature.Reason
	}{
		{limit, ""},
		{-limit, ""},
		{limit + time.Millisecond, signature.StaleTimestamp},
		{-limit - time.Millisecond, signature.FutureTimestamp},
	} {
		if got := reasonOf(verifyWith(t, s.profile, c, req, sentAt.Add(d.after), c.Secrets...)); got != d.want {
			t.Fatalf("Verify %v later = %q, want %q", d.after, got, d.want)
		}
	}
}

// checkTampered checks that one flipped bit is enough to be refused.
func checkTampered(t *rapid.T, s sender, c signature.Config, req *signature.Request) {
	if s.covered {
		changed := *req
		changed.Body = flip(t, req.Body)
		if err := verifyWith(t, s.profile, c, &changed, sentAt, c.Secrets...); err == nil {
			t.Fatalf("Verify accepts %q in place of %q", changed.Body, req.Body)
		}
	}
	if s.profile.Sig.In == "header" {
		name := http.CanonicalHeaderKey(s.profile.Sig.Name[0])
		changed := *req
		changed.Header = req.Header.Clone()
		changed.Header[name] = []string{string(flip(t, []byte(req.Header[name][0])))}
		one := signature.Config{Secrets: c.Secrets[:1], Params: c.Params}
		err := verifyWith(t, s.profile, one, &changed, sentAt, c.Secrets[0])
		if err == nil && !spared(s, req.Header[name][0], changed.Header[name][0], len(c.Secrets)) {
			t.Fatalf("Verify accepts %q in place of %q", changed.Header[name][0], req.Header[name][0])
		}
	}
	other := c.Secrets[0][:len(c.Secrets[0])-4] + "0000"
	if other == c.Secrets[0] {
		return
	}
	if err := verifyWith(t, s.profile, c, req, sentAt, other); err == nil {
		t.Fatal("Verify accepts another secret")
	}
}

// spared reports whether the change left the signature what it was: the other case of a hexadecimal
// digit, or another signature of several.
func spared(s sender, before, after string, secrets int) bool {
	return strings.EqualFold(before, after) && s.profile.Enc == "hex" || secrets > 1
}

// flip returns the bytes with one bit flipped.
func flip(t *rapid.T, b []byte) []byte {
	at := rapid.IntRange(0, len(b)*8-1).Draw(t, "bit")
	b = append([]byte(nil), b...)
	b[at/8] ^= 1 << (at % 8)
	return b
}

func verifyWith(
	tb rapid.TB, p signature.Profile, c signature.Config, req *signature.Request, now time.Time, secrets ...string,
) error {
	tb.Helper()
	c.Secrets = secrets
	v, err := signature.NewProfile(p, c)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = v.Verify(req, now)
	return err
}

// reasonOf returns the reason of a refusal, "" for no error.
func reasonOf(err error) signature.Reason {
	if refusal, ok := errors.AsType[*signature.Error](err); ok {
		return refusal.Reason
	}
	if err != nil {
		return signature.Reason(err.Error())
	}
	return ""
}

func TestTokensAndJWTsVerify(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"gitlab-token", "bearer", "basic", "api-key", "query-token", "netlify", "jwt-secret", "jwt-noleeway", "none",
		"graph-client-state",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := signature.Secrets("user:pass word&=")
			signer, err := signature.NewSigner(name, c)
			if err != nil {
				t.Fatal(err)
			}
			req := &signature.Request{
				Method: http.MethodPost, URL: "https://h.example/in?a=1&token=old",
				Body: []byte(`{"value":[{"clientState":"x"}]}`),
			}
			if err := signer.Sign(req, sentAt); err != nil {
				t.Fatal(err)
			}
			v, err := signature.New(name, c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(req, sentAt); err != nil {
				t.Errorf("Verify = %v", err)
			}
			if name == "none" {
				return
			}
			other, err := signature.New(name, signature.Secrets("user:other"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.Verify(req, sentAt); err == nil {
				t.Error("Verify accepts another secret")
			}
		})
	}
}

func TestStandardWebhooksSigner(t *testing.T) {
	t.Parallel()
	signer, err := signature.StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(id ...string) (http.Header, error) {
		req := &signature.Request{Header: http.Header{"Webhook-Id": id}, Body: []byte("{}")}
		err := signer.Sign(req, sentAt)
		return req.Header, err
	}
	header, err := sign("msg_1")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(header.Get("Webhook-Signature"), " "); len(got) != 2 ||
		!strings.HasPrefix(got[0], "v1,") || !strings.HasPrefix(got[1], "v1,") || got[0] == got[1] {
		t.Errorf("Webhook-Signature = %q, want one of each secret", got)
	}
	for name, id := range map[string][]string{
		"a dot in the id": {"msg.1"}, "no id": nil, "an empty id": {""}, "two ids": {"a", "b"},
	} {
		if _, err := sign(id...); !errors.Is(err, signature.ErrSign) {
			t.Errorf("Sign with %s = %v, want ErrSign", name, err)
		}
	}
}

func TestSignRefusesWhatHasNoPlace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mailgun", "mailgun-form", "path-token"} {
		signer, err := signature.NewSigner(name, signature.Secrets("s"))
		if err != nil {
			t.Fatal(err)
		}
		req := &signature.Request{URL: "https://h.example/in", Body: []byte(`{"a":1}`)}
		if err := signer.Sign(req, sentAt); !errors.Is(err, signature.ErrSign) {
			t.Errorf("%s: Sign = %v, want ErrSign", name, err)
		}
	}
	for _, name := range []string{"discord", "jwt", "ip-allowlist"} {
		if _, err := signature.NewSigner(name, signature.Config{}); err == nil {
			t.Errorf("NewSigner(%s) = nil error", name)
		}
	}
}
