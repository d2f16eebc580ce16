package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// contender is what is measured: a role, and what is expected of it.
type contender struct {
	name, title string
	role        string
	limit       string // the name of the contender that it is compared with
	delivers    bool
	envelope    bool
	full        bool // only with Options.Full
}

// contenders are those of the table, in its order, which is that of a round too.
var contenders = []contender{
	{name: "bare", title: "bare handler, keeps nothing", role: roleBare},
	{name: "raw_durable", title: "limit: raw durable", role: roleDurable, limit: "raw_durable"},
	{name: "ingest", title: "grapnel, no rules", role: roleGrapnel, limit: "raw_durable"},
	{
		name: "raw_deliver", title: "limit: raw durable + deliver", role: roleDeliver,
		limit: "raw_deliver", delivers: true,
	},
	{
		name: "full_cycle", title: "grapnel, the body", role: roleGrapnel,
		limit: "raw_deliver", delivers: true,
	},
	{
		name: "full_cycle_envelope", title: "grapnel, the envelope", role: roleGrapnel,
		limit: "raw_deliver", delivers: true, envelope: true, full: true,
	},
}

// bench is one run.
type bench struct {
	Options

	dir    string
	report Report
}

// Run measures and writes the report. It takes about Rounds times the number of
// contenders times Duration and a second. The error wraps ErrFailed when a result
// did not pass its check; other errors mean that there is no report.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.fill(); err != nil {
		return err
	}
	if o.Profile != "" {
		if err := os.MkdirAll(o.Profile, 0o700); err != nil {
			return fmt.Errorf("making a directory for the profiles: %w", err)
		}
	}
	dir, err := os.MkdirTemp(o.Dir, "grapnel-bench-")
	if err != nil {
		return fmt.Errorf("making a directory for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{Options: o, dir: dir}
	b.report.Machine = Machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Version: o.Version, Memory: inMemory(dir),
	}
	b.report.Settings = Settings{
		Duration: Millis(o.Duration), Rounds: o.Rounds, Connections: o.Connections, BodySize: o.BodySize,
	}
	b.throughput(ctx)
	b.latency(ctx)
	b.footprint(ctx)
	b.list(ctx)
	if err := b.micro(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return b.write()
}

func (b *bench) write() error {
	var err error
	if b.JSON {
		encoder := json.NewEncoder(b.Out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(&b.report)
	} else {
		_, err = b.Out.Write(b.report.table())
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if failed := b.report.failures(); len(failed) > 0 {
		return fmt.Errorf("%w: %s", ErrFailed, strings.Join(failed, "; "))
	}
	return nil
}

// tell writes a line of progress.
func (b *bench) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(b.Progress, format+"\n", args...) // nobody has to see it
}

// throughput loads each contender in turn, round after round.
func (b *bench) throughput(ctx context.Context) {
	var chosen []contender
	for _, c := range contenders {
		if !c.full || b.Full {
			chosen = append(chosen, c)
			row := Throughput{Name: c.name, Title: c.title, Limit: c.limit}
			b.report.Throughput = append(b.report.Throughput, row)
		}
	}
	for n := range b.Rounds {
		for i, c := range chosen {
			if ctx.Err() != nil {
				return
			}
			r := b.round(ctx, c, n)
			row := &b.report.Throughput[i]
			row.Each = append(row.Each, r)
			result := count(float64(r.Rate)) + "/s"
			if r.Failed != "" {
				result = "failed: " + r.Failed
			}
			b.tell("round %d of %d  %-30s %s", n+1, b.Rounds, c.title, result)
		}
	}
	compare(b.report.Throughput)
}

// round is one turn of a contender, in fresh processes and a fresh directory.
func (b *bench) round(ctx context.Context, c contender, n int) Round {
	st, err := b.newStage(ctx, c, capacity(b.Duration))
	if err != nil {
		return Round{Failed: err.Error()}
	}
	defer st.close()
	r, err := b.measure(ctx, st, n)
	if err != nil {
		r.Failed = err.Error()
	}
	if err := st.account(ctx, &r); err != nil && r.Failed == "" {
		r.Failed = err.Error()
	}
	if r.Failed != "" {
		r = Round{Failed: r.Failed, Stored: r.Stored, Delivered: r.Delivered, Errors: r.Errors}
	}
	return r
}

// measure warms up, loads for the duration and waits until everything that was
// accepted has arrived.
func (b *bench) measure(ctx context.Context, st *stage, n int) (Round, error) {
	st.load.closed(ctx, min(b.Duration/4, 300*time.Millisecond))
	if err := st.arrived(ctx); err != nil {
		return Round{}, err
	}
	endProfile, err := b.profile(st, n)
	if err != nil {
		return Round{}, err
	}
	before, err := st.usage()
	if err != nil {
		return Round{}, err
	}
	p := st.load.closed(ctx, b.Duration)
	if err := st.arrived(ctx); err != nil {
		return Round{Errors: p.errors}, err
	}
	after, err := st.usage()
	if err := errors.Join(err, endProfile()); err != nil {
		return Round{Errors: p.errors}, err
	}
	end := p.end
	if st.receiver != nil {
		a, err := st.receiver.arrivals(false)
		if err != nil {
			return Round{Errors: p.errors}, err
		}
		end = time.Unix(0, a.Last)
	}
	accepted := float64(st.load.accepted(p))
	if accepted == 0 {
		return Round{Errors: p.errors}, errors.New("nothing was accepted")
	}
	s := spread(st.load.answers(p))
	each := func(f func(u stageUsage) time.Duration) Decimal {
		return Decimal(float64(f(after)-f(before)) / float64(time.Microsecond) / accepted)
	}
	return Round{
		Rate: Decimal(accepted / end.Sub(p.start).Seconds()), P50: s.P50, P99: s.P99, RSS: after.subject.RSS, Errors: p.errors,
		CPU:         each(func(u stageUsage) time.Duration { return u.subject.CPU }),
		LoadCPU:     each(func(u stageUsage) time.Duration { return u.load.CPU }),
		ReceiverCPU: each(func(u stageUsage) time.Duration { return u.receiver.CPU }),
	}, nil
}

// profile profiles the contender until the returned function is called.
func (b *bench) profile(st *stage, n int) (end func() error, err error) {
	if b.Profile == "" || n > 0 {
		return func() error { return nil }, nil
	}
	path := b.Profile + string(os.PathSeparator) + st.contender.name + ".cpu"
	if _, err := st.subject.ask(question{Ask: askProfile, Path: path}); err != nil {
		return nil, err
	}
	return func() error {
		_, err := st.subject.ask(question{Ask: askProfile})
		return err
	}, nil
}
