package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// How a client proves itself to the token endpoint (RFC 6749 2.3.1).
const (
	credentialsBody  = "body"
	credentialsBasic = "basic"
)

const (
	// renewAhead is how long before its end a token is renewed, as EventBridge
	// connections do.
	renewAhead = 60 * time.Second
	// maxToken bounds the answer of a token endpoint, in bytes.
	maxToken = 256 << 10
	// shownToken bounds what an error shows of it, in bytes.
	shownToken = 1 << 10
)

// OAuth are the client credentials of RFC 6749 4.4.
type OAuth struct {
	TokenURL     string
	ClientID     string
	ClientSecret secret.String
	Credentials  string
	Scopes       []string
	Params       map[string]secret.String
}

// Fields lists the fields.
func (o *OAuth) Fields() []spec.Field {
	return []spec.Field{
		spec.URL("token_url", &o.TokenURL).Required().Secret().Check(o.checkURL).Example("https://login.example.com/oauth/token").
			Doc("Where tokens are fetched, with POST."),
		spec.String("client_id", &o.ClientID).Required().Doc("The id of the client."),
		spec.Secret("client_secret", &o.ClientSecret).Required().Doc("The secret of the client."),
		spec.Enum("credentials", &o.Credentials, credentialsBody, credentialsBasic).Default(credentialsBody).
			Doc("Where id and secret go: `body`, into the form, or `basic`, into `Authorization: Basic …`."),
		spec.Strings("scopes", &o.Scopes).Example("[events.write]").Doc("What the token is asked to allow."),
		spec.SecretMap("params", &o.Params).Keys(checkParam).Example("{audience: https://api.example.com}").
			Doc("More fields of the form."),
	}
}

func (o *OAuth) checkURL() error {
	u, err := url.Parse(o.TokenURL)
	if err != nil {
		return fault.New(fault.Invalid, "invalid_url", "is not a valid URL")
	}
	if u.User != nil {
		return fault.New(fault.Invalid, "invalid_url", "must hold no credentials").WithHint("write credentials: basic")
	}
	return nil
}

func checkParam(name string) error {
	switch name {
	case "grant_type", "client_id", "client_secret", "scope":
		return fault.New(fault.Invalid, "invalid_config", "is a field that Grapnel sets itself")
	}
	return nil
}

// secrets returns what must not be shown.
func (o *OAuth) secrets() []string {
	if o == nil {
		return nil
	}
	all := []string{o.ClientSecret.Reveal(), strings.TrimPrefix(o.basic(), "Basic ")}
	for _, value := range o.Params {
		all = append(all, value.Reveal())
	}
	if u, err := url.Parse(o.TokenURL); err == nil {
		for _, values := range u.Query() {
			all = append(all, values...)
		}
	}
	return all
}

// basic returns the header Authorization. Both halves are form-encoded first
// (RFC 6749 2.3.1).
func (o *OAuth) basic() string {
	return basicAuth(url.QueryEscape(o.ClientID), url.QueryEscape(o.ClientSecret.Reveal()))
}

// form returns the body of a token request.
func (o *OAuth) form() string {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(o.Scopes) > 0 {
		form.Set("scope", strings.Join(o.Scopes, " "))
	}
	if o.Credentials != credentialsBasic {
		form.Set("client_id", o.ClientID)
		form.Set("client_secret", o.ClientSecret.Reveal())
	}
	for name, value := range o.Params {
		form.Set(name, value.Reveal())
	}
	return form.Encode()
}

// tokens fetches tokens and keeps the newest. Of several requests that need one
// at once only one fetches it.
type tokens struct {
	transport *http.Transport
	url       *url.URL
	header    http.Header
	form      string
	now       func() time.Time
	secrets   []string // of the destination
	hide      destination.Hidden

	// turn holds a value while somebody fetches: a lock that a context can end
	// the wait for.
	turn chan struct{}

	// mu guards what follows. It is never held while fetching.
	mu    sync.Mutex
	token string
	until time.Time // when it is to be renewed; zero: not before it is refused
}

// tokens returns nil if the destination needs none.
func (c *Config) tokens(d destination.Deps) (*tokens, error) {
	if c.Auth == nil || c.Auth.OAuth == nil {
		return nil, nil //nolint:nilnil // No tokens is a valid choice.
	}
	o := c.Auth.OAuth
	u, err := url.Parse(o.TokenURL)
	if err != nil {
		return nil, errors.New("the token URL is not valid") // its text could show a secret
	}
	options, err := c.TLS.options()
	if err != nil {
		return nil, err
	}
	// Who gives tokens is seldom who takes messages: the own CA of the receiver
	// must not shut out the one that signed the token endpoint.
	if options.RootCAs != nil {
		if options.RootCAs, err = egress.ReadRoots(c.TLS.CA, true); err != nil {
			return nil, fmt.Errorf("reading tls.ca: %w", err)
		}
	}
	options.IdlePerHost = 1
	header := http.Header{
		"User-Agent": {"Grapnel/" + d.Version}, "Accept": {"application/json"},
		"Content-Type": {"application/x-www-form-urlencoded"}, "X-Idempotency-Key": {},
	}
	if o.Credentials == credentialsBasic {
		header.Set("Authorization", o.basic())
	}
	return &tokens{
		transport: d.Egress.Transport(options), url: u, header: header, form: o.form(), now: d.Clock(),
		secrets: c.secrets(), hide: c.hidden(), turn: make(chan struct{}, 1),
	}, nil
}

// get returns a token that is good for a while. Its error is one of Do.
func (t *tokens) get(ctx context.Context) (string, error) {
	if token := t.kept(); token != "" {
		return token, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", destination.Unanswered(ctx, context.Cause(ctx), t.hide)
	}
	// Another request may have fetched it while this one waited.
	if token := t.kept(); token != "" {
		return token, nil
	}
	return t.fetch(ctx)
}

// kept returns the token if it need not be renewed.
func (t *tokens) kept() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.until.IsZero() && !t.now().Before(t.until) {
		return ""
	}
	return t.token
}

// drop forgets the token that was refused, unless there is a newer one.
func (t *tokens) drop(refused string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == refused {
		t.token = ""
	}
}

// hidden returns what must not be shown of a request with the token.
func (t *tokens) hidden(token string) destination.Hidden {
	return destination.Hide(append(slices.Clone(t.secrets), token)...)
}

// fetch asks for a token and keeps it.
func (t *tokens) fetch(ctx context.Context) (string, error) {
	header := maps.Clone(t.header)
	req := (&http.Request{
		Method: http.MethodPost, URL: t.url, Host: t.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(strings.NewReader(t.form)), ContentLength: int64(len(t.form)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(t.form)), nil },
	}).WithContext(ctx)
	resp, err := t.transport.RoundTrip(req) //nolint:bodyclose // ReadAnswer closes it.
	if err != nil {
		return "", ofTokens(destination.Unanswered(ctx, err, t.hide))
	}
	body, _ := destination.ReadAnswer(resp, maxToken)
	if resp.StatusCode != http.StatusOK {
		return "", t.refused(resp, body)
	}
	token, lifetime, err := parseToken(body)
	if err != nil {
		// The answer is not shown: it may hold a token after all.
		return "", &destination.Error{
			Class: destination.Protocol, Message: "the token endpoint answered 200, but " + err.Error(),
		}
	}
	t.keep(token, lifetime)
	return token, nil
}

// keep keeps the token until shortly before its end.
func (t *tokens) keep(token string, lifetime time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.until = token, time.Time{}
	if lifetime > 0 {
		// A token that lives shorter than twice the margin is used for half its life.
		t.until = t.now().Add(lifetime - min(renewAhead, lifetime/2))
	}
}

// refused returns the error for an answer of the token endpoint that holds no
// token. One that has to do with the credentials is Unauthorized, whatever its
// status (RFC 6749 5.2 has 400 for most): that class is tried again, since
// secrets are rotated.
func (t *tokens) refused(resp *http.Response, body []byte) error {
	e := destination.Answered(resp.StatusCode, resp.Header, body[:min(len(body), shownToken)], t.now(), t.hide)
	if e.Class == destination.BadRequest || e.Class == destination.Forbidden {
		e.Class = destination.Unauthorized
	}
	// The status is the token endpoint's: to the engine it would be the receiver's.
	e.Status = 0
	if e.Class == destination.Gone {
		e.Class = destination.NotFound
	}
	return ofTokens(e)
}

// ofTokens says in the error that it is about the token endpoint.
func ofTokens(err error) error {
	if e, ok := errors.AsType[*destination.Error](err); ok {
		e.Message = "fetching a token: " + e.Message
	}
	return err
}

// parseToken reads the answer of a token endpoint (RFC 6749 5.1). The lifetime
// is 0 if the answer does not say.
func parseToken(body []byte) (token string, lifetime time.Duration, err error) {
	var answer struct {
		Token   string      `json:"access_token"`
		Type    string      `json:"token_type"`
		Expires json.Number `json:"expires_in"` // some send it as text
	}
	if json.Unmarshal(body, &answer) != nil {
		return "", 0, errors.New("what it sent is not a token answer")
	}
	switch {
	case answer.Token == "":
		return "", 0, errors.New("it sent no access_token")
	case !validValue(answer.Token):
		return "", 0, errors.New("the access_token is no text for a header")
	case answer.Type != "" && !strings.EqualFold(answer.Type, "bearer"):
		return "", 0, errors.New("the token is of another type than Bearer")
	}
	if seconds, err := answer.Expires.Float64(); err == nil && seconds > 0 {
		lifetime = time.Duration(min(seconds, (365*24*time.Hour).Seconds()) * float64(time.Second))
	}
	return answer.Token, lifetime, nil
}
