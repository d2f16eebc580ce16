package signature

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // G505: HMAC-SHA1 is what Twilio, Vercel and Intercom send
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"
)

// algConcat is a plain digest of content that holds the secret itself.
const algConcat = "concat-sha256"

// macKeys are the secrets of a mac profile.
type macKeys struct {
	newHash func() hash.Hash
	keys    [][]byte
	concat  bool
}

// compileMAC compiles a mac profile.
func compileMAC(p *Profile, c *Config) (check, error) {
	s, _, err := macScheme(p, c)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// macScheme compiles a mac profile and returns its keys too, for signing.
func macScheme(p *Profile, c *Config) (*scheme, *macKeys, error) {
	m := &macKeys{concat: p.Alg == algConcat}
	switch p.Alg {
	case "sha1":
		m.newHash = sha1.New
	case "sha256", algConcat:
		m.newHash = sha256.New
	case "sha512":
		m.newHash = sha512.New
	default:
		return nil, nil, p.bad("unknown algorithm %q", p.Alg)
	}
	var err error
	if m.keys, err = decodeSecrets(p, c); err != nil {
		return nil, nil, err
	}
	s, err := compileScheme(p, c, len(m.keys))
	if err != nil {
		return nil, nil, err
	}
	if m.concat != s.content.has(kindSecret) {
		return nil, nil, p.bad("%s and {secret} go together", algConcat)
	}
	return s.bind(m), m, nil
}

// decodeSecrets returns the bytes of the secrets. None may be empty.
func decodeSecrets(p *Profile, c *Config) ([][]byte, error) {
	if len(c.Secrets) == 0 {
		return nil, p.refuse(NoSecret, "")
	}
	keys := make([][]byte, 0, len(c.Secrets))
	for i, secret := range c.Secrets {
		key, err := decodeSecret(p, secret)
		if err != nil {
			return nil, p.bad("secret %d is not %s", i, p.Key)
		}
		if len(key) == 0 {
			return nil, p.refuse(NoSecret, "")
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// decodeSecret returns the bytes of one secret. Padding of base64 is optional, since vendors' pages
// are careless about it.
func decodeSecret(p *Profile, secret string) ([]byte, error) {
	if p.KeyStrip != "" {
		secret = strings.TrimPrefix(secret, p.KeyStrip)
	}
	switch p.Key {
	case "", "raw":
		return []byte(secret), nil
	case encBase64:
		return base64.RawStdEncoding.DecodeString(strings.TrimRight(secret, "="))
	case encHex:
		return hex.DecodeString(secret)
	default:
		return nil, p.bad("unknown key encoding %q", p.Key)
	}
}

// state implements matcher: one hash for each key, so that the key schedule is done once.
func (m *macKeys) state() any {
	hashes := make([]hash.Hash, len(m.keys))
	for i, key := range m.keys {
		if m.concat {
			hashes[i] = m.newHash()
			continue
		}
		hashes[i] = hmac.New(m.newHash, key)
	}
	return hashes
}

// match implements matcher.
func (m *macKeys) match(s *scratch, req *Request) int {
	found := -1
	for i := range m.keys {
		if !s.usable[i] {
			continue
		}
		sum := m.sum(s, req, i)
		equal := 0
		for _, candidate := range s.candidates {
			equal |= subtle.ConstantTimeCompare(sum, candidate)
		}
		found = pick(found, subtle.ConstantTimeSelect(equal, i, -1))
	}
	return found
}

// sum returns the MAC of the segments under the key; it stands in s.sum.
func (m *macKeys) sum(s *scratch, req *Request, key int) []byte {
	hashes, _ := s.state.([]hash.Hash)
	h := hashes[key]
	h.Reset()
	for _, seg := range s.segments {
		// A hash never returns an error.
		switch seg.kind {
		case kindBody:
			_, _ = h.Write(req.Body)
		case kindSecret:
			_, _ = h.Write(m.keys[key])
		default:
			_, _ = h.Write(s.text[seg.start:seg.end])
		}
	}
	s.sum = h.Sum(s.sum[:0])
	return s.sum
}
