package email

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"regexp"
	"strconv"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "email", Summary: "Sends each message as an email, by SMTP.",
		New: func() destination.Config { return &Config{} },
	}
}

// How a connection is encrypted.
const (
	startTLS    = "starttls"
	implicitTLS = "implicit"
	plainText   = "none"
)

// Config is the configuration of an email destination.
type Config struct {
	Host    string
	Port    int
	TLS     string
	CA      string
	Auth    *Auth
	From    string
	To      []string
	Subject string
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return []spec.Field{
		spec.String("host", &c.Host).Required().Check(c.checkHost).Example("smtp.example.com").
			Doc("The mail server. A private address is reached only if `network.allow` has it."),
		spec.Int("port", &c.Port).Default("587").Min("1").Max("65535").Doc("Its port; 465 goes with `tls: implicit`."),
		spec.Enum("tls", &c.TLS, startTLS, implicitTLS, plainText).Default(startTLS).
			Doc("`starttls`: the connection becomes encrypted before anything is said, or nothing is sent. `implicit`: it " +
				"is from the first byte. `none`: never; for a relay on the same machine."),
		spec.String("ca", &c.CA).Example("/etc/grapnel/mail-ca.pem").
			Doc("A file with the certificates that the server's must come from, in PEM, in place of the machine's."),
		spec.Optional("auth", &c.Auth).Doc("The account to send with."),
		spec.String("from", &c.From).Required().Check(func() error { return checkAddress(c.From) }).
			Example("Grapnel <grapnel@example.com>").Doc("The sender."),
		spec.Strings("to", &c.To).Required().MinItems(1).Check(c.checkTo).Example("[ops@example.com]").
			Doc("Who receives it, at most 100. If the server refuses one of them, nobody receives it in that attempt."),
		spec.String("subject", &c.Subject).Default("{detail-type} from {source}").Check(c.checkSubject).
			Doc("The subject: text with `{detail-type}`, `{source}`, `{id}`, `{bus}` and `{rule}`."),
	}
}

// maxTo is how many recipients a server has to take (RFC 5321 4.5.3.1.8).
const maxTo = 100

func (c *Config) checkHost() error {
	if c.Host == "" || strings.ContainsAny(c.Host, "/:@ \t\r\n") && net.ParseIP(c.Host) == nil {
		return fault.New(fault.Invalid, "invalid_endpoint", "is not the name of a host").
			WithHint("write the name alone; the port has a key of its own")
	}
	return nil
}

// checkAddress checks a mailbox (RFC 5322 3.4).
func checkAddress(text string) error {
	a, err := mail.ParseAddress(text)
	if err != nil || strings.ContainsFunc(text, isControl) || strings.ContainsFunc(a.Name, isControl) {
		return fault.New(fault.Invalid, "invalid_config", "is not a mail address").WithHint("write ops@example.com, or Name <ops@example.com>")
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func (c *Config) checkTo() error {
	if len(c.To) > maxTo {
		return fault.New(fault.Invalid, "invalid_config", "has more than %d recipients", maxTo)
	}
	for _, to := range c.To {
		if err := checkAddress(to); err != nil {
			return err
		}
	}
	return nil
}

// placeholder is a word in braces.
var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

func (c *Config) checkSubject() error {
	if c.Subject == "" || strings.ContainsFunc(c.Subject, isControl) {
		return fault.New(fault.Invalid, "invalid_config", "must be one line")
	}
	for _, word := range placeholder.FindAllString(c.Subject, -1) {
		switch word {
		case "{detail-type}", "{source}", "{id}", "{bus}", "{rule}":
		default:
			return fault.New(fault.Invalid, "invalid_config", "has a placeholder that is not known").
				WithHint("the placeholders are {detail-type}, {source}, {id}, {bus} and {rule}")
		}
	}
	return nil
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	if c.TLS != plainText {
		return
	}
	if c.Auth != nil {
		at.Hint("would send the password unencrypted", "write tls: starttls or implicit", "auth")
	}
	if c.CA != "" {
		at.Problem("ca", "is not used without TLS")
	}
	if ip := net.ParseIP(c.Host); at.OK("host", "tls") && c.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		at.Warn("tls", "sends messages unencrypted", "write starttls or implicit if the server can")
	}
}

// Auth is an account at the mail server.
type Auth struct {
	Username string
	Password secret.String
}

// Fields lists the fields.
func (a *Auth) Fields() []spec.Field {
	return []spec.Field{
		spec.String("username", &a.Username).Required().Check(a.checkUsername).Doc("The user name."),
		spec.Secret("password", &a.Password).Required().Check(a.checkPassword).
			Doc("The password. It is sent by AUTH PLAIN or LOGIN, over TLS only."),
	}
}

func (a *Auth) checkUsername() error { return checkText(a.Username) }

func (a *Auth) checkPassword() error { return checkText(a.Password.Reveal()) }

// checkText refuses NUL, which ends a field of AUTH PLAIN (RFC 4616), and other
// control characters.
func checkText(text string) error {
	if strings.ContainsFunc(text, isControl) {
		return fault.New(fault.Invalid, "invalid_config", "must not hold control characters")
	}
	return nil
}

// Address returns server and recipients.
func (c *Config) Address() string {
	return strings.Join(c.To, ", ") + " by " + net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "email to "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	m := &mailer{
		host: c.Host, address: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), encryption: c.TLS, subject: c.Subject,
		shown: c.Address(), now: d.Clock(),
	}
	var options egress.Options
	if c.CA != "" {
		roots, err := egress.ReadRoots(c.CA, false)
		if err != nil {
			return nil, fmt.Errorf("building an email destination: %w", err)
		}
		options.RootCAs = roots
	}
	m.dialer = d.Egress.Dialer(options)
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return nil, fmt.Errorf("building an email destination: reading from: %w", err)
	}
	m.from = from
	_, m.domain, _ = strings.Cut(from.Address, "@")
	for _, text := range c.To {
		to, err := mail.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("building an email destination: reading to: %w", err)
		}
		m.to = append(m.to, to)
	}
	if c.Auth != nil {
		m.username, m.password = c.Auth.Username, c.Auth.Password
		m.hide = destination.Hide(authSecrets(m.username, m.password.Reveal())...)
	}
	return m, nil
}
