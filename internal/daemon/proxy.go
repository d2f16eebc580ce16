package daemon

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// proxyListener takes the PROXY protocol (versions 1 and 2 of HAProxy's
// proxy-protocol.txt) from trusted peers: the header in front of a connection
// says who made it. Trusted peers must send one, as the document demands; what
// others send is not looked at, so that nobody can claim to be somebody else.
type proxyListener struct {
	net.Listener

	trusted func() []netip.Prefix
}

// Accept returns the next connection. Its header is read by whoever asks for the
// address or the first byte, never here: a peer that sends none would keep all
// others waiting.
func (l *proxyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return conn, nil //nolint:nilerr // What is no address is trusted by nobody.
	}
	for _, p := range l.trusted() {
		if p.Contains(peer.Addr().Unmap().WithZone("")) {
			return &proxyConn{Conn: conn, reader: bufio.NewReaderSize(conn, proxyBuffer)}, nil
		}
	}
	return conn, nil
}

// proxyConn is a connection that begins with a header.
type proxyConn struct {
	net.Conn

	reader *bufio.Reader
	once   sync.Once
	remote net.Addr // nil: as the connection says
	err    error
}

// proxyBuffer holds the longest header that is taken; one of version 2 may be
// longer, but only to carry what is not used here.
const proxyBuffer = 4096

func (c *proxyConn) header() {
	c.once.Do(func() {
		if c.err = c.SetReadDeadline(time.Now().Add(headerTimeout)); c.err != nil {
			return
		}
		from, err := readProxyHeader(c.reader)
		if err != nil {
			c.err = err
			_ = c.Close() // the error is what whoever reads is told
			return
		}
		if from.IsValid() {
			c.remote = net.TCPAddrFromAddrPort(from)
		}
		c.err = c.SetReadDeadline(time.Time{})
	})
}

// Read returns what follows the header.
func (c *proxyConn) Read(p []byte) (int, error) {
	if c.header(); c.err != nil {
		return 0, c.err
	}
	return c.reader.Read(p)
}

// RemoteAddr returns the address that the header names.
func (c *proxyConn) RemoteAddr() net.Addr {
	if c.header(); c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

var (
	errProxyHeader = errors.New("the connection does not begin with a PROXY header")
	proxyV2        = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// readProxyHeader reads a header of either version. The address is invalid where
// the proxy speaks for itself or does not know (LOCAL, UNKNOWN, other families).
func readProxyHeader(r *bufio.Reader) (netip.AddrPort, error) {
	start, err := r.Peek(1)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if start[0] == proxyV2[0] {
		return readProxyV2(r)
	}
	return readProxyV1(r)
}

// readProxyV1 reads "PROXY TCP4 source destination port port\r\n", 107 bytes at
// most (2.1).
func readProxyV1(r *bufio.Reader) (netip.AddrPort, error) {
	line := make([]byte, 0, 107)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		b, err := r.ReadByte()
		if err != nil {
			return netip.AddrPort{}, err
		}
		if line = append(line, b); len(line) > 107 || len(line) <= 6 && b != "PROXY "[len(line)-1] {
			return netip.AddrPort{}, errProxyHeader
		}
	}
	fields := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if len(fields) >= 2 && fields[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return netip.AddrPort{}, errProxyHeader
	}
	addr, err := netip.ParseAddr(fields[2])
	port, err2 := strconv.ParseUint(fields[4], 10, 16)
	if err != nil || err2 != nil || addr.Zone() != "" || addr.Is4() != (fields[1] == "TCP4") {
		return netip.AddrPort{}, errProxyHeader
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

// readProxyV2 reads the binary header (2.2): signature, version and command,
// family, length, addresses, and further values that are skipped.
func readProxyV2(r *bufio.Reader) (netip.AddrPort, error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return netip.AddrPort{}, err
	}
	length := int(binary.BigEndian.Uint16(head[14:]))
	if !bytes.Equal(head[:12], proxyV2) || head[12]>>4 != 2 || head[12]&15 > 1 || length > proxyBuffer {
		return netip.AddrPort{}, errProxyHeader
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, err
	}
	if head[12]&15 == 0 { // LOCAL: a health check of the proxy itself
		return netip.AddrPort{}, nil
	}
	size := map[byte]int{0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}[head[13]]
	if size == 0 {
		return netip.AddrPort{}, nil // no family of addresses, or a Unix socket
	}
	if length < 2*size+4 {
		return netip.AddrPort{}, errProxyHeader
	}
	addr, _ := netip.AddrFromSlice(body[:size]) // never fails: 4 or 16 bytes
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(body[2*size:])), nil
}
