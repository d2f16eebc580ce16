package daemon

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/bus"
	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/ingest"
	"github.com/grapnel/grapnel/internal/obs"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/pattern"
	"github.com/grapnel/grapnel/signature"
	"github.com/grapnel/grapnel/transform"
)

// built is one configuration in the engines' own terms. It is immutable.
type built struct {
	config     *config.Config
	generation string
	loaded     time.Time
	bus        *bus.Snapshot
	deliver    *deliver.Snapshot
	sources    []ingest.Source
	// What the ports show; nil without TLS.
	publicTLS, adminTLS *tls.Certificate
}

// build turns a configuration into what the engines use. Destinations that did
// not change keep their identity, and with it their connections and breakers.
func (d *Daemon) build(cfg *config.Config) (*built, error) {
	b := &built{config: cfg, generation: cfg.Generation(d.genKey), loaded: d.opts.Now()}
	b.deliver = &deliver.Snapshot{
		Generation: b.generation, Account: cfg.AWS.Account, Region: cfg.AWS.Region,
		Destinations: map[string]*deliver.Destination{}, Targets: map[deliver.TargetKey]*deliver.Target{},
	}
	var err error
	if b.publicTLS, err = loadCertificate("tls", cfg.TLS); err != nil {
		return nil, err
	}
	if b.adminTLS, err = loadCertificate("admin.tls", cfg.Admin.TLS); err != nil {
		return nil, err
	}
	for i := range cfg.Destinations {
		dest, err := d.destination(&cfg.Destinations[i])
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", cfg.Destinations[i].Name, err)
		}
		b.deliver.Destinations[dest.Name] = dest
	}
	if err := d.buildRules(b); err != nil {
		return nil, err
	}
	for i := range cfg.Sources {
		if cfg.Sources[i].Disabled {
			continue
		}
		src, err := d.source(cfg, &cfg.Sources[i])
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", cfg.Sources[i].Name, err)
		}
		b.sources = append(b.sources, src)
	}
	return b, nil
}

func (d *Daemon) destination(c *config.Destination) (*deliver.Destination, error) {
	if old := d.current.Load(); old != nil {
		for i := range old.config.Destinations {
			was := &old.config.Destinations[i]
			if was.Name == c.Name && sameDestination(was, c) {
				return old.deliver.Destinations[c.Name], nil
			}
		}
	}
	kind, ok := c.Config.(destination.Config)
	if !ok {
		return nil, fmt.Errorf("kind %s cannot be built", c.Kind)
	}
	handle, err := kind.Build(destination.Deps{
		Name: c.Name, Egress: d.network, Log: obs.Component(d.log, "destination"),
		Version: d.opts.Version, MaxInFlight: c.MaxInFlight, Now: d.opts.Now,
	})
	if err != nil {
		return nil, err
	}
	gone := c.DisableAfterGone
	if gone == 0 {
		gone = -1
	}
	return &deliver.Destination{
		Name: c.Name, Handle: handle, Disabled: c.Disabled, Timeout: c.Timeout, MaxInFlight: c.MaxInFlight,
		Rate: c.Rate.PerSecond(), DisableAfterGone: gone,
	}, nil
}

// sameDestination reports whether nothing that matters for deliveries differs.
func sameDestination(a, b *config.Destination) bool {
	return a.Kind == b.Kind && a.Disabled == b.Disabled && a.Timeout == b.Timeout && a.MaxInFlight == b.MaxInFlight &&
		a.Rate == b.Rate && a.DisableAfterGone == b.DisableAfterGone && reflect.DeepEqual(a.Config, b.Config)
}

func (d *Daemon) buildRules(b *built) error {
	var rules []bus.Rule
	var buses []string
	for _, x := range b.config.Buses {
		buses = append(buses, x.Name)
	}
	for i := range b.config.Rules {
		c := &b.config.Rules[i]
		compiled, err := pattern.Compile(c.Pattern)
		if err != nil {
			return fmt.Errorf("rule %s: %w", c.Name, err)
		}
		rule := bus.Rule{Name: c.Name, Bus: c.Bus, Pattern: compiled}
		for j := range c.Targets {
			t := &c.Targets[j]
			target, err := d.target(b.config, c, t)
			if err != nil {
				return fmt.Errorf("rule %s, target %s: %w", c.Name, t.ID, err)
			}
			b.deliver.Targets[deliver.TargetKey{Rule: c.Name, Target: t.ID}] = target
			rule.Targets = append(rule.Targets, bus.Target{
				ID: t.ID, Destination: t.To, MaxAge: t.Retry.MaxAge,
				Hold: func() string { return d.engine.Hold(t.To) },
			})
		}
		if c.Enabled {
			rules = append(rules, rule)
		}
	}
	b.bus = bus.NewSnapshot(b.generation, buses, rules)
	return nil
}

func (d *Daemon) target(cfg *config.Config, r *config.Rule, t *config.Target) (*deliver.Target, error) {
	out := &deliver.Target{
		Retry: deliver.Policy{
			Attempts: t.Retry.Attempts, MaxAge: t.Retry.MaxAge, Base: t.Retry.Base, Cap: t.Retry.Cap,
		},
		DeadLetter: t.DeadLetter,
		RuleARN:    ruleARN(cfg, r), TargetARN: "arn:grapnel:destination/" + t.To,
	}
	switch {
	case t.Input == nil:
	case t.Input.Raw:
		out.Input = rawInput
	default:
		compiled, err := transform.Compile(t.Input.Transform())
		if err != nil {
			return nil, err
		}
		vars := transform.Vars{RuleARN: out.RuleARN, RuleName: r.Name}
		out.Input = func(ev *store.Event) ([]byte, string, error) { return apply(compiled, vars, ev) }
	}
	return out, nil
}

// ruleARN names the rule as EventBridge does (3.2 of its reference): rule/<name>
// on the default bus, rule/<bus>/<name> elsewhere.
func ruleARN(cfg *config.Config, r *config.Rule) string {
	name := r.Name
	if r.Bus != config.DefaultBus {
		name = r.Bus + "/" + name
	}
	return "arn:aws:events:" + cfg.AWS.Region + ":" + cfg.AWS.Account + ":rule/" + name
}

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
)

func apply(t *transform.Transform, vars transform.Vars, ev *store.Event) ([]byte, string, error) {
	vars.IngestionTime = ev.Received
	view := transform.Event{Envelope: ev.Envelope.AppendHead(nil), Detail: ev.Envelope.Detail}
	if len(view.Detail) == 0 {
		view.Detail = []byte("{}")
	}
	body, err := t.Apply(view, vars)
	if err != nil {
		return nil, "", err
	}
	if t.JSON() {
		return body, jsonType, nil
	}
	return body, textType, nil
}

// rawInput sends the request's bytes as they came, with their content type. An
// event that did not come in as a request has only its detail.
func rawInput(ev *store.Event) ([]byte, string, error) {
	if ev.Raw == nil {
		return event.AppendCompact(nil, ev.Envelope.Detail), jsonType, nil
	}
	return ev.Raw.Body, ev.Raw.ContentType(), nil
}

// source turns a configured source into what ingest uses.
func (d *Daemon) source(cfg *config.Config, c *config.Source) (ingest.Source, error) {
	info := c.ProviderInfo()
	verifier, err := c.Verifier(d.keys.Fetch)
	if err != nil {
		return ingest.Source{}, err
	}
	s := ingest.Source{
		Name: c.Name, Path: c.Path, Host: c.Host, AllowIPs: unmapped(c.AllowIPs),
		AddressRates: addressRates(c.Rate.Address), MaxInFlight: c.MaxInFlight, Encodings: c.Encodings, Below: c.TokenInPath(), Methods: methods(&info), Bus: c.Bus,
		Account: cfg.AWS.Account, Region: cfg.AWS.Region, EventSource: c.EventSource,
		PublicURL: c.PublicURL, Provider: info, Verifier: verifier, Keys: c.Keys(),
		BasicRealm: slices.ContainsFunc(c.Ways(), func(v *config.Verification) bool { return v.Scheme().Basic }),
		FormStyle:  formStyle(info.Name), Credentials: c.Credentials(), MaxBody: c.MaxBody,
		Rate: c.Rate.Source.PerSecond(), Burst: burst(c.Rate.Source.PerSecond()),
		Redeliver: c.Duplicates == config.DeliverDuplicates, Answer: answerer(&c.Answer, &info),
	}
	if s.EventSource == "" {
		s.EventSource = info.Source
	}
	if s.EventSource == "" {
		s.EventSource = c.Name
	}
	name, log := c.Name, obs.Component(d.log, "ingest")
	s.Reveal = func(text string) { logReveal(log, name, text) }
	return s, nil
}

// unmapped returns networks with IPv4-mapped ones as IPv4, as addresses are
// compared.
func unmapped(networks []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(networks))
	for _, n := range networks {
		if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
		}
		out = append(out, n)
	}
	return out
}

func addressRates(rates []spec.Rate) []ingest.AddressRate {
	out := make([]ingest.AddressRate, 0, len(rates))
	for _, r := range rates {
		out = append(out, ingest.AddressRate{Count: r.Count, Per: r.Per})
	}
	return out
}

// burst lets a second's worth come at once.
func burst(perSecond float64) int { return max(1, int(perSecond)) }

// methods are what a provider sends beside POST: GET and OPTIONS where one of
// its handshakes does, GET where its webhooks may.
func methods(p *signature.Provider) []string {
	var out []string
	for _, h := range p.Handshakes {
		switch h {
		case "meta", "twitter", "dropbox", "okta":
			out = append(out, http.MethodGet)
		case "cloudevents":
			out = append(out, http.MethodOptions)
		}
	}
	if p.Name == "twilio" {
		out = append(out, http.MethodGet)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func formStyle(provider string) ingest.FormStyle {
	switch provider {
	case "twilio":
		return ingest.FormTwilio
	case "github", "slack":
		return ingest.FormPayload
	default:
		return ingest.FormFields
	}
}

func answerer(a *config.Answer, p *signature.Provider) ingest.Answerer {
	switch {
	case a.Style == config.AnswerAWS:
		return ingest.Answerer{AWS: &ingest.AWSStyle{
			Form: p.Name == "github", Timestamp: p.Name == "stripe", Fields: p.Name == "twilio",
		}}
	case a.Style == config.AnswerFixed:
		return ingest.Answerer{Accepted: &ingest.Answer{Status: a.Status, ContentType: a.ContentType, Body: a.Body}}
	case p.Answer.Status != 0:
		answer := &ingest.Answer{Status: p.Answer.Status, Body: string(p.Answer.Body), Header: map[string]string{}}
		for name := range p.Answer.Header {
			answer.Header[name] = p.Answer.Header.Get(name)
		}
		return ingest.Answerer{Accepted: answer}
	}
	return ingest.Answerer{}
}
