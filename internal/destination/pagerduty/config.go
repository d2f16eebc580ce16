package pagerduty

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/transform"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "pagerduty", Summary: "Triggers, acknowledges and resolves alerts at PagerDuty (Events API v2).",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of a PagerDuty destination.
type Config struct {
	RoutingKey  secret.String
	URL         string
	Action      string
	Acknowledge *When
	Resolve     *When
	DedupKey    string
	Summary     string
	Source      string
	Severity    string
	SeverityAt  string
	SeverityMap map[string]string
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// The actions and severities of the Events API v2.
const (
	trigger     = "trigger"
	acknowledge = "acknowledge"
	resolve     = "resolve"

	critical = "critical"
	severe   = "error"
	warning  = "warning"
	info     = "info"
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	path := func(name string, to *string) spec.Field {
		return spec.String(name, to).Check(func() error { return checkPath(*to) })
	}
	return []spec.Field{
		spec.Secret("routing_key", &c.RoutingKey).Required().Check(c.checkKey).Example(`"${PAGERDUTY_KEY}"`).
			Doc("The integration key of a service or the routing key of an orchestration."),
		spec.URL("url", &c.URL).Default("https://events.pagerduty.com/v2/enqueue").Check(c.checkURL).
			Doc("Where events go; `https://events.eu.pagerduty.com/v2/enqueue` in the European region."),
		spec.Enum("event_action", &c.Action, trigger, acknowledge, resolve).Default(trigger).
			Doc("What a message does, unless one of the next two says otherwise."),
		spec.Optional("acknowledge_when", &c.Acknowledge).Doc("Which messages acknowledge the alert."),
		spec.Optional("resolve_when", &c.Resolve).Doc("Which messages resolve the alert."),
		path("dedup_key", &c.DedupKey).DefaultDoc("the id of the delivery").Example("$.detail.alert.id").
			Doc("Path in the message to what makes two of them the same alert. Without it, or where a message has no " +
				"such value, each delivery is an alert of its own, however often it is tried."),
		path("summary", &c.Summary).DefaultDoc("type and source of the event").Example("$.detail.title").
			Doc("Path in the message to the title of the alert."),
		path("source", &c.Source).DefaultDoc("the event's source").Example("$.detail.host").
			Doc("Path in the message to the affected system."),
		spec.Enum("severity", &c.Severity, critical, severe, warning, info).Default(severe).
			Doc("The severity, where the message does not say."),
		path("severity_path", &c.SeverityAt).Example("$.detail.severity").
			Doc("Path in the message to its severity. Usual words for one (`CRITICAL`, `high`, `P3` …) are understood."),
		spec.StringMap("severity_map", &c.SeverityMap).Example("{sev0: critical, minor: info}").
			Doc("What words at `severity_path` mean, in any case, before the usual ones."),
	}
}

// checkPath checks a path as EventBridge has them.
func checkPath(path string) error {
	if path == "" {
		return nil
	}
	if err := transform.ValidatePath(path); err != nil {
		return fault.New(fault.Invalid, "invalid_config", "is not a path").WithHint("write it as $.detail.id")
	}
	return nil
}

func (c *Config) checkKey() error {
	if strings.ContainsFunc(c.RoutingKey.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.New(fault.Invalid, "invalid_config", "holds spaces or control characters")
	}
	return nil
}

func (c *Config) checkURL() error {
	if u, err := url.Parse(c.URL); err != nil || u.User != nil || u.RawQuery != "" {
		return fault.New(fault.Invalid, "invalid_endpoint", "must hold neither credentials nor a query")
	}
	return nil
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	if (c.Resolve != nil || c.Acknowledge != nil || c.Action != trigger) && c.DedupKey == "" && at.OK("dedup_key", "event_action") {
		at.Problem("dedup_key", "is needed to acknowledge or resolve: the id of one delivery is never that of another")
	}
	if len(c.SeverityMap) > 0 && c.SeverityAt == "" && at.OK("severity_path") {
		at.Problem("severity_path", "is needed by severity_map")
	}
	for _, word := range slices.Sorted(maps.Keys(c.SeverityMap)) {
		if !slices.Contains([]string{critical, severe, warning, info}, c.SeverityMap[word]) {
			at.Hint("is no severity of PagerDuty", "write critical, error, warning or info", "severity_map", word)
		}
	}
}

// When chooses messages by a value in them.
type When struct {
	Path string
	Is   []string
}

// Fields lists the fields.
func (w *When) Fields() []spec.Field {
	return []spec.Field{
		spec.String("path", &w.Path).Required().Check(func() error { return checkPath(w.Path) }).Example("$.detail.status").
			Doc("Path in the message to the value."),
		spec.Strings("is", &w.Is).Required().MinItems(1).Example("[resolved, closed]").
			Doc("The values, in any case; numbers and true and false as they are written."),
	}
}

// Address returns the URL.
func (c *Config) Address() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return secret.Redacted
	}
	return egress.RedactURL(u)
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pagerduty "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("building a PagerDuty destination: the URL is not valid")
	}
	p := &pagerduty{
		Poster: destination.NewPoster(d, u, nil, destination.Hide(c.RoutingKey.Reveal())),
		key:    c.RoutingKey, action: c.Action, severity: c.Severity, shown: c.Address(), words: maps.Clone(words),
	}
	for word, meaning := range c.SeverityMap {
		p.words[strings.ToLower(word)] = meaning
	}
	for _, at := range []struct {
		path string
		to   **transform.Transform
	}{
		{c.DedupKey, &p.dedup}, {c.Summary, &p.summary}, {c.Source, &p.source}, {c.SeverityAt, &p.severityAt},
	} {
		if err := compile(at.path, at.to); err != nil {
			return nil, err
		}
	}
	for action, when := range map[string]*When{acknowledge: c.Acknowledge, resolve: c.Resolve} {
		if when == nil {
			continue
		}
		x := choice{action: action}
		if err := compile(when.Path, &x.at); err != nil {
			return nil, err
		}
		for _, value := range when.Is {
			x.is = append(x.is, strings.ToLower(value))
		}
		p.choices = append(p.choices, x)
	}
	// What resolves counts before what only acknowledges.
	slices.SortFunc(p.choices, func(a, b choice) int { return strings.Compare(b.action, a.action) })
	return p, nil
}

// compile leaves nil for no path.
func compile(path string, to **transform.Transform) error {
	if path == "" {
		return nil
	}
	t, err := transform.Compile(transform.Spec{Path: path})
	if err != nil {
		return fmt.Errorf("building a PagerDuty destination: %w", err)
	}
	*to = t
	return nil
}
