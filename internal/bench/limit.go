package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// githubHandler reads a body, checks GitHub's signature and answers 200 when take
// has returned nil.
func githubHandler(secret string, take func(body []byte) error) http.Handler {
	keys := newMACs([]byte(secret))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(r)
		switch {
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		case !keys.githubSigned(r.Header, body):
			w.WriteHeader(http.StatusUnauthorized)
		case take(body) != nil:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// readBody reads a body of known length.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > 2*maxBody {
		return nil, fmt.Errorf("body of length %d", r.ContentLength)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// serve listens on loopback until the returned function is called, which waits
// for the requests under way.
func serve(ctx context.Context, h http.Handler) (addr string, stop func(context.Context) error, err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience, ReadTimeout: 2 * patience}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	return l.Addr().String(), func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}

// startBare answers when the signature is right: what net/http costs.
func startBare(ctx context.Context, s setup) (*part, error) {
	count := newLedger(s.message, s.Capacity)
	addr, stop, err := serve(ctx, githubHandler(s.Secret, func(body []byte) error {
		count.note(body, time.Now())
		return nil
	}))
	if err != nil {
		return nil, err
	}
	return &part{hello: hello{Addr: addr}, count: count, stop: stop}, nil
}

// startDurable answers when the body is on disk too.
func startDurable(ctx context.Context, s setup) (*part, error) {
	return durable(ctx, s, func([]byte) {}, func(context.Context) error { return nil })
}

// durable is the handler that answers when the body is on disk, and hands it on.
func durable(ctx context.Context, s setup, then func([]byte), after func(context.Context) error) (*part, error) {
	name := filepath.Join(s.Dir, "bodies.log")
	bodies, err := createLog(name)
	if err != nil {
		return nil, err
	}
	addr, stop, err := serve(ctx, githubHandler(s.Secret, func(body []byte) error {
		if err := bodies.append(body); err != nil {
			return err
		}
		then(body)
		return nil
	}))
	if err != nil {
		return nil, errors.Join(err, bodies.close())
	}
	return &part{
		hello: hello{Addr: addr},
		// What is counted is what the file holds.
		read: func(context.Context) (*ledger, error) {
			count := newLedger(s.message, s.Capacity)
			err := readLog(name, func(body []byte) { count.note(body, time.Now()) })
			return count, err
		},
		stop: func(ctx context.Context) error {
			return errors.Join(stop(ctx), after(ctx), bodies.close())
		},
	}, nil
}

// startDeliver makes the body durable, answers, and posts it, signed, to the
// receiver, as many at a time as Grapnel is allowed.
func startDeliver(ctx context.Context, s setup) (*part, error) {
	d := newForwarder(s) //nolint:contextcheck // what it posts outlives the requests
	return durable(ctx, s, func(body []byte) { d.jobs <- body }, d.stop)
}

// forwarder posts bodies to the receiver from a bounded number of workers.
type forwarder struct {
	url    string
	client *http.Client
	keys   *macs
	run    string
	number atomic.Int64
	jobs   chan []byte
	group  sync.WaitGroup
}

func newForwarder(s setup) *forwarder {
	d := &forwarder{
		url: s.Receiver, run: s.Run, keys: newMACs(deliverySecret()),
		client: &http.Client{
			Timeout:   patience,
			Transport: &http.Transport{MaxIdleConnsPerHost: deliveryWorkers, MaxConnsPerHost: deliveryWorkers},
		},
		// When the receiver is the slower one the handlers wait here, with them
		// the senders, and memory stays bounded.
		jobs: make(chan []byte, 16*deliveryWorkers),
	}
	for range deliveryWorkers {
		d.group.Go(func() {
			for body := range d.jobs {
				d.deliver(body)
			}
		})
	}
	return d
}

// deliver tries three times; what did not arrive then is missing at the receiver,
// where it is found.
func (d *forwarder) deliver(body []byte) {
	id := "msg_" + d.run + strconv.FormatInt(d.number.Add(1), 10)
	for range 3 {
		if d.post(id, body) == nil {
			return
		}
	}
}

func (d *forwarder) post(id string, body []byte) error {
	// The queue outlives the requests that filled it, so that their contexts do
	// not apply; the client's time limit does.
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	req.Header["Content-Type"] = []string{"application/json"}
	d.keys.standardSign(req.Header, id, time.Now(), body)
	resp, err := d.client.Do(req)
	if err != nil {
		return fmt.Errorf("posting: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("posting: status %d", resp.StatusCode)
	}
	return err
}

func (d *forwarder) stop(context.Context) error {
	close(d.jobs)
	d.group.Wait()
	d.client.CloseIdleConnections()
	return nil
}

// startReceiver takes deliveries, checks their signature and counts what they
// bring.
func startReceiver(ctx context.Context, s setup) (*part, error) {
	count := newLedger(s.message, s.Capacity)
	keys := newMACs(deliverySecret())
	addr, stop, err := serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		body, err := readBody(r)
		switch {
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
			return
		case !keys.standardSigned(r.Header, body):
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if s.Envelope {
			body = s.message.within(body)
		}
		count.note(body, now)
	}))
	if err != nil {
		return nil, err
	}
	return &part{hello: hello{Addr: addr}, count: count, stop: stop}, nil
}
