package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
	"github.com/grapnel/grapnel/internal/daemon"
	"github.com/grapnel/grapnel/internal/obs"
	"github.com/grapnel/grapnel/signature"
)

// demoLimit is how long a step of the demo may take before it counts as failed.
const demoLimit = 10 * time.Second

// demoConfig is the configuration of the demo; %[1]q and so on are the files and
// the receiver's URL.
const demoConfig = `# The configuration of grapnel demo.
listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
data: %[1]q
network: {allow: [127.0.0.0/8]}          # the receivers of the demo are on this machine

sources:
  github:
    provider: github
    secrets: [%[2]q]

destinations:
  deploy:
    kind: webhook
    url: %[3]q
    signing: {scheme: standard-webhooks, secrets: [%[5]q]}
  audit:
    kind: webhook
    url: %[4]q
    signing: {scheme: standard-webhooks, secrets: [%[5]q]}

rules:
  pushes-to-main:
    pattern: {source: [github.com], detail-type: [push], detail: {ref: [refs/heads/main]}}
    targets:
      - to: deploy                       # a small message, made of the event
        input:
          paths: {repository: $.detail.repository.full_name, commit: $.detail.after}
          template: '{"deploy": <repository>, "commit": <commit>}'
        retry: {base: 100ms, cap: 200ms}
      - to: audit                        # the bytes as they came
        input: {body: raw}
  releases:
    pattern: {source: [github.com], detail-type: [release]}
    targets: [{to: deploy}]
`

func (a *app) newDemo() *cobra.Command {
	var stay bool
	cmd := &cobra.Command{
		Use: "demo", Short: "See all of it at once, in a temporary directory", Args: none,
		Long: `Start Grapnel in a temporary directory with a GitHub source and two destinations, send it a
signed webhook and a forged one, deliver to a receiver that fails once, and print what
happened, step by step, as the API reports it. Nothing is left behind.

With --stay it keeps running, to be tried out by hand.

Exit codes: 0 every step happened, 1 one did not (it says which), 2 wrong command line,
130 interrupted.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), stay) },
	}
	cmd.Flags().BoolVar(&stay, "stay", false, "keep running until interrupted")
	return cmd
}

// demo is one run of the demo and what it has found out so far.
type demo struct {
	*app

	dir      string
	secret   string // of the source
	receiver *receiver
	daemon   *daemon.Daemon
	client   *client.Client
	status   api.Status

	eventID string
	event   api.EventDetail
}

func (a *app) demo(ctx context.Context, stay bool) (err error) {
	start := a.env.Now()
	d := &demo{app: a}
	stop, err := d.start(ctx)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return fmt.Errorf("starting the demo: %w", err)
	}
	a.out.line("")
	for i, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"Grapnel runs", d.stepRunning},
		{"A webhook, signed as GitHub signs", d.stepSend},
		{"The same with a forged signature", d.stepForge},
		{"The event", d.stepEvent},
		{"The rules", d.stepRules},
		{"The deliveries", d.stepDeliveries},
	} {
		a.out.line("%s", a.out.bold(fmt.Sprintf("%d  %s", i+1, step.name)))
		limited, cancel := context.WithTimeoutCause(ctx, demoLimit, fmt.Errorf("nothing happened within %v", demoLimit))
		err := step.do(limited)
		cancel()
		if err != nil {
			return fmt.Errorf("step %d (%s) is missing: %w", i+1, step.name, err)
		}
		a.out.line("")
	}
	a.out.line("All of this is what the API reported, after %s.", a.out.bold(spanText(a.env.Now().Sub(start))))
	a.out.line("")
	if stay {
		return d.stay(ctx)
	}
	d.next()
	return nil
}

// start starts the receiver and Grapnel. What it returns stops whatever was
// started and removes the directory, also after an error.
func (d *demo) start(ctx context.Context) (stop func() error, err error) {
	var undo []func() error
	stop = func() error {
		var errs []error
		for _, step := range slices.Backward(undo) {
			errs = append(errs, step())
		}
		return errors.Join(errs...)
	}
	if d.dir, err = os.MkdirTemp("", "grapnel-demo-"); err != nil {
		return stop, fmt.Errorf("making a directory: %w", err)
	}
	undo = append(undo, func() error { return os.RemoveAll(d.dir) })
	if d.receiver, err = newReceiver(ctx, d.env.Now); err != nil {
		return stop, err
	}
	undo = append(undo, d.receiver.Stop)
	path, err := d.writeFiles()
	if err != nil {
		return stop, err
	}
	log, err := obs.NewLogger(d.env.Stderr, "error", "text")
	if err != nil {
		return stop, err
	}
	if d.daemon, err = daemon.New(ctx, daemon.Options{
		ConfigPath: path, Version: buildVersion(), Log: log, Env: d.env.LookupEnv, Now: d.env.Now,
		DrainTime: time.Second,
	}); err != nil {
		return stop, err
	}
	// Stopping must outlive the signal that asks for it.
	undo = append(undo, func() error { return d.daemon.Stop(context.WithoutCancel(ctx)) })
	if err := d.daemon.Start(context.WithoutCancel(ctx)); err != nil {
		return stop, err
	}
	d.client, err = client.New(client.Config{
		URL: "http://" + d.daemon.AdminAddr(), Token: d.daemon.Token(), Agent: api.AgentCLI + buildVersion(),
	})
	if err == nil {
		undo = append(undo, func() error { d.client.Close(); return nil })
	}
	return stop, err
}

func (d *demo) githubFile() string { return filepath.Join(d.dir, "github.secret") }

// writeFiles writes the secrets and the configuration.
func (d *demo) writeFiles() (config string, err error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand aborts the program instead
	d.secret = hex.EncodeToString(raw)
	receiver := filepath.Join(d.dir, "receiver.secret")
	config = filepath.Join(d.dir, defaultConfig)
	for path, text := range map[string]string{
		d.githubFile(): d.secret,
		receiver:       d.receiver.secret,
		config: fmt.Sprintf(demoConfig, filepath.Join(d.dir, "data"), "${file:"+d.githubFile()+"}",
			d.receiver.URL()+"/deploy", d.receiver.URL()+"/audit", "${file:"+receiver+"}"),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("writing the files of the demo: %w", err)
		}
	}
	return config, nil
}

// stepRunning asks what runs.
func (d *demo) stepRunning(ctx context.Context) (err error) {
	if d.status, err = d.client.Status(ctx); err != nil {
		return err
	}
	if !d.status.Ready.Ready {
		return fmt.Errorf("it takes no events: %q", d.status.Reasons)
	}
	sources, err := d.client.Sources(ctx)
	if err != nil {
		return err
	}
	destinations, err := d.client.Destinations(ctx)
	if err != nil {
		return err
	}
	if len(sources) != 1 || len(destinations) != 2 {
		return fmt.Errorf("%d sources and %d destinations are there, not 1 and 2", len(sources), len(destinations))
	}
	pairs := []string{"webhooks", sources[0].URL + "  (" + sources[0].Title + ")", "admin", "http://" + d.status.Listen.Admin}
	for _, x := range destinations {
		pairs = append(pairs, "to "+x.Name, x.Address)
	}
	d.out.facts("   ", append(pairs, "data", d.status.DataDir)...)
	return nil
}

// stepSend sends a webhook as GitHub does.
func (d *demo) stepSend(ctx context.Context) error {
	start := d.env.Now()
	status, answer, err := d.push(ctx, d.secret)
	if err != nil {
		return err
	}
	took := d.env.Now().Sub(start)
	var accepted struct{ ID string }
	if err := json.Unmarshal(answer, &accepted); status != http.StatusOK || err != nil || accepted.ID == "" {
		return fmt.Errorf("it was answered %d %q", status, answer)
	}
	d.eventID = accepted.ID
	d.out.line("   POST /in/github  X-GitHub-Event: push  %s", byteText(int64(len(pushBody))))
	d.out.line("   %s  %s", d.out.green(strconv.Itoa(status)), word(string(bytes.TrimSpace(answer))))
	d.out.line("   answered after %s", spanText(took))
	return nil
}

// push sends the sample, signed with the secret.
func (d *demo) push(ctx context.Context, secret string) (status int, answer []byte, err error) {
	req := &signature.Request{
		Method: http.MethodPost, URL: "http://" + d.status.Listen.Public + "/in/github", Body: pushBody,
		Header: http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"GitHub-Hookshot/demo"},
			"X-Github-Event": {"push"}, "X-Github-Delivery": {randomID()},
		},
	}
	s, err := signature.NewSigner("github", signature.Secrets(secret))
	if err != nil {
		return 0, nil, fmt.Errorf("making the signer: %w", err)
	}
	if err := s.Sign(req, d.env.Now()); err != nil {
		return 0, nil, fmt.Errorf("signing the webhook: %w", err)
	}
	return post(ctx, http.DefaultClient, req.URL, "", req)
}

// stepForge sends the same, signed with another secret, and looks it up.
func (d *demo) stepForge(ctx context.Context) error {
	status, answer, err := d.push(ctx, "guessed")
	if err != nil {
		return err
	}
	if status != http.StatusUnauthorized {
		return fmt.Errorf("it was answered %d %q", status, answer)
	}
	d.out.line("   %s  %s", d.out.red(strconv.Itoa(status)), word(string(bytes.TrimSpace(answer))))
	page, err := d.client.Refused(ctx, api.RefusedFilter{Source: "github"})
	if err != nil {
		return err
	}
	if len(page.Refused) != 1 || page.Refused[0].Reason != string(signature.BadSignature) {
		return fmt.Errorf("%d refused requests are kept, not 1 for %s", len(page.Refused), signature.BadSignature)
	}
	kept := page.Refused[0]
	d.out.facts("   ", "kept as", kept.ID, "reason", kept.Reason, "next", kept.Hint)
	return nil
}

// stepEvent waits until both deliveries are final and shows the event.
func (d *demo) stepEvent(ctx context.Context) error {
	if err := d.await(ctx); err != nil {
		return err
	}
	e := &d.event
	if e.Source != "github.com" || e.DetailType != "push" || e.VerifiedBy == nil {
		return fmt.Errorf("it is a %q of %q, verified by %v", e.DetailType, e.Source, e.VerifiedBy)
	}
	body, _, err := d.client.EventBody(ctx, d.eventID)
	if err != nil {
		return err
	}
	stored, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("reading the stored body: %w", err)
	}
	if !bytes.Equal(stored, pushBody) {
		return fmt.Errorf("the stored body differs from the one that was sent (%d bytes, %d)", len(stored), len(pushBody))
	}
	d.out.facts(
		"   ",
		"id", e.ID, "journal", "stored at "+e.Position, "source", e.Source, "detail-type", e.DetailType, "bus", e.Bus, "verified by", verifiedText(e.VerifiedBy),
		"delivery id", e.ProviderID+"  (GitHub's own)", "body", byteText(int64(len(stored)))+", the bytes that were sent",
	)
	return nil
}

// await asks for the event until no delivery is pending.
func (d *demo) await(ctx context.Context) (err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if d.event, err = d.client.Event(ctx, d.eventID); err != nil {
			return err
		}
		if len(d.event.Deliveries) > 0 && d.event.DeliveryStates["pending"] == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for deliveries (%s): %w", states(d.event.DeliveryStates), context.Cause(ctx))
		}
	}
}

// stepRules shows what each rule says to the event.
func (d *demo) stepRules(ctx context.Context) error {
	e, err := d.client.Explain(ctx, d.eventID)
	if err != nil {
		return err
	}
	says := map[string]bool{}
	for i := range e.Rules {
		says[e.Rules[i].Rule] = e.Rules[i].Matched
		d.printVerdict("   ", &e.Rules[i])
	}
	if matched, ok := says["pushes-to-main"]; !ok || !matched {
		return errors.New("the rule pushes-to-main does not match")
	}
	if matched, ok := says["releases"]; !ok || matched {
		return errors.New("the rule releases is not there, or matches")
	}
	return nil
}

// stepDeliveries shows both deliveries and their attempts.
func (d *demo) stepDeliveries(context.Context) error {
	attempts := map[string]int{}
	for i := range d.event.Deliveries {
		x := &d.event.Deliveries[i]
		attempts[x.Destination] = x.Attempts
		d.printDelivery("   ", x)
		if err := proven(x); err != nil {
			return err
		}
	}
	if len(attempts) != 2 || attempts["deploy"] < 2 || attempts["audit"] != 1 {
		return fmt.Errorf("the attempts are %v, not 1 for audit and more for deploy", attempts)
	}
	return nil
}

// proven checks that a delivery arrived, and that the receiver said of every
// attempt that its signature was right and its webhook-id that of the delivery.
func proven(x *api.DeliveryDetail) error {
	if x.State != "delivered" {
		return fmt.Errorf("the delivery to %s is %s: %s", x.Destination, x.State, x.Reason)
	}
	for _, o := range x.Outcomes {
		if o.Excerpt == nil || !strings.HasPrefix(o.Excerpt.Data, provenText) ||
			!strings.HasSuffix(strings.TrimSpace(o.Excerpt.Data), " "+x.ID) {
			return fmt.Errorf("the receiver did not verify attempt %d for %s", o.Attempt, x.Destination)
		}
	}
	if first := x.Outcomes[0]; x.Destination == "deploy" && first.Status != http.StatusServiceUnavailable {
		return fmt.Errorf("the first attempt for %s was answered %d, not 503", x.Destination, first.Status)
	}
	return nil
}

func (d *demo) next() {
	p := d.out
	p.line("%s", p.bold("Next"))
	p.line("  grapnel demo --stay     the same, left running to be tried out")
	p.line("  grapnel init            a configuration of your own, which works at once")
	p.line("  grapnel serve           run it")
	p.line("  grapnel --help          everything else")
}

// stay keeps the demo running until it is interrupted.
func (d *demo) stay(ctx context.Context) error {
	left, err := leaveAddress(&d.status)
	if err != nil {
		return err
	}
	defer left()
	p := d.out
	p.line("%s", p.bold("It keeps running; Ctrl-C ends it and removes the directory"))
	p.facts(
		"  ", "configuration", filepath.Join(d.dir, defaultConfig)+"  (read again when it changes)",
		"admin token", filepath.Join(d.dir, "data", daemon.TokenFile), "API", "http://"+d.status.Listen.Admin+"/api/v1/events",
		"metrics", "http://"+d.status.Listen.Admin+"/metrics",
	)
	p.line("")
	p.line("%s", p.bold("In another terminal"))
	p.line("  export %s=%s", envConfig, filepath.Join(d.dir, defaultConfig))
	p.line("  grapnel send github --event release")
	p.line("  grapnel events tail")
	p.line("  grapnel refused list")
	p.line("")
	p.line("%s", p.bold("or sign by hand"))
	p.line("%s", curlGitHub("http://"+d.status.Listen.Public+"/in/github", d.githubFile()))
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.daemon.Failed():
		return fmt.Errorf("serving: %w", err)
	}
}
