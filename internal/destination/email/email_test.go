package email_test

import (
	"context"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/email"
	"github.com/grapnel/grapnel/internal/egress"
)

const password = "p4ssword-of-a-test"

const account = `, "auth": {"username": "grapnel", "password": "` + password + `"}`

func build(tb testing.TB, config string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, email.Kind(), config, destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := (&mailServer{}).start(t)
	destinationtest.RunOffline(t, email.Kind(), s.config(`, "tls": "none"`))
}

// parsed is an email as a recipient's program reads it.
type parsed struct {
	header mail.Header
	body   string
}

func read(tb testing.TB, text string) parsed {
	tb.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		tb.Fatalf("reading the email: %v\n%s", err, text)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		tb.Fatal(err)
	}
	return parsed{m.Header, string(body)}
}

func TestAnEmailIsComplete(t *testing.T) {
	t.Parallel()
	s := (&mailServer{}).start(t)
	request := destinationtest.Request(`{"a":"grüß","line":".\r\n.\r\nQUIT"}`)
	request.Time = time.Unix(1_700_000_000, 0)
	d := build(t, s.config(`, "tls": "none", "subject": "{detail-type} {source} {bus} {rule} für {id}"`))
	if _, err := d.Do(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	got := <-s.got
	if !strings.HasPrefix(got.from, "FROM:<grapnel@example.com>") || !cmp.Equal(got.to, []string{"TO:<ops@example.org>"}) {
		t.Errorf("envelope %s to %s", got.from, got.to)
	}
	m := read(t, got.text)
	subject, err := new(mime.WordDecoder).DecodeHeader(m.header.Get("Subject"))
	if want := "sample test default rule für " + string(request.Event.ID); err != nil || subject != want {
		t.Errorf("Subject = %q, %v, want %q", subject, err, want)
	}
	for name, want := range map[string]string{
		"From": `"Grapnel" <grapnel@example.com>`, "To": "<ops@example.org>",
		"Date": "Tue, 14 Nov 2023 22:13:20 +0000", "Message-Id": "<" + request.ID + "@example.com>",
		"Auto-Submitted": "auto-generated", "Content-Type": "text/plain; charset=utf-8",
	} {
		if h := m.header.Get(name); h != want {
			t.Errorf("%s = %q, want %q", name, h, want)
		}
	}
	if want := "{\n  \"a\": \"grüß\",\n  \"line\": \".\\r\\n.\\r\\nQUIT\"\n}\n"; strings.ReplaceAll(m.body, "\r\n", "\n") != want {
		t.Errorf("body %q, want %q", m.body, want)
	}
}

func TestNothingOfAnEventBeginsAHeaderOrACommand(t *testing.T) {
	t.Parallel()
	s := (&mailServer{}).start(t)
	d := build(t, s.config(`, "tls": "none"`))
	for _, evil := range []string{
		"x\r\nBcc: victim@example.net\r\n\r\nbody", "x\nBcc: victim@example.net", "x\rBcc: victim@example.net",
		"ü\r\nBcc: victim@example.net", "x\u2028Bcc: victim@example.net", "x\x00\x1bBcc: v", strings.Repeat("ü", 2000),
	} {
		request := destinationtest.Request(`"a\r\n.\r\nMAIL FROM:<x@example.net>\r\n.\rRSET\n.\n"`)
		request.ID = "dlv_1>\r\nBcc: victim@example.net"
		request.Event.DetailType, request.Event.Source = evil, evil
		if _, err := d.Do(t.Context(), request); err != nil {
			t.Fatalf("%q: %v", evil, err)
		}
		m := read(t, (<-s.got).text)
		if len(m.header) != 9 || m.header.Get("Bcc") != "" {
			t.Errorf("%q: header %v", evil, m.header)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.header.Get("Subject"))
		if err != nil || strings.ContainsAny(subject, "\r\n\x00\u2028") || len(subject) > 300 {
			t.Errorf("%q: Subject = %q, %v", evil, subject, err)
		}
		if !strings.Contains(m.body, "MAIL FROM") || !strings.Contains(m.body, "RSET") {
			t.Errorf("%q: body %q was cut", evil, m.body)
		}
	}
	if n := len(s.got); n != 0 {
		t.Errorf("%d more messages were taken", n)
	}
}

func TestConnectionsAreEncryptedBeforeAnythingIsSaid(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		implicit   bool
		auth, mode string
	}{
		"STARTTLS, PLAIN": {false, "LOGIN PLAIN", "starttls"},
		"STARTTLS, LOGIN": {false, "LOGIN", "starttls"},
		"implicit":        {true, "PLAIN", "implicit"},
	} {
		s, ca := secured(t)
		s.implicit, s.auth = row.implicit, row.auth
		s.start(t)
		config := s.config(fmt.Sprintf(`, "tls": %q, "ca": %q%s`, row.mode, ca, account))
		if _, err := build(t, config).Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := <-s.got; !got.secure || got.login != ":grapnel:"+password {
			t.Errorf("%s: secure %t, login %q", name, got.secure, got.login)
		}
	}
}

func TestWithoutTrustNothingIsSent(t *testing.T) {
	t.Parallel()
	secure, _ := secured(t)
	secure.auth = "PLAIN"
	secure.start(t)
	implicit, _ := secured(t)
	implicit.implicit = true
	implicit.start(t)
	plain := (&mailServer{}).start(t)
	for name, config := range map[string]string{
		"a certificate of nobody":           secure.config(account),
		"a certificate of nobody, implicit": implicit.config(`, "tls": "implicit"` + account),
		"no STARTTLS":                       plain.config(account),
		"no TLS":                            plain.config(`, "tls": "implicit"` + account),
	} {
		_, err := build(t, config).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != destination.TLS {
			t.Errorf("%s: %v, want class tls", name, got)
		}
		destinationtest.AssertLeaksNoSecret(t, []string{password}, err)
	}
	if len(secure.got)+len(implicit.got)+len(plain.got) != 0 {
		t.Error("something was sent all the same")
	}
}

func TestRepliesHaveClasses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		verb, reply string
		want        destination.Class
	}{
		"busy greeting":       {"greeting", "421 4.3.2 try later", destination.Unavailable},
		"no service":          {"greeting", "554 no SMTP here", destination.Rejected},
		"an HTTP server":      {"greeting", "HTTP/1.1 400 Bad Request", destination.Protocol},
		"a wrong code":        {"greeting", "250 hello", destination.Protocol},
		"endless greeting":    {"greeting", "220-" + strings.Repeat("x", 1<<20), destination.Protocol},
		"sender refused":      {"MAIL", "550 5.7.1 not you", destination.Forbidden},
		"needs an account":    {"MAIL", "530 5.7.0 authenticate first", destination.Unauthorized},
		"unknown recipient":   {"RCPT", "550 5.1.1 no such user", destination.NotFound},
		"greylisted":          {"RCPT", "450 4.7.1 greylisted", destination.Conflict},
		"too many recipients": {"RCPT", "452 4.5.3 too many", destination.Throttled},
		"no space":            {"DATA", "452 4.3.1 no space", destination.Unavailable},
		"too large":           {".", "552 5.3.4 too big", destination.TooLarge},
		"spam":                {".", "554 5.7.1 spam", destination.Rejected},
		"local error":         {".", "451 4.3.0 oh", destination.Conflict},
		"not spoken":          {"MAIL", "502 5.5.1 what", destination.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := (&mailServer{replies: map[string]string{row.verb: row.reply}}).start(t)
			_, err := build(t, s.config(`, "tls": "none"`)).Do(t.Context(), destinationtest.Request(`{}`))
			got := destinationtest.Failed(t, err)
			if got.Class != row.want {
				t.Errorf("class %s (%v, %v), want %s", got.Class, got, got.Err, row.want)
			}
			if got.Class != destination.Protocol && string(got.Excerpt) != row.reply {
				t.Errorf("excerpt %q, want %q", got.Excerpt, row.reply)
			}
		})
	}
}

func TestAWrongPasswordIsUnauthorizedAndStaysHidden(t *testing.T) {
	t.Parallel()
	s, ca := secured(t)
	s.auth = "PLAIN"
	s.replies = map[string]string{"AUTH": "535 5.7.8 AGdyYXBuZWwAcDRzc3dvcmQtb2YtYS10ZXN0 is wrong, " + password + " too"}
	s.start(t)
	config := s.config(fmt.Sprintf(`, "ca": %q%s`, ca, account))
	d := build(t, config)
	_, err := d.Do(t.Context(), destinationtest.Request(`{}`))
	got := destinationtest.Failed(t, err)
	if got.Class != destination.Unauthorized || got.Status != 535 {
		t.Errorf("class %s status %d, want unauthorized", got.Class, got.Status)
	}
	c, _ := destinationtest.Decode(t, email.Kind(), config)
	destinationtest.AssertLeaksNoSecret(t, []string{password, "AGdyYXBuZWwAcDRzc3dvcmQtb2YtYS10ZXN0"}, err, d, c, c.Address())
}

func TestDeadlinesAreKeptWhereverTheServerHangs(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA"} {
		s := (&mailServer{hang: verb}).start(t)
		d := build(t, s.config(`, "tls": "none"`))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := d.Do(ctx, destinationtest.Request(`{}`))
		cancel()
		if got := destinationtest.Failed(t, err); got.Class != destination.Timeout {
			t.Errorf("%s: class %s, want timeout", verb, got.Class)
		}
	}
}

func TestAddressesAreGuarded(t *testing.T) {
	t.Parallel()
	s := (&mailServer{}).start(t)
	deps := destinationtest.Deps(t)
	deps.Egress = egress.New(egress.Config{})
	_, err := destinationtest.Build(t, email.Kind(), s.config(`, "tls": "none"`), deps).Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.BlockedAddress {
		t.Errorf("class %s, want blocked_address", got.Class)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	base := func(more string) string {
		return `{"host": "h", "from": "a@example.com", "to": ["b@example.com"]` + more + `}`
	}
	for config, want := range map[string]string{
		`{}`: "host: is missing",
		`{"host": "h:25", "from": "a@example.com", "to": ["b@example.com"]}`:                    "not the name of a host",
		`{"host": "h", "from": "nobody", "to": ["b@example.com"]}`:                              "not a mail address",
		`{"host": "h", "from": "a@example.com", "to": []}`:                                      "to:",
		`{"host": "h", "from": "a@example.com", "to": ["b"]}`:                                   "not a mail address",
		`{"host": "h", "from": "a@example.com", "to": ["b@example.com\r\nBcc: c@example.com"]}`: "not a mail address",
		`{"host": "h", "from": "A\r\nBcc: c@example.com <a@example.com>", "to": ["b@b.b"]}`:     "not a mail address",
		base(`, "subject": "a\r\nBcc: c@example.com"`):                                          "one line",
		base(`, "subject": "{detail}"`):                                                         "placeholder",
		base(`, "tls": "ssl"`):                                                                  "tls",
		base(`, "tls": "none", "ca": "x"`):                                                      "not used",
		base(`, "tls": "none"` + account):                                                       "unencrypted",
		base(`, "auth": {"username": "a", "password": "a\u0000b"}`):                             "control characters",
		base(`, "port": 0`): "port",
	} {
		_, problems := destinationtest.Decode(t, email.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
