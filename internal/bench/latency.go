package bench

import (
	"context"
	"time"
)

// answers are how long the accepted messages of a phase took to be answered, in
// nanoseconds.
func (l *load) answers(p phase) []int64 {
	out := make([]int64, 0, p.last-p.first)
	for n := p.first; n < p.last; n++ {
		if l.fates[n] == accepted {
			out = append(out, l.answered[n]-l.sent[n])
		}
	}
	return out
}

// latency measures, at a load that leaves the machine air, how long it takes from
// a webhook to its delivery.
func (b *bench) latency(ctx context.Context) {
	for _, c := range contenders {
		if !c.delivers || c.full && !b.Full || ctx.Err() != nil {
			continue
		}
		b.tell("latency at %s/s  %s", count(float64(b.PerSecond)), c.title)
		out := Latency{Name: c.name, Title: c.title, PerSecond: b.PerSecond}
		if err := b.steady(ctx, c, &out); err != nil {
			out = Latency{Name: c.name, Title: c.title, PerSecond: b.PerSecond, Failed: err.Error()}
		}
		b.report.Latency = append(b.report.Latency, out)
	}
}

func (b *bench) steady(ctx context.Context, c contender, out *Latency) error {
	d := 2 * b.Duration
	st, err := b.newStage(ctx, c, 10_000+2*b.PerSecond*int(d/time.Second+1))
	if err != nil {
		return err
	}
	defer st.close()
	st.load.count(ctx, 500) // warms up
	if err := st.arrived(ctx); err != nil {
		return err
	}
	p := st.load.open(ctx, b.PerSecond, d)
	if err := st.arrived(ctx); err != nil {
		return err
	}
	a, err := st.receiver.arrivals(true)
	if err != nil {
		return err
	}
	out.spreads(st.load, p, a)
	return st.account(ctx, &Round{})
}

// spreads reads the times of the phase's messages off both ends.
func (o *Latency) spreads(l *load, p phase, a *arrivals) {
	var delivered, total, late []int64
	for n := p.first; n < min(p.last, len(a.First)); n++ {
		if l.fates[n] != accepted || a.First[n] == 0 {
			continue
		}
		delivered = append(delivered, max(0, a.First[n]-l.answered[n]))
		total = append(total, a.First[n]-l.sent[n])
		late = append(late, max(0, l.sent[n]-p.due(n).UnixNano()))
	}
	o.Messages = len(total)
	o.Answer, o.Delivered, o.Total, o.Late = spread(l.answers(p)), spread(delivered), spread(total), spread(late)
}
