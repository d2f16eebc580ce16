package egress

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/grapnel/grapnel/internal/fault"
)

// ReadRoots returns the certificates of a file in PEM, for Options.RootCAs. If
// also is set, those of the machine are trusted beside them.
func ReadRoots(file string, also bool) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid_certificate", "the CA file cannot be read: %v", err)
	}
	pool := x509.NewCertPool()
	if also {
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("reading the certificates of the machine: %w", err)
		}
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "invalid_certificate", "%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// ReadClientCertificate returns what shows the certificate in two files, for
// Options.ClientCertificate. The files are read now, so that a wrong one is
// found at once, and again for each handshake, so that a renewed certificate is
// shown without a restart. While they cannot be read, as between the writing of
// the one and the other, the last good pair is shown.
func ReadClientCertificate(certFile, keyFile string) (
	func(*tls.CertificateRequestInfo) (*tls.Certificate, error), error,
) {
	first, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid_certificate", "the client certificate cannot be used: %v", err)
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil {
			return &pair, nil
		}
		return &first, nil
	}, nil
}
