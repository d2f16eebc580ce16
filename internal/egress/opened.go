package egress

import (
	"net"
	"net/netip"
	"sync"
)

// openedConn is a connection to an address that only the allow list opens. It
// is remembered so that a narrower list ends it: an idle connection would
// otherwise serve requests for as long as it is kept alive.
type openedConn struct {
	net.Conn
	network *Network
	addr    netip.Addr
	also    []netip.Prefix
	once    sync.Once
}

// Close forgets and closes the connection.
func (c *openedConn) Close() error {
	c.once.Do(func() {
		c.network.mu.Lock()
		delete(c.network.opened, c)
		c.network.mu.Unlock()
	})
	return c.Conn.Close()
}

// track returns the connection, remembered if the allow list opened it.
func (n *Network) track(conn net.Conn, also []netip.Prefix) net.Conn {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil || blocked(at.Addr(), nil) == "" {
		return conn
	}
	c := &openedConn{Conn: conn, network: n, addr: at.Addr(), also: also}
	n.mu.Lock()
	n.opened[c] = struct{}{}
	n.mu.Unlock()
	// The list may have changed between the check and now.
	if n.check("", c.addr, c.also) != nil {
		_ = c.Close() // its next use reports it
	}
	return c
}

// closeForbidden closes the connections that the allow list does not allow.
func (n *Network) closeForbidden() {
	var forbidden []*openedConn
	n.mu.Lock()
	for c := range n.opened {
		if n.check("", c.addr, c.also) != nil {
			forbidden = append(forbidden, c)
		}
	}
	n.mu.Unlock()
	for _, c := range forbidden {
		_ = c.Close() // nothing is lost: the connection must go
	}
}
