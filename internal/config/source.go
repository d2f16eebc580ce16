package config

import (
	"net/netip"

	"github.com/grapnel/grapnel/internal/spec"
)

// Source is an endpoint that receives webhooks.
type Source struct {
	Name        string
	Description string
	Disabled    bool
	Bus         string
	Path        string // on the public port
	PublicURL   string // scheme, host and path prefix as the provider knows them; may be empty
	EventSource string // source of the envelopes; empty takes the provider's
	// Verification is how requests are proven, unless Verify combines several ways. Its Provider also
	// decides how events are named and answered.
	Verification
	Verify   *Combination
	Host     string         // the only host name it answers to; empty: any
	AllowIPs []netip.Prefix // where requests may come from; none: anywhere
	Rate     Rates
	// MaxInFlight is how many requests are taken at the same time; 0: no limit.
	MaxInFlight int
	MaxBody     int64
	Encodings   []string // of bodies, decoded for the detail
	Duplicates  Duplicates
	Answer      Answer
}

// Rates are how many requests a source takes; the zero value is no limit.
type Rates struct {
	Source  spec.Rate
	Address []spec.Rate // all of them hold
}

// Duplicates says what becomes of an event that was received before.
type Duplicates string

// What becomes of duplicates: they are kept and answered like the first, or delivered again too.
const (
	DropDuplicates    Duplicates = "drop"
	DeliverDuplicates Duplicates = "deliver"
)

// AnswerStyle says where the answer to an accepted request comes from.
type AnswerStyle string

// The styles of answers. AnswerFixed is what an answer with a status, body or content type means.
const (
	AnswerProvider AnswerStyle = "provider" // what the provider expects, else 200 with the event id
	AnswerAWS      AnswerStyle = "aws"      // as AWS's inbound webhook functions answer
	AnswerFixed    AnswerStyle = "fixed"
)

// Answer is what an accepted request is answered with.
type Answer struct {
	Style       AnswerStyle
	Status      int    // with AnswerFixed
	Body        string // with AnswerFixed
	ContentType string // with AnswerFixed
}

// Combination is several ways to prove a request, of which any or all must hold.
type Combination struct{ Any, All []Verification }

// Fields describes a source.
func (s *Source) Fields() []spec.Field {
	fields := []spec.Field{
		description(&s.Description),
		spec.Bool("disabled", &s.Disabled).Default("false").Doc("Answer all requests with 404."),
		spec.Name("bus", &s.Bus).Default(DefaultBus).Doc("The bus that its events go to."),
		spec.String("path", &s.Path).Check(pathCheck(&s.Path)).DefaultDoc("`/in/` and the name").
			Example("/hooks/github").Doc("Path on the public port."),
		spec.String("host", &s.Host).Check(hostCheck(&s.Host)).DefaultDoc("any").Example("hooks.example.com").
			Doc("The only host name that it answers to, by the request's `Host`. Sources with different hosts may " +
				"have one path."),
		spec.URL("public_url", &s.PublicURL).Check(baseCheck(&s.PublicURL)).DefaultDoc("the `public_url` of the file").
			Doc("Scheme and host, and what stands before the path, as this provider knows them. Providers that " +
				"sign the address sign this one."),
		spec.String("event_source", &s.EventSource).Check(lengthCheck(&s.EventSource, 256)).
			DefaultDoc("the provider's, such as `github.com`").Doc("The `source` of its events."),
	}
	fields = append(fields, s.Verification.Fields()...)
	return append(
		fields,
		spec.Optional("verify", &s.Verify).
			Doc("Several ways to prove a request, in place of the keys for one way: an old token or a "+
				"signature during a migration, or two that must both hold."),
		spec.CIDRs("allow_ips", &s.AllowIPs).MinItems(1).Example("[192.0.2.0/24]").DefaultDoc("any").
			Doc("Networks that requests may come from; all others are answered 403 before their body is read. Behind "+
				"a proxy set `trusted_proxies`."),
		spec.Object("rate", &s.Rate).Doc("How many requests are taken; more are answered 429."),
		spec.Int("max_in_flight", &s.MaxInFlight).Min("1").Max("100000").DefaultDoc("no limit").
			Doc("How many requests are taken at the same time, their bodies included; more are answered 429."),
		spec.Bytes("max_body", &s.MaxBody).Default("25MiB").Min("1KiB").Max("256MiB").
			Doc("Largest body that is accepted; larger ones are answered 413."),
		spec.Strings("encodings", &s.Encodings).Check(encodingsCheck(&s.Encodings)).MinItems(1).Example("[gzip]").
			DefaultDoc("none").Doc("Encodings of bodies that are decoded for the event, up to `max_body`: `gzip`. The "+
			"signature is checked over the bytes as they came. A body in any other encoding is kept as bytes."),
		spec.Enum("duplicates", &s.Duplicates, DropDuplicates, DeliverDuplicates).Default("drop").
			Doc("What becomes of an event that was accepted within the last 24 hours. It is answered like "+
				"the first and kept as a repetition; `deliver` also delivers it again."),
		spec.Either(
			spec.Enum("answer", &s.Answer.Style, AnswerProvider, AnswerAWS).Default("provider"),
			spec.Object("answer", &s.Answer),
		).Doc("What an accepted request is answered with. `provider`: what the provider expects, else 200 "+
			"with the event id. `aws`: what AWS's inbound webhook functions answer. Or an answer of your own."),
		spec.Reserved("validate", "validation of bodies comes with a later version"),
		spec.Reserved("split", "splitting of batches comes with a later version"),
	)
}

// Fields describes the section.
func (r *Rates) Fields() []spec.Field {
	return []spec.Field{
		spec.RateOf("source", &r.Source).DefaultDoc("no limit").Example("100/s").Doc("For all senders together."),
		spec.RatesOf("address", &r.Address).MinItems(1).DefaultDoc("no limit").Example("[10/m, 100/h]").
			Doc("For each address, IPv6 by /64; all of them hold. A span begins with the first request in it. Asked " +
				"before the body is read, proven or not; behind a proxy set `trusted_proxies`."),
	}
}

// Fields describes an answer of one's own.
func (a *Answer) Fields() []spec.Field {
	return []spec.Field{
		spec.Int("status", &a.Status).Default("200").Min("200").Max("299").Doc("HTTP status."),
		spec.String("body", &a.Body).DefaultDoc("empty").Example("ok").Doc("Body."),
		spec.String("content_type", &a.ContentType).Default("text/plain; charset=utf-8").
			Doc("Content type of the body."),
	}
}

// Check makes the answer the one that its fields describe.
func (a *Answer) Check(at *spec.Place) {
	a.Style = AnswerFixed
	if a.Status == 204 && a.Body != "" {
		at.Problem("body", "an answer with status 204 has no body")
	}
}

// Fields describes a combination.
func (c *Combination) Fields() []spec.Field {
	return []spec.Field{
		spec.Objects("any", &c.Any).MinItems(1).Doc("One of these must hold; they are asked in order."),
		spec.Objects("all", &c.All).MinItems(1).Doc("All of these must hold; they are asked in order."),
	}
}

// Check wants one of the two lists.
func (c *Combination) Check(at *spec.Place) { at.One("the ways to verify", "any", "all") }
