package daemon

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/ingest"
	"github.com/grapnel/grapnel/internal/obs"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/pattern"
)

// surface is the daemon as the API sees it: each method translates between an
// engine's words and the API's.
type surface struct{ *Daemon }

func (d *Daemon) newAPI() (*api.API, http.Handler, error) {
	s := surface{d}
	a, err := api.New(api.Config{
		Log: obs.Component(d.log, "api"), Now: d.opts.Now, Token: d.token, Hosts: s.hosts,
		History: d.store, Publisher: d.bus, Matcher: s, Redelivery: d.engine, Destinations: s,
		Components: s, Refusals: s, Instance: s, Advise: advise, Figures: d.metrics.Handler(), Metrics: d.metrics,
	})
	if err != nil {
		return nil, nil, err
	}
	if d.current.Load().config.Admin.Auth == config.AuthNone {
		return a, d.unauthenticated(a), nil
	}
	return a, a, nil
}

// unauthenticated lets every request of this machine in, as admin.auth: none
// says; the configuration allows that on loopback only.
func (d *Daemon) unauthenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+d.token.Reveal())
		next.ServeHTTP(w, r)
	})
}

// hosts are the names by which the admin port may be asked for.
func (s surface) hosts() []string {
	cfg := s.current.Load().config
	var names []string
	if u, err := url.Parse(cfg.Admin.PublicURL); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	if host, _, err := net.SplitHostPort(cfg.Admin.Listen); err == nil && host != "" {
		names = append(names, host)
	}
	return names
}

func advise(class string) api.Advice {
	info := destination.Class(class).Info()
	if string(info.Class) != class {
		return api.Advice{}
	}
	return api.Advice{What: info.What, Next: info.Next}
}

// Explain implements api.Matcher.
func (s surface) Explain(_ context.Context, ev *store.Event) ([]api.RuleVerdict, string, error) {
	explained, err := s.bus.Explain(ev)
	if err != nil {
		return nil, "", err
	}
	var out []api.RuleVerdict
	for _, v := range explained.Verdicts {
		verdict := api.RuleVerdict{Rule: v.Rule, Bus: v.Bus, Matched: v.Matched, OtherBus: v.OtherBus}
		if v.OtherBus {
			verdict.Text = "watches the bus " + v.Bus
		} else {
			fillVerdict(&verdict, v.Explanation)
		}
		out = append(out, verdict)
	}
	for _, r := range s.current.Load().config.Rules {
		if !r.Enabled {
			out = append(out, api.RuleVerdict{Rule: r.Name, Bus: r.Bus, Text: "is not enabled"})
		}
	}
	return out, explained.Generation, nil
}

func fillVerdict(verdict *api.RuleVerdict, e pattern.Explanation) {
	verdict.Matched, verdict.Text = e.Matched, e.String()
	for _, f := range e.Failures {
		found := strings.Join(f.Found, ", ")
		verdict.Misses = append(verdict.Misses, api.Miss{
			Field: f.Path, Wanted: strings.Join(f.Wanted, ", "), Found: found, Text: f.String(),
		})
	}
}

// Replay implements api.Matcher.
func (s surface) Replay(ctx context.Context, ev *store.Event, run string, only []string) ([]store.DeliveryID, error) {
	return s.bus.Replay(ctx, ev, run, only)
}

// TestPattern implements api.Matcher.
func (surface) TestPattern(text, event json.RawMessage) (api.RuleVerdict, error) {
	compiled, err := pattern.Compile(text)
	if err != nil {
		return api.RuleVerdict{}, fault.Wrap(fault.Invalid, err, "invalid_pattern", "%v", err)
	}
	explanation, err := compiled.Explain(event)
	if err != nil {
		return api.RuleVerdict{}, fault.Wrap(fault.Invalid, err, "invalid_event", "%v", err)
	}
	var verdict api.RuleVerdict
	fillVerdict(&verdict, explanation)
	return verdict, nil
}

// Destinations implements api.Destinations.
func (s surface) Destinations() []api.Destination {
	health, waiting := s.engine.Health(), s.store.Stats().Waiting
	cfg := s.current.Load().config
	out := make([]api.Destination, 0, len(cfg.Destinations))
	for i := range cfg.Destinations {
		c := &cfg.Destinations[i]
		d := api.Destination{
			Name: c.Name, Kind: c.Kind, Description: c.Description, MaxInFlight: c.MaxInFlight, State: api.DestinationOK,
		}
		if kind, ok := c.Config.(destination.Config); ok {
			d.Address = kind.Address()
		}
		if h, ok := health[c.Name]; ok {
			fillHealth(&d, h)
		}
		d.Waiting = waiting[c.Name]
		out = append(out, d)
	}
	return out
}

func fillHealth(d *api.Destination, h deliver.Health) {
	d.InFlight, d.ConsecutiveFailures = h.InFlight, h.Failures
	d.LastSuccess, d.LastFailure, d.OpenUntil = moment(h.LastSuccess), moment(h.LastFailure), moment(h.NextProbe)
	d.LastClass, d.LastReason = string(h.Class), h.Reason
	switch h.Condition {
	case deliver.HalfOpen:
		d.State = api.DestinationHalfOpen
	case deliver.Open:
		d.State = api.DestinationOpen
	case deliver.Disabled:
		d.State = api.DestinationDisabled
		if h.Disabled != nil {
			d.DisabledReason, d.DisabledBy = h.Disabled.Reason, h.Disabled.By
		}
	case deliver.Closed, deliver.Removed:
	}
}

func moment(t time.Time) *api.Time {
	if t.IsZero() {
		return nil
	}
	return &api.Time{Time: t}
}

// Test implements api.Destinations.
func (s surface) Test(ctx context.Context, name string, request api.TestRequest) (api.TestResult, error) {
	var sample *deliver.Sample
	if len(request.Body) > 0 {
		sample = &deliver.Sample{Body: request.Body, ContentType: jsonType}
	}
	trial, err := s.engine.Test(ctx, name, sample)
	if err != nil {
		return api.TestResult{}, err
	}
	result := api.TestResult{
		OK: trial.OK, ID: trial.ID, Status: trial.Status, Duration: api.Duration(trial.Duration),
		Class: string(trial.Class), Reason: trial.Message,
	}
	if len(trial.Body) > 0 {
		result.Body = api.NewContent("", trial.Body, 0, len(trial.Body))
		result.Body.Truncated = result.Body.Truncated || trial.Truncated
	}
	return result, nil
}

// Disable implements api.Destinations.
func (s surface) Disable(ctx context.Context, name, reason, by string) error {
	return s.engine.Disable(ctx, name, reason, by)
}

// Enable implements api.Destinations.
func (s surface) Enable(ctx context.Context, name, by string) error {
	return s.engine.Enable(ctx, name, by)
}

// Sources implements api.Components.
func (s surface) Sources() []api.Source {
	cfg := s.current.Load().config
	counts := s.ingest.Counts()
	out := make([]api.Source, 0, len(cfg.Sources))
	for i := range cfg.Sources {
		c := &cfg.Sources[i]
		p := c.ProviderInfo()
		base := c.PublicURL
		if base == "" {
			base = scheme(cfg.TLS) + reachable(s.PublicAddr())
		}
		src := api.Source{
			Name: c.Name, Description: c.Description, Provider: c.Provider, Title: p.Title, Bus: c.Bus, Path: c.Path,
			URL: strings.TrimSuffix(base, "/") + c.Path, Signed: p.Signed, Unsigned: p.Unsigned,
			Expects: p.Expects, Retries: p.Retries, Handshakes: p.Handshakes,
			Accepted: counts[c.Name].Accepted, Duplicates: counts[c.Name].Duplicates,
		}
		for _, step := range p.Steps {
			src.Steps = append(src.Steps, strings.ReplaceAll(step, "{url}", src.URL))
		}
		src.Example = example(p.Name, src.URL)
		out = append(out, src)
	}
	return out
}

// reachable turns an address that is listened on into one that can be asked.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// example is a command that sends a signed request, for the schemes that a
// shell can sign.
func example(provider, url string) string {
	header := map[string]string{
		"github": "X-Hub-Signature-256: sha256=", "gitea": "X-Gitea-Signature: ", "linear": "Linear-Signature: ",
		"sentry": "Sentry-Hook-Signature: ", "bitbucket": "X-Hub-Signature: sha256=",
	}[provider]
	if header == "" {
		return ""
	}
	event := ""
	if provider == "github" {
		event = "-H 'X-GitHub-Event: push' "
	}
	return `BODY='{"ref":"refs/heads/main"}'; SIG=$(printf %s "$BODY" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d' ' -f1); ` +
		`curl -i ` + url + ` -H 'Content-Type: application/json' ` + event + `-H "` + header + `$SIG" -d "$BODY"`
}

// Rules implements api.Components.
func (s surface) Rules() []api.Rule {
	cfg := s.current.Load().config
	out := make([]api.Rule, 0, len(cfg.Rules))
	for i := range cfg.Rules {
		c := &cfg.Rules[i]
		r := api.Rule{Name: c.Name, Description: c.Description, Bus: c.Bus, Pattern: c.Pattern}
		for j := range c.Targets {
			t := &c.Targets[j]
			r.Targets = append(r.Targets, api.Target{
				ID: t.ID, To: t.To, Input: inputWords(t.Input), Attempts: t.Retry.Attempts,
				MaxAge: api.Duration(t.Retry.MaxAge), DeadLetter: t.DeadLetter,
			})
		}
		out = append(out, r)
	}
	return out
}

func inputWords(in *config.Input) string {
	switch {
	case in == nil:
		return ""
	case in.Raw:
		return "the request body as received"
	case in.Path != "":
		return in.Path
	case in.Template != "":
		return "a template"
	default:
		return "a constant"
	}
}

// Refused implements api.Refusals.
func (s surface) Refused(source string) []*api.Refusal {
	kept := s.ingest.Refusals(source, source == "")
	out := make([]*api.Refusal, 0, len(kept))
	for _, k := range kept {
		out = append(out, refusal(k))
	}
	return out
}

func refusal(k *ingest.Refusal) *api.Refusal {
	return &api.Refusal{
		ID: k.ID, Time: k.Time, Source: k.Source, Reason: k.Reason, Status: k.Status,
		Detail: k.Detail, Hint: k.Hint, Raw: k.Raw, BodySize: k.BodySize,
	}
}

// RefusedCounts implements api.Refusals.
func (s surface) RefusedCounts() map[string]map[string]int64 {
	out := map[string]map[string]int64{}
	for name, c := range s.ingest.Counts() {
		if len(c.Refused) > 0 {
			out[name] = c.Refused
		}
	}
	return out
}

// Info implements api.Instance.
func (s surface) Info() api.Info {
	now := s.current.Load()
	info := api.Info{
		Version: s.opts.Version, Generation: now.generation, ConfigPath: s.opts.ConfigPath, Started: s.started,
		DataDir: now.config.Data, Public: s.PublicAddr(), Admin: s.AdminAddr(), PublicURL: now.config.PublicURL,
		LoadedAt: now.loaded, Account: now.config.AWS.Account, Region: now.config.AWS.Region,
	}
	if last := s.last.Load(); last != nil {
		info.LastReload = *last
	}
	if s.stopping.Load() {
		info.NotReady = append(info.NotReady, "stopping")
	}
	return info
}

var (
	_ api.Matcher      = surface{}
	_ api.Destinations = surface{}
	_ api.Components   = surface{}
	_ api.Refusals     = surface{}
	_ api.Instance     = surface{}
)
