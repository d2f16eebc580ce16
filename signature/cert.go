package signature

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// CertSource provides the signing certificates that requests name by address. An address is asked
// for only after it has passed the rule of the profile: https, host and path of the sender, no port,
// no user, no query. Implementations must be safe for concurrent use, follow no redirect, bound time,
// size and the number of addresses that they remember, refuse private networks, and return only what
// CheckCertificate accepts.
type CertSource interface {
	// Certificate returns the certificate at the address. None there is no error but nil. An error
	// means that it could not be had; nothing is known about the request then.
	Certificate(address string, now time.Time) (*x509.Certificate, error)
}

// maxAddress bounds the address of a certificate.
const maxAddress = 1024

var errCertificate = errors.New("untrusted certificate")

// CheckCertificate reads what was fetched from an address that a Profile's rule has let through: PEM
// certificates, the signer's first, its issuers after it. It returns the signer's if it chains to the
// roots (nil are the system's) at the time now and bears a name in the domain of the address's host.
func CheckCertificate(text []byte, address string, roots *x509.CertPool, now time.Time) (*x509.Certificate, error) {
	chain, err := parseChain(text)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", errCertificate)
	}
	issuers := x509.NewCertPool()
	for _, c := range chain[1:] {
		issuers.AddCert(c)
	}
	leaf := chain[0]
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: issuers, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("verifying the chain: %w", err)
	}
	domain := registered(u.Hostname())
	for _, name := range leaf.DNSNames {
		if name = strings.ToLower(name); name == domain || strings.HasSuffix(name, "."+domain) {
			return leaf, nil
		}
	}
	return nil, fmt.Errorf("none of its names is in %s: %w", domain, errCertificate)
}

// parseChain reads PEM certificates, at least one and at most eight.
func parseChain(text []byte) ([]*x509.Certificate, error) {
	const most = 8
	var chain []*x509.Certificate
	for len(chain) < most {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("reading a PEM block of type %q: %w", block.Type, errCertificate)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("reading no certificate: %w", errCertificate)
	}
	return chain, nil
}

// registered returns the last two labels of a host, three for those of China: the hosts that
// profiles let through are below domains of that form.
func registered(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	n := 2
	if labels[len(labels)-1] == "cn" {
		n = 3
	}
	return strings.Join(labels[max(len(labels)-n, 0):], ".")
}

// certRule says which addresses of certificates a profile allows.
type certRule struct{ host, path *regexp.Regexp }

// compileCertRule compiles the expressions of the profile, which match the whole text.
func compileCertRule(p *Profile) (certRule, error) {
	if p.CertHost == "" {
		return certRule{}, p.bad("no rule for the host of certificates")
	}
	host, err := regexp.Compile(`^(?:` + p.CertHost + `)$`)
	if err != nil {
		return certRule{}, p.bad("%v", err)
	}
	path := p.CertPath
	if path == "" {
		path = `/.*`
	}
	compiled, err := regexp.Compile(`^(?:` + path + `)$`)
	if err != nil {
		return certRule{}, p.bad("%v", err)
	}
	return certRule{host, compiled}, nil
}

// allows reports whether the address is the sender's.
func (r certRule) allows(address string) bool {
	u, ok := plainURL(address)
	return ok && u.RawQuery == "" && !u.ForceQuery && r.host.MatchString(u.Host) && r.path.MatchString(u.Path)
}

// plainURL parses an absolute https address without user, port, fragment, escapes in the path, or
// anything that parsers disagree about.
func plainURL(address string) (*url.URL, bool) {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '#' }
	if len(address) > maxAddress || strings.ContainsFunc(address, odd) || !strings.HasPrefix(address, "https://") {
		return nil, false
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil || strings.Contains(u.Host, ":") || u.EscapedPath() != u.Path {
		return nil, false
	}
	return u, true
}

// signingKeys are the pinned keys of a profile and the source of those that requests name.
type signingKeys struct {
	rule  certRule
	pins  []crypto.PublicKey
	certs CertSource
}

// compileSigningKeys reads the pins.
func compileSigningKeys(p *Profile, c *Config) (signingKeys, error) {
	rule, err := compileCertRule(p)
	if err != nil {
		return signingKeys{}, err
	}
	if len(c.PublicKeys) == 0 && c.Certs == nil {
		return signingKeys{}, p.refuse(NoSecret, "")
	}
	k := signingKeys{rule: rule, certs: c.Certs}
	for i, text := range c.PublicKeys {
		if text == "" {
			return signingKeys{}, p.refuse(NoSecret, "")
		}
		key, err := parsePublicKey(text, "")
		if err != nil {
			return signingKeys{}, p.bad("public key %d: %v", i, err)
		}
		if !fits(algRSA, key) {
			return signingKeys{}, p.bad("public key %d is not for %q", i, algRSA)
		}
		k.pins = append(k.pins, key)
	}
	return k, nil
}

// fetch returns the key of the certificate at the address, which has passed the rule; nil if there
// is no source or no certificate.
func (k *signingKeys) fetch(address string, now time.Time) (crypto.PublicKey, Reason, error) {
	if k.certs == nil {
		return nil, "", nil
	}
	cert, err := k.certs.Certificate(address, now)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("fetching a signing certificate: %w", err)
	case cert == nil && len(k.pins) == 0:
		return nil, UnknownKey, nil
	case cert == nil:
		return nil, "", nil
	case now.After(cert.NotAfter):
		return nil, Expired, nil
	case now.Before(cert.NotBefore):
		return nil, NotYetValid, nil
	case !fits(algRSA, cert.PublicKey):
		return nil, UnsupportedAlg, nil
	default:
		return cert.PublicKey, "", nil
	}
}

// certCheck verifies by a certificate whose address a header names.
type certCheck struct {
	*scheme
	header string
	keys   signingKeys
}

// compileCertCheck compiles a pubkey profile with cert_url.
func compileCertCheck(p *Profile, c *Config) (check, error) {
	if p.CertURL.In != inHeader || first(p.CertURL.Name) == "" || p.Alg != algRSA {
		return nil, p.bad("a certificate's address must be in a header, and its algorithm %s", algRSA)
	}
	keys, err := compileSigningKeys(p, c)
	if err != nil {
		return nil, err
	}
	s, err := compileScheme(p, c, len(keys.pins))
	if err != nil {
		return nil, err
	}
	if s.content.has(kindSecret) {
		return nil, p.bad("a public key is no {secret}")
	}
	s.bind(&publicKeys{alg: p.Alg, keys: keys.pins, named: true})
	return &certCheck{s, canonical(p.CertURL.Name)[0], keys}, nil
}

// verify implements check. Nothing is fetched for a request without a signature.
func (c *certCheck) verify(req *Request, now time.Time) (Proof, error) {
	text, reason := req.oneOf(c.sigNames)
	if reason != "" || text == "" {
		return c.scheme.verify(req, now)
	}
	address, reason := req.one(c.header)
	switch {
	case reason != "":
		return Proof{}, c.profile.refuse(reason, c.header)
	case address == "":
		return Proof{}, c.profile.refuse(MissingCertURL, c.header)
	case !c.keys.rule.allows(address):
		return Proof{}, c.profile.refuse(UntrustedCertURL, c.header)
	}
	key, reason, err := c.keys.fetch(address, now)
	switch {
	case err != nil:
		return Proof{}, err
	case reason != "":
		return Proof{}, c.profile.refuse(reason, c.header)
	}
	s, _ := c.pool.Get().(*scratch)
	defer c.release(s)
	named, _ := s.state.(*namedKey)
	named.key = key
	proof, err := c.prove(s, req, now)
	named.key = nil
	if proof.KeyIndex == len(c.keys.pins) {
		proof.KeyIndex = -1
	}
	return proof, err
}

// namedKey is the key that a request names.
type namedKey struct{ key crypto.PublicKey }
