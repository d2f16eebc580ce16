package email_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/destination/destinationtest"
)

// mailServer is a small SMTP server.
type mailServer struct {
	tls      *tls.Config       // nil: no TLS
	implicit bool              // TLS from the first byte
	auth     string            // mechanisms that it offers, such as "PLAIN LOGIN"
	replies  map[string]string // what it says to a verb, in place of the usual; "." is the end of DATA
	hang     string            // the verb to which it says nothing
	got      chan delivered
	host     string
	port     int
}

// delivered is a message that the server took.
type delivered struct {
	from   string
	to     []string
	text   string
	secure bool
	login  string // user and password
}

// start starts the server.
func (s *mailServer) start(tb testing.TB) *mailServer {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	s.got = make(chan delivered, 100)
	s.host, s.port = "127.0.0.1", l.Addr().(*net.TCPAddr).Port
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// config returns the configuration of a destination that sends to the server.
func (s *mailServer) config(more string) string {
	return fmt.Sprintf(`{"host": %q, "port": %d, "from": "Grapnel <grapnel@example.com>", "to": ["ops@example.org"]%s}`,
		s.host, s.port, more)
}

func (s *mailServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	d := delivered{}
	if s.implicit {
		conn, d.secure = tls.Server(conn, s.tls), true
	}
	in, say := textproto.NewReader(bufio.NewReader(conn)), func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	greeting, ok := s.replies["greeting"]
	if !ok {
		greeting = "220 mail.test ESMTP"
	}
	if s.hang == "greeting" {
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	say(greeting)
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if s.hang == verb {
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		if reply, ok := s.replies[verb]; ok {
			say(reply)
			continue
		}
		switch verb {
		case "EHLO":
			say("250-mail.test")
			if s.tls != nil && !d.secure {
				say("250-STARTTLS")
			}
			if s.auth != "" && d.secure {
				say("250-AUTH " + s.auth)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go on")
			secure := tls.Server(conn, s.tls)
			conn, d.secure = secure, true
			in = textproto.NewReader(bufio.NewReader(conn))
		case "AUTH":
			d.login = s.login(in, say, rest)
			say("235 welcome")
		case "MAIL":
			d.from, d.to = rest, nil
			say("250 ok")
		case "RCPT":
			d.to = append(d.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			text, err := in.ReadDotBytes()
			if err != nil {
				return
			}
			if reply, ok := s.replies["."]; ok {
				say(reply)
				continue
			}
			d.text = string(text)
			s.got <- d
			say("250 queued")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

// login reads an account, by PLAIN or LOGIN.
func (s *mailServer) login(in *textproto.Reader, say func(string), rest string) string {
	decode := func(text string) string {
		plain, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "broken"
		}
		return string(plain)
	}
	if mechanism, first, _ := strings.Cut(rest, " "); mechanism == "PLAIN" {
		return strings.ReplaceAll(decode(first), "\x00", ":")
	}
	var all []string
	for _, question := range []string{"Username:", "Password:"} {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(question)))
		line, err := in.ReadLine()
		if err != nil {
			return "broken"
		}
		all = append(all, ":", decode(line))
	}
	return strings.Join(all, "")
}

// secured returns a server with TLS and the file that its certificate comes
// from.
func secured(tb testing.TB) (s *mailServer, ca string) {
	tb.Helper()
	a := destinationtest.NewAuthority(tb)
	return &mailServer{tls: a.Server(tb)}, a.File
}
