package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// stage is what one turn of a contender needs: a directory, the contender, the
// receiver if it delivers, and the load.
type stage struct {
	contender contender
	command   []string
	setup     setup
	subject   *child
	receiver  *child // nil if nothing is delivered
	load      *load
}

// startLimit is how long a child may take to be ready.
const startLimit = patience

// webhookSecret is the key with which webhooks are signed.
const webhookSecret = "a secret that GitHub and we share"

// newSetup returns the setup of a run with a directory of its own.
func (b *bench) newSetup(capacity int) (setup, error) {
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		return setup{}, fmt.Errorf("making a directory for a run: %w", err)
	}
	s := setup{Dir: dir, Run: newRun(), Secret: webhookSecret, BodySize: b.BodySize, Capacity: capacity}
	s.message, err = newMessage(s.Run, s.BodySize)
	return s, err
}

// newStage starts the processes of a turn. On error nothing is left.
func (b *bench) newStage(ctx context.Context, c contender, capacity int) (*stage, error) {
	s, err := b.newSetup(capacity)
	if err != nil {
		return nil, err
	}
	st := &stage{contender: c, command: b.Command, setup: s}
	if err := st.start(ctx, b.Connections, capacity); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// start starts the processes; on error some may run.
func (st *stage) start(ctx context.Context, connections, capacity int) (err error) {
	c := st.contender
	st.setup.Envelope = c.envelope
	if c.delivers {
		if st.receiver, err = spawn(ctx, st.command, roleReceiver, st.setup, startLimit); err != nil {
			return err
		}
		st.setup.Receiver = "http://" + st.receiver.hello.Addr + "/"
	}
	if st.subject, err = spawn(ctx, st.command, c.role, st.setup, startLimit); err != nil {
		return err
	}
	t := target{addr: st.subject.hello.Addr, path: ingestPath, secret: st.setup.Secret, message: st.setup.message}
	st.load, err = newLoad(ctx, t, connections, capacity)
	return err
}

// close ends what still runs and removes the directory.
func (st *stage) close() {
	if st.load != nil {
		st.load.close()
	}
	for _, c := range []*child{st.subject, st.receiver} {
		if c != nil {
			c.kill()
		}
	}
	_ = os.RemoveAll(st.setup.Dir) // the directory above goes at the end, and tells
}

// How long deliveries may stand still, and how often that is looked at.
const (
	standstill = 15 * time.Second
	lookEvery  = 10 * time.Millisecond
)

// arrived returns when all that was accepted so far has arrived at the receiver,
// or nothing has arrived for a while: the account finds what is missing.
func (st *stage) arrived(ctx context.Context) error {
	if st.receiver == nil {
		return ctx.Err()
	}
	want := int64(0)
	for _, f := range st.load.fates {
		if f == accepted {
			want++
		}
	}
	last, since := int64(-1), time.Now()
	for {
		a, err := st.receiver.ask(question{Ask: askArrived})
		switch {
		case err != nil:
			return err
		case a.Arrived >= want:
			return nil
		case a.Arrived != last:
			last, since = a.Arrived, time.Now()
		case time.Since(since) > standstill:
			return nil
		}
		if !wait(ctx, time.Now().Add(lookEvery)) {
			return context.Cause(ctx)
		}
	}
}

// stageUsage is what everybody on a stage has used.
type stageUsage struct{ subject, receiver, load usage }

func (st *stage) usage() (u stageUsage, err error) {
	own, err := measureUsage()
	if err != nil {
		return u, err
	}
	u.load = *own
	if u.subject, err = st.subject.usage(); err != nil {
		return u, err
	}
	if st.receiver != nil {
		u.receiver, err = st.receiver.usage()
	}
	return u, err
}

// account looks for everything that was accepted where it was stored, and where
// it was delivered. The error says what is wrong with it.
func (st *stage) account(ctx context.Context, r *Round) error {
	var errs []error
	if st.receiver != nil {
		a, err := st.receiver.arrivals(false)
		if err != nil {
			return err
		}
		r.Delivered = st.audit(a)
		errs = append(errs, problem(r.Delivered, "delivered"))
	}
	a, err := st.stored(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	r.Stored = st.audit(a)
	return errors.Join(append(errs, problem(r.Stored, "stored"))...)
}

func (st *stage) audit(a *arrivals) *audit {
	found := check(st.load.fates, a)
	return &found
}

func problem(a *audit, where string) error {
	if text := a.problem(where); text != "" {
		return errors.New(text)
	}
	return nil
}

// stored asks what the contender has kept: the limits tell from their file,
// Grapnel's data directory is opened by another process after it has ended.
func (st *stage) stored(ctx context.Context) (*arrivals, error) {
	if st.contender.role != roleGrapnel {
		return st.subject.arrivals(false)
	}
	if err := st.subject.stop(); err != nil {
		return nil, err
	}
	reader, err := spawn(ctx, st.command, roleHistory, st.setup, startLimit)
	if err != nil {
		return nil, err
	}
	defer reader.kill()
	return reader.arrivals(false)
}
