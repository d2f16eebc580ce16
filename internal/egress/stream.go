package egress

import (
	"context"
	"crypto/tls"
	"net"
)

// Dialer makes single connections, for protocols that are not HTTP. The guard
// checks each of them, as it does those of a Transport.
type Dialer struct{ dialer *dialer }

// Dialer returns a dialer with the limits. What concerns HTTP and idle
// connections is not used.
func (n *Network) Dialer(o Options) *Dialer { return &Dialer{n.dialer(o.withDefaults())} }

// Dial connects to a host and port over TCP. It returns a *BlockedError if the
// host has no address that may be reached.
func (d *Dialer) Dial(ctx context.Context, address string) (net.Conn, error) {
	return d.dialer.dial(ctx, "tcp", address)
}

// TLS returns the configuration of a handshake with the host, for protocols
// that begin TLS on a connection that Dial made.
func (d *Dialer) TLS(host string) *tls.Config {
	config := d.dialer.tls.Clone()
	config.ServerName = host
	return config
}
