package webhook

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
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
		Name: "webhook", Summary: "Sends each message to an HTTP endpoint, signed if you like.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of a webhook destination.
type Config struct {
	URL     string
	Method  string
	Headers map[string]secret.String
	Signing *Signing
	Auth    *Auth
	TLS     *TLS

	// urlHidden says that the URL came from the environment or a file, so that
	// not even its path may be shown; hiddenHeaders that a header's value did.
	urlHidden     bool
	hiddenHeaders map[string]bool
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return []spec.Field{
		spec.URL("url", &c.URL).Required().Secret().Check(c.checkURL).Example("https://crm.example.com/hooks").
			Doc("Where requests go. Redirects are not followed. Credentials in the URL are sent as Basic; " +
				"they and the values of query parameters never print. Private addresses are reached only " +
				"if `network.allow` has them."),
		spec.String("method", &c.Method).Default(http.MethodPost).Check(c.checkMethod).
			Doc("The HTTP method. GET and HEAD carry no body."),
		spec.SecretMap("headers", &c.Headers).Keys(checkHeaderName).Example("{X-Team: platform}").
			Doc("More headers. `Content-Type` and `User-Agent` replace the usual ones; those of the " +
				"signature and of the connection cannot be set."),
		spec.Optional("signing", &c.Signing).
			Doc("How requests are signed, so that the receiver knows who sent them."),
		spec.Optional("auth", &c.Auth).Doc("The credentials that the receiver wants: one of the four."),
		spec.Optional("tls", &c.TLS).
			Doc("A client certificate, and whom to trust, where the machine's certificates do not fit."),
	}
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	if node := at.Node(); node != nil {
		if e := node.Get("url"); e != nil {
			c.urlHidden = e.Value.Expanded()
		}
		if e := node.Get("headers"); e != nil {
			c.hiddenHeaders = map[string]bool{}
			for _, h := range e.Value.Entries {
				c.hiddenHeaders[h.Key] = h.Value.Expanded()
			}
		}
	}
	if c.Signing == nil && c.Auth == nil && len(c.Headers) == 0 && at.OK("url") && !userInfo(c.URL) && !c.TLS.identifies() {
		at.Warn("", "sends unsigned: its receiver cannot know who sent",
			"give it signing or auth, or write signing: {scheme: none} if that is meant")
	}
	taken := c.takenHeaders()
	for name, value := range c.Headers {
		if !validValue(value.Reveal()) {
			at.Hint("must not hold line breaks or other control characters", "", "headers", name)
		}
		if why := taken[http.CanonicalHeaderKey(name)]; why != "" {
			at.Hint("is set by "+why, "remove one of the two", "headers", name)
		}
	}
	if c.Auth != nil && c.Auth.authorizes() && at.OK("url") && userInfo(c.URL) {
		at.Hint("the URL has credentials too", "remove them there", "auth")
	}
	if c.TLS != nil && at.OK("url") && strings.HasPrefix(c.URL, "http://") {
		at.Hint("the URL is not https, so that there is no TLS", "write the URL with https://", "tls")
	}
}

// takenHeaders returns the headers that signing and auth set, each with the key
// that does.
func (c *Config) takenHeaders() map[string]string {
	taken := map[string]string{}
	if s := c.Signing; s != nil && s.Scheme == schemeHMAC && s.HMAC != nil {
		taken[http.CanonicalHeaderKey(s.HMAC.Header)] = "signing"
		taken[http.CanonicalHeaderKey(s.HMAC.TimestampHeader)] = "signing"
	}
	if a := c.Auth; a != nil {
		if a.authorizes() {
			taken["Authorization"] = "auth"
		}
		if a.APIKey != nil {
			taken[http.CanonicalHeaderKey(a.APIKey.Header)] = "auth"
		}
	}
	if userInfo(c.URL) {
		taken["Authorization"] = "the credentials in the URL"
	}
	delete(taken, "")
	return taken
}

func userInfo(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.User != nil
}

func (c *Config) checkURL() error {
	u, err := url.Parse(c.URL)
	if err != nil { // spec.URL has parsed it; its text could show a secret
		return fault.New(fault.Invalid, "invalid_url", "is not a valid URL")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return fault.New(fault.Invalid, "invalid_url", "the port is not between 1 and 65535")
		}
	}
	return nil
}

func (c *Config) checkMethod() error {
	switch {
	case !isToken(c.Method) || c.Method != strings.ToUpper(c.Method):
		return fault.New(fault.Invalid, "invalid_method", "is no HTTP method").WithHint("methods are in capitals: POST")
	case c.Method == http.MethodConnect || c.Method == http.MethodTrace:
		return fault.New(fault.Invalid, "invalid_method", "carries no message")
	}
	return nil
}

// isFixed reports whether a header belongs to the connection or is the
// delivery's id.
func isFixed(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Accept-Encoding", "Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authorization",
		"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", headerID:
		return true
	}
	return false
}

func checkHeaderName(name string) error {
	if !isToken(name) {
		return fault.New(fault.Invalid, "invalid_header", "is not the name of a header")
	}
	canonical := http.CanonicalHeaderKey(name)
	if isFixed(name) || canonical == headerTimestamp || canonical == headerSignature {
		return fault.New(fault.Invalid, "fixed_header", "is a header that Grapnel sets itself")
	}
	return nil
}

// isToken reports whether text is a token (RFC 9110 5.6.2).
func isToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return text != ""
}

// validValue reports whether text can be the value of a header (RFC 9110 5.5):
// a line break would begin another header.
func validValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// Auth are credentials; one of its fields is set.
type Auth struct {
	Basic  *Basic
	Bearer secret.String
	APIKey *APIKey
	OAuth  *OAuth
}

// authorizes reports whether the credentials go into the header Authorization.
func (a *Auth) authorizes() bool { return a.Basic != nil || !a.Bearer.Empty() || a.OAuth != nil }

// Fields lists the fields.
func (a *Auth) Fields() []spec.Field {
	return []spec.Field{
		spec.Optional("basic", &a.Basic).Doc("User name and password (RFC 7617)."),
		spec.Secret("bearer", &a.Bearer).Doc("A token, sent as `Authorization: Bearer …`."),
		spec.Optional("api_key", &a.APIKey).Doc("A key in a header or query parameter of your choice."),
		spec.Optional("oauth", &a.OAuth).
			Doc("OAuth 2.0 client credentials (RFC 6749 4.4): a token is fetched, kept and renewed, and sent as " +
				"`Authorization: Bearer …`."),
	}
}

// Check checks that there is one kind of credentials.
func (a *Auth) Check(at *spec.Place) {
	n := 0
	for _, key := range []string{"basic", "bearer", "api_key", "oauth"} {
		if at.Has(key) {
			n++
		}
	}
	if n != 1 {
		at.Problem("", "needs exactly one of basic, bearer, api_key and oauth")
	}
	if !validValue(a.Bearer.Reveal()) {
		at.Problem("bearer", "must not hold line breaks or other control characters")
	}
}

// Basic are a user name and a password.
type Basic struct {
	Username string
	Password secret.String
}

// Fields lists the fields.
func (b *Basic) Fields() []spec.Field {
	return []spec.Field{
		spec.String("username", &b.Username).Required().Check(b.checkUsername).Doc("The user name."),
		spec.Secret("password", &b.Password).Required().Doc("The password."),
	}
}

func (b *Basic) checkUsername() error {
	if strings.Contains(b.Username, ":") {
		return fault.New(fault.Invalid, "invalid_username", "must not hold a colon (RFC 7617)")
	}
	return nil
}

func basicAuth(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

// APIKey is a key in a header or query parameter.
type APIKey struct {
	Header string
	Query  string
	Value  secret.String
}

// Fields lists the fields.
func (k *APIKey) Fields() []spec.Field {
	return []spec.Field{
		spec.String("header", &k.Header).Check(func() error { return checkHeaderName(k.Header) }).
			Example("X-Api-Key").Doc("The header that carries the key."),
		spec.String("query", &k.Query).Example("api_key").Doc("The query parameter that carries the key."),
		spec.Secret("value", &k.Value).Required().Doc("The key."),
	}
}

// Check checks that there is one place for the key.
func (k *APIKey) Check(at *spec.Place) {
	if at.Has("header") == at.Has("query") {
		at.Problem("", "needs either header or query")
	}
	if k.Header != "" && !validValue(k.Value.Reveal()) {
		at.Problem("value", "must not hold line breaks or other control characters")
	}
}

// Address returns the URL without secrets.
func (c *Config) Address() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return secret.Redacted
	}
	if c.urlHidden {
		return u.Scheme + "://" + u.Host + "/" + secret.Redacted
	}
	return egress.RedactURL(u)
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "webhook "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }

// hidden returns whatever must not be shown.
func (c *Config) hidden() destination.Hidden { return destination.Hide(c.secrets()...) }

func (c *Config) secrets() []string {
	var all []string
	if u, err := url.Parse(c.URL); err == nil {
		if u.User != nil {
			password, _ := u.User.Password()
			all = append(all, u.User.Username(), password, strings.TrimPrefix(basicAuth(u.User.Username(), password), "Basic "))
		}
		if c.urlHidden {
			all = append(all, u.EscapedPath())
		}
		for name, values := range u.Query() {
			all = append(all, values...)
			if slices.Equal(values, []string{""}) {
				all = append(all, name) // ?s3cret
			}
		}
		for pair := range strings.SplitSeq(u.RawQuery, "&") {
			_, value, _ := strings.Cut(pair, "=")
			all = append(all, value)
		}
	}
	for name, value := range c.Headers {
		if c.hiddenHeaders[name] || isCredential(name) {
			_, credentials, _ := strings.Cut(value.Reveal(), " ") // Bearer …
			all = append(all, value.Reveal(), credentials)
		}
	}
	if s := c.Signing; s != nil {
		for _, text := range s.Secrets {
			all = append(all, text.Reveal(), strings.TrimPrefix(text.Reveal(), "whsec_"))
		}
	}
	if a := c.Auth; a != nil {
		all = append(all, a.Bearer.Reveal())
		if a.Basic != nil {
			password := a.Basic.Password.Reveal()
			all = append(all, password, strings.TrimPrefix(basicAuth(a.Basic.Username, password), "Basic "))
		}
		if a.APIKey != nil {
			all = append(all, a.APIKey.Value.Reveal())
		}
		all = append(all, a.OAuth.secrets()...)
	}
	return all
}

// isCredential reports whether a header of this name holds a credential.
func isCredential(name string) bool {
	name = strings.ToLower(textproto.TrimString(name))
	for _, word := range []string{"auth", "token", "key", "secret", "password", "cookie", "sign", "credential"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
