// Package egress is the only place that builds dialers and HTTP transports for
// connections to the outside. It guards them against requests that a webhook
// must not make on somebody's behalf (SSRF): the address is checked when the
// socket is made, on the address that is really dialed, so that neither a
// redirect nor a name that changes its mind gets around the check. Whoever
// fetches anything (destinations, certificates, keys) takes a transport here.
//
// Only the allow list (network.allow) opens an address that is blocked. There
// is no exception for any kind of destination: an endpoint override that names
// loopback needs 127.0.0.0/8 in the list like everything else. Options.Also is
// for the program's own needs, such as the machine's credentials service, and
// never for an address that a configuration or a message names.
//
// Proxies of the environment are not used: a proxy resolves names itself, and
// the guard would see nothing but the proxy's address.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits that apply unless Options says otherwise.
const (
	// DefaultConnectTimeout bounds name resolution and connecting.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultHandshakeTimeout bounds the TLS handshake.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultIdleTimeout is how long an unused connection is kept; most load
	// balancers close theirs after 60 s or later.
	DefaultIdleTimeout = 55 * time.Second
	// DefaultMaxHeaderBytes bounds the header of an answer.
	DefaultMaxHeaderBytes = 64 << 10
	// DefaultIdlePerHost is how many unused connections are kept for each host.
	DefaultIdlePerHost = 16
)

// Config says what a Network may reach and how it resolves names.
type Config struct {
	// Allow lists networks that may be reached although they are blocked by
	// default.
	Allow []netip.Prefix
	// Resolver resolves host names; nil is the resolver of the machine.
	Resolver *net.Resolver
}

// Network hands out transports that share one allow list. It is safe for
// concurrent use.
type Network struct {
	resolver *net.Resolver
	allow    atomic.Pointer[[]netip.Prefix]

	// mu guards opened: the connections that exist by virtue of the allow list.
	mu     sync.Mutex
	opened map[*openedConn]struct{}
}

// New returns a Network for the configuration.
func New(c Config) *Network {
	n := &Network{resolver: c.Resolver, opened: map[*openedConn]struct{}{}}
	n.SetAllow(c.Allow)
	return n
}

// SetAllow replaces the allow list. Connections that the new list does not
// allow are closed, also in the middle of a request.
func (n *Network) SetAllow(allow []netip.Prefix) {
	normal := make([]netip.Prefix, 0, len(allow))
	for _, p := range allow {
		normal = append(normal, normalPrefix(p))
	}
	n.allow.Store(&normal)
	n.closeForbidden()
}

// Check returns a *BlockedError if the address may not be reached. Host is the
// name by which it was found, for the error's text; it may be empty.
func (n *Network) Check(host string, addr netip.Addr) error { return n.check(host, addr, nil) }

func (n *Network) check(host string, addr netip.Addr, also []netip.Prefix) error {
	why := blocked(addr, *n.allow.Load())
	if why == "" || len(also) > 0 && blocked(addr, also) == "" {
		return nil
	}
	return &BlockedError{Host: host, Addr: addr.Unmap(), Why: why}
}

// Options are the limits of one transport. The zero value of a field means its
// default.
type Options struct {
	ConnectTimeout   time.Duration
	HandshakeTimeout time.Duration
	IdleTimeout      time.Duration
	// IdlePerHost is how many unused connections are kept for each host. Set it
	// to the number of requests in flight, or connections are made and closed
	// under load.
	IdlePerHost int
	// MaxHeaderBytes bounds the header of an answer.
	MaxHeaderBytes int64
	// RootCAs verify the servers' certificates; nil means those of the machine.
	RootCAs *x509.CertPool
	// ClientCertificate returns what the client shows to servers that ask who it
	// is; nil shows nothing. It is called for each handshake.
	ClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// Also are addresses that this transport may reach beside those of the allow
	// list.
	Also []netip.Prefix
}

func (o Options) withDefaults() Options {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.IdlePerHost <= 0 {
		o.IdlePerHost = DefaultIdlePerHost
	}
	if o.MaxHeaderBytes <= 0 {
		o.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	return o
}

// Transport returns a transport whose connections the guard checks. It speaks
// HTTP/1.1 and HTTP/2, asks for no compression (what arrives is what was sent,
// and nothing can be inflated), and uses no proxy. As every RoundTripper it
// follows no redirects.
func (n *Network) Transport(o Options) *http.Transport {
	o = o.withDefaults()
	d := n.dialer(o)
	d.tls.NextProtos = []string{"h2", "http/1.1"}
	return &http.Transport{
		DialContext:            d.dial,
		DialTLSContext:         d.dialTLS,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           0, // bounded per host
		MaxIdleConnsPerHost:    o.IdlePerHost,
		IdleConnTimeout:        o.IdleTimeout,
		MaxResponseHeaderBytes: o.MaxHeaderBytes,
		// All requests to a host share one HTTP/2 connection: find out soon that
		// it is dead.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// Client returns a client on such a transport that returns redirects as they
// are. Its errors may show the URL; RoundTrip of a Transport does not.
func (n *Network) Client(o Options) *http.Client {
	return &http.Client{
		Transport:     n.Transport(o),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialer returns a dialer with limits that are all set.
func (n *Network) dialer(o Options) *dialer {
	d := &dialer{
		network:   n,
		also:      o.Also,
		handshake: o.HandshakeTimeout,
		tls: &tls.Config{
			MinVersion:           tls.VersionTLS12,
			RootCAs:              o.RootCAs,
			ClientSessionCache:   tls.NewLRUClientSessionCache(0),
			GetClientCertificate: o.ClientCertificate,
		},
		dialer: net.Dialer{
			Timeout:  o.ConnectTimeout,
			Resolver: n.resolver,
			// Gateways forget silent connections after 350 s; a function may well
			// take longer to answer.
			KeepAliveConfig: net.KeepAliveConfig{
				Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4,
			},
			ControlContext: control,
		},
	}
	if o.ClientCertificate != nil {
		// A resumed session shows no certificate: the old one would count on.
		d.tls.ClientSessionCache = nil
	}
	return d
}

// dialer makes the connections of one transport.
type dialer struct {
	network   *Network
	also      []netip.Prefix
	dialer    net.Dialer
	tls       *tls.Config
	handshake time.Duration
}

// target travels in the context of one dial from dial to control.
type target struct {
	dialer *dialer
	host   string
	passed atomic.Bool // some address passed the guard
}

type targetKey struct{}

// dial connects to the first address of the host that passes the guard and
// answers. It returns a *BlockedError if no address passes.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	to := &target{dialer: d, host: host}
	conn, err := d.dialer.DialContext(context.WithValue(ctx, targetKey{}, to), network, address)
	if err == nil {
		return d.network.track(conn, d.also), nil
	}
	if blocked, ok := errors.AsType[*BlockedError](err); ok {
		if !to.passed.Load() {
			return nil, blocked
		}
		// The dialer reports its first error only. An address that may be
		// reached was tried too and failed, so that a later try can succeed.
		return nil, &UnreachableError{Host: host}
	}
	return nil, err
}

// dialTLS connects and shakes hands. What goes wrong in the handshake is a
// *HandshakeError.
func (d *dialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	config := d.tls.Clone()
	config.ServerName = host
	conn := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, d.handshake)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is the one that counts
		return nil, &HandshakeError{Host: host, Err: err}
	}
	return conn, nil
}

// control checks the address of a socket before it is connected.
func control(ctx context.Context, network, address string, _ syscall.RawConn) error {
	to, ok := ctx.Value(targetKey{}).(*target)
	if !ok {
		return errors.New("dialing past the guard") // only dial makes sockets
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil || (network != "tcp4" && network != "tcp6") {
		return &BlockedError{Host: to.host, Why: "not a TCP address"}
	}
	if err := to.dialer.network.check(to.host, at.Addr(), to.dialer.also); err != nil {
		return err
	}
	to.passed.Store(true)
	return nil
}
