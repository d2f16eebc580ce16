package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The algorithms of jwt profiles (RFC 7518 3.1, RFC 8037 3.1). "none" is not one of them.
const (
	algHS256 = "HS256"
	algRS256 = "RS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
)

// base64URL is the encoding of the parts of a token (RFC 7515 2).
var base64URL = base64.RawURLEncoding.Strict()

// jwtCheck verifies a compact JWS and the claims in it.
type jwtCheck struct {
	profile Profile
	place   tokenPlace
	keys    []Key
	source  KeySource
	// expect are the names of Profile.Expect, claims the pointers to them after the registered ones.
	expect []string
	claims []pointer
}

// The pointers to the members of a header, and to the claims that have a place of their own.
const (
	headAlg = iota
	headKid
	headCrit
	headCount
)

const (
	claimExp = iota
	claimNbf
	claimIat
	claimHash
	claimCount
)

// headPointers returns the pointers to the members of a header.
func headPointers() []pointer { return []pointer{{"alg"}, {"kid"}, {"crit"}} }

// compileJWT compiles a jwt profile.
func compileJWT(p *Profile, c *Config) (check, error) {
	place, err := compilePlace(p)
	if err != nil {
		return nil, err
	}
	j := &jwtCheck{profile: *p, place: place, source: c.Keys}
	if len(p.Algs) == 0 {
		return nil, p.bad("no algorithms are allowed")
	}
	for _, alg := range p.Algs {
		if !slices.Contains([]string{algHS256, algRS256, algES256, algEdDSA}, alg) {
			return nil, p.bad("unknown algorithm %q", alg)
		}
	}
	if p.Leeway < 0 {
		return nil, p.bad("negative leeway")
	}
	if p.Claims != nil && !*p.Claims && (p.RequireExp || p.BodyHashClaim != "" || len(p.Expect) > 0) {
		return nil, p.bad("claims are required of a payload without claims")
	}
	if err := j.addKeys(c); err != nil {
		return nil, err
	}
	j.claims = []pointer{{"exp"}, {"nbf"}, {"iat"}, {p.BodyHashClaim}}
	for name := range p.Expect {
		j.expect = append(j.expect, name)
	}
	slices.Sort(j.expect)
	for _, name := range j.expect {
		j.claims = append(j.claims, pointer{name})
	}
	if len(j.claims) > maxPointers {
		return nil, p.bad("too many expected claims")
	}
	return j, nil
}

// addKeys collects the keys: secrets first, as HS256 keys, then public keys.
func (j *jwtCheck) addKeys(c *Config) error {
	p := &j.profile
	if len(c.Secrets) > 0 && !slices.Contains(p.Algs, algHS256) {
		return p.bad("secrets are for %s, which is not allowed", algHS256)
	}
	if len(c.Secrets) > 0 {
		secrets, err := decodeSecrets(p, c)
		if err != nil {
			return err
		}
		for _, secret := range secrets {
			j.keys = append(j.keys, Key{Alg: algHS256, Secret: secret})
		}
	}
	for i, text := range c.PublicKeys {
		if text == "" {
			return p.refuse(NoSecret, "")
		}
		keys, err := ParseKeys(text)
		if err != nil {
			return p.bad("public key %d: %v", i, err)
		}
		j.keys = append(j.keys, keys...)
	}
	if len(j.keys) == 0 && j.source == nil {
		return p.refuse(NoSecret, "")
	}
	return nil
}

// verify implements check.
func (j *jwtCheck) verify(req *Request, now time.Time) (Proof, error) {
	token, reason := j.place.read(req)
	if reason == MissingToken {
		reason = MissingSignature
	}
	if reason != "" {
		return Proof{}, j.profile.refuse(reason, j.place.names[0])
	}
	jws, reason := parseJWS(token)
	if reason == "" && !slices.Contains(j.profile.Algs, jws.alg) {
		reason = UnsupportedAlg
	}
	if reason == "" && jws.crit {
		reason = UnsupportedCrit
	}
	if reason != "" {
		return Proof{}, j.profile.refuse(reason, "")
	}
	key, reason, err := j.match(&jws, now)
	if err != nil {
		return Proof{}, err
	}
	proof := Proof{Profile: j.profile.Name, KeyIndex: key}
	if reason != "" {
		return Proof{}, j.profile.refuse(reason, "")
	}
	if j.profile.Claims != nil && !*j.profile.Claims {
		return proof, nil
	}
	issued, reason, claim := j.judge(jws.payload, req.Body, now)
	if reason != "" {
		return Proof{}, j.profile.refuse(reason, claim)
	}
	proof.Timestamp = issued
	return proof, nil
}

// jws is a parsed compact serialization (RFC 7515 3.1).
type jws struct {
	alg, kid string
	crit     bool
	signed   string
	payload  []byte
	sig      []byte
}

// parseJWS parses a token.
func parseJWS(token string) (jws, Reason) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || strings.ContainsAny(token, "\r\n") {
		return jws{}, MalformedToken
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64URL.DecodeString(part); err != nil {
			return jws{}, MalformedToken
		}
	}
	head := decoded[0]
	var at [headCount]found
	if find(head, headPointers(), at[:]) != nil {
		return jws{}, MalformedToken
	}
	alg, ok := at[headAlg].text(nil, head)
	if !ok {
		return jws{}, MalformedToken
	}
	kid, _ := at[headKid].text(nil, head)
	return jws{
		alg: string(alg), kid: string(kid), crit: at[headCrit].end > 0,
		signed: token[:len(parts[0])+1+len(parts[1])], payload: decoded[1], sig: decoded[2],
	}, ""
}

// match returns the index of the first key that made the signature. A key takes part if its kind is
// that of the algorithm, so that a public key is never a shared secret, and if its id is not another
// one than the token's.
func (j *jwtCheck) match(t *jws, now time.Time) (int, Reason, error) {
	keys := j.keys
	if j.source != nil {
		more, err := j.source.Keys(t.kid, now)
		if err != nil {
			return -1, "", err
		}
		keys = append(slices.Clip(keys), more...)
	}
	named, fitting, found := false, false, -1
	for i := range keys {
		if t.kid != "" && keys[i].ID != "" && keys[i].ID != t.kid {
			continue
		}
		named = true
		if !keys[i].usableFor(t.alg) {
			continue
		}
		fitting = true
		if keys[i].verify([]byte(t.signed), t.sig) && found < 0 {
			found = i
		}
	}
	switch {
	case !named:
		return -1, UnknownKey, nil
	case !fitting:
		return -1, UnsupportedAlg, nil
	case found < 0:
		return -1, BadSignature, nil
	default:
		return found, "", nil
	}
}

// usableFor reports whether the key may be used with the algorithm.
func (k *Key) usableFor(alg string) bool {
	if k.Alg != "" && k.Alg != alg {
		return false
	}
	switch key := k.Public.(type) {
	case nil:
		return alg == algHS256 && len(k.Secret) > 0
	case *rsa.PublicKey:
		return alg == algRS256
	case *ecdsa.PublicKey:
		return alg == algES256 && key.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return alg == algEdDSA && len(key) == ed25519.PublicKeySize
	default:
		return false
	}
}

// sum returns the HS256 signature.
func (k *Key) sum(message []byte) []byte {
	mac := hmac.New(sha256.New, k.Secret)
	// A hash never returns an error.
	_, _ = mac.Write(message)
	return mac.Sum(nil)
}

// verify checks a JWS signature.
func (k *Key) verify(message, sig []byte) bool {
	switch key := k.Public.(type) {
	case nil:
		return hmac.Equal(k.sum(message), sig)
	case *rsa.PublicKey:
		sum := sha256.Sum256(message)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	case *ecdsa.PublicKey:
		// The signature is R and S, 32 bytes each (RFC 7518 3.4).
		if len(sig) != 64 {
			return false
		}
		sum := sha256.Sum256(message)
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		return ecdsa.Verify(key, sum[:], r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, sig)
	default:
		return false
	}
}

// judge checks the claims and returns the time of issue.
func (j *jwtCheck) judge(payload, body []byte, now time.Time) (issued time.Time, r Reason, claim string) {
	at := make([]found, len(j.claims))
	if payload = bytes.TrimSpace(payload); len(payload) == 0 || payload[0] != '{' ||
		find(payload, j.claims, at) != nil {
		return issued, MalformedToken, ""
	}
	clock, leeway := float64(now.UnixNano())/1e9, float64(j.profile.Leeway)
	exp, hasExp, ok := number(at[claimExp], payload)
	if !ok || (j.profile.RequireExp && !hasExp) {
		return issued, BadClaim, "exp"
	}
	nbf, hasNbf, ok := number(at[claimNbf], payload)
	if !ok {
		return issued, BadClaim, "nbf"
	}
	switch {
	case hasExp && clock >= exp+leeway: // "on or after" (RFC 7519 4.1.4)
		return issued, Expired, "exp"
	case hasNbf && clock < nbf-leeway:
		return issued, NotYetValid, "nbf"
	}
	for i, name := range j.expect {
		if !matches(at[claimCount+i], payload, name, j.profile.Expect[name]) {
			return issued, BadClaim, name
		}
	}
	if name := j.profile.BodyHashClaim; name != "" {
		hash, ok := at[claimHash].text(nil, payload)
		switch {
		case !ok || len(hash) == 0:
			return issued, MissingBodyHash, name
		case !sameHash(string(hash), body):
			return issued, BadBodyHash, name
		}
	}
	if iat, has, ok := number(at[claimIat], payload); has && ok && math.Abs(iat) < 1e11 {
		issued = time.Unix(int64(iat), 0)
	}
	return issued, "", ""
}

// number reads a NumericDate (RFC 7519 2). It is not ok if the claim is there and is none.
func number(f found, payload []byte) (value float64, has, ok bool) {
	raw := payload[f.start:f.end]
	if len(raw) == 0 {
		return 0, false, true
	}
	value, err := strconv.ParseFloat(string(raw), 64)
	return value, true, err == nil
}

// matches reports whether a claim has the value; an audience may be a list that holds it (RFC 7519
// 4.1.3).
func matches(f found, payload []byte, name, want string) bool {
	raw := payload[f.start:f.end]
	if name == "aud" && len(raw) > 0 && raw[0] == '[' {
		var list []string
		return json.Unmarshal(raw, &list) == nil && slices.Contains(list, want)
	}
	text, ok := f.text(nil, payload)
	return ok && string(text) == want
}
