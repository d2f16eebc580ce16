package config

import (
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/signature"
)

// Verification is one way to prove a request: a provider's scheme, or a generic one.
type Verification struct {
	Provider   string
	Profile    string // one of the provider's schemes; empty takes its first
	Secrets    []secret.String
	PublicKeys []string
	Params     map[string][]string
	HMAC       *HMAC
	Token      *Token
	Basic      *Basic
	JWT        *JWT

	info signature.Provider // what is known about Provider
	base signature.Profile  // the built-in scheme, where HMAC and Token are nil
}

// HMAC are the parameters of any scheme of a keyed digest.
type HMAC struct {
	Header, JSON, Form  string // where the signature is, one of them
	Algorithm, Encoding string
	Prefix, Separator   string
	SignatureKey        string
	TimestampKey        string
	Content             string
	Key, KeyPrefix      string
	Timestamp           *Timestamp
}

// Timestamp is where the time of sending is.
type Timestamp struct {
	Header, JSON, Form string // one of them, none with HMAC.TimestampKey
	Unit               string
	Tolerance          time.Duration
}

// Token is where a token is.
type Token struct {
	Header, Query, JSON string // one of them, or Path
	Path                int    // segment of the path from 0, negative from the end
	HasPath             bool
	Scheme              string // what stands before the token in a header
}

// Basic is HTTP Basic authentication; the passwords are the secrets.
type Basic struct{ User string }

// JWT are the parameters of a signed token. What is empty is as in the built-in scheme.
type JWT struct {
	Header, Scheme   string
	Algorithms       []string
	JWKSURL          string
	Issuer, Audience string
	Claims           map[string]string
	Leeway           time.Duration
	AllowNoExpiry    bool
	BodyHashClaim    string
}

// secretParam is the parameter of providers that is a secret.
const secretParam = "verify_token"

// Fields describes one way to prove a request.
func (v *Verification) Fields() []spec.Field {
	return []spec.Field{
		spec.String("provider", &v.Provider).Example("github").
			Doc("Who sends. It decides how requests are proven, how events are named and what is answered. Or " +
				"a generic scheme: `hmac`, `token`, `basic`, `bearer`, `jwt`; `none` proves nothing."),
		spec.String("profile", &v.Profile).DefaultDoc("the provider's first").
			Doc("One of the schemes of a provider that has several."),
		spec.Secrets("secrets", &v.Secrets).MinItems(1).Example(`["${GITHUB_SECRET}"]`).
			Doc("What the provider signs with, the token that it sends, or the password. Several may be live, the " +
				"newest first, so that a secret can be changed without a gap."),
		spec.Strings("public_keys", &v.PublicKeys).MinItems(1).
			Doc("Keys that verify, for schemes with a private key at the sender: PEM, JWK, JWKS or the " +
				"provider's own form."),
		spec.Lists("params", &v.Params, secretParam).Keys(paramCheck).Example(`{app_key: ["key one", "key two"]}`).
			Doc("What a provider's scheme needs beside secrets: `app_key` (pusher, one for each secret), " +
				"`verify_token` (meta), `allowed_origins` (cloudevents)."),
		spec.Optional("hmac", &v.HMAC).Doc("With `provider: hmac`: where the signature is and what it covers."),
		spec.Optional("token", &v.Token).Doc("With `provider: token`: where the token is."),
		spec.Optional("basic", &v.Basic).
			Doc("With `provider: basic`: the user; the secrets are passwords. Without it they are `user:password`."),
		spec.Optional("jwt", &v.JWT).Doc("With `provider: jwt`: which tokens are good."),
	}
}

// Fields describes the section.
func (h *HMAC) Fields() []spec.Field {
	return []spec.Field{
		spec.String("header", &h.Header).Example("X-Signature").Check(headerCheck(&h.Header)).
			Doc("Header that holds the signature. One of `header`, `json` and `form` is needed."),
		spec.String("json", &h.JSON).Example("/signature").Check(pointerCheck(&h.JSON)).
			Doc("JSON pointer to the signature in the body."),
		spec.String("form", &h.Form).Example("signature").Doc("Form field that holds the signature."),
		spec.Enum("algorithm", &h.Algorithm, "sha256", "sha512", "sha1").Default("sha256").Doc("Digest."),
		spec.Enum("encoding", &h.Encoding, "hex", "base64").Default("hex").Doc("How the signature is written."),
		spec.String("prefix", &h.Prefix).Example("sha256=").DefaultDoc("none").
			Doc("What stands before each signature."),
		spec.String("separator", &h.Separator).Example(`","`).DefaultDoc("none: one signature").
			Doc("What stands between several signatures or pairs."),
		spec.String("signature_key", &h.SignatureKey).Example("v1").
			Doc("Key of the signatures where the header holds pairs such as `t=…,v1=…`."),
		spec.String("timestamp_key", &h.TimestampKey).Example("t").Doc("Key of the time in such a header."),
		spec.String("content", &h.Content).Default("{body}").Example("{ts}.{body}").
			Doc("What is signed: text with `{body}`, `{ts}`, `{url}`, `{method}`, `{header:Name}`, " +
				"`{json:/pointer}`, `{form:name}` and `{form-sorted}`."),
		spec.Enum("key", &h.Key, "raw", "base64", "hex").Default("raw").Doc("How the secrets are written."),
		spec.String("key_prefix", &h.KeyPrefix).Example("whsec_").DefaultDoc("none").
			Doc("What is removed from the front of a secret first."),
		spec.Optional("timestamp", &h.Timestamp).
			Doc("Where the time of sending is, so that old requests are refused. With `timestamp_key` only `unit` " +
				"and `tolerance`."),
	}
}

// Check wants one place for the signature and, for pairs, what they need.
func (h *HMAC) Check(at *spec.Place) {
	at.One("where the signature is", "header", "json", "form")
	pairs := at.Has("signature_key") || at.Has("timestamp_key")
	if pairs && (!at.Has("signature_key") || !at.Has("timestamp_key") || !at.Has("separator")) {
		at.Problem("", "signature_key, timestamp_key and separator go together")
	}
	if pairs && at.Has("prefix") {
		at.Problem("prefix", "does not go with signature_key, the key is the prefix")
	}
	if at.Has("separator") && !pairs && !at.Has("prefix") {
		at.Problem("separator", "needs a prefix: by it the signatures of a list are known")
	}
	if h.Timestamp == nil {
		if strings.Contains(h.Content, "{ts}") && !pairs && !at.Has("timestamp") {
			at.Problem("timestamp", "is missing: content has {ts}, and nothing says where the time is")
		}
		return
	}
	places := 0
	for _, place := range []string{h.Timestamp.Header, h.Timestamp.JSON, h.Timestamp.Form} {
		if place != "" {
			places++
		}
	}
	switch {
	case pairs && places > 0:
		at.Problem("timestamp", "timestamp_key says where the time is: give unit and tolerance only")
	case !pairs && places != 1:
		at.Problem("timestamp", "exactly one of header, json or form is needed: where the time is")
	}
}

// Fields describes the section.
func (t *Timestamp) Fields() []spec.Field {
	return []spec.Field{
		spec.String("header", &t.Header).Example("X-Timestamp").Check(headerCheck(&t.Header)).
			Doc("Header that holds the time."),
		spec.String("json", &t.JSON).Example("/timestamp").Check(pointerCheck(&t.JSON)).
			Doc("JSON pointer to the time in the body."),
		spec.String("form", &t.Form).Example("timestamp").Doc("Form field that holds the time."),
		spec.Enum("unit", &t.Unit, "s", "ms", "rfc3339").Default("s").Doc("How the time is written."),
		spec.Duration("tolerance", &t.Tolerance).Default("5m").Min("1s").Max("24h").
			Doc("How far the time may be from now, either way."),
	}
}

// Fields describes the section.
func (t *Token) Fields() []spec.Field {
	return []spec.Field{
		spec.String("header", &t.Header).Example("X-Token").Check(headerCheck(&t.Header)).
			Doc("Header that holds the token. One of `header`, `query`, `path` and `json` is needed."),
		spec.String("query", &t.Query).Example("token").Doc("Query parameter that holds the token."),
		spec.Int("path", &t.Path).Example("-1").Min("-8").Max("16").
			Doc("Segment of the path that is the token: 0 is the first, -1 the last. It follows the source's path."),
		spec.String("json", &t.JSON).Example("/token").Check(pointerCheck(&t.JSON)).
			Doc("JSON pointer to the token in the body."),
		spec.String("scheme", &t.Scheme).Example(`"Bearer "`).DefaultDoc("none").
			Doc("What stands before the token in the header, with its space."),
	}
}

// Check wants one place.
func (t *Token) Check(at *spec.Place) {
	at.One("where the token is", "header", "query", "path", "json")
	t.HasPath = at.Has("path")
	if at.Has("scheme") && !at.Has("header") {
		at.Problem("scheme", "goes with header only")
	}
}

// Fields describes the section.
func (b *Basic) Fields() []spec.Field {
	return []spec.Field{
		spec.String("user", &b.User).Required().Check(userCheck(&b.User)).Doc("Name of the user, without a colon."),
	}
}

// Fields describes the section.
func (j *JWT) Fields() []spec.Field {
	return []spec.Field{
		spec.String("header", &j.Header).Default("Authorization").Check(headerCheck(&j.Header)).
			Doc("Header that holds the token."),
		spec.String("scheme", &j.Scheme).DefaultDoc("`\"Bearer \"` in Authorization, else none").
			Doc("What stands before the token, with its space."),
		spec.Strings("algorithms", &j.Algorithms).MinItems(1).Check(algorithmsCheck(&j.Algorithms)).
			DefaultDoc("`[RS256, ES256, EdDSA]`, or `[HS256]` with secrets").
			Doc("Algorithms that a token may use: HS256, RS256, ES256, EdDSA."),
		spec.URL("jwks_url", &j.JWKSURL).Check(httpsCheck(&j.JWKSURL)).Example("https://issuer.example/jwks.json").
			Doc("Where the public keys are fetched, https only. Or give `public_keys`, or `secrets` for HS256."),
		spec.String("issuer", &j.Issuer).DefaultDoc("any").Doc("What `iss` must be."),
		spec.String("audience", &j.Audience).DefaultDoc("any").Doc("What `aud` must be or hold."),
		spec.StringMap("claims", &j.Claims).Example("{sub: deployer}").Doc("What other claims must be."),
		spec.Duration("leeway", &j.Leeway).Default("60s").Max("10m").Doc("By how much `exp` and `nbf` are stretched."),
		spec.Bool("allow_no_expiry", &j.AllowNoExpiry).Default("false").Doc("Accept tokens without `exp`."),
		spec.String("body_hash_claim", &j.BodyHashClaim).Example("sha256").
			Doc("Claim that must be the hexadecimal SHA-256 of the body. Without it a token says nothing about the body."),
	}
}
