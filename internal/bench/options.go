package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// ErrFailed is what Run returns, wrapped, when a result did not pass its check.
// The report was written all the same.
var ErrFailed = errors.New("a result failed its check")

// Options say what Run measures and where it writes.
type Options struct {
	// Out gets the report: a table, or with JSON one object.
	Out  io.Writer
	JSON bool
	// Progress gets a line for each thing that begins; nil: nowhere.
	Progress io.Writer
	// Full adds what takes minutes: longer and more rounds, deliveries of the
	// whole envelope, and lists at a million events.
	Full bool
	// Duration is how long a contender is loaded in a round; 0: 1 s, with Full 3 s.
	Duration time.Duration
	// Rounds is how often each contender has its turn; 0: 3, with Full 5.
	Rounds int
	// Connections is how many requests are under way; 0: 64.
	Connections int
	// BodySize is the size of a webhook's body in bytes; 0: 1024.
	BodySize int
	// PerSecond is the load at which latencies are measured; 0: 1000.
	PerSecond int
	// Events is how many events are listed from; 0: 1,000,000 with Full, else none.
	// A negative number leaves lists out.
	Events int
	// Dir is where a temporary directory is made for the data of all contenders;
	// empty: the system's place for temporary files.
	Dir string
	// Profile, if set, is a directory for CPU and allocation profiles of each
	// contender in the first round.
	Profile string
	// Version is Grapnel's, for the report.
	Version string
	// Command starts a child process when the name of its role is added; nil: this
	// program with the arguments "bench --role".
	Command []string
}

// The limits of what can be asked for: everything here is bounded.
const (
	maxDuration    = 10 * time.Minute
	maxRounds      = 100
	maxConnections = 4096
	maxPerSecond   = 100_000
	maxEvents      = 10_000_000
)

func (o *Options) fill() error {
	set := func(v *int, short, full int) {
		if *v == 0 {
			*v = short
			if o.Full {
				*v = full
			}
		}
	}
	if o.Duration == 0 {
		o.Duration = time.Second
		if o.Full {
			o.Duration = 3 * time.Second
		}
	}
	set(&o.Rounds, 3, 5)
	set(&o.Connections, 64, 64)
	set(&o.BodySize, 1024, 1024)
	set(&o.PerSecond, 1000, 1000)
	set(&o.Events, -1, 1_000_000)
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Command == nil {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		o.Command = []string{self, "bench", "--role"}
	}
	return o.check()
}

// Check returns what is wrong with the options, before anything is measured.
func (o *Options) Check() error {
	filled := *o
	return filled.fill()
}

func (o *Options) check() error {
	for _, c := range []struct {
		name          string
		is, low, high int
	}{
		{"rounds", o.Rounds, 1, maxRounds},
		{"connections", o.Connections, 1, maxConnections},
		{"body size", o.BodySize, minBody, maxBody},
		{"rate", o.PerSecond, 1, maxPerSecond},
		{"number of events", o.Events, -1, maxEvents},
	} {
		if c.is < c.low || c.is > c.high {
			return fmt.Errorf("%s %d is not between %d and %d", c.name, c.is, c.low, c.high)
		}
	}
	if o.Duration < 10*time.Millisecond || o.Duration > maxDuration {
		return fmt.Errorf("duration %v is not between 10ms and %v", o.Duration, maxDuration)
	}
	return nil
}

// capacity is for how many messages a run of length d has room: more than any
// machine answers, and a bound of the memory.
func capacity(d time.Duration) int {
	const perSecond, most = 400_000, 16 << 20
	return min(most, 100_000+int(d.Seconds()*perSecond))
}
