package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// fillBatch is how many events are committed at a time while a store is filled.
const fillBatch = 256

// startFill puts events into the store of a data directory, says hello when they
// are all there, and has nothing to do afterwards.
func startFill(ctx context.Context, s setup) (p *part, err error) {
	opened, err := embedded.Open(ctx, embedded.Config{Dir: filepath.Join(s.Dir, "data")})
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	defer func() { err = errors.Join(err, opened.Close()) }() //nolint:contextcheck // Close has none
	// An hour of events that ends now, in order.
	start, step := time.Now().Add(-time.Hour), time.Hour/time.Duration(s.Events)
	for n := 0; n < s.Events; n += fillBatch {
		batch := &store.Batch{}
		for i := n; i < min(n+fillBatch, s.Events); i++ {
			batch.Events = append(batch.Events, filler(s, i, start.Add(time.Duration(i)*step)))
		}
		if err := opened.Append(ctx, batch); err != nil {
			return nil, fmt.Errorf("filling the store: %w", err)
		}
	}
	return &part{}, nil
}

// fillerTypes are the types of the events that fill a store.
var fillerTypes = [...]string{"push", "pull_request", "issues", "check_run", "workflow_job", "release"}

// filler is event n as ingest would have made it.
func filler(s setup, n int, at time.Time) *store.Event {
	body := s.message.body(n)
	provider := fmt.Sprintf("72d3162e-cc78-11e3-81ab-%012x", n)
	return &store.Event{
		Envelope: event.Envelope{
			ID: event.NewID(at), Source: "github.com", DetailType: fillerTypes[n%len(fillerTypes)],
			Account: "000000000000", Region: "us-east-1", Time: at, Detail: body,
		},
		Received: at, Bus: "default", Endpoint: "github", DetailIsBody: true, ProviderID: provider,
		Raw: &store.Raw{
			Method: "POST", Path: ingestPath, Proto: "HTTP/1.1", Host: "127.0.0.1", RemoteAddr: "127.0.0.1:1",
			Header: []store.Field{
				{Name: "Content-Type", Value: "application/json"}, {Name: "X-Github-Delivery", Value: provider},
			},
			Body: body,
		},
		VerifiedBy: &store.Verified{Profile: "github"},
	}
}
