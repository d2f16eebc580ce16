package journal_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
	"github.com/grapnel/grapnel/internal/store/journal"
)

var parallel = []int{1, 16, 64, 256}

// BenchmarkRaw is the limit that BenchmarkAppend is held against: the same
// callers, one goroutine that writes what waits and syncs once, nothing else.
func BenchmarkRaw(b *testing.B) {
	for _, p := range parallel {
		b.Run(fmt.Sprintf("p=%d", p), func(b *testing.B) {
			f, err := disk.OS().Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer closing(b, f)
			raw := &rawLog{f: f, wake: make(chan struct{}, 1), stop: make(chan struct{})}
			go raw.run(b)
			defer close(raw.stop)
			body := bytes.Repeat([]byte("x"), 1024)
			load(b, p, func() error { return raw.append(body) })
		})
	}
}

type rawLog struct {
	f          disk.File
	wake, stop chan struct{}
	mu         sync.Mutex
	list       []rawEntry
}

type rawEntry struct {
	body []byte
	done chan error
}

func (r *rawLog) append(body []byte) error {
	done := make(chan error, 1)
	r.mu.Lock()
	r.list = append(r.list, rawEntry{body, done})
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return <-done
}

func (r *rawLog) run(b *testing.B) {
	b.Helper()
	var buf []byte
	var at int64
	for {
		select {
		case <-r.wake:
		case <-r.stop:
			return
		}
		r.mu.Lock()
		list := r.list
		r.list = nil
		r.mu.Unlock()
		buf = buf[:0]
		for _, e := range list {
			buf = append(buf, e.body...)
		}
		if len(buf) == 0 {
			continue
		}
		_, err := r.f.WriteAt(buf, at)
		if err == nil {
			err = r.f.Sync()
		}
		if err != nil {
			b.Error(err)
		}
		at += int64(len(buf))
		for _, e := range list {
			e.done <- err
		}
	}
}

// BenchmarkAppend appends events with a body of 1 KiB, as ingest makes them, with
// one delivery each.
func BenchmarkAppend(b *testing.B) {
	for _, p := range parallel {
		b.Run(fmt.Sprintf("p=%d", p), func(b *testing.B) {
			j, _, err := journal.Open(b.Context(), journal.Config{
				Dir: b.TempDir(), Committed: func([]*journal.Commit) {},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer closing(b, j)
			body := bytes.Repeat([]byte("x"), 1024)
			load(b, p, func() error {
				return j.Append(b.Context(), &store.Batch{Events: []*store.Event{webhook(body)}})
			})
		})
	}
}

// load runs fn b.N times on p goroutines.
func load(b *testing.B, p int, fn func() error) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(1024)
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range p {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := fn(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// webhook returns an event as ingest makes them.
func webhook(body []byte) *store.Event {
	now := time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.UTC)
	return &store.Event{
		Envelope: event.Envelope{
			ID: "0190f2a0-0000-7000-8000-000000000001", DetailType: "pull_request", Source: "github.com",
			Account: "000000000000", Region: "us-east-1", Time: now, Detail: body,
		},
		Received: now, Bus: "default", Endpoint: "github", DetailIsBody: true,
		Raw: &store.Raw{
			Method: "POST", Path: "/in/github", Proto: "HTTP/1.1", Host: "hooks.example.com", RemoteAddr: "192.0.2.1:4711",
			Header: []store.Field{
				{Name: "Content-Type", Value: "application/json"},
				{Name: "User-Agent", Value: "GitHub-Hookshot/a1b2c3d"},
				{Name: "X-Github-Event", Value: "pull_request"},
				{Name: "X-Hub-Signature-256", Value: "***"},
			},
			Body: body, Masked: []string{"X-Hub-Signature-256"},
		},
		ProviderID: "72d3162e-cc78-11e3-81ab-4c9367dc0958", VerifiedBy: &store.Verified{Profile: "github"},
		Generation: "a1b2c3d4",
		Deliveries: []*store.Delivery{{
			Rule: "opened-prs", Target: "crm", Destination: "crm", Origin: store.OriginMatch, Mode: store.Async,
			Deadline: now.Add(24 * time.Hour),
		}},
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	e := webhook(bytes.Repeat([]byte("x"), 1024))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = journal.AppendEvent(dst[:0], e)
	}
	b.ReportMetric(float64(len(dst)), "head-bytes")
}

func BenchmarkDecodeEvent(b *testing.B) {
	e := webhook(bytes.Repeat([]byte("x"), 1024))
	head := journal.AppendEvent(nil, e)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := journal.DecodeEvent(1, head, e.Raw.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// filled is a journal with 64 MiB of events in one segment.
func filled(b *testing.B) (j *journal.Journal, cfg journal.Config, at []store.Position) {
	b.Helper()
	cfg = journal.Config{Dir: b.TempDir(), Reserve: -1}
	j = open(b, cfg)
	body := bytes.Repeat([]byte("x"), 1024)
	for range 128 {
		var waiting sync.WaitGroup
		for range 360 {
			e := webhook(body)
			waiting.Add(1)
			j.Submit(&store.Batch{Events: []*store.Event{e}}, func(err error) {
				defer waiting.Done()
				if err != nil {
					b.Error(err)
				}
				at = append(at, e.At)
			})
		}
		waiting.Wait()
	}
	return j, cfg, at
}

func BenchmarkScan(b *testing.B) {
	j, _, at := filled(b)
	b.SetBytes(j.Stats().Bytes)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		_, err := j.Scan(b.Context(), 0, func(store.Record) error {
			n++
			return nil
		})
		if err != nil || n != len(at) {
			b.Fatalf("%d of %d, %v", n, len(at), err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	j, _, at := filled(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(at)
		if _, err := j.Read(at[i]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadHead(b *testing.B) {
	j, _, at := filled(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(at)
		if _, _, err := j.ReadHead(at[i]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	j, cfg, _ := filled(b)
	b.SetBytes(j.Stats().Bytes)
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		j, _, err := journal.Open(b.Context(), cfg)
		if err == nil {
			err = j.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
