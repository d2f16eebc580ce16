package signature_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/grapnel/grapnel/signature"
)

// Whatever a request holds, a verifier does not panic, does not change it, and accepts nothing under
// a secret that did not sign it. The seeds are the vectors.
func FuzzVerify(f *testing.F) {
	file, profiles := loadVectors(f)
	for _, v := range file.Vectors {
		req := v.request(f)
		header, err := json.Marshal(req.Header)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(v.Profile, req.Method, req.URL, header, req.Body, v.time().Unix())
	}
	verifiers := map[string]*signature.Verifier{}
	for name, p := range profiles {
		if v, ok := unguessed(f, p); ok {
			verifiers[name] = v
		}
	}
	f.Fuzz(func(t *testing.T, profile, method, url string, header, body []byte, now int64) {
		v, ok := verifiers[profile]
		var fields http.Header
		if !ok || json.Unmarshal(header, &fields) != nil {
			return
		}
		before := bytes.Clone(body)
		req := &signature.Request{Method: method, URL: url, Header: fields, Body: body}
		proof, err := v.Verify(req, time.Unix(now, 0))
		var refusal *signature.Error
		if !errors.As(err, &refusal) {
			t.Fatalf("%s: Verify = %+v, %v, want a refusal", profile, proof, err)
		}
		if refusal.Reason == "" || refusal.Reason == signature.NoSecret {
			t.Errorf("%s: reason %q", profile, refusal.Reason)
		}
		if !bytes.Equal(before, body) {
			t.Errorf("%s: the body has changed", profile)
		}
	})
}

// unguessed returns a verifier with keys that no seed was signed with.
func unguessed(tb testing.TB, p signature.Profile) (*signature.Verifier, bool) {
	tb.Helper()
	c := signature.Config{Params: map[string][]string{"app_key": {"key"}}}
	switch p.Mech {
	case "mac":
		c.Secrets = []string{"c0ffee00c0ffee00c0ffee00c0ffee00"}
	case "token":
		c.Secrets = []string{"nobody:c0ffee00c0ffee00c0ffee00"}
	case "jwt":
		if slices.Contains(p.Algs, "HS256") {
			c.Secrets = []string{"c0ffee00c0ffee00c0ffee00c0ffee00"}
		}
		c.PublicKeys = []string{`{"kty":"OKP","crv":"Ed25519","x":"2bVTn1ea0lC8LNZB7mzHGHC2cL-DUXKz8qFj6L8G3yw"}`}
	case "sns", "pubkey":
		if p.Mech == "pubkey" && p.CertURL == nil {
			return nil, false
		}
		c.PublicKeys = []string{throwAwayKey}
		c.Params["webhook_id"], c.Params["signature_version"] = []string{"4JH86294D6297924G"}, []string{"1", "2"}
		c.Params["topic_arn"] = []string{
			"arn:aws:sns:us-east-1:123456789012:alerts", "arn:aws:sns:us-east-1:364852123998:test-email",
		}
	case "sigv4":
		c.Secrets = []string{"AKIDEXAMPLE:c0ffee00c0ffee00", "AKIDSUMOEXAMPLE:c0ffee00c0ffee00"}
		c.Params["service"] = []string{"service", "execute-api", "lambda"}
	default:
		return nil, false
	}
	v, err := signature.NewProfile(p, c)
	if err != nil {
		tb.Fatalf("%s: %v", p.Name, err)
	}
	return v, true
}

// Providers read ids and types of requests that are accepted, and handshakes of any.
func FuzzProvider(f *testing.F) {
	file, _ := loadVectors(f)
	for _, v := range file.Vectors {
		if v.Valid {
			f.Add(v.Method, v.URL, v.Headers["Content-Type"].first(), []byte(v.Body))
		}
	}
	for _, h := range file.Handshakes {
		f.Add(h.Request.Method, h.Request.URL, "application/json", []byte(h.Request.Body))
	}
	providers := signature.Providers()
	f.Fuzz(func(t *testing.T, method, url, contentType string, body []byte) {
		req := &signature.Request{Method: method, URL: url, Header: http.Header{"Content-Type": {contentType}}, Body: body}
		for i := range providers {
			p := &providers[i]
			if id := p.DeliveryID(req); len(id) > 256 {
				t.Errorf("%s: id of %d bytes", p.Name, len(id))
			}
			if kind := p.EventType(req); kind == "" || len(kind) > 128 {
				t.Errorf("%s: type %q", p.Name, kind)
			}
			h, ok := p.Handshake(req)
			if !ok {
				continue
			}
			answer, err := h.Answer(req, signature.Secrets("s"), 0)
			if bytes.ContainsAny(answer.Body, "<>\r\n") || (err != nil) != (answer.Status >= 400) {
				t.Errorf("%s: answer %d %q, %v", p.Name, answer.Status, answer.Body, err)
			}
		}
	})
}

func (v values) first() string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// throwAwayKey signed nothing.
const throwAwayKey = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAnsNqqW1vaSK7w4yD2SAm
4XjF0MFHe2SoYREvvz9gVyvQR2EnSZ1E1CrccwKOHAaXtJjB1o52YraZcxZ98tB2
Hv9Oj8ttLRDHnJymrGkxkr5bOgBqt4634UcwvoUDZGYKkHu2EpxEEpsXsgHqmEUb
vl/ZoPeZQ/PVM2K7dAiY5t9tUnpVGF1XQW8rg385ck5q+Mp95krUZ8ZwASOVGMz6
A5bjOOPym+VBuuK66/BJG0I8KdiF8kq5+RuE3jq5j9ReOLmUAOeGf9Gu/YpR0bxO
Ep/Fu28C/FepZNHpIAPWjnMFnDXurlmHBq6vy4e9fzay/vWTOjAfDCn2ykK89P+e
6wIDAQAB
-----END PUBLIC KEY-----
`

// Whatever a message says, only SNS itself is named as an address to fetch, and only to confirm.
func FuzzConfirmSNS(f *testing.F) {
	file, _ := loadVectors(f)
	for _, v := range file.Vectors {
		if v.Profile == "sns" {
			f.Add([]byte(v.Body))
		}
	}
	p := signature.Provider{Handshakes: []string{"sns"}}
	host := regexp.MustCompile(`^sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$`)
	f.Fuzz(func(t *testing.T, body []byte) {
		req := snsPost(body)
		h, ok := p.Handshake(req)
		if !ok {
			return
		}
		address := h.Confirm(req)
		if address == "" {
			return
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.User != nil || !host.MatchString(u.Host) ||
			u.Query().Get("Action") != "ConfirmSubscription" {
			t.Fatalf("Confirm = %q", address)
		}
	})
}
