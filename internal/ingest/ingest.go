// Package ingest receives webhooks: it reads a request once, proves who sent it
// over exactly the bytes that arrived, makes the event, and answers 2xx only
// after the event is committed. What it refuses it keeps, bounded, with the
// reason. It decides nothing about where events go.
package ingest

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/signature"
)

// Publisher is the door through which accepted events go. Publish returns when
// the batch is synced; its errors are those of store.Journal.Append, and Invalid
// with code malformed_event for a detail that is not a JSON object, or nested
// deeper than a matcher reads.
type Publisher interface {
	Publish(ctx context.Context, batch *store.Batch) error
}

// Metrics counts what arrives.
type Metrics interface {
	Accepted(source string, took time.Duration)
	Duplicate(source string)
	Refused(source, reason string)
	Handshake(source, handshake string)
	Panicked(component string)
}

// Config is what an Ingest is made of. Every member is required.
type Config struct {
	Publisher Publisher
	Metrics   Metrics
	Log       *slog.Logger
	Now       func() time.Time
}

// Source is one inbound endpoint as ingest uses it.
type Source struct {
	Name string
	// Path is where it listens, as on the wire; "/in/<name>" by default.
	Path string
	// Host is the only host name that it answers to, in lower case and without a
	// port; "" answers to any.
	Host string
	// Below says that one more path segment may follow: the token of schemes
	// that carry it in the path.
	Below bool
	// Methods that are taken beside POST, for events and handshakes.
	Methods []string
	Bus     string
	// Account and Region go into the envelope.
	Account, Region string
	// EventSource is the envelope's source, "github.com".
	EventSource string
	// PublicURL is scheme and host, and a path prefix if there is one, as the
	// sender was given them; "" takes the request's own.
	PublicURL string
	// Provider tells where delivery id and event type stand, and which
	// handshakes there are.
	Provider signature.Provider
	Verifier *signature.Verifier
	// Keys are what handshakes are answered with.
	Keys signature.Config
	// BasicRealm asks for HTTP Basic credentials in a 401.
	BasicRealm bool
	// FormStyle says how a form becomes a detail.
	FormStyle FormStyle
	// Credentials are what must be masked before a request is kept.
	Credentials signature.Credentials
	// MaxBody is how many bytes of body are taken.
	MaxBody int64
	// Rate is how many accepted requests a second are taken; 0: no limit.
	// Burst is how many may come at once; at least 1.
	Rate  float64
	Burst int
	// AllowIPs are the networks that requests may come from; none: any.
	AllowIPs []netip.Prefix
	// AddressRates are how many requests one address may send; all of them hold.
	AddressRates []AddressRate
	// MaxInFlight is how many requests are taken at the same time; 0: no limit.
	MaxInFlight int
	// Encodings of bodies that are decoded for the detail: EncodingGzip.
	Encodings []string
	// Redeliver delivers repetitions again.
	Redeliver bool
	// Answer says what the sender is told.
	Answer Answerer
	// Reveal is told a text in a handshake that the owner has to be shown
	// (Notion's verification token); nil: it is dropped.
	Reveal func(text string)
}

// FormStyle says how a form becomes a detail.
type FormStyle uint8

const (
	// FormFields makes an object of the fields: a string for a field that
	// occurs once, a list for one that occurs more often.
	FormFields FormStyle = iota
	// FormPayload takes the JSON object in the only field "payload" as the
	// detail: GitHub's content type form, Slack's interactive messages.
	FormPayload
	// FormTwilio makes a flat object of the first values and parses Payload when
	// PayloadType is exactly application/json, as AWS's inbound webhook function
	// for Twilio does.
	FormTwilio
)

// Ingest is the handler of all sources. It is safe for concurrent use.
type Ingest struct {
	config   Config
	sources  atomic.Pointer[table]
	proxies  atomic.Pointer[[]netip.Prefix]
	sequence atomic.Uint64
	repeats  repeats

	mu      sync.Mutex // guards ledgers
	ledgers map[string]*ledger
}

// ledger is what is remembered of a source name, whatever the configuration.
type ledger struct {
	refused    *ring
	accepted   atomic.Int64
	duplicates atomic.Int64
	inFlight   atomic.Int64
}

// table is an immutable set of sources by path. Those at one path differ in
// their hosts; the one for any host stands last.
type table struct {
	byPath map[string][]*source
}

type source struct {
	Source
	limiter   *rate.Limiter
	addresses *addressLimiter
	ledger    *ledger
}

// New returns an Ingest without sources; Configure gives it some.
func New(config Config) *Ingest {
	in := &Ingest{config: config, ledgers: map[string]*ledger{}}
	in.sources.Store(&table{})
	return in
}

// Configure puts a new set of sources in force. A source that keeps its name
// and rate keeps its budget; what was refused stays listed by name.
func (in *Ingest) Configure(sources []Source) {
	old := map[string]*source{}
	for _, at := range in.sources.Load().byPath {
		for _, s := range at {
			old[s.Name] = s
		}
	}
	next := &table{byPath: make(map[string][]*source, len(sources))}
	for _, s := range sources {
		src := &source{Source: s, ledger: in.ledger(s.Name)}
		switch was := old[s.Name]; {
		case s.Rate <= 0:
		case was != nil && was.limiter != nil && was.Rate == s.Rate && was.Burst == s.Burst:
			src.limiter = was.limiter
		default:
			src.limiter = rate.NewLimiter(rate.Limit(s.Rate), max(s.Burst, 1))
		}
		if was := old[s.Name]; was != nil && was.addresses.same(s.AddressRates) {
			src.addresses = was.addresses
		} else {
			src.addresses = newAddressLimiter(s.AddressRates)
		}
		if at := next.byPath[s.Path]; s.Host == "" {
			next.byPath[s.Path] = append(at, src)
		} else {
			next.byPath[s.Path] = append([]*source{src}, at...)
		}
	}
	in.sources.Store(next)
}

func (in *Ingest) ledger(name string) *ledger {
	in.mu.Lock()
	defer in.mu.Unlock()
	l, ok := in.ledgers[name]
	if !ok {
		l = &ledger{refused: newRing()}
		in.ledgers[name] = l
	}
	return l
}

// find returns the source that listens at the path of a request target, and to
// the host that was asked for.
func (t *table) find(host, path string) *source {
	if s := choose(t.byPath[path], host); s != nil {
		return s
	}
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		if s := choose(t.byPath[path[:i]], host); s != nil && s.Below {
			return s
		}
	}
	return nil
}

func choose(at []*source, host string) *source {
	for _, s := range at {
		if s.Host == "" || s.Host == hostName(host) {
			return s
		}
	}
	return nil
}

// Refusals returns what is kept of refused requests of the source ("" stands
// for paths without a source), or of all sources when all is set, newest first.
func (in *Ingest) Refusals(name string, all bool) []*Refusal {
	in.mu.Lock()
	var ledgers []*ledger
	if all {
		ledgers = slices.Collect(maps.Values(in.ledgers))
	} else if l, ok := in.ledgers[name]; ok {
		ledgers = append(ledgers, l)
	}
	in.mu.Unlock()
	var out []*Refusal
	for _, l := range ledgers {
		out = append(out, l.refused.list()...)
	}
	slices.SortFunc(out, func(a, b *Refusal) int { return strings.Compare(b.ID, a.ID) })
	return out
}

// Counts are exact figures of one source since the process started.
type Counts struct {
	Accepted, Duplicates int64
	Refused              map[string]int64 // by reason code
}

// Counts returns the figures of every source that was configured or asked for,
// by name; "" stands for paths without a source.
func (in *Ingest) Counts() map[string]Counts {
	in.mu.Lock()
	defer in.mu.Unlock()
	out := make(map[string]Counts, len(in.ledgers))
	for name, l := range in.ledgers {
		out[name] = Counts{
			Accepted: l.accepted.Load(), Duplicates: l.duplicates.Load(), Refused: l.refused.counted(),
		}
	}
	return out
}
