package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// The roles of child processes.
const (
	roleBare     = "bare"
	roleDurable  = "durable"
	roleDeliver  = "deliver"
	roleReceiver = "receiver"
	roleGrapnel  = "grapnel"
	roleHistory  = "history"
	roleFill     = "fill"
)

// starters are the roles by name.
var starters = map[string]func(context.Context, setup) (*part, error){
	roleBare: startBare, roleDurable: startDurable, roleDeliver: startDeliver,
	roleReceiver: startReceiver, roleGrapnel: startGrapnel, roleHistory: startHistory, roleFill: startFill,
}

// setup is the first line that a child reads.
type setup struct {
	Dir      string `json:"dir"`
	Run      string `json:"run"`
	Secret   string `json:"secret"`
	BodySize int    `json:"body_size"`
	Capacity int    `json:"capacity"`
	Receiver string `json:"receiver,omitempty"` // URL
	Envelope bool   `json:"envelope,omitempty"` // deliveries carry the envelope, not the body
	Events   int    `json:"events,omitempty"`   // how many to fill in

	message *message
}

// hello is the first line that a child writes, when it is ready.
type hello struct {
	Error string `json:"error,omitempty"`
	Addr  string `json:"addr,omitempty"`
	Admin string `json:"admin,omitempty"`
	Token string `json:"token,omitempty"`
}

// question is every further line that a child reads; it writes an answer to each.
type question struct {
	Ask   string `json:"ask"`
	Times bool   `json:"times,omitempty"` // with askArrivals
	Path  string `json:"path,omitempty"`  // with askProfile
}

const (
	askUsage    = "usage"
	askArrived  = "arrived"
	askArrivals = "arrivals"
	askProfile  = "profile" // starts one, or ends it if there is no path
)

type answer struct {
	Error    string    `json:"error,omitempty"`
	Usage    *usage    `json:"usage,omitempty"`
	Arrived  int64     `json:"arrived,omitempty"`
	Arrivals *arrivals `json:"arrivals,omitempty"`
}

// part is a running role.
type part struct {
	hello hello
	count *ledger                                // what arrived, counted as it comes
	read  func(context.Context) (*ledger, error) // or counted when asked for
	stop  func(context.Context) error
	// profile is the file of the profile that runs.
	profile *os.File
}

// Role is a child process of Run: it plays the part that name says until in ends,
// so that it never outlives its parent. It speaks JSON, a line each way.
func Role(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	start, ok := starters[name]
	if !ok {
		return fmt.Errorf("role %q is not known", name)
	}
	lines, replies := json.NewDecoder(in), json.NewEncoder(out)
	var s setup
	err := lines.Decode(&s)
	if err == nil {
		s.message, err = newMessage(s.Run, s.BodySize)
	}
	var p *part
	if err == nil {
		p, err = start(ctx, s)
	}
	if err != nil {
		return errors.Join(err, replies.Encode(hello{Error: err.Error()}))
	}
	err = p.converse(ctx, lines, replies)
	if p.stop != nil {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err = errors.Join(err, p.stop(limit))
	}
	return err
}

// converse answers questions until there are no more.
func (p *part) converse(ctx context.Context, lines *json.Decoder, replies *json.Encoder) error {
	if err := replies.Encode(p.hello); err != nil {
		return fmt.Errorf("saying hello: %w", err)
	}
	for ctx.Err() == nil {
		var q question
		if err := lines.Decode(&q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading a question: %w", err)
		}
		a, err := p.answer(ctx, q)
		if err != nil {
			a.Error = err.Error()
		}
		if err := replies.Encode(a); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return context.Cause(ctx)
}

func (p *part) answer(ctx context.Context, q question) (a answer, err error) {
	switch q.Ask {
	case askUsage:
		a.Usage, err = measureUsage()
	case askArrived:
		if p.count == nil {
			return a, errors.New("this role counts nothing")
		}
		a.Arrived = p.count.distinct.Load()
	case askArrivals:
		count := p.count
		if count == nil && p.read != nil {
			count, err = p.read(ctx)
		}
		if count != nil && err == nil {
			a.Arrivals = count.arrivals(q.Times)
		}
	case askProfile:
		err = p.switchProfile(q.Path)
	default:
		err = fmt.Errorf("question %q is not known", q.Ask)
	}
	return a, err
}

// switchProfile starts to write a CPU profile into the file, or ends the one that
// runs and writes the allocations since the start of the process beside it.
func (p *part) switchProfile(path string) error {
	if path != "" {
		f, err := os.Create(filepath.Clean(path))
		if err != nil {
			return fmt.Errorf("creating a profile: %w", err)
		}
		p.profile = f
		return pprof.StartCPUProfile(f)
	}
	if p.profile == nil {
		return errors.New("no profile runs")
	}
	pprof.StopCPUProfile()
	name := p.profile.Name()
	err := p.profile.Close()
	p.profile = nil
	f, createErr := os.Create(filepath.Clean(name + ".allocs"))
	if err = errors.Join(err, createErr); err != nil {
		return fmt.Errorf("closing a profile: %w", err)
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
