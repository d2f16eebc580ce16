package signature_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/grapnel/grapnel/signature"
)

// issuer makes tokens.
type issuer struct {
	alg string
	key crypto.Signer
}

// token returns a token with the header (alg is added unless it is there) and payload.
func (i issuer) token(tb testing.TB, header map[string]any, payload string) string {
	tb.Helper()
	if _, ok := header["alg"]; !ok {
		header["alg"] = i.alg
	}
	head, err := json.Marshal(header)
	if err != nil {
		tb.Fatal(err)
	}
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(signed))
	var sig []byte
	switch key := i.key.(type) {
	case *ecdsa.PrivateKey:
		r, s, signErr := ecdsa.Sign(rand.Reader, key, sum[:])
		err = signErr
		if err == nil {
			sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, []byte(signed))
	default:
		sig, err = i.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// pem returns the public key as PEM.
func (i issuer) pem(tb testing.TB) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func issuers(tb testing.TB) map[string]issuer {
	tb.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]issuer{"RS256": {"RS256", r}, "ES256": {"ES256", e}, "EdDSA": {"EdDSA", d}}
}

func bearer(token string) *signature.Request {
	return &signature.Request{Header: http.Header{"Authorization": {"Bearer " + token}}, Body: []byte("body")}
}

func TestJWTKeysAsPEM(t *testing.T) {
	t.Parallel()
	all := issuers(t)
	payload := fmt.Sprintf(`{"exp":%d}`, sentAt.Unix()+10)
	for name, i := range all {
		token := i.token(t, map[string]any{}, payload)
		for other, j := range all {
			v := mustNew(t, "jwt", signature.Config{PublicKeys: []string{j.pem(t)}})
			_, err := v.Verify(bearer(token), sentAt)
			want := signature.UnsupportedAlg // a key of another kind is no key for the token
			if name == other {
				want = ""
			}
			if got := reasonOf(err); got != want {
				t.Errorf("%s token, %s key: Verify = %v, want %q", name, other, err, want)
			}
		}
	}
}

func TestJWTRules(t *testing.T) {
	t.Parallel()
	i := issuers(t)["EdDSA"]
	p, _ := signature.LookupProfile("jwt")
	p.Expect = map[string]string{"iss": "me", "aud": "you"}
	p.BodyHashClaim = "h"
	v, err := signature.NewProfile(p, signature.Config{PublicKeys: []string{i.pem(t)}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("body"))
	claims := func(change map[string]any) string {
		c := map[string]any{
			"iss": "me", "aud": []string{"x", "you"}, "exp": 1700000300, "nbf": 1700000000, "h": hex.EncodeToString(sum[:]),
		}
		for name, value := range change {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	type m = map[string]any
	tests := map[string]struct {
		header  m
		payload string
		at      int64
		want    signature.Reason
	}{
		"good":             {m{}, claims(nil), 1700000000, ""},
		"last moment":      {m{}, claims(nil), 1700000359, ""},
		"expired":          {m{}, claims(nil), 1700000360, signature.Expired},
		"first moment":     {m{}, claims(nil), 1699999940, ""},
		"too early":        {m{}, claims(nil), 1699999939, signature.NotYetValid},
		"fraction":         {m{}, claims(m{"exp": 1700000300.5}), 1700000360, ""},
		"exp is text":      {m{}, claims(m{"exp": "1700000300"}), 1700000000, signature.BadClaim},
		"exp is null":      {m{}, `{"exp":null}`, 1700000000, signature.BadClaim},
		"nbf is text":      {m{}, claims(m{"nbf": "x"}), 1700000000, signature.BadClaim},
		"no exp":           {m{}, claims(m{"exp": nil}), 1700000000, signature.BadClaim},
		"no iss":           {m{}, claims(m{"iss": nil}), 1700000000, signature.BadClaim},
		"other aud":        {m{}, claims(m{"aud": "yours"}), 1700000000, signature.BadClaim},
		"aud in a part":    {m{}, claims(m{"aud": []string{"youyou"}}), 1700000000, signature.BadClaim},
		"iss in a list":    {m{}, claims(m{"iss": []string{"me"}}), 1700000000, signature.BadClaim},
		"no hash":          {m{}, claims(m{"h": nil}), 1700000000, signature.MissingBodyHash},
		"other hash":       {m{}, claims(m{"h": "00"}), 1700000000, signature.BadBodyHash},
		"none":             {m{"alg": "none"}, claims(nil), 1700000000, signature.UnsupportedAlg},
		"HS256":            {m{"alg": "HS256"}, claims(nil), 1700000000, signature.UnsupportedAlg},
		"case of alg":      {m{"alg": "eddsa"}, claims(nil), 1700000000, signature.UnsupportedAlg},
		"crit":             {m{"crit": []string{"b64"}}, claims(nil), 1700000000, signature.UnsupportedCrit},
		"empty crit":       {m{"crit": []string{}}, claims(nil), 1700000000, signature.UnsupportedCrit},
		"kid with PEM":     {m{"kid": "any"}, claims(nil), 1700000000, ""},
		"payload is text":  {m{}, `"text"`, 1700000000, signature.MalformedToken},
		"payload is none":  {m{}, ``, 1700000000, signature.MalformedToken},
		"claims repeated":  {m{}, `{"exp":1700000300,"iss":"x",` + claims(m{"exp": nil})[1:], 1700000000, ""},
		"claims withdrawn": {m{}, claims(nil)[:len(claims(nil))-1] + `,"iss":"x"}`, 1700000000, signature.BadClaim},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := v.Verify(bearer(i.token(t, tt.header, tt.payload)), time.Unix(tt.at, 0))
			if got := reasonOf(err); got != tt.want {
				t.Errorf("Verify = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestJWTShape(t *testing.T) {
	t.Parallel()
	i := issuers(t)["ES256"]
	v := mustNew(t, "jws", signature.Config{PublicKeys: []string{issuers(t)["EdDSA"].pem(t)}})
	good := i.token(t, map[string]any{"alg": "EdDSA"}, "text")
	for name, tt := range map[string]struct {
		token string
		want  signature.Reason
	}{
		"a forgery":     {good, signature.BadSignature},
		"padding":       {good + "=", signature.MalformedToken},
		"four parts":    {good + ".x", signature.MalformedToken},
		"one part":      {"x", signature.MalformedToken},
		"line break":    {good[:3] + "\n" + good[3:], signature.MalformedToken},
		"no alg":        {"e30.e30.e30", signature.MalformedToken},
		"header is not": {"eA.e30.e30", signature.MalformedToken},
		"empty":         {"", signature.MalformedToken},
	} {
		if _, err := v.Verify(bearer(tt.token), sentAt); reasonOf(err) != tt.want {
			t.Errorf("%s: Verify = %v, want %s", name, err, tt.want)
		}
	}
}

func TestJWKS(t *testing.T) {
	t.Parallel()
	i := issuers(t)["EdDSA"]
	public, ok := i.key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("not an Ed25519 key")
	}
	x := base64.RawURLEncoding.EncodeToString(public)
	jwk := func(more string) string { return `{"kty":"OKP","crv":"Ed25519","x":"` + x + `"` + more + `}` }
	tests := map[string]struct {
		jwks, kid string
		want      signature.Reason
	}{
		"one key":       {jwk(``), "", ""},
		"its id":        {jwk(`,"kid":"a"`), "a", ""},
		"another id":    {jwk(`,"kid":"a"`), "b", signature.UnknownKey},
		"no id in key":  {jwk(``), "b", ""},
		"no id in head": {jwk(`,"kid":"a"`), "", ""},
		"another alg":   {jwk(`,"alg":"ES256"`), "", signature.UnsupportedAlg},
		"a set":         {`{"keys":[{"kty":"odd"},` + jwk(`,"use":"enc"`) + `,` + jwk(`,"kid":"a","use":"sig"`) + `]}`, "a", ""},
	}
	for name, tt := range tests {
		header := map[string]any{}
		if tt.kid != "" {
			header["kid"] = tt.kid
		}
		v := mustNew(t, "jws", signature.Config{PublicKeys: []string{tt.jwks}})
		if _, err := v.Verify(bearer(i.token(t, header, "x")), sentAt); reasonOf(err) != tt.want {
			t.Errorf("%s: Verify = %v, want %q", name, err, tt.want)
		}
	}
	for _, text := range []string{
		jwk(`,"use":"enc"`), `{`, `{}`, `{"keys":[]}`, `{"kty":"OKP","crv":"Ed25519","x":"AA"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
		`{"kty":"RSA","n":"","e":"AQAB"}`, `{"kty":"oct","k":""}`, `-----BEGIN`, `x`,
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
	} {
		if _, err := signature.ParseKeys(text); err == nil {
			t.Errorf("ParseKeys(%s): no error", text)
		}
	}
}

func TestJWTConfiguration(t *testing.T) {
	t.Parallel()
	p, _ := signature.LookupProfile("jwt")
	if _, err := signature.NewProfile(p, signature.Secrets("s")); !errors.Is(err, signature.ErrProfile) {
		t.Errorf("a secret where HS256 is not allowed = %v, want ErrProfile", err)
	}
	p.Algs = []string{"none"}
	if _, err := signature.NewProfile(p, signature.Secrets("s")); !errors.Is(err, signature.ErrProfile) {
		t.Errorf("alg none = %v, want ErrProfile", err)
	}
}
