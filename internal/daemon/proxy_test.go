package daemon_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/daemon"
)

const (
	v2Head  = "\r\n\r\n\x00\r\nQUIT\n"
	v2TCP4  = v2Head + "\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\x12\x34\x00\x50"
	v2TLV   = v2Head + "\x21\x11\x00\x10\xc0\x00\x02\x01\x7f\x00\x00\x01\x12\x34\x00\x50\x04\x00\x01x"
	v2Local = v2Head + "\x20\x00\x00\x00"
)

func TestProxyHeaders(t *testing.T) {
	t.Parallel()
	v2TCP6 := v2Head + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" +
		strings.Repeat("\x00", 16) + "\x00\x09\x00\x50"
	for name, c := range map[string]struct{ text, want string }{
		"version 1":              {"PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\n", "192.0.2.1:4660"},
		"version 1, IPv6":        {"PROXY TCP6 2001:db8::1 ::1 9 80\r\n", "[2001:db8::1]:9"},
		"version 1, mapped":      {"PROXY TCP6 ::ffff:192.0.2.1 ::1 9 80\r\n", "192.0.2.1:9"},
		"version 1, unknown":     {"PROXY UNKNOWN\r\n", "invalid AddrPort"},
		"version 1, unknown too": {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "invalid AddrPort"},
		"version 2":              {v2TCP4, "192.0.2.1:4660"},
		"version 2, values":      {v2TLV, "192.0.2.1:4660"},
		"version 2, IPv6":        {v2TCP6, "[2001:db8::1]:9"},
		"version 2, local":       {v2Local, "invalid AddrPort"},
		"none":                   {"POST /in/github HTTP/1.1\r\n\r\n", ""},
		"TLS":                    {"\x16\x03\x01\x00\x00", ""},
		"family and address":     {"PROXY TCP4 2001:db8::1 ::1 9 80\r\n", ""},
		"no address":             {"PROXY TCP4 proxy 127.0.0.1 9 80\r\n", ""},
		"port too large":         {"PROXY TCP4 192.0.2.1 127.0.0.1 65536 80\r\n", ""},
		"no end":                 {"PROXY TCP4 " + strings.Repeat("1", 200), ""},
		"fields missing":         {"PROXY TCP4 192.0.2.1\r\n", ""},
		"version 3":              {v2Head + "\x31\x11\x00\x00", ""},
		"addresses cut off":      {v2Head + "\x21\x11\x00\x04\xc0\x00\x02\x01", ""},
		"longer than is taken":   {v2Head + "\x21\x11\xff\xff" + strings.Repeat("x", 65535), ""},
		"ends early":             {v2TCP4[:20], ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, rest, err := daemon.ReadProxyHeader([]byte(c.text + "rest"))
			switch {
			case c.want == "" && err == nil:
				t.Errorf("taken as %s", from)
			case c.want != "" && (err != nil || from.String() != c.want || string(rest) != "rest"):
				t.Errorf("got %s, %q, %v, want %s", from, rest, err, c.want)
			}
		})
	}
}

func FuzzProxyHeader(f *testing.F) {
	for _, seed := range []string{"PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\nx", "PROXY UNKNOWN\r\n", v2TCP4, v2TLV + "x", v2Local} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, rest, err := daemon.ReadProxyHeader(text)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(text, rest) {
			t.Errorf("what follows is %q, not the end of %q", rest, text)
		}
		if !bytes.HasPrefix(text, []byte("PROXY ")) && !bytes.HasPrefix(text, []byte(v2Head)) {
			t.Errorf("%q was taken for a header", text)
		}
	})
}

// talk sends the text on a connection of its own and returns the whole answer.
func talk(t *testing.T, address, text string) string {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn) // a connection that is closed in anger has an answer too: none
	return string(answer)
}

func TestThePROXYProtocolIsTakenFromTrustedPeersOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, trusted string
		header        string
		want          string // begin of the answer
	}{
		{"allowed by the header", "127.0.0.0/8", "PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\n", "HTTP/1.1 401 "},
		{"allowed by the header, version 2", "127.0.0.0/8", v2TCP4, "HTTP/1.1 401 "},
		{"denied by the header", "127.0.0.0/8", "PROXY TCP4 198.51.100.1 127.0.0.1 4660 80\r\n", "HTTP/1.1 403 "},
		{"a trusted peer without", "127.0.0.0/8", "", ""},
		{"spoofed by a stranger", "10.0.0.0/8", "PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\n", "HTTP/1.1 400 "},
		{"a stranger without", "10.0.0.0/8", "", "HTTP/1.1 403 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := startIn(t, dir, fmt.Sprintf(`
listen: 127.0.0.1:0
admin: {listen: "127.0.0.1:0"}
data: %s
trusted_proxies: [%s]
proxy_protocol: true
sources: {github: {provider: github, secrets: ["%s"], allow_ips: [192.0.2.0/24]}}
`, filepath.Join(dir, "data"), c.trusted, secret), -1, slog.New(slog.DiscardHandler))
			request := "POST /in/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
			if got := talk(t, d.PublicAddr(), c.header+request); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("answered %q, want %q", got, c.want)
			}
		})
	}
}
