package webhook

import (
	"fmt"

	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/spec"
)

// TLS says who the client is and whom it trusts. All three are names of files
// in PEM.
type TLS struct{ Cert, Key, CA string }

// Fields lists the fields.
func (t *TLS) Fields() []spec.Field {
	return []spec.Field{
		spec.String("cert", &t.Cert).Example("/etc/grapnel/client.pem").
			Doc("A file with the client certificate and those between it and its issuer, in PEM. A renewed one is " +
				"shown on the next connection."),
		spec.String("key", &t.Key).Example("/etc/grapnel/client.key").
			Doc("A file with the private key of the client certificate, in PEM."),
		spec.String("ca", &t.CA).Example("/etc/grapnel/ca.pem").
			Doc("A file with the certificates that the receiver's certificate must come from, in PEM. They are trusted " +
				"in place of the machine's; for the `token_url` of `auth.oauth` beside them."),
	}
}

// Check checks what goes together.
func (t *TLS) Check(at *spec.Place) {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		at.Problem("", "needs both cert and key, or neither")
	case t.Cert == "" && t.CA == "":
		at.Problem("", "needs cert and key, or ca")
	}
}

// identifies reports whether the receiver can know the sender by its certificate.
func (t *TLS) identifies() bool { return t != nil && t.Cert != "" }

// options returns what a transport needs, with the files read.
func (t *TLS) options() (o egress.Options, err error) {
	if t == nil {
		return o, nil
	}
	if t.Cert != "" {
		if o.ClientCertificate, err = egress.ReadClientCertificate(t.Cert, t.Key); err != nil {
			return o, fmt.Errorf("reading tls.cert and tls.key: %w", err)
		}
	}
	if t.CA != "" {
		if o.RootCAs, err = egress.ReadRoots(t.CA, false); err != nil {
			return o, fmt.Errorf("reading tls.ca: %w", err)
		}
	}
	return o, nil
}
