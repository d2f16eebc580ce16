package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long after its end a phase may wait for answers.
const patience = 30 * time.Second

// target is whom to load, and with what.
type target struct {
	addr, path string
	secret     string // of GitHub's signature
	message    *message
}

// load sends the messages of one run over a fixed number of connections, each
// with its next message only when the last one was answered. Requests are built
// once; a message costs a number in three places, one HMAC, one write and a read.
type load struct {
	target  target
	senders []*sender

	next  atomic.Int64
	fates []fate
	// sent and answered are nanoseconds since 1970, by message. A message is
	// touched by one sender only.
	sent, answered []int64
}

// phase is one stretch of load: messages first to last-1.
type phase struct {
	first, last int
	start, end  time.Time
	due         func(n int) time.Time // open loop: when a message should have been sent
	errors      map[string]int        // by status or kind of failure
}

// newLoad connects count senders. The load has room for capacity messages.
func newLoad(ctx context.Context, t target, count, capacity int) (*load, error) {
	l := &load{
		target: t, fates: make([]fate, capacity),
		sent: make([]int64, capacity), answered: make([]int64, capacity),
	}
	for range count {
		s := newSender(t)
		if err := s.connect(ctx); err != nil {
			l.close()
			return nil, err
		}
		l.senders = append(l.senders, s)
	}
	return l, nil
}

func (l *load) close() {
	for _, s := range l.senders {
		s.close()
	}
}

// closed sends for a time as fast as it is answered.
func (l *load) closed(ctx context.Context, d time.Duration) phase {
	end := time.Now().Add(d)
	return l.run(ctx, end, nil, func(int) bool { return time.Now().Before(end) })
}

// count sends at most n messages as fast as they are answered.
func (l *load) count(ctx context.Context, n int) phase {
	limit := int(l.next.Load()) + n
	return l.run(ctx, time.Now(), nil, func(n int) bool { return n < limit })
}

// open sends perSecond messages a second for a time, whether or not the last ones
// were answered, as long as there are connections.
func (l *load) open(ctx context.Context, perSecond int, d time.Duration) phase {
	start, first := time.Now(), int(l.next.Load())
	limit := first + int(d.Seconds()*float64(perSecond))
	due := func(n int) time.Time {
		return start.Add(time.Duration(n-first) * time.Second / time.Duration(perSecond))
	}
	return l.run(ctx, start.Add(d), due, func(n int) bool { return n < limit && wait(ctx, due(n)) })
}

// wait returns at the time, or false when ctx ends before.
func wait(ctx context.Context, at time.Time) bool {
	left := time.Until(at)
	if left <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// run lets all senders take messages while more says so.
func (l *load) run(ctx context.Context, end time.Time, due func(int) time.Time, more func(n int) bool) phase {
	p := phase{first: int(l.next.Load()), start: time.Now(), due: due, errors: map[string]int{}}
	var mu sync.Mutex // guards p.errors
	var group sync.WaitGroup
	for _, s := range l.senders {
		s.deadline(end.Add(patience))
		group.Go(func() {
			errs := l.work(ctx, s, more)
			mu.Lock()
			defer mu.Unlock()
			for what, n := range errs {
				p.errors[what] += n
			}
		})
	}
	group.Wait()
	p.end = time.Now()
	p.last = min(int(l.next.Load()), len(l.fates))
	return p
}

// maxBroken is how many broken connections in a row a sender puts up with.
const maxBroken = 3

func (l *load) work(ctx context.Context, s *sender, more func(n int) bool) map[string]int {
	errs := map[string]int{}
	for broken := 0; broken < maxBroken && ctx.Err() == nil; {
		n := int(l.next.Add(1)) - 1
		if n >= len(l.fates) || !more(n) {
			return errs // the number stays unsent
		}
		l.fates[n] = unknown
		l.sent[n] = time.Now().UnixNano()
		status, err := s.send(ctx, n)
		l.answered[n] = time.Now().UnixNano()
		switch {
		case err != nil:
			broken++
			errs["connection"]++
		case status/100 == 2:
			broken = 0
			l.fates[n] = accepted
		default:
			broken = 0
			l.fates[n] = refused
			errs["status "+strconv.Itoa(status)]++
		}
	}
	return errs
}

// accepted returns how many messages of the phase were answered with 2xx.
func (l *load) accepted(p phase) int {
	n := 0
	for _, f := range l.fates[p.first:p.last] {
		if f == accepted {
			n++
		}
	}
	return n
}

// sender is one connection and the request that it sends again and again.
type sender struct {
	addr    string
	conn    net.Conn
	until   time.Time
	reader  *bufio.Reader
	request []byte
	mac     hash.Hash
	sum     [sha256.Size]byte

	// Parts of request that change with the message.
	delivery, signature, body, number []byte
}

func newSender(t target) *sender {
	signature := bytes.Repeat([]byte("0"), hex.EncodedLen(sha256.Size))
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: GitHub-Hookshot/bench\r\n"+
		"Content-Type: application/json\r\nX-GitHub-Event: pull_request\r\n"+
		"X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-", t.path, t.addr)
	delivery := len(head)
	head = append(head, "000000000000\r\nX-Hub-Signature-256: sha256="...)
	signed := len(head)
	head = append(head, signature...)
	head = fmt.Appendf(head, "\r\nContent-Length: %d\r\n\r\n", len(t.message.text))
	body := len(head)
	request := append(head, t.message.text...)
	return &sender{
		addr: t.addr, request: request, mac: hmac.New(sha256.New, []byte(t.secret)),
		delivery:  request[delivery : delivery+12],
		signature: request[signed : signed+len(signature)],
		body:      request[body:],
		number:    request[body+t.message.hole : body+t.message.hole+numberWidth],
	}
}

func (s *sender) connect(ctx context.Context) error {
	s.close()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", s.addr, err)
	}
	s.conn = conn
	if s.reader == nil {
		s.reader = bufio.NewReader(conn)
	} else {
		s.reader.Reset(conn)
	}
	return conn.SetDeadline(s.until)
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close() // nothing is waiting for it
		s.conn = nil
	}
}

// deadline ends whatever waits on the connection at the time.
func (s *sender) deadline(at time.Time) {
	s.until = at
	if s.conn != nil {
		_ = s.conn.SetDeadline(at) // fails on a closed connection only, which the next send finds
	}
}

// send sends message n and returns the status of its answer. After an error, and
// where the server asks for it, the next message goes over a new connection.
func (s *sender) send(ctx context.Context, n int) (int, error) {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return 0, err
		}
	}
	putHex(s.number, uint64(n))
	putHex(s.delivery, uint64(n))
	s.mac.Reset()
	s.mac.Write(s.body)
	hex.Encode(s.signature, s.mac.Sum(s.sum[:0]))
	if _, err := s.conn.Write(s.request); err != nil {
		s.close()
		return 0, fmt.Errorf("sending a request: %w", err)
	}
	status, keep, err := readResponse(s.reader)
	if err != nil || !keep {
		s.close()
	}
	return status, err
}
