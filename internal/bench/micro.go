package bench

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/pattern"
	"github.com/grapnel/grapnel/signature"
)

// micro times the steps of a webhook that are neither network nor disk.
func (b *bench) micro() error {
	b.tell("steps alone")
	m, err := newMessage(newRun(), b.BodySize)
	if err != nil {
		return err
	}
	body := m.body(1)
	for _, step := range []struct {
		name, title string
		prepare     func(body []byte) (func() error, error)
	}{
		{"verify", "verify a GitHub signature", verifyStep},
		{"match", "match one rule", matchStep},
		{"envelope", "write the envelope", envelopeStep},
	} {
		run, err := step.prepare(body)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", step.name, err)
		}
		nanos, allocs, err := timeStep(run)
		if err != nil {
			return fmt.Errorf("running %s: %w", step.name, err)
		}
		b.report.Micro = append(b.report.Micro, Micro{Name: step.name, Title: step.title, Nanos: Decimal(nanos), Allocs: Decimal(allocs)})
	}
	return nil
}

func verifyStep(body []byte) (func() error, error) {
	verifier, err := signature.New("github", signature.Secrets(webhookSecret))
	if err != nil {
		return nil, err
	}
	sum := newMACs([]byte(webhookSecret)).sum(body)
	request := &signature.Request{
		Method: http.MethodPost, URL: "http://127.0.0.1" + ingestPath, Body: body,
		Header: http.Header{"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(sum[:])}},
	}
	now := time.Now()
	return func() error {
		_, err := verifier.Verify(request, now)
		return err
	}, nil
}

// sample is the event that a webhook with the body becomes.
func sample(body []byte) *event.Envelope {
	now := time.Now()
	return &event.Envelope{
		ID: event.NewID(now), Source: "github.com", DetailType: "pull_request",
		Account: "000000000000", Region: "us-east-1", Time: now, Detail: body,
	}
}

func matchStep(body []byte) (func() error, error) {
	compiled, err := pattern.Compile([]byte(
		`{"source": ["github.com"], "detail-type": ["pull_request"], "detail": {"action": ["opened"]}}`,
	))
	if err != nil {
		return nil, err
	}
	rules, matched := pattern.NewSet([]*pattern.Pattern{compiled}), []int(nil)
	parts := pattern.Event{Envelope: sample(body).AppendHead(nil), Detail: body}
	return func() error {
		var err error
		if matched, err = rules.MatchEvent(parts, matched[:0]); err != nil {
			return err
		}
		if len(matched) != 1 {
			return fmt.Errorf("%d rules matched instead of 1", len(matched))
		}
		return nil
	}, nil
}

func envelopeStep(body []byte) (func() error, error) {
	envelope, buf := sample(body), []byte(nil)
	return func() error {
		buf = envelope.AppendJSON(buf[:0])
		return nil
	}, nil
}

// timeStep runs a step for a while and returns the time and the allocations of
// the fastest of three stretches.
func timeStep(run func() error) (nanos, allocs float64, err error) {
	const stretch = 50 * time.Millisecond
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin, n := time.Now(), 0
		for time.Since(begin) < stretch {
			for range 100 {
				if err := run(); err != nil {
					return 0, 0, err
				}
			}
			n += 100
		}
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		if each := float64(took) / float64(n); nanos == 0 || each < nanos {
			nanos = each
			// What the process does beside the step is not the step's.
			allocs = float64((after.Mallocs - before.Mallocs) / uint64(n))
		}
	}
	return nanos, allocs, nil
}
