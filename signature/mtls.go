package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// The keys of Config.Params for mtls.
const (
	paramSubject = "subject"
	paramSAN     = "san"
	paramSPKI    = "spki"
)

// mtlsCheck compares the client's certificate with names and key hashes. Of each kind that is
// configured, one must match.
type mtlsCheck struct {
	profile  Profile
	subjects []string
	names    []string
	pins     [][]byte
	cas      *x509.CertPool
}

// compileMTLS compiles an mtls profile. Params are subject (the common name, or the whole subject as
// RFC 4514 writes it), san (DNS names, with "*." for one label; mail addresses, URIs, addresses) and
// spki (the SHA-256 of the public key, in base64 or hexadecimal).
func compileMTLS(p *Profile, c *Config) (check, error) {
	m := &mtlsCheck{profile: *p, subjects: c.Params[paramSubject], names: c.Params[paramSAN], cas: c.ClientCAs}
	for _, text := range c.Params[paramSPKI] {
		pin, err := hex.DecodeString(text)
		if err != nil {
			pin, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil || len(pin) != sha256.Size {
			return nil, p.bad("parameter %q is not a SHA-256", paramSPKI)
		}
		m.pins = append(m.pins, pin)
	}
	if len(m.subjects)+len(m.names)+len(m.pins) == 0 {
		return nil, p.bad("one of the parameters %s, %s and %s is needed", paramSubject, paramSAN, paramSPKI)
	}
	if slices.Contains(m.subjects, "") || slices.Contains(m.names, "") {
		return nil, p.bad("a name is empty")
	}
	return m, nil
}

// verify implements check. A pinned key needs no authority: the TLS handshake has proven its
// possession. A name is worth what the authority is that vouches for it.
func (m *mtlsCheck) verify(req *Request, now time.Time) (Proof, error) {
	if len(req.PeerCertificates) == 0 {
		return Proof{}, m.profile.refuse(CertDenied, "no certificate")
	}
	leaf := req.PeerCertificates[0]
	if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return Proof{}, m.profile.refuse(CertDenied, "validity")
	}
	named := len(m.subjects)+len(m.names) > 0
	if (named || m.cas != nil) && !m.vouched(req, now) {
		return Proof{}, m.profile.refuse(CertDenied, "chain")
	}
	subject := leaf.Subject.String()
	if len(m.subjects) > 0 && !slices.Contains(m.subjects, subject) &&
		(leaf.Subject.CommonName == "" || !slices.Contains(m.subjects, leaf.Subject.CommonName)) {
		return Proof{}, m.profile.refuse(CertDenied, paramSubject)
	}
	if len(m.names) > 0 && !m.bears(leaf) {
		return Proof{}, m.profile.refuse(CertDenied, paramSAN)
	}
	if len(m.pins) > 0 {
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		pinned := func(pin []byte) bool { return subtle.ConstantTimeCompare(pin, sum[:]) == 1 }
		if !slices.ContainsFunc(m.pins, pinned) {
			return Proof{}, m.profile.refuse(CertDenied, paramSPKI)
		}
	}
	return Proof{Profile: m.profile.Name, KeyIndex: -1}, nil
}

// vouched reports whether an authority vouches for the certificate: one of those configured, else one
// of the TLS server's.
func (m *mtlsCheck) vouched(req *Request, now time.Time) bool {
	leaf := req.PeerCertificates[0]
	if m.cas == nil {
		return slices.ContainsFunc(req.VerifiedChains, func(chain []*x509.Certificate) bool {
			return len(chain) > 0 && chain[0].Equal(leaf)
		})
	}
	issuers := x509.NewCertPool()
	for _, c := range req.PeerCertificates[1:] {
		issuers.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: m.cas, Intermediates: issuers, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// bears reports whether the certificate bears one of the names.
func (m *mtlsCheck) bears(leaf *x509.Certificate) bool {
	var others []string
	for _, u := range leaf.URIs {
		others = append(others, u.String())
	}
	for _, ip := range leaf.IPAddresses {
		others = append(others, ip.String())
	}
	others = append(others, leaf.EmailAddresses...)
	for _, want := range m.names {
		if slices.Contains(others, want) {
			return true
		}
		for _, name := range leaf.DNSNames {
			_, parent, _ := strings.Cut(name, ".")
			suffix, wild := strings.CutPrefix(want, "*.")
			if strings.EqualFold(name, want) || wild && strings.EqualFold(parent, suffix) {
				return true
			}
		}
	}
	return false
}
