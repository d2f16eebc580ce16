package egress_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/grapnel/grapnel/internal/egress"
)

// echo answers one connection with what it gets.
func echo(tb testing.TB) string {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestSingleConnectionsAreGuarded(t *testing.T) {
	t.Parallel()
	address := echo(t)
	closed := egress.New(egress.Config{})
	conn, err := closed.Dialer(egress.Options{}).Dial(t.Context(), address)
	if _, ok := errors.AsType[*egress.BlockedError](err); !ok {
		t.Errorf("Dial = %v, %v, want a BlockedError", conn, err)
	}

	open := egress.New(egress.Config{Allow: loopback})
	conn, err = open.Dialer(egress.Options{}).Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// A narrower list ends it, as it ends those of a transport.
	open.SetAllow(nil)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after the list became narrower: %v, want a closed connection", err)
	}
}

func TestTLSOfADialerNamesTheHost(t *testing.T) {
	t.Parallel()
	c := egress.New(egress.Config{}).Dialer(egress.Options{}).TLS("mail.example.com")
	if c.ServerName != "mail.example.com" || c.InsecureSkipVerify || c.NextProtos != nil {
		t.Errorf("TLS = name %q, skip %t, protocols %q", c.ServerName, c.InsecureSkipVerify, c.NextProtos)
	}
}
