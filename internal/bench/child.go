package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// child is a process that plays a role.
type child struct {
	role    string
	command *exec.Cmd
	in      io.WriteCloser
	asks    *json.Encoder
	answers *json.Decoder
	errors  *tail
	hello   hello
	stopped bool
}

// spawn starts a child and returns when it is ready, at the latest after limit.
func spawn(ctx context.Context, command []string, role string, s setup, limit time.Duration) (*child, error) {
	args := append(append([]string(nil), command[1:]...), role)
	process := exec.CommandContext(ctx, command[0], args...) //nolint:gosec // this program, or what the tests put in its place
	c := &child{role: role, command: process, errors: &tail{}}
	c.command.Stderr = c.errors
	c.command.WaitDelay = time.Second
	var err error
	if c.in, err = c.command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", role, err)
	}
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", role, err)
	}
	c.asks, c.answers = json.NewEncoder(c.in), json.NewDecoder(out)
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", role, err)
	}
	err = c.within(limit, func() error {
		return errors.Join(c.asks.Encode(s), c.answers.Decode(&c.hello)) //nolint:gosec // the secret is of this run only
	})
	if err == nil && c.hello.Error != "" {
		err = errors.New(c.hello.Error)
	}
	if err != nil {
		c.kill()
		return nil, fmt.Errorf("starting %s: %w%s", role, err, c.errors)
	}
	return c, nil
}

// within runs fn, which waits for the child, and kills the child when that takes
// longer than the limit.
func (c *child) within(limit time.Duration, fn func() error) error {
	timer := time.AfterFunc(limit, func() {
		_ = c.command.Process.Kill() // fails if it has ended, which is what is wanted
	})
	defer timer.Stop()
	return fn()
}

// ask puts a question to the child.
func (c *child) ask(q question) (answer, error) {
	var a answer
	err := c.within(4*patience, func() error {
		if err := c.asks.Encode(q); err != nil {
			return err
		}
		return c.answers.Decode(&a)
	})
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		return a, fmt.Errorf("asking %s for %s: %w%s", c.role, q.Ask, err, c.errors)
	}
	return a, nil
}

// usage asks the child what it has used.
func (c *child) usage() (usage, error) {
	a, err := c.ask(question{Ask: askUsage})
	if err != nil {
		return usage{}, err
	}
	if a.Usage == nil {
		return usage{}, fmt.Errorf("asking %s for its usage: no answer", c.role)
	}
	return *a.Usage, nil
}

// arrivals asks the child what arrived.
func (c *child) arrivals(times bool) (*arrivals, error) {
	a, err := c.ask(question{Ask: askArrivals, Times: times})
	if err == nil && a.Arrivals == nil {
		err = fmt.Errorf("asking %s for what arrived: no answer", c.role)
	}
	return a.Arrivals, err
}

// stop lets the child end by itself and returns how it did. A second stop does
// nothing.
func (c *child) stop() error {
	if c.stopped {
		return nil
	}
	c.stopped = true
	_ = c.in.Close() // whoever has ended reads no more
	if err := c.within(2*patience, c.command.Wait); err != nil {
		return fmt.Errorf("stopping %s: %w%s", c.role, err, c.errors)
	}
	return nil
}

// kill ends the child at once.
func (c *child) kill() {
	if c.stopped {
		return
	}
	c.stopped = true
	_ = c.in.Close()             // see stop
	_ = c.command.Process.Kill() // see within
	_ = c.command.Wait()         // it was killed: how it ended is known
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

const tailSize = 2048

// Write keeps the end of p.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

// String returns the end on lines of their own, ready to follow a message.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(bytes.ToValidUTF8(t.text, nil)))
	if text == "" {
		return ""
	}
	return "\n  it wrote: " + strings.ReplaceAll(text, "\n", "\n  ")
}
