package bench

import (
	"bufio"
	"context"
	"slices"
	"time"
)

// What the tests of the parts need; everything else goes through Run and Role.

type (
	Message = message
	Ledger  = ledger
	Fate    = fate
	Audit   = audit
	Log     = log
)

const (
	Unsent   = unsent
	Unknown  = unknown
	Accepted = accepted
	Refused  = refused

	WebhookSecret = webhookSecret
)

var (
	NewMessage   = newMessage
	NewLedger    = newLedger
	CreateLog    = createLog
	ReadLog      = readLog
	ReadResponse = func(r *bufio.Reader) (int, bool, error) { return readResponse(r) }
	SpreadOf     = spread
	Median       = median
	Count        = count
	Size         = size
)

func (m *message) Body(n int) []byte              { return m.body(n) }
func (m *message) Number(b []byte) (int, bool)    { return m.number(b) }
func (m *message) Within(b []byte) []byte         { return m.within(b) }
func (l *ledger) Note(body []byte, now time.Time) { l.note(body, now) }
func (l *ledger) Audit(fates ...Fate) Audit       { return check(fates, l.arrivals(false)) }
func (a Audit) Problem() string                   { return a.problem("here") }
func (l *log) Append(body []byte) error           { return l.append(body) }
func (l *log) Close() error                       { return l.close() }

// Loaded is what a load did, for tests of the load generator.
type Loaded struct {
	Sent, Accepted, Refused, Unknown int
	Errors                           map[string]int
	Took                             time.Duration
}

// Load runs n messages, or for a time at a rate, against a server.
func Load(ctx context.Context, addr string, m *Message, connections, n, perSecond int, d time.Duration) (Loaded, error) {
	t := target{addr: addr, path: ingestPath, secret: webhookSecret, message: m}
	l, err := newLoad(ctx, t, connections, 100_000)
	if err != nil {
		return Loaded{}, err
	}
	defer l.close()
	var p phase
	switch {
	case perSecond > 0:
		p = l.open(ctx, perSecond, d)
	case n > 0:
		p = l.count(ctx, n)
	default:
		p = l.closed(ctx, d)
	}
	out := Loaded{Errors: p.errors, Took: p.end.Sub(p.start)}
	for _, f := range l.fates {
		switch f {
		case accepted:
			out.Accepted++
		case refused:
			out.Refused++
		case unknown:
			out.Unknown++
		case unsent:
			continue
		}
		out.Sent++
	}
	if len(l.answers(p)) != out.Accepted || slices.Min(append(l.answers(p), 1)) < 0 {
		panic("a time was not taken")
	}
	return out, nil
}
