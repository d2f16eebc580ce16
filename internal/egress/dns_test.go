package egress_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// nameServer answers DNS questions from memory, so that names can lie.
type nameServer struct {
	mu sync.Mutex
	// answers holds for each name what one lookup after the other returns; the
	// last one stays. A name that is missing does not exist.
	answers map[string][][]netip.Addr
	broken  bool // answers SERVFAIL
	lookups int  // of type A
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, t := range texts {
		list = append(list, netip.MustParseAddr(t))
	}
	return list
}

// resolver returns a resolver that asks the server over pipes.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go s.serve(server)
		return client, nil
	}}
}

// serve answers the questions of one connection, framed as over TCP (RFC 1035 4.2.2).
func (s *nameServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		answer := s.answer(question)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func (s *nameServer) answer(q []byte) []byte {
	var labels []string
	at := 12
	for q[at] != 0 {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	kind := binary.BigEndian.Uint16(q[at+1:])
	end := at + 5
	list, rcode := s.lookup(strings.ToLower(strings.Join(labels, ".")), kind == 1)

	out := append([]byte{}, q[0], q[1], 0x81, 0x80|rcode, 0, 1, 0, 0, 0, 0, 0, 0)
	out = append(out, q[12:end]...)
	for _, a := range list {
		if (kind == 1) != a.Is4() || kind != 1 && kind != 28 {
			continue
		}
		out[7]++
		raw := a.AsSlice()
		out = append(out, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
		out = append(out, raw...)
	}
	return out
}

// lookup advances at each question for IPv4 addresses: a lookup asks for both.
func (s *nameServer) lookup(name string, advance bool) ([]netip.Addr, byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if advance {
		s.lookups++
	}
	if s.broken {
		return nil, 2
	}
	rounds, ok := s.answers[name]
	if !ok {
		return nil, 3
	}
	if advance && len(rounds) > 1 {
		s.answers[name] = rounds[1:]
	}
	return rounds[0], 0
}

func (s *nameServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookups
}

func prefixes(tb testing.TB, texts ...string) []netip.Prefix {
	tb.Helper()
	var list []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}
