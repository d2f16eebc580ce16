package daemon

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/fault"
)

// certificate is what one port shows at the moment; nil where it speaks plain
// HTTP. It is replaced while connections are made.
type certificate = atomic.Pointer[tls.Certificate]

// loadCertificate reads a pair of files, which may be none.
func loadCertificate(key string, c *config.TLS) (*tls.Certificate, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // A port without TLS has no certificate, and that is no error.
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "invalid_certificate", "the files of %s cannot be used: %v", key, err).
			WithHint("both are PEM: cert with the chain, its own certificate first, key with the private key that belongs to it")
	}
	return &pair, nil
}

// tlsConfig is for servers: TLS 1.2 and later (RFC 9325 3.1.1), HTTP/2 where the
// peer speaks it. The certificate is asked for with each connection, so that a
// new one is shown without a restart.
func tlsConfig(shown *certificate) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown.Load(), nil },
	}
}

// scheme is how a port is asked.
func scheme(c *config.TLS) string {
	if c == nil {
		return "http://"
	}
	return "https://"
}

// listenOn serves with TLS if there is a certificate to show.
func listenOn(s *http.Server, shown *certificate) {
	if shown.Load() != nil {
		s.TLSConfig = tlsConfig(shown)
	}
}

// pairMarks are the marks of the files of both ports.
type pairMarks [4]mark

func (d *Daemon) certificateMarks() pairMarks {
	var out pairMarks
	cfg := d.current.Load().config
	for i, c := range []*config.TLS{cfg.TLS, cfg.Admin.TLS} {
		if c != nil {
			out[2*i], out[2*i+1] = fileMark(c.Cert), fileMark(c.Key)
		}
	}
	return out
}

// renew reads the files of both certificates again. What cannot be used, as
// between the writing of the one file and the other, leaves the old certificate
// in force.
func (d *Daemon) renew(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cfg := d.current.Load().config
	for _, port := range []struct {
		key   string
		files *config.TLS
		shown *certificate
	}{{"tls", cfg.TLS, &d.publicTLS}, {"admin.tls", cfg.Admin.TLS, &d.adminTLS}} {
		pair, err := loadCertificate(port.key, port.files)
		switch {
		case err != nil:
			d.log.ErrorContext(ctx, "certificate not taken, the old one stays in force",
				slog.String("key", port.key), slog.Any("error", err))
		case pair != nil:
			port.shown.Store(pair)
			d.log.InfoContext(ctx, "certificate taken", slog.String("key", port.key),
				slog.String("subject", pair.Leaf.Subject.String()), slog.Time("not_after", pair.Leaf.NotAfter))
		}
	}
}
