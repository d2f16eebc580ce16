package signature

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// Config is what a profile needs to know beside its parameters: the secrets and keys.
type Config struct {
	// Profile chooses one of the provider's profiles by name; empty takes the first.
	Profile string
	// Secrets are the shared secrets that are live, the newest first. Any of them verifies; for
	// those senders whose scheme allows it, all of them sign.
	Secrets []string
	// PublicKeys are the keys that verify (pubkey, jwt): PEM, a JWK or a JWKS, or the form that the
	// profile names.
	PublicKeys []string
	// Keys, if set, is asked for more public keys at each verification (jwt).
	Keys KeySource
	// Certs, if set, is asked for the certificates that requests name by address (sns, and pubkey
	// profiles with cert_url). Without it the PublicKeys are pinned certificates or keys.
	Certs CertSource
	// Params are the values of {param:N} and Profile.Require. Where there are as many values as
	// secrets, value i belongs to secret i (Pusher: one secret an app key); one value is for all.
	// For sns topic_arn lists the topics that are allowed and signature_version the versions, 2 if
	// there is none; for sigv4 region (any, if none) and service (execute-api and lambda, if none);
	// for mtls subject, san and spki.
	Params map[string][]string
	// Allow are the networks that requests may come from (ip).
	Allow []netip.Prefix
	// TrustedProxies are the networks whose X-Forwarded-For is believed (ip).
	TrustedProxies []netip.Prefix
	// ClientCAs are the authorities of client certificates (mtls). Without them names count only in
	// certificates that the TLS server has verified.
	ClientCAs *x509.CertPool
}

// Secrets returns a Config of shared secrets, the newest first.
func Secrets(secrets ...string) Config { return Config{Secrets: secrets} }

// Proof says what a request was accepted for. It is stored with the event, so that nobody checks a
// window again that has passed since.
type Proof struct {
	// Profile names the profile; those of All are joined with "+".
	Profile string `json:"profile"`
	// KeyIndex is the index of the secret that verified; public keys count on after the secrets.
	// It is -1 where no configured key is involved.
	KeyIndex int `json:"key_index"`
	// Timestamp is the signed time of sending, zero if there is none.
	Timestamp time.Time `json:"timestamp,omitzero"`
}

// check is a compiled profile with its keys.
type check interface {
	verify(req *Request, now time.Time) (Proof, error)
}

// The names of mechanisms and places in profiles.
const (
	mechMAC    = "mac"
	mechPubkey = "pubkey"
	mechToken  = "token"
	mechJWT    = "jwt"
	mechIP     = "ip"
	mechSNS    = "sns"
	mechSigV4  = "sigv4"
	mechMTLS   = "mtls"
	mechNone   = "none"

	inHeader = "header"
	inQuery  = "query"
	inPath   = "path"
	inJSON   = "json"
	inForm   = "form"
)

// mechanism compiles profiles of one kind.
type mechanism struct {
	name    string
	compile func(p *Profile, c *Config) (check, error)
}

// mechanisms lists all mechanisms. A new one is a file of its own and a line here.
func mechanisms() []mechanism {
	return []mechanism{
		{mechMAC, compileMAC},
		{mechPubkey, compilePubkey},
		{mechToken, compileToken},
		{mechJWT, compileJWT},
		{mechIP, compileIP},
		{mechSNS, compileSNS},
		{mechSigV4, compileSigV4},
		{mechMTLS, compileMTLS},
		{mechNone, compileNone},
	}
}

// Mechanisms returns the names of the mechanisms that profiles may use.
func Mechanisms() []string {
	var names []string
	for _, m := range mechanisms() {
		names = append(names, m.name)
	}
	return names
}

// Verifier checks requests against one profile or a combination. It is safe for concurrent use.
type Verifier struct{ check check }

// New returns the Verifier for a provider (github, stripe, ...; Providers lists them) or for a
// profile by name. It returns an *Error with NoSecret if a secret is empty or missing, and a wrapped
// ErrProfile if the name is unknown or the configuration is unusable.
func New(name string, c Config) (*Verifier, error) {
	p, err := resolve(name, c.Profile)
	if err != nil {
		return nil, err
	}
	return NewProfile(p, c)
}

// NewProfile returns the Verifier for a profile, which must not be changed any more. Errors are those
// of New.
func NewProfile(p Profile, c Config) (*Verifier, error) {
	for _, m := range mechanisms() {
		if m.name != p.Mech {
			continue
		}
		check, err := m.compile(&p, &c)
		if err != nil {
			return nil, err
		}
		return &Verifier{check}, nil
	}
	return nil, p.bad("unknown mechanism %q", p.Mech)
}

// Verify checks the request at the time now. It returns an *Error if the request is refused. Any
// other error means that a KeySource or CertSource failed: nothing is known about the request then, and the right
// answer is 503.
func (v *Verifier) Verify(req *Request, now time.Time) (Proof, error) {
	return v.check.verify(req, now)
}

// All returns a Verifier that accepts what all the verifiers accept, asked in order. The first
// refusal is the refusal.
func All(verifiers ...*Verifier) *Verifier { return &Verifier{all(verifiers)} }

// Any returns a Verifier that accepts what one of the verifiers accepts, asked in order: two
// providers' schemes during a migration. If none does, the refusal is that of the first scheme that
// the request tried to follow, so that it names the wrong secret and not the missing other header.
func Any(verifiers ...*Verifier) *Verifier { return &Verifier{anyOf(verifiers)} }

type all []*Verifier

func (a all) verify(req *Request, now time.Time) (Proof, error) {
	if len(a) == 0 {
		return Proof{}, &Error{Reason: NoSecret}
	}
	proof := Proof{KeyIndex: -1}
	names := make([]string, 0, len(a))
	for _, v := range a {
		p, err := v.Verify(req, now)
		if err != nil {
			return Proof{}, err
		}
		names = append(names, p.Profile)
		if proof.KeyIndex < 0 {
			proof.KeyIndex = p.KeyIndex
		}
		if proof.Timestamp.IsZero() {
			proof.Timestamp = p.Timestamp
		}
	}
	proof.Profile = strings.Join(names, "+")
	return proof, nil
}

type anyOf []*Verifier

func (a anyOf) verify(req *Request, now time.Time) (Proof, error) {
	var refusal error
	for _, v := range a {
		p, err := v.Verify(req, now)
		if err == nil {
			return p, nil
		}
		if refusal == nil || weight(err) > weight(refusal) {
			refusal = err
		}
	}
	if refusal == nil {
		refusal = &Error{Reason: NoSecret}
	}
	return Proof{}, refusal
}

// weight orders the errors of alternatives by how much they say: nothing of the scheme was there;
// it was there and wrong; a key source failed, so that nothing is known.
func weight(err error) int {
	var e *Error
	switch {
	case !errors.As(err, &e):
		return 2
	case e.Reason == MissingSignature || e.Reason == MissingToken:
		return 0
	default:
		return 1
	}
}

// none accepts everything.
type none struct{ name string }

func compileNone(p *Profile, _ *Config) (check, error) { return none{p.Name}, nil }

func (n none) verify(*Request, time.Time) (Proof, error) {
	return Proof{Profile: n.name, KeyIndex: -1}, nil
}
