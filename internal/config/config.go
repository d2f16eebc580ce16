package config

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/grapnel/grapnel/internal/spec"
)

// DefaultBus is the bus that always exists.
const DefaultBus = "default"

// Config is one whole configuration that was found to be without errors. It is not changed anymore.
type Config struct {
	Listen    string // address of the public port
	PublicURL string // what senders see of the public port, without a slash at the end; may be empty
	TLS       *TLS   // of the public port; nil: plain HTTP
	// TrustedProxies are the networks whose word about the sender is believed.
	TrustedProxies []netip.Prefix
	ProxyProtocol  bool // trusted proxies begin connections with a PROXY header
	Admin          Admin
	Data           string // directory
	AWS            AWS
	Retention      Retention
	Network        Network
	Exec           Exec
	Buses          []Bus // DefaultBus is always among them
	Sources        []Source
	Destinations   []Destination
	Rules          []Rule

	kinds    []spec.Kind
	value    *spec.Value
	exposure []spec.Problem
}

// Admin is the port for people and tools.
type Admin struct {
	Listen    string
	PublicURL string
	Auth      Auth
	TLS       *TLS // nil: plain HTTP
}

// TLS names the files of a certificate. Daemons read them again when they change.
type TLS struct{ Cert, Key string }

// Auth says who may use the admin port.
type Auth string

// The ways to authenticate. AuthNone is refused unless the admin port is on loopback.
const (
	AuthToken Auth = "token"
	AuthNone  Auth = "none"
)

// AWS is what envelopes and ARNs say.
type AWS struct{ Account, Region string }

// Retention says how long history is kept. Whichever is reached first drops the oldest.
type Retention struct {
	Age   time.Duration
	Bytes int64
}

// Network says where destinations may connect to.
type Network struct {
	Allow []netip.Prefix // private addresses that are allowed all the same
}

// Exec says whether destinations may run commands on this machine.
type Exec struct{ Enabled bool }

// Fields describes whether commands may run.
func (e *Exec) Fields() []spec.Field {
	return []spec.Field{
		spec.Bool("enabled", &e.Enabled).Default("false").
			Doc("Whether destinations of kind `exec` are allowed: who can change this file can then run programs as Grapnel."),
	}
}

// Bus is a named stream of events.
type Bus struct{ Name, Description string }

// Options are what Load needs from outside.
type Options struct {
	// Env looks up an environment variable for ${NAME}; os.LookupEnv.
	Env func(name string) (string, bool)
	// ReadFile reads a file for ${file:path}; os.ReadFile.
	ReadFile func(path string) ([]byte, error)
	// Kinds are the kinds of destinations.
	Kinds []spec.Kind
}

// Load reads the configuration in data. The file is only named in problems. Config is nil if there
// is any problem that is not a warning. Problems are in the order of the file.
func Load(file string, data []byte, o Options) (*Config, []spec.Problem) {
	report := &spec.Report{File: file}
	root := parse(report, data, &expander{env: o.Env, read: o.ReadFile, files: map[string]fileText{}})
	if root == nil {
		return nil, report.Problems()
	}
	c := &Config{kinds: allKinds(o.Kinds)}
	c.value = spec.Decode(report, root, c)
	if c.value != nil {
		check(report, root, c)
	}
	problems := report.Problems()
	if len(spec.Errors(problems)) > 0 {
		return nil, problems
	}
	return c, problems
}

// Generation returns a short text that is equal for configurations that mean the same, whatever
// their spelling, and differs when anything differs, secrets included. The key keeps it from telling
// anything about secrets: a random one of the data directory.
func (c *Config) Generation(key []byte) string {
	h := hmac.New(sha256.New, key)
	c.value.Digest(h)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Same reports whether what stands at the keys, such as "destinations" and a name, means the same in
// both configurations, secrets included. It is true if neither has it.
func (c *Config) Same(other *Config, keys ...string) bool {
	a, b := c.value.Get(keys...), other.value.Get(keys...)
	if a == nil || b == nil {
		return a == b
	}
	x, y := sha256.New(), sha256.New()
	a.Digest(x)
	b.Digest(y)
	return bytes.Equal(x.Sum(nil), y.Sum(nil))
}

// MarshalJSON returns the effective configuration, defaults included, with "[secret]" in place of
// secrets and of whatever came from ${NAME} or ${file:…}.
func (c *Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.value) }

// Fields describes the file.
func (c *Config) Fields() []spec.Field {
	fields := []spec.Field{
		listenField(&c.Listen),
		spec.URL("public_url", &c.PublicURL).Example("https://hooks.example.com").
			Doc("What senders see of the public port. Providers that sign the address need it, and it " +
				"makes the URLs to paste complete."),
		tlsField(&c.TLS),
		spec.CIDRs("trusted_proxies", &c.TrustedProxies).Example("[10.0.0.0/8]").DefaultDoc("none").
			Doc("Proxies in front of the public port. From them, and from nobody else, `X-Forwarded-For` says who " +
				"sends: the last address in it that is not a trusted proxy's. `allow_ips`, `rate.address` and what is " +
				"stored go by that. Where there is no `public_url`, `X-Forwarded-Proto` and `X-Forwarded-Host` make " +
				"the address that providers sign."),
		spec.Bool("proxy_protocol", &c.ProxyProtocol).Default("false").
			Doc("Connections from `trusted_proxies` to the public port begin with a header of the PROXY protocol, version " +
				"1 or 2, which says who made them; one without is closed. From others none is taken."),
		adminField(&c.Admin),
		dataField(&c.Data),
		spec.Object("aws", &c.AWS).Doc("What envelopes and ARNs say."),
		spec.Object("retention", &c.Retention).
			Doc("How long history is kept. Whichever limit is reached first drops the oldest."),
		spec.Object("network", &c.Network).Doc("Where destinations may connect to."),
		spec.Object("exec", &c.Exec).Doc("Whether destinations may run commands on this machine."),
		spec.Components("buses", &c.Buses, func(b *Bus, name string) { b.Name = name }).
			Doc("Named streams of events. The bus `default` always exists."),
		spec.Components("sources", &c.Sources, func(s *Source, name string) { s.Name = name }).
			Doc("Endpoints that receive webhooks."),
		spec.Components("destinations", &c.Destinations, func(d *Destination, name string) {
			d.Name, d.kinds = name, c.kinds
		}).Prototype(func() []spec.Field { return (&Destination{kinds: c.kinds}).Fields() }).
			Doc("Where deliveries go."),
		spec.Components("rules", &c.Rules, func(r *Rule, name string) { r.Name = name }).
			Doc("Which events go where."),
	}
	return append(fields, later()...)
}

func listenField(to *string) spec.Field {
	return spec.String("listen", to).Default(":8080").Check(addressCheck(to)).
		Doc("Address of the public port, which receives webhooks and nothing administrative.")
}

func tlsField(to **TLS) spec.Field {
	return spec.Optional("tls", to).
		Doc("Speak HTTPS on the public port: TLS 1.2 and later, HTTP/2. Without it put a proxy that ends TLS in front.")
}

func adminField(to *Admin) spec.Field {
	return spec.Object("admin", to).Doc("The port for people and tools: API, metrics, health.")
}

func dataField(to *string) spec.Field {
	return spec.String("data", to).Default("./data").
		Doc("Directory for events and state. It is made if it does not exist.")
}

// later are the keys that belong to later versions.
func later() []spec.Field {
	return []spec.Field{
		spec.Reserved("acme", "certificates by ACME come with a later version; until then give tls files that another tool "+
			"renews, which are read again when they change"),
		spec.Reserved("store", "PostgreSQL comes with a later version; events are kept in the directory data"),
		spec.Reserved("functions", "functions come with a later version"),
		spec.Reserved("routes", "routes come with a later version"),
		spec.Reserved("schedules", "schedules come with a later version"),
		spec.Reserved("detections", "detections come with a later version"),
		spec.Reserved("channels", "channel apps come with a later version"),
		spec.Reserved("channel_apps", "channel apps come with a later version"),
	}
}

// Fields describes the section.
func (a *Admin) Fields() []spec.Field {
	return []spec.Field{
		spec.String("listen", &a.Listen).Default("127.0.0.1:8081").Check(addressCheck(&a.Listen)).
			Doc("Address of the admin port."),
		spec.URL("public_url", &a.PublicURL).Example("https://grapnel.internal").
			Doc("What people see of the admin port; links use it."),
		spec.Enum("auth", &a.Auth, AuthToken, AuthNone).Default("token").
			Doc("`token`: everything but health wants the token that is made at the first start and kept in " +
				"the data directory. `none`: nothing does, allowed on loopback only."),
		spec.Reserved("aws_auth", "the AWS API comes with a later version"),
		spec.Optional("tls", &a.TLS).Doc("Speak HTTPS on the admin port, with a certificate of its own or the same."),
	}
}

// Fields describes the section.
func (t *TLS) Fields() []spec.Field {
	return []spec.Field{
		spec.String("cert", &t.Cert).Required().Example("cert.pem").
			Doc("File with the certificate and its chain, PEM. Both files are read again when they change; new ones that " +
				"cannot be used leave the old certificate in force, and the log says so."),
		spec.String("key", &t.Key).Required().Example("key.pem").Doc("File with the private key of the certificate, PEM."),
	}
}

// Fields describes the section.
func (a *AWS) Fields() []spec.Field {
	return []spec.Field{
		spec.String("account", &a.Account).Default("000000000000").Check(accountCheck(&a.Account)).
			Doc("Account in envelopes and ARNs, twelve digits. Put it in quotes."),
		spec.String("region", &a.Region).Default("us-east-1").Check(regionCheck(&a.Region)).
			Doc("Region in envelopes and ARNs."),
	}
}

// Fields describes the section.
func (r *Retention) Fields() []spec.Field {
	return []spec.Field{
		spec.Duration("age", &r.Age).Default("30d").Min("1h").Max("3650d").
			Doc("How old events become, against the newest one."),
		spec.Bytes("bytes", &r.Bytes).Default("20GiB").Min("64MiB").
			Doc("How much disk the journal may take."),
	}
}

// Fields describes the section.
func (n *Network) Fields() []spec.Field {
	return []spec.Field{
		spec.CIDRs("allow", &n.Allow).Example("[10.0.0.0/8]").
			Doc("Private, loopback and link-local addresses that destinations may reach. Without it they " +
				"reach public addresses only."),
	}
}

// Fields describes the section.
func (b *Bus) Fields() []spec.Field { return []spec.Field{description(&b.Description)} }

// description is the field that every component has.
func description(target *string) spec.Field {
	return spec.String("description", target).Check(lengthCheck(target, 512)).Doc("For people.")
}
