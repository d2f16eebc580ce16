package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
	"github.com/grapnel/grapnel/internal/secret"
)

// admin returns a client of a Grapnel.
func (c *child) admin() (*client.Client, error) {
	return client.New(client.Config{
		URL: "http://" + c.hello.Admin, Token: secret.New(c.hello.Token), Agent: "grapnel-bench",
	})
}

// ready returns when a Grapnel says that it takes events.
func ready(ctx context.Context, admin *client.Client) error {
	limit, cancel := context.WithTimeoutCause(ctx, startLimit, errors.New("it is not ready in time"))
	defer cancel()
	for {
		r, err := admin.Ready(limit)
		switch {
		case err != nil:
			return err
		case r.Ready:
			return nil
		case !wait(limit, time.Now().Add(time.Millisecond)):
			return context.Cause(limit)
		}
	}
}

// footprint starts Grapnel a few times on an empty directory.
func (b *bench) footprint(ctx context.Context) {
	b.tell("start and idle memory")
	f := &b.report.Footprint
	var starts, sizes []float64
	for range 3 {
		start, size, err := b.idle(ctx)
		if err != nil {
			f.Failed = err.Error()
			return
		}
		starts, sizes = append(starts, float64(start)), append(sizes, float64(size))
	}
	f.Start, f.Idle = Millis(median(starts)), int64(median(sizes))
	if info, err := os.Stat(b.Command[0]); err == nil {
		f.Binary = info.Size()
	}
}

// idle starts a Grapnel and returns how long it took to be ready and what memory
// it holds a second later.
func (b *bench) idle(ctx context.Context) (time.Duration, int64, error) {
	s, err := b.newSetup(1)
	if err != nil {
		return 0, 0, err
	}
	s.Receiver = "http://127.0.0.1:9/" // a rule and a destination, as most have
	begin := time.Now()
	c, err := spawn(ctx, b.Command, roleGrapnel, s, startLimit)
	if err != nil {
		return 0, 0, err
	}
	defer c.kill()
	admin, err := c.admin()
	if err != nil {
		return 0, 0, err
	}
	defer admin.Close()
	if err := ready(ctx, admin); err != nil {
		return 0, 0, fmt.Errorf("waiting for Grapnel: %w", err)
	}
	took := time.Since(begin)
	wait(ctx, time.Now().Add(time.Second))
	u, err := c.usage()
	if err != nil {
		return 0, 0, err
	}
	return took, u.RSS, c.stop()
}

// list fills a store and lists its newest events.
func (b *bench) list(ctx context.Context) {
	if b.Events <= 0 || ctx.Err() != nil {
		return
	}
	b.tell("lists at %s events: filling the store", count(float64(b.Events)))
	out := &List{Events: b.Events}
	if err := b.listed(ctx, out); err != nil {
		out = &List{Events: b.Events, Failed: err.Error()}
	}
	b.report.List = out
}

// How long it may take to fill the store, and to index it.
const (
	fillLimit  = 20 * time.Minute
	indexLimit = 10 * time.Minute
)

func (b *bench) listed(ctx context.Context, out *List) error {
	s, err := b.newSetup(1)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.Dir) }() // see stage.close
	s.Events = b.Events
	begin := time.Now()
	filled, err := spawn(ctx, b.Command, roleFill, s, fillLimit)
	if err != nil {
		return err
	}
	out.Fill = Decimal(float64(b.Events) / time.Since(begin).Seconds())
	if err := filled.stop(); err != nil {
		return err
	}
	c, err := spawn(ctx, b.Command, roleGrapnel, s, startLimit)
	if err != nil {
		return err
	}
	defer c.kill()
	admin, err := c.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := indexed(ctx, admin); err != nil {
		return err
	}
	b.tell("lists at %s events: asking", count(float64(b.Events)))
	if out.Newest, err = timeLists(ctx, admin, api.EventFilter{Limit: 50}); err != nil {
		return err
	}
	if out.ByType, err = timeLists(ctx, admin, api.EventFilter{Limit: 50, Type: fillerTypes[0]}); err != nil {
		return err
	}
	return c.stop()
}

// indexed returns when the index has caught up with the journal.
func indexed(ctx context.Context, admin *client.Client) error {
	limit, cancel := context.WithTimeoutCause(ctx, indexLimit, errors.New("the index does not catch up"))
	defer cancel()
	for {
		s, err := admin.Status(limit)
		switch {
		case err != nil:
			return err
		case s.Ready.Ready && s.Store.IndexLag == 0:
			return nil
		case !wait(limit, time.Now().Add(50*time.Millisecond)):
			return context.Cause(limit)
		}
	}
}

// timeLists asks for a page again and again.
func timeLists(ctx context.Context, admin *client.Client, filter api.EventFilter) (Spread, error) {
	const warm, times = 20, 400
	var nanos []int64
	for n := range warm + times {
		begin := time.Now()
		page, err := admin.EventsPage(ctx, filter)
		if err != nil {
			return Spread{}, fmt.Errorf("listing events: %w", err)
		}
		if len(page.Events) != filter.Limit {
			return Spread{}, fmt.Errorf("listing events: %d in a page of %d", len(page.Events), filter.Limit)
		}
		if n >= warm {
			nanos = append(nanos, time.Since(begin).Nanoseconds())
		}
	}
	return spread(nanos), nil
}
