package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"time"
)

// The algorithms of pubkey profiles.
const (
	algEd25519 = "ed25519"
	algECDSA   = "ecdsa-p256-sha256-der"
	algRSA     = "rsa-pkcs1-sha256"
)

// publicKeys are the keys of a pubkey profile.
type publicKeys struct {
	alg  string
	keys []crypto.PublicKey
	// named says that requests may name a key, which then is in their scratch space.
	named bool
}

// compilePubkey compiles a pubkey profile.
func compilePubkey(p *Profile, c *Config) (check, error) {
	if p.CertURL != nil {
		inner, err := compileCertCheck(p, c)
		if err != nil || p.AlgHeader == "" {
			return inner, err
		}
		return algHeader{inner, p, canonical([]string{p.AlgHeader})[0]}, nil
	}
	if len(c.PublicKeys) == 0 {
		return nil, p.refuse(NoSecret, "")
	}
	m := &publicKeys{alg: p.Alg}
	for i, text := range c.PublicKeys {
		if text == "" {
			return nil, p.refuse(NoSecret, "")
		}
		key, err := parsePublicKey(text, p.Keyfmt)
		if err != nil {
			return nil, p.bad("public key %d: %v", i, err)
		}
		if !fits(p.Alg, key) {
			return nil, p.bad("public key %d is not for %q", i, p.Alg)
		}
		m.keys = append(m.keys, key)
	}
	s, err := compileScheme(p, c, len(m.keys))
	if err != nil {
		return nil, err
	}
	if s.content.has(kindSecret) {
		return nil, p.bad("a public key is no {secret}")
	}
	if p.AlgHeader != "" {
		return algHeader{s.bind(m), p, canonical([]string{p.AlgHeader})[0]}, nil
	}
	return s.bind(m), nil
}

// fits reports whether the key is for the algorithm.
func fits(alg string, key crypto.PublicKey) bool {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return alg == algEd25519
	case *ecdsa.PublicKey:
		return alg == algECDSA && key.Curve == elliptic.P256()
	case *rsa.PublicKey:
		return alg == algRSA
	default:
		return false
	}
}

// state implements matcher.
func (m *publicKeys) state() any {
	if m.named {
		return &namedKey{}
	}
	return nil
}

// match implements matcher.
func (m *publicKeys) match(s *scratch, req *Request) int {
	size := len(s.text)
	for _, seg := range s.segments {
		if seg.kind == kindBody {
			size += len(req.Body)
		}
	}
	message := make([]byte, 0, size)
	for _, seg := range s.segments {
		if seg.kind == kindBody {
			message = append(message, req.Body...)
			continue
		}
		message = append(message, s.text[seg.start:seg.end]...)
	}
	found := -1
	for i, key := range m.keys {
		for _, candidate := range s.candidates {
			if s.usable[i] && verifyPublic(key, message, candidate) && found < 0 {
				found = i
			}
		}
	}
	if named, ok := s.state.(*namedKey); ok && named.key != nil && found < 0 {
		for _, candidate := range s.candidates {
			if verifyPublic(named.key, message, candidate) {
				found = len(m.keys)
			}
		}
	}
	return found
}

// verifyPublic checks one signature. Nothing here is secret, so nothing needs constant time.
func verifyPublic(key crypto.PublicKey, message, sig []byte) bool {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(key, message, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(key, sum[:], sig)
	case *rsa.PublicKey:
		sum := sha256.Sum256(message)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	default:
		return false
	}
}

// algHeader refuses requests that name another algorithm than the configured one.
type algHeader struct {
	check
	profile *Profile
	name    string
}

// verify implements check.
func (a algHeader) verify(req *Request, now time.Time) (Proof, error) {
	value, reason := req.one(a.name)
	switch {
	case reason != "":
		return Proof{}, a.profile.refuse(reason, a.name)
	case value == "":
		return Proof{}, a.profile.refuse(MissingHeader, a.name)
	case value != a.profile.AlgValue:
		return Proof{}, a.profile.refuse(UnsupportedAlg, a.name)
	}
	return a.check.verify(req, now)
}
