package bench

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// table is the report for people.
func (r *Report) table() []byte {
	var b bytes.Buffer
	s := r.Settings
	fmt.Fprintf(&b, "Grapnel %s on %s, %s, %s\n", r.Machine.Version, r.Machine.System, plural(r.Machine.CPUs, "CPU"), r.Machine.Go)
	fmt.Fprintf(&b, "%s bodies, %d connections, median of %s of %v in turn; the load generator, the contenders\n"+
		"and the receiver share this machine\n",
		size(int64(s.BodySize)), s.Connections, plural(s.Rounds, "round"), time.Duration(s.Duration))
	if r.Machine.Memory {
		b.WriteString("WARNING: the data was in memory: syncs cost nothing there. Choose a directory on a disk.\n")
	}
	r.throughputs(&b)
	r.latencies(&b)
	r.rest(&b)
	r.notes(&b)
	return b.Bytes()
}

func (r *Report) throughputs(b *bytes.Buffer) {
	heads := []struct{ title, end string }{
		{"A signed webhook in", "answered"}, {"In, stored and delivered, signed", "delivered"},
	}
	for i, delivers := range []bool{false, true} {
		fmt.Fprintf(b, "\n%-34s %11s %9s %9s %9s %10s %9s\n", heads[i].title, heads[i].end+"/s", "of limit",
			"p50 ms", "p99 ms", "CPU µs/ev", "memory")
		for _, t := range r.Throughput {
			if find(t.Name).delivers != delivers {
				continue
			}
			if t.Failed != "" {
				fmt.Fprintf(b, "  %-32s FAILED: %s\n", t.Title, t.Failed)
				continue
			}
			percent := ""
			if t.Percent > 0 {
				percent = fmt.Sprintf("%.0f %%", t.Percent)
			}
			fmt.Fprintf(b, "  %-32s %11s %9s %9s %9s %10.1f %9s\n", t.Title, count(float64(t.Rate)), percent,
				millis(t.P50), millis(t.P99), t.CPU, size(t.RSS))
		}
	}
}

func (r *Report) latencies(b *bytes.Buffer) {
	if len(r.Latency) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-34s %19s  %19s  %19s\n", "At "+count(float64(r.Latency[0].PerSecond))+" a second, p50 / p99 ms",
		"answer", "answer to delivered", "sent to delivered")
	for _, l := range r.Latency {
		if l.Failed != "" {
			fmt.Fprintf(b, "  %-32s FAILED: %s\n", l.Title, l.Failed)
			continue
		}
		fmt.Fprintf(b, "  %-32s %19s  %19s  %19s\n", l.Title, pair(l.Answer), pair(l.Delivered), pair(l.Total))
	}
}

func (r *Report) rest(b *bytes.Buffer) {
	b.WriteString("\nGrapnel alone\n")
	row := func(title, format string, args ...any) {
		fmt.Fprintf(b, "  %-32s "+format+"\n", append([]any{title}, args...)...)
	}
	if f := r.Footprint; f.Failed != "" {
		row("start", "FAILED: %s", f.Failed)
	} else {
		row("from start to ready", "%8s ms", millis(f.Start))
		row("memory when idle", "%11s", size(f.Idle))
		row("binary", "%11s", size(f.Binary))
	}
	for _, m := range r.Micro {
		row(m.Title, "%8.2f µs %4.0f allocations", m.Nanos/1000, m.Allocs)
	}
	if l := r.List; l != nil {
		title := "of " + count(float64(l.Events)) + " events"
		if l.Failed != "" {
			row("lists "+title, "FAILED: %s", l.Failed)
			return
		}
		row("newest 50 "+title, "%s ms (p50 / p99)", pair(l.Newest))
		row("newest 50 of one type", "%s ms (p50 / p99)", pair(l.ByType))
	}
}

// notes say what the limits are, and what went wrong on the way.
func (r *Report) notes(b *bytes.Buffer) {
	b.WriteString(`
The limits are the least programs that keep the same promise, under the same load: raw durable checks one HMAC
and appends the body to a file, one fdatasync for whatever waits, before it answers; raw durable + deliver then
posts it, signed, to the receiver. They keep no history that can be listed, no retries, no rules. Percent are of
the limit in the same round. Everything accepted was looked for afterwards, byte for byte, where it was stored
and at the receiver.
`)
	for _, t := range r.Throughput {
		errs := map[string]int{}
		duplicates := 0
		for _, round := range t.Each {
			for what, n := range round.Errors {
				errs[what] += n
			}
			if round.Delivered != nil {
				duplicates += round.Delivered.Duplicates
			}
		}
		if duplicates > 0 {
			fmt.Fprintf(b, "%s: %s delivered again\n", t.Title, plural(duplicates, "message"))
		}
		if len(errs) > 0 {
			fmt.Fprintf(b, "%s: not accepted: %s\n", t.Title, listErrors(errs))
		}
	}
}

func listErrors(errs map[string]int) string {
	var parts []string
	for what, n := range errs {
		parts = append(parts, fmt.Sprintf("%s (%d)", what, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func find(name string) contender {
	for _, c := range contenders {
		if c.name == name {
			return c
		}
	}
	return contender{}
}

// count writes a number with commas and no fraction.
func count(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func millis(m Millis) string {
	return strconv.FormatFloat(float64(m)/float64(time.Millisecond), 'f', 2, 64)
}

func pair(s Spread) string { return millis(s.P50) + " / " + millis(s.P99) }

// size writes bytes in the unit in which they are read.
func size(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10 || n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
