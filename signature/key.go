package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// KeySource provides public keys that change, such as those of a JWKS address. Implementations must
// be safe for concurrent use, bound their own time, and remember what they fetched: Keys is called
// for every request, signed or forged.
type KeySource interface {
	// Keys returns the keys with the id, or all keys if id is empty. An unknown id is no error but
	// no keys. An error means that the keys could not be had.
	Keys(id string, now time.Time) ([]Key, error)
}

// Key is a key that verifies.
type Key struct {
	// ID is the key id (kid), empty if it has none.
	ID string
	// Alg is the only algorithm (JWA name) that the key may be used with, empty for any that fits.
	Alg string
	// Public is an *rsa.PublicKey, an *ecdsa.PublicKey or an ed25519.PublicKey. It is nil for a
	// shared secret.
	Public crypto.PublicKey
	// Secret is a shared secret (HS256 only).
	Secret []byte
}

var errKey = errors.New("not a key")

// ParseKeys reads the public keys in the text: PEM blocks (keys or certificates), a JWK, or a JWKS.
func ParseKeys(text string) ([]Key, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return parseJWKS([]byte(text))
	}
	var keys []Key
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("reading PEM: %w", errKey)
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, Key{Public: key})
	}
	if len(keys) == 0 {
		return nil, errKey
	}
	return keys, nil
}

// parseBlock reads a public key or a certificate.
func parseBlock(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		return cert.PublicKey, nil
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading an RSA key: %w", err)
		}
		return key, nil
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a public key: %w", err)
		}
		return key, nil
	default:
		return nil, fmt.Errorf("reading a PEM block of type %q: %w", block.Type, errKey)
	}
}

// jwk is a JSON Web Key (RFC 7517, RFC 7518 6, RFC 8037 2).
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Alg string `json:"alg"`
	Use string `json:"use"`
	Crv string `json:"crv"`
	N   string `json:"n"`
	E   string `json:"e"`
	X   string `json:"x"`
	Y   string `json:"y"`
	K   string `json:"k"`
}

// parseJWKS reads a JWK or a JWKS. Keys of a set that are for encryption or of a kind that we do not
// know are skipped (RFC 7517 5); a broken key is an error.
func parseJWKS(text []byte) ([]Key, error) {
	var set struct {
		jwk
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("reading a JWKS: %w", err)
	}
	if set.Kty != "" {
		set.Keys = append(set.Keys, set.jwk)
	}
	var keys []Key
	for i, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		key, err := k.parse()
		if err != nil {
			return nil, fmt.Errorf("reading key %d of a JWKS: %w", i, err)
		}
		if key.Public != nil || key.Secret != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("reading a JWKS without usable keys: %w", errKey)
	}
	return keys, nil
}

// parse returns the key, an empty one if it is of a kind that we do not know.
func (k jwk) parse() (Key, error) {
	key := Key{ID: k.Kid, Alg: k.Alg}
	switch {
	case k.Kty == "RSA":
		n, e, err := base64URL2(k.N, k.E)
		if err != nil || len(e) > 4 {
			return Key{}, errKey
		}
		key.Public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	case k.Kty == "EC" && k.Crv == "P-256":
		x, y, err := base64URL2(k.X, k.Y)
		if err != nil || len(x) != 32 || len(y) != 32 {
			return Key{}, errKey
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return Key{}, fmt.Errorf("reading a point: %w", err)
		}
		key.Public = pub
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return Key{}, errKey
		}
		key.Public = ed25519.PublicKey(x)
	case k.Kty == "oct":
		secret, err := base64.RawURLEncoding.DecodeString(k.K)
		if err != nil || len(secret) == 0 {
			return Key{}, errKey
		}
		key.Secret = secret
	}
	return key, nil
}

// base64URL2 decodes two non-empty numbers.
func base64URL2(a, b string) (x, y []byte, err error) {
	x, errX := base64.RawURLEncoding.DecodeString(a)
	y, errY := base64.RawURLEncoding.DecodeString(b)
	if errX != nil || errY != nil || len(x) == 0 || len(y) == 0 {
		return nil, nil, errKey
	}
	return x, y, nil
}

// parsePublicKey reads one public key in the form that a profile names, or as PEM.
func parsePublicKey(text, form string) (crypto.PublicKey, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-----BEGIN") {
		keys, err := ParseKeys(text)
		if err != nil || len(keys) != 1 {
			return nil, errKey
		}
		return keys[0].Public, nil
	}
	switch form {
	case "ed25519-hex":
		raw, err := hex.DecodeString(text)
		return ed25519Key(raw, err)
	case "ed25519-whpk":
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whpk_"))
		return ed25519Key(raw, err)
	case "spki-base64":
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errKey
		}
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("reading a public key: %w", err)
		}
		return key, nil
	default:
		return nil, errKey
	}
}

// ed25519Key checks the length of a decoded key.
func ed25519Key(raw []byte, err error) (crypto.PublicKey, error) {
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errKey
	}
	return ed25519.PublicKey(raw), nil
}
