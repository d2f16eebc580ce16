// Package lifecycle starts and stops the parts of a process in order. Every
// long-running goroutine is started through a Group, ends when the Group stops
// it, and is waited for.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/grapnel/grapnel/internal/fault"
)

// Group holds what has been started. Things are stopped in the reverse order in
// which they were added, which makes Stop the rollback of a start that failed
// half way, too. The zero Group is ready for use.
type Group struct {
	mu      sync.Mutex // guards stops, stopped
	stops   []stop
	stopped bool

	once    sync.Once
	failure chan error
}

type stop struct {
	name string
	fn   func(context.Context) error
}

// OnStop registers the teardown of something that has been built. It is called
// once, with the context given to Stop.
func (g *Group) OnStop(name string, fn func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stops = append(g.stops, stop{name, fn})
}

// Go runs fn in a goroutine until its turn to stop comes: then its context is
// canceled and it is waited for. A service that returns earlier with an error
// is reported by Failed.
func (g *Group) Go(name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() {
		err := fn(ctx)
		if err != nil && ctx.Err() == nil {
			select {
			case g.failed() <- fmt.Errorf("running %s: %w", name, err):
			default: // the first failure is the one that matters
			}
		}
		done <- err
	}()
	g.OnStop(name, func(limit context.Context) error {
		cancel(errStopped)
		select {
		case err := <-done:
			if errors.Is(err, context.Canceled) || errors.Is(err, errStopped) {
				return nil
			}
			return err
		case <-limit.Done():
			return fault.New(fault.Transient, "stop_timeout", "%s did not stop in time", name)
		}
	})
}

var errStopped = errors.New("stopped")

// Failed delivers the first error with which a service ended by itself.
func (g *Group) Failed() <-chan error { return g.failed() }

func (g *Group) failed() chan error {
	g.once.Do(func() { g.failure = make(chan error, 1) })
	return g.failure
}

// Stop tears everything down, last first, and returns what went wrong. It goes
// on after an error. A second call does nothing.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	stops := g.stops
	again := g.stopped
	g.stopped, g.stops = true, nil
	g.mu.Unlock()
	if again {
		return nil
	}
	var errs []error
	for _, s := range slices.Backward(stops) {
		if err := s.fn(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}
