// Package email is the kind of destination that sends a message as an email, by
// SMTP over a connection of its own. Every try of a delivery has the same
// Message-ID, by which mail systems leave out repeated ones. What the server
// answers becomes the class of the attempt: 4xx is tried again, 5xx is not.
package email

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/secret"
)

// maxAnswers is how much a server may say in one session, certificates
// included, in bytes.
const maxAnswers = 256 << 10

// mailer is a destination.
type mailer struct {
	dialer        *egress.Dialer
	host, address string
	encryption    string
	username      string // "" without an account
	password      secret.String
	from          *mail.Address
	domain        string // of from
	to            []*mail.Address
	subject       string
	shown         string
	hide          destination.Hidden
	now           func() time.Time
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (m *mailer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "email to "+m.shown) }

// authSecrets returns the forms in which the password is sent.
func authSecrets(username, password string) []string {
	return []string{
		password, base64.StdEncoding.EncodeToString([]byte(password)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + username + "\x00" + password)),
	}
}

// Do sends an email.
func (m *mailer) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	step := "connecting"
	err := m.session(ctx, r, &step)
	if err == nil {
		return &destination.Response{Status: 200}, nil
	}
	if ctx.Err() != nil { // what the connection says of it is only that it was closed
		return nil, destination.Unanswered(ctx, context.Cause(ctx), m.hide)
	}
	return nil, m.failure(ctx, err, step, r.WantBody)
}

// session speaks to the server. It keeps in step what it is doing.
func (m *mailer) session(ctx context.Context, r *destination.Request, step *string) error {
	conn, err := m.dialer.Dial(ctx, m.address)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close() }() // what counts was answered before
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, err := m.client(ctx, &bounded{Conn: conn, left: maxAnswers}, step)
	if err != nil {
		return err
	}
	if m.username != "" {
		*step = "AUTH"
		if err := m.authenticate(c); err != nil {
			return err
		}
	}
	*step = "MAIL FROM"
	if err := c.Mail(m.from.Address); err != nil {
		return fmt.Errorf("naming the sender: %w", err)
	}
	for _, to := range m.to {
		*step = "RCPT TO"
		if err := c.Rcpt(to.Address); err != nil {
			return fmt.Errorf("naming a recipient: %w", err)
		}
	}
	*step = "DATA"
	if err := m.send(c, r); err != nil {
		return err
	}
	_ = c.Quit() // the server has taken the message
	return nil
}

// client greets the server and begins TLS.
func (m *mailer) client(ctx context.Context, conn net.Conn, step *string) (*smtp.Client, error) {
	if m.encryption == implicitTLS {
		secure := tls.Client(conn, m.dialer.TLS(m.host))
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, &egress.HandshakeError{Host: m.host, Err: err}
		}
		conn = secure
	}
	*step = "the connection"
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return nil, fmt.Errorf("reading the greeting: %w", err)
	}
	*step = "EHLO"
	if err := c.Hello(m.domain); err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if m.encryption != startTLS {
		return c, nil
	}
	*step = "STARTTLS"
	if ok, _ := c.Extension("STARTTLS"); !ok {
		return nil, &destination.Error{
			Class: destination.TLS, Message: "the mail server offers no STARTTLS, so that nothing was sent",
		}
	}
	if err := c.StartTLS(m.dialer.TLS(m.host)); err != nil {
		return nil, fmt.Errorf("beginning TLS: %w", err)
	}
	return c, nil
}

// authenticate logs in by the first mechanism that both sides know.
func (m *mailer) authenticate(c *smtp.Client) error {
	_, offered := c.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	var auth smtp.Auth
	switch {
	case slices.Contains(mechanisms, "PLAIN"):
		auth = smtp.PlainAuth("", m.username, m.password.Reveal(), m.host)
	case slices.Contains(mechanisms, "LOGIN"):
		auth = &login{username: m.username, password: m.password}
	default:
		return &destination.Error{
			Class: destination.Unauthorized, Message: "the mail server offers neither AUTH PLAIN nor AUTH LOGIN",
		}
	}
	if err := c.Auth(auth); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	return nil
}

func (m *mailer) send(c *smtp.Client, r *destination.Request) error {
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("beginning the message: %w", err)
	}
	if _, err := w.Write(m.message(r)); err != nil {
		return fmt.Errorf("sending the message: %w", err)
	}
	if err := w.Close(); err != nil { // waits for the answer
		return fmt.Errorf("ending the message: %w", err)
	}
	return nil
}

// login is AUTH LOGIN, which some servers have in place of PLAIN.
type login struct {
	username string
	password secret.String
}

// Start begins.
func (*login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS {
		return "", nil, errors.New("the connection is not encrypted")
	}
	return "LOGIN", nil, nil
}

// Next answers what the server asks for.
func (l *login) Next(asked []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	switch question := strings.ToLower(string(asked)); {
	case strings.HasPrefix(question, "user"):
		return []byte(l.username), nil
	case strings.HasPrefix(question, "pass"):
		return []byte(l.password.Reveal()), nil
	}
	return nil, errors.New("the server asks for something else than user name and password")
}

// failure returns what Do returns for an error of a session.
func (m *mailer) failure(ctx context.Context, err error, step string, want int) error {
	if e, ok := errors.AsType[*destination.Error](err); ok {
		return e
	}
	if answer, ok := errors.AsType[*textproto.Error](err); ok && answer.Code >= 400 {
		text := m.hide.Bytes([]byte(strconv.Itoa(answer.Code) + " " + answer.Msg))
		return &destination.Error{
			Class: classOf(answer.Code, step), Status: answer.Code, Excerpt: text[:min(len(text), max(want, 0))],
			Message: "the mail server answered " + strconv.Itoa(answer.Code) + " to " + step,
		}
	}
	_, malformed := errors.AsType[textproto.ProtocolError](err)
	_, unexpected := errors.AsType[*textproto.Error](err)
	if malformed || unexpected || errors.Is(err, errTooMuch) {
		return &destination.Error{
			Class: destination.Protocol, Message: "what the server answered to " + step + " is not SMTP", Err: m.hide.Err(err),
		}
	}
	return destination.Unanswered(ctx, err, m.hide)
}

// classOf returns the class of a reply (RFC 5321 4.2, RFC 4954 6): 4xx is tried
// again, and of 5xx only what credentials cause.
func classOf(code int, step string) destination.Class {
	switch {
	case code == 530 || code == 534 || code == 535 || code == 538 || step == "AUTH" && code >= 500:
		return destination.Unauthorized
	case code == 421:
		return destination.Unavailable
	case code == 450 || code == 451:
		return destination.Conflict // greylisting, a busy mailbox
	case code == 452 && step == "RCPT TO":
		return destination.Throttled // too many recipients for now
	case code < 500:
		return destination.Unavailable
	case code == 552:
		return destination.TooLarge
	case step == "RCPT TO" && (code == 550 || code == 551 || code == 553):
		return destination.NotFound
	case step == "MAIL FROM" && (code == 550 || code == 553):
		return destination.Forbidden
	case code >= 500 && code <= 504 || code == 555:
		return destination.BadRequest
	default:
		return destination.Rejected
	}
}

var errTooMuch = errors.New("the server says too much")

// bounded ends a connection on which the other side says too much.
type bounded struct {
	net.Conn
	left int64
}

// Read reads.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
