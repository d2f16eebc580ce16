package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/pattern"
	"github.com/grapnel/grapnel/signature"
	"github.com/grapnel/grapnel/transform"
)

// checker looks at what concerns several parts of the file.
type checker struct {
	report *spec.Report
	root   *spec.Node
	c      *Config

	buses, destinations []string
	used                map[string]bool // destinations that a target names
	providers           map[string]signature.Provider
	profiles            map[string]signature.Profile
}

// check completes the configuration with names and defaults that depend on other parts, and reports
// what does not fit together.
func check(report *spec.Report, root *spec.Node, c *Config) {
	if root.Type != spec.Map {
		return
	}
	k := &checker{report: report, root: root, c: c, used: map[string]bool{}}
	k.known()
	if !slices.ContainsFunc(c.Buses, func(b Bus) bool { return b.Name == DefaultBus }) {
		c.Buses = append(c.Buses, Bus{Name: DefaultBus})
	}
	for _, b := range c.Buses {
		k.buses = append(k.buses, b.Name)
	}
	for _, d := range c.Destinations {
		k.destinations = append(k.destinations, d.Name)
	}
	k.ports()
	k.sources()
	k.forwards()
	k.rules()
	k.warnings()
	if report.Errors() == 0 {
		k.expose()
	}
}

// at is the Place of the map at the steps, or of the file.
func (k *checker) at(steps ...any) *spec.Place { return spec.At(k.report, k.root).Sub(steps...) }

// isMap reports whether a component is one; if it is not, that was reported.
func (k *checker) isMap(section, name string) bool {
	n, ok := k.root.Find(section, name)
	return ok && !n.Broken && (n.Type == spec.Map || n.Type == spec.Null)
}

// ports checks what concerns both ports.
func (k *checker) ports() {
	c, at := k.c, k.at()
	if at.OK("listen", "admin") && c.Listen == c.Admin.Listen && !strings.HasSuffix(c.Listen, ":0") {
		at.Hint("is the address of the public port too", "give the admin port one of its own", "admin", "listen")
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 && at.OK("trusted_proxies") {
		at.Hint("goes with trusted_proxies: a header is taken from them only", "", "proxy_protocol")
	}
	if !loopback(c.Admin.Listen) && at.OK("admin") {
		if c.Admin.Auth == AuthNone {
			at.Hint("is refused unless the admin port listens on loopback",
				"listen on 127.0.0.1:8081, or remove auth", "admin", "auth")
		}
		if c.Admin.TLS == nil {
			k.at("admin").Warn("listen", "the admin port can be reached from other machines, without TLS",
				"set admin.tls, or put a proxy that ends TLS in front of it")
		}
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	c.Admin.PublicURL = strings.TrimRight(c.Admin.PublicURL, "/")
}

// sources checks each source, and that no two have one path at one host.
func (k *checker) sources() {
	paths := map[string]string{}
	for i := range k.c.Sources {
		s := &k.c.Sources[i]
		if !k.isMap("sources", s.Name) {
			continue
		}
		at := k.at("sources", s.Name)
		if s.Path == "" {
			s.Path = "/in/" + s.Name
		}
		where := s.Host + " " + s.Path
		if other, ok := paths[where]; ok {
			at.Problem("path", fmt.Sprintf("is the path of the source %s already: %s", other, s.Path))
		}
		paths[where] = s.Name
		k.bus(at, s.Bus)
		if s.Answer.Style == AnswerAWS && !slices.Contains([]string{"github", "stripe", "twilio"}, s.Provider) {
			at.Hint("goes with the providers github, stripe and twilio: AWS has functions for no others",
				"leave it out, or give status and body", "answer")
		}
		if s.PublicURL == "" {
			s.PublicURL = k.c.PublicURL
		}
		k.source(at, s)
	}
}

func (k *checker) source(at *spec.Place, s *Source) {
	if s.Verify == nil {
		if k.provider(at, &s.Verification) {
			k.scheme(at, &s.Verification)
			k.advise(at, s)
		}
		return
	}
	if !k.provider(at, &s.Verification) {
		return
	}
	for _, key := range verificationKeys {
		if at.Has(key) {
			at.Problem(key, "belongs to the ways below verify when there is verify")
		}
	}
	for list, ways := range map[string][]Verification{"any": s.Verify.Any, "all": s.Verify.All} {
		for i := range ways {
			way := &ways[i]
			if way.Provider == "" {
				way.Provider = s.Provider
			}
			below := at.Sub("verify", list, i)
			if k.provider(below, way) {
				k.scheme(below, way)
			}
		}
	}
	k.advise(at, s)
}

// verificationKeys are the keys of one way to verify, but for the provider.
var verificationKeys = []string{
	"profile", "secrets", "public_keys", "params", providerHMAC, providerToken, providerBasic, providerJWT,
}

// provider reports whether the provider and profile exist, and says so if not.
func (k *checker) provider(at *spec.Place, v *Verification) bool {
	if v.Provider == "" {
		at.Hint("is missing: who sends, or a generic scheme such as hmac, token or none", "", "provider")
		return false
	}
	info, ok := k.providers[v.Provider]
	if !ok {
		k.unknown(at, "provider", v.Provider, "provider", slices.Sorted(maps.Keys(k.providers)))
		return false
	}
	v.Provider, v.info = info.Name, info
	if v.Profile != "" && !slices.Contains(info.Profiles, v.Profile) {
		k.unknown(at, "profile", v.Profile, "profile of "+info.Name, info.Profiles)
		return false
	}
	name := v.Profile
	if name == "" && len(info.Profiles) > 0 {
		name = info.Profiles[0]
	}
	v.base = k.profiles[name]
	return at.OK(verificationKeys...)
}

// known collects the providers, by name and alias, and the profiles.
func (k *checker) known() {
	k.providers, k.profiles = map[string]signature.Provider{}, map[string]signature.Profile{}
	for _, p := range signature.Providers() {
		for _, name := range append([]string{p.Name}, p.Aliases...) {
			k.providers[name] = p
		}
	}
	for _, p := range signature.Profiles() {
		k.profiles[p.Name] = p
	}
}

// scheme checks that the settings fit the scheme, and then the scheme itself.
func (k *checker) scheme(at *spec.Place, v *Verification) {
	before := k.report.Errors()
	for _, section := range []string{providerHMAC, providerToken, providerBasic, providerJWT} {
		if at.Has(section) && v.Provider != section {
			at.Problem(section, "goes with provider: "+section+" only")
		}
	}
	if v.Profile != "" && (v.HMAC != nil || v.Token != nil) {
		at.Problem("profile", "is another scheme beside the one that is described here")
	}
	if v.Profile == "" && v.HMAC == nil && v.Provider == providerHMAC {
		at.Problem(providerHMAC, "is missing: where the signature is and what it covers, or a profile")
	}
	if v.Profile == "" && v.Token == nil && v.Provider == providerToken {
		at.Problem(providerToken, "is missing: where the token is, or a profile")
	}
	k.keys(at, v)
	k.params(at, v)
	if k.report.Errors() > before {
		return
	}
	fetch := func(string) signature.KeySource { return nil }
	if v.JWT != nil && v.JWT.JWKSURL != "" && len(v.PublicKeys) == 0 && len(v.Secrets) == 0 {
		return // Its keys are not known yet.
	}
	if _, err := v.verifier(fetch); err != nil {
		k.unusable(at, v, err)
	}
}

// keys checks that there is what the scheme verifies with, and nothing that it does not look at: what
// somebody believes to be checked must be.
func (k *checker) keys(at *spec.Place, v *Verification) {
	mech := v.Scheme().Mech
	keySets := 0
	for _, given := range []bool{len(v.Secrets) > 0, len(v.PublicKeys) > 0, v.JWT != nil && v.JWT.JWKSURL != ""} {
		if given {
			keySets++
		}
	}
	switch {
	case v.Provider == providerJWT && keySets != 1:
		at.Problem("", "needs one of jwt.jwks_url, public_keys and, for HS256, secrets")
		return
	case v.Provider == providerJWT:
		return
	case mech == "pubkey" && len(v.PublicKeys) == 0:
		at.Problem("public_keys", "is missing: "+v.Provider+" signs with a private key, its public key is needed")
	case mech != "pubkey" && mech != "none" && len(v.Secrets) == 0:
		at.Problem("secrets", "is missing: at least one is needed, nothing can be verified without")
	}
	if len(v.Secrets) > 0 && (mech == "none" || mech == "pubkey" && len(v.info.Handshakes) == 0) {
		at.Problem("secrets", "are not used: "+v.Provider+" verifies nothing with secrets")
	}
	if len(v.PublicKeys) > 0 && mech != "pubkey" {
		at.Problem("public_keys", "are not used: "+v.Provider+" verifies nothing with public keys")
	}
}

// params checks that the scheme, or a handshake of the provider, looks at each parameter.
func (k *checker) params(at *spec.Place, v *Verification) {
	p := v.Scheme()
	known := schemeParams(&p)
	for _, h := range signature.Handshakes() {
		if slices.Contains(v.info.Handshakes, h.Name) {
			known = append(known, h.Params...)
		}
	}
	for name := range v.Params {
		if !slices.Contains(known, name) {
			at.Hint("is not used by "+v.Provider, "", "params", name)
		}
	}
}

// unusable reports why signature refused the settings. Its errors hold no secret.
func (k *checker) unusable(at *spec.Place, v *Verification, err error) {
	if e, ok := errors.AsType[*signature.Error](err); ok && e.Reason == signature.NoSecret {
		at.Problem("secrets", "a secret is empty")
		return
	}
	message := strings.TrimSuffix(err.Error(), ": "+signature.ErrProfile.Error())
	if _, rest, ok := strings.Cut(message, `": `); ok && strings.HasPrefix(message, "profile ") {
		message = rest
	}
	var index int
	if n, err := fmt.Sscanf(message, "secret %d ", &index); n == 1 && err == nil {
		at.Hint(strings.TrimPrefix(message, fmt.Sprintf("secret %d ", index)), "", "secrets", index)
		return
	}
	if n, err := fmt.Sscanf(message, "public key %d", &index); n == 1 && err == nil {
		message = strings.TrimLeft(strings.TrimPrefix(message, fmt.Sprintf("public key %d", index)), ": ")
		at.Hint(message, "", "public_keys", index)
		return
	}
	field := "provider"
	switch {
	case strings.HasPrefix(message, "secret"):
		field = "secrets"
	case strings.HasPrefix(message, "parameter"):
		field = "params"
	case v.HMAC != nil:
		field = providerHMAC
	case v.Token != nil:
		field = providerToken
	case v.JWT != nil:
		field = providerJWT
	}
	at.Problem(field, message)
}

// advise warns about what works and is seldom meant.
func (k *checker) advise(at *spec.Place, s *Source) {
	for _, way := range s.Ways() {
		p := way.Scheme()
		if way.Provider == providerNone {
			at.Warn("provider", "requests are accepted from anybody", "choose a scheme, or make sure that only "+
				"the sender reaches the port")
		}
		if strings.Contains(p.Content, "{url}") && s.PublicURL == "" {
			at.Warn("", "this provider signs the address, and no public_url says how it knows it",
				"set public_url, or make sure that no proxy changes host or scheme")
		}
	}
}

// bus checks a reference to a bus.
func (k *checker) bus(at *spec.Place, name string) {
	if name != "" && !slices.Contains(k.buses, name) && at.OK("bus") {
		k.unknown(at, "bus", name, "bus", k.buses)
	}
}

// unknown reports a name that nothing has.
func (k *checker) unknown(at *spec.Place, field, name, what string, known []string) {
	n, _ := at.Node().Find(field)
	if !at.OK(field) {
		return
	}
	hint := ""
	if !n.Expanded() {
		hint = spec.Suggest(name, known)
		if hint == "" && len(known) > 0 && len(known) <= maxListed {
			hint = "there is " + strings.Join(known, ", ")
		}
	}
	k.report.Add(n, "there is no such "+what, hint)
}

// maxListed is up to how many names a hint lists all.
const maxListed = 12

// forwards checks the buses that destinations name, and that those that run commands may.
func (k *checker) forwards() {
	for i := range k.c.Destinations {
		d := &k.c.Destinations[i]
		if f, ok := d.Config.(Forwarder); ok {
			k.bus(k.at("destinations", d.Name), f.ForwardsTo())
		}
		if r, ok := d.Config.(Runner); ok && r.RunsCommand() && !k.c.Exec.Enabled {
			k.at("destinations", d.Name).Hint("runs a command, which this file does not allow",
				"write exec: {enabled: true} at the top level if that is meant", "kind")
		}
	}
}

func (k *checker) rules() {
	for i := range k.c.Rules {
		r := &k.c.Rules[i]
		if !k.isMap("rules", r.Name) {
			continue
		}
		at := k.at("rules", r.Name)
		k.bus(at, r.Bus)
		k.pattern(r)
		ids := map[string]bool{}
		for j := range r.Targets {
			t := &r.Targets[j]
			below := at.Sub("targets", j)
			if t.ID == "" {
				t.ID = t.To
			}
			if ids[t.ID] && t.ID != "" {
				field := "id"
				if !below.Has("id") {
					field = "to"
				}
				below.Hint("the rule has a target "+t.ID+" already", "give one of them another id", field)
			}
			ids[t.ID] = true
			k.target(below, t)
		}
	}
}

// pattern compiles the pattern of a rule.
func (k *checker) pattern(r *Rule) {
	if r.raw.Root() == nil {
		return
	}
	r.Pattern = r.raw.Text
	_, err := pattern.Compile(r.Pattern)
	if err == nil {
		return
	}
	e, ok := errors.AsType[*pattern.Error](err)
	if !ok {
		k.report.AddAt(r.raw.Root(), r.raw.Root().Path, "is not an event pattern", "")
		return
	}
	pos, n := r.raw.At(e.Offset)
	whole := *n
	whole.Hidden = hiddenBelow(r.raw.Root())
	k.report.AddIn(&whole, pos, false, "is not an event pattern: "+e.Reason, "")
}

// hiddenBelow returns what must not print of a value and everything in it.
func hiddenBelow(n *spec.Node) []string {
	hidden := slices.Clone(n.Hidden)
	for _, item := range n.Items {
		hidden = append(hidden, hiddenBelow(item)...)
	}
	for _, e := range n.Entries {
		hidden = append(hidden, hiddenBelow(e.Value)...)
	}
	return hidden
}

func (k *checker) target(at *spec.Place, t *Target) {
	for field, name := range map[string]string{"to": t.To, "dead_letter": t.DeadLetter} {
		if name == "" || !at.OK(field) {
			continue
		}
		if k.used[name] = true; !slices.Contains(k.destinations, name) {
			k.unknown(at, field, name, "destination", k.destinations)
		}
	}
	if t.DeadLetter != "" && t.DeadLetter == t.To {
		at.Problem("dead_letter", "is the destination that failed")
	}
	if t.Input != nil && at.OK("input") {
		k.input(at.Sub("input"), t.Input)
	}
	if at.OK("retry") && t.Retry.MaxAge > k.c.Retention.Age && k.c.Retention.Age > 0 {
		at.Warn("retry", "max_age is longer than events are kept (retention.age), which ends deliveries", "")
	}
}

// input compiles the input of a target.
func (k *checker) input(at *spec.Place, i *Input) {
	if i.Raw {
		return
	}
	compiled, err := transform.Compile(i.Transform())
	if many, ok := errors.AsType[transform.Errors](err); ok {
		for _, e := range many {
			k.inputProblem(at, i, e, false)
		}
		return
	}
	if err != nil {
		at.Problem("", "is not an input")
		return
	}
	for _, e := range compiled.Warnings() {
		// A path that selects nothing, ever, is refused here: the file is new, no service ran with it.
		k.inputProblem(at, i, e, e.Code != transform.CodeInvalidPath)
	}
}

// inputProblem reports an error of transform at its place in the file.
func (k *checker) inputProblem(at *spec.Place, i *Input, e *transform.Error, warning bool) {
	steps := []any{string(e.Field)}
	if e.Field == transform.FieldPaths && e.Name != "" {
		steps = append(steps, e.Name)
	}
	n, _ := at.Node().Find(steps...)
	pos := n.Pos
	switch {
	case e.Field == transform.FieldConstant:
		pos, n = i.constant.At(max(e.Offset, 0))
	case e.Offset >= 0:
		pos = n.At(e.Offset)
	}
	message := e.Problem
	if e.Name != "" && e.Field == transform.FieldTemplate {
		message = "<" + e.Name + ">: " + message
	}
	k.report.AddIn(n, pos, warning, message, e.Hint)
}

// warnings looks for what nothing uses, and for what is better done otherwise.
func (k *checker) warnings() {
	for i := range k.c.Rules {
		r := &k.c.Rules[i]
		if at := k.at("rules", r.Name); len(r.Targets) == 0 && at.OK("targets") {
			at.Warn("targets", "the rule has no targets, what matches goes nowhere", "")
		}
	}
	for i := range k.c.Destinations {
		d := &k.c.Destinations[i]
		at := k.at("destinations", d.Name)
		if !k.used[d.Name] && k.report.Errors() == 0 {
			at.Warn("", "no rule sends anything here", "")
		}
		if e := at.Node().Get("url"); e != nil && e.Value.Type == spec.Text {
			u, err := url.Parse(e.Value.Text)
			if err == nil && u.Scheme == "http" && !loopbackHost(u.Hostname()) {
				at.Warn("url", "events leave this machine unencrypted", "use https://")
			}
		}
	}
	if k.c.value == nil {
		return
	}
	reported := map[spec.Pos]bool{}
	for _, v := range k.c.value.Literals() {
		reported[v.Pos] = true
		n := spec.Node{Pos: v.Pos}
		k.report.Warn(&n, v.Path, "a secret stands in the file itself", "write ${NAME} or ${file:/path} for it")
	}
	k.awsKeys(k.root, reported)
}

func transformError(err error) (*transform.Error, bool) { return errors.AsType[*transform.Error](err) }
