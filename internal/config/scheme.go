package config

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/grapnel/grapnel/signature"
)

// Names of the generic schemes that have parameters here.
const (
	providerHMAC  = "hmac"
	providerToken = "token"
	providerBasic = "basic"
	providerJWT   = "jwt"
	providerNone  = "none"
)

// defaultTolerance is how far a time that is signed may be from now when nothing else is said.
const defaultTolerance = 5 * time.Minute

// FetchKeys returns the source of the public keys at a JWKS address.
type FetchKeys func(jwksURL string) signature.KeySource

// ProviderInfo returns what is known about the provider of the source.
func (s *Source) ProviderInfo() signature.Provider { return s.info }

// Ways returns the ways to prove a request: those of Verify, or the one of the source.
func (s *Source) Ways() []*Verification {
	if s.Verify == nil {
		return []*Verification{&s.Verification}
	}
	var ways []*Verification
	for _, list := range [][]Verification{s.Verify.Any, s.Verify.All} {
		for i := range list {
			ways = append(ways, &list[i])
		}
	}
	return ways
}

// Verifier makes what proves the requests of the source.
func (s *Source) Verifier(fetch FetchKeys) (*signature.Verifier, error) {
	var all []*signature.Verifier
	for _, way := range s.Ways() {
		v, err := way.verifier(fetch)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	switch {
	case s.Verify == nil:
		return all[0], nil
	case len(s.Verify.Any) > 0:
		return signature.Any(all...), nil
	default:
		return signature.All(all...), nil
	}
}

// Keys returns the keys that handshakes of the provider are answered with: those of the first way
// that is the provider's own.
func (s *Source) Keys() signature.Config {
	for _, way := range s.Ways() {
		if way.Provider == s.Provider {
			return way.Keys()
		}
	}
	return signature.Config{}
}

// Credentials returns where requests of the source carry credentials, which must be masked.
func (s *Source) Credentials() signature.Credentials {
	var c signature.Credentials
	for _, way := range s.Ways() {
		p := way.Scheme()
		c = c.With(p.Credentials())
		c = c.With(signature.Credentials{Headers: way.info.MaskHeaders, Query: way.info.MaskQuery})
	}
	return c
}

// TokenInPath reports whether requests carry a token in the path, behind the source's own path.
func (s *Source) TokenInPath() bool { return len(s.Credentials().Segments) > 0 }

// verifier makes what proves a request this way.
func (v *Verification) verifier(fetch FetchKeys) (*signature.Verifier, error) {
	c := v.Keys()
	if v.JWT != nil && v.JWT.JWKSURL != "" && fetch != nil {
		c.Keys = fetch(v.JWT.JWKSURL)
	}
	return signature.NewProfile(v.Scheme(), c)
}

// Keys returns the secrets and keys. The result reveals them.
func (v *Verification) Keys() signature.Config {
	c := signature.Config{PublicKeys: v.PublicKeys, Params: v.Params}
	for _, s := range v.Secrets {
		text := s.Reveal()
		if v.Basic != nil {
			text = v.Basic.User + ":" + text
		}
		c.Secrets = append(c.Secrets, text)
	}
	return c
}

// Scheme returns the profile by which requests are verified.
func (v *Verification) Scheme() signature.Profile {
	switch {
	case v.HMAC != nil:
		return v.HMAC.profile()
	case v.Token != nil:
		return v.Token.profile()
	}
	p := v.base
	if v.Provider == providerJWT {
		v.overlay(&p)
	}
	return p
}

func (h *HMAC) profile() signature.Profile {
	p := signature.Profile{
		Name: providerHMAC, Mech: "mac", Alg: h.Algorithm, Enc: h.Encoding, Content: h.Content, KeyStrip: h.KeyPrefix,
		Key: h.Key,
		Sig: &signature.Sig{Prefix: h.Prefix, Sep: h.Separator, SigKey: h.SignatureKey, TSKey: h.TimestampKey},
	}
	p.Sig.In, p.Sig.Name = place(h.Header, h.JSON, h.Form)
	switch {
	case h.SignatureKey != "":
		p.Sig.Parse = "kv"
	case h.Separator != "":
		p.Sig.Parse = "list"
	case h.Prefix != "":
		p.Sig.Parse = "prefix"
	default:
		p.Sig.Parse = "plain"
	}
	if h.TimestampKey != "" {
		p.Tolerance = int(defaultTolerance / time.Second)
	}
	if t := h.Timestamp; t != nil {
		p.TS = &signature.Timestamp{Unit: t.Unit, In: "kv"}
		if h.TimestampKey == "" {
			p.TS.In, p.TS.Name = place(t.Header, t.JSON, t.Form)
		}
		p.Tolerance = int(t.Tolerance / time.Second)
	}
	return p
}

// place returns the one of the three that is set, as profiles spell it.
func place(header, json, form string) (in string, name signature.Names) {
	switch {
	case header != "":
		return "header", signature.Names{header}
	case json != "":
		return "json", signature.Names{json}
	default:
		return "form", signature.Names{form}
	}
}

func (t *Token) profile() signature.Profile {
	p := signature.Profile{Name: providerToken, Mech: "token", Token: &signature.Token{Scheme: t.Scheme}}
	switch {
	case t.Header != "":
		p.Token.In, p.Token.Name = "header", signature.Names{t.Header}
	case t.Query != "":
		p.Token.In, p.Token.Name = "query", signature.Names{t.Query}
	case t.JSON != "":
		p.Token.In, p.Token.Name = "json", signature.Names{t.JSON}
	default:
		p.Token.In, p.Token.Name = "path", signature.Names{strconv.Itoa(t.Path)}
	}
	return p
}

// overlay puts the parameters of a jwt over those of the built-in scheme.
func (v *Verification) overlay(p *signature.Profile) {
	if len(v.Secrets) > 0 {
		p.Algs = []string{"HS256"}
	}
	j := v.JWT
	if j == nil {
		return
	}
	scheme := j.Scheme
	if scheme == "" && j.Header == "Authorization" {
		scheme = "Bearer "
	}
	p.Token = &signature.Token{In: "header", Name: signature.Names{j.Header}, Scheme: scheme}
	if len(j.Algorithms) > 0 {
		p.Algs = slices.Clone(j.Algorithms)
	}
	p.Expect = maps.Clone(p.Expect)
	if p.Expect == nil {
		p.Expect = map[string]string{}
	}
	maps.Copy(p.Expect, j.Claims)
	for claim, want := range map[string]string{"iss": j.Issuer, "aud": j.Audience} {
		if want != "" {
			p.Expect[claim] = want
		}
	}
	p.Leeway = int(j.Leeway / time.Second)
	p.RequireExp = !j.AllowNoExpiry
	p.BodyHashClaim = j.BodyHashClaim
}
