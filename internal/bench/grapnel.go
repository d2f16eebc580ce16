package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/grapnel/grapnel/internal/daemon"
	"github.com/grapnel/grapnel/internal/obs"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// deliveryWorkers is how many deliveries may be under way at a time.
const deliveryWorkers = 64

// ingestPath is where contenders take webhooks; the limits take them anywhere.
const ingestPath = "/in/github"

// deliverySecret is the key with which deliveries are signed.
func deliverySecret() []byte { return []byte("a secret of the receiver, 32 B..") }

// configuration returns the configuration file of Grapnel for a run: one GitHub
// source and, if there is a receiver, one rule that all messages match and one
// signed webhook destination.
func configuration(s setup) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
data: %q
network: {allow: [127.0.0.0/8]}
sources:
  github: {provider: github, secrets: [%q]}
`, filepath.Join(s.Dir, "data"), s.Secret)
	if s.Receiver == "" {
		return b.Bytes()
	}
	input := ", input: {body: raw}"
	if s.Envelope {
		input = "" // a target without input gets the envelope
	}
	fmt.Fprintf(&b, `destinations:
  receiver:
    kind: webhook
    url: %q
    max_in_flight: %d
    signing: {scheme: standard-webhooks, secrets: [%q]}
rules:
  opened:
    pattern: {source: [github.com], detail-type: [pull_request], detail: {action: [opened]}}
    targets:
      - {to: receiver%s}
`, s.Receiver, deliveryWorkers, "whsec_"+base64.StdEncoding.EncodeToString(deliverySecret()), input)
	return b.Bytes()
}

// startGrapnel is Grapnel itself, with the wiring of serve.
func startGrapnel(ctx context.Context, s setup) (*part, error) {
	name := filepath.Join(s.Dir, "grapnel.yaml")
	if err := os.WriteFile(name, configuration(s), 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	log, err := obs.NewLogger(os.Stderr, "warn", "text")
	if err != nil {
		return nil, err
	}
	d, err := daemon.New(ctx, daemon.Options{ConfigPath: name, Version: "bench", Log: log})
	if err != nil {
		return nil, fmt.Errorf("making a daemon: %w", err)
	}
	if err := d.Start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a daemon: %w", err), d.Stop(ctx))
	}
	return &part{
		hello: hello{Addr: d.PublicAddr(), Admin: d.AdminAddr(), Token: d.Token().Reveal()},
		stop:  d.Stop,
	}, nil
}

// startHistory reads what a Grapnel that has ended left in its data directory.
func startHistory(_ context.Context, s setup) (*part, error) {
	return &part{read: func(ctx context.Context) (*ledger, error) { return readHistory(ctx, s) }}, nil
}

func readHistory(ctx context.Context, s setup) (count *ledger, err error) {
	opened, err := embedded.Open(ctx, embedded.Config{Dir: filepath.Join(s.Dir, "data")})
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	defer func() { err = errors.Join(err, opened.Close()) }() //nolint:contextcheck // Close has none
	count = newLedger(s.message, s.Capacity)
	_, err = opened.Scan(ctx, 0, func(r store.Record) error {
		if r.Event != nil && r.Event.Raw != nil {
			count.note(r.Event.Raw.Body, time.Now())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("scanning the store: %w", err)
	}
	return count, nil
}
