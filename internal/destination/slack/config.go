package slack

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "slack", Summary: "Posts each message to a Slack channel, by an incoming webhook or as an app.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of a Slack destination: a webhook, or an app's
// token and a channel.
type Config struct {
	URL     secret.String
	Token   secret.String
	Channel string
	API     string
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return []spec.Field{
		spec.Secret("url", &c.URL).Check(c.checkURL).Example(`"${SLACK_WEBHOOK_URL}"`).
			Doc("The URL of an incoming webhook. Whoever has it can post, so that only its host is ever shown."),
		spec.Secret("token", &c.Token).Example(`"${SLACK_BOT_TOKEN}"`).
			Doc("In place of `url`: the token of a bot (`xoxb-…`) with the scope `chat:write`. Messages are posted by " +
				"`chat.postMessage`."),
		spec.String("channel", &c.Channel).Example("C0123456789").
			Doc("With `token`: the channel, by its id or as `#name`. The bot must be a member of it."),
		spec.URL("api_url", &c.API).Default("https://slack.com/api").Check(c.checkAPI).
			Doc("With `token`: where the Web API is."),
	}
}

func (c *Config) checkURL() error {
	if c.URL.Empty() {
		return nil
	}
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fault.New(fault.Invalid, "invalid_url", "is not the URL of an incoming webhook").
			WithHint("copy it from the app's page at Slack: https://hooks.slack.com/services/…")
	}
	return nil
}

func (c *Config) checkAPI() error {
	if u, err := url.Parse(c.API); err != nil || u.User != nil || u.RawQuery != "" {
		return fault.New(fault.Invalid, "invalid_endpoint", "must hold neither credentials nor a query")
	}
	return nil
}

// Check checks that there is one way to post.
func (c *Config) Check(at *spec.Place) {
	switch {
	case !at.Has("url") && !at.Has("token"):
		at.Hint("is missing", "give url, or token and channel", "url")
		return
	case at.Has("url") && at.Has("token"):
		at.Problem("", "needs either url or token, not both")
		return
	}
	if at.Has("token") != at.Has("channel") {
		at.Problem("channel", "goes with token, and only with it")
	}
	if strings.ContainsFunc(c.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		at.Problem("token", "must not hold spaces or control characters")
	}
}

// Address returns the host and, if it is known, the channel.
func (c *Config) Address() string {
	if !c.Token.Empty() {
		return "Slack channel " + c.Channel
	}
	u, err := url.Parse(c.URL.Reveal())
	if err != nil {
		return secret.Redacted
	}
	return u.Scheme + "://" + u.Host + "/" + secret.Redacted
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "slack "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	if c.Token.Empty() {
		u, err := url.Parse(c.URL.Reveal())
		if err != nil {
			return nil, errors.New("building a Slack destination: the URL is not valid") // its text is the secret
		}
		// The URL as a whole is one secret, but so is its last part alone.
		hidden := []string{c.URL.Reveal(), u.RequestURI(), u.EscapedPath()}
		for part := range strings.SplitSeq(u.Path, "/") {
			if part != "services" && part != "workflows" {
				hidden = append(hidden, part)
			}
		}
		hide := destination.Hide(hidden...)
		return &slack{Poster: destination.NewPoster(d, u, nil, hide), hide: hide, shown: c.Address()}, nil
	}
	u, err := url.Parse(strings.TrimSuffix(c.API, "/") + "/chat.postMessage")
	if err != nil {
		return nil, fmt.Errorf("building a Slack destination: %w", err)
	}
	hide := destination.Hide(c.Token.Reveal())
	header := http.Header{"Authorization": {"Bearer " + c.Token.Reveal()}}
	return &slack{
		Poster: destination.NewPoster(d, u, header, hide), hide: hide, channel: c.Channel, shown: c.Address(), now: d.Clock(),
	}, nil
}
