package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/daemon"
	"github.com/grapnel/grapnel/internal/obs"
	"github.com/grapnel/grapnel/internal/spec"
)

type serveOptions struct {
	level, format string
	drain         time.Duration
}

func (a *app) newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use: "serve", Short: "Run Grapnel", Args: none,
		Long: `Run Grapnel until SIGINT or SIGTERM: receive webhooks on the public port, deliver, and
answer the admin port. The configuration file is read again when it changes and on SIGHUP;
a file with problems leaves the old configuration in force.

On the first signal requests and attempts under way may finish; a second one ends the
process at once, which loses nothing that was acknowledged. Logs go to stderr.

Exit codes: 0 stopped by a signal, 1 failed, or the configuration has problems, 2 wrong
command line.`,
		Example: "  grapnel serve\n  grapnel serve -c /etc/grapnel.yaml --log-format json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), o) },
	}
	a.configFlag(cmd)
	cmd.Flags().StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&o.format, "log-format", "text", "text or json")
	cmd.Flags().DurationVar(&o.drain, "drain", 20*time.Second, "how long requests and attempts may take to finish at the end")
	return cmd
}

func (a *app) serve(ctx context.Context, o serveOptions) (err error) {
	log, err := obs.NewLogger(a.env.Stderr, o.level, o.format)
	if err != nil {
		return usage("see grapnel serve --help", "%v", err)
	}
	d, err := daemon.New(ctx, daemon.Options{
		ConfigPath: a.configPath(), Version: buildVersion(), Log: log, Env: a.env.LookupEnv, Now: a.env.Now, DrainTime: o.drain,
	})
	if broken, ok := errors.AsType[*daemon.ConfigError](err); ok {
		return a.brokenConfig(broken)
	}
	if err != nil {
		return err
	}
	// Stopping must outlive the signal that asks for it.
	defer func() { err = errors.Join(err, d.Stop(context.WithoutCancel(ctx))) }()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	if err := d.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	left, err := a.announce(ctx, d, o.format == "text")
	if err != nil {
		return err
	}
	defer left()
	for {
		select {
		case <-ctx.Done():
			a.note.line("%s", a.note.dim("stopping; a second signal ends the process at once"))
			return nil
		case err := <-d.Failed():
			return fmt.Errorf("serving: %w", err)
		case <-hangup:
			_ = d.Reload(ctx) // logged, counted and shown by the API
		}
	}
}

// brokenConfig prints every problem of a configuration that cannot be used.
func (a *app) brokenConfig(broken *daemon.ConfigError) error {
	for _, p := range broken.Problems {
		a.note.line("%s", clean(p.String()))
	}
	n := len(spec.Errors(broken.Problems))
	a.note.line("%s %s in %s", a.note.red("grapnel:"), plural(n, "problem"), broken.Path)
	return answerError{exitFailed}
}

// announce says where Grapnel listens, asking its own API, and leaves the admin
// address for other commands if the configuration does not tell them. What it
// returns takes that back.
func (a *app) announce(ctx context.Context, d *daemon.Daemon, show bool) (func(), error) {
	where, err := a.located()
	if err != nil {
		return nil, err
	}
	pinned, err := pinnedTo(where.Admin.TLS)
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{
		URL: scheme(where.Admin.TLS) + dialable(d.AdminAddr()), Token: d.Token(), Agent: api.AgentCLI + buildVersion(), HTTP: pinned,
	})
	if err != nil {
		return nil, fmt.Errorf("asking the admin port: %w", err)
	}
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the admin port: %w", err)
	}
	sources, err := c.Sources(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the admin port: %w", err)
	}
	left, err := leaveAddress(&status)
	if err != nil {
		return nil, err
	}
	if show {
		a.out.line("%s %s", a.out.bold("Grapnel"), status.Version)
		pairs := []string{"webhooks", scheme(where.TLS) + dialable(status.Listen.Public)}
		for _, s := range sources {
			pairs = append(pairs, "", s.URL+"  ("+s.Title+")")
		}
		pairs = append(pairs, "admin", scheme(where.Admin.TLS)+dialable(status.Listen.Admin),
			"token", filepath.Join(status.DataDir, daemon.TokenFile), "data", status.DataDir)
		a.out.facts("  ", pairs...)
		a.out.line("%s", a.out.green("ready"))
	}
	return left, nil
}

// leaveAddress writes the admin address into the data directory, where commands
// look when the configuration leaves the port to the system. What it returns
// removes it.
func leaveAddress(status *api.Status) (func(), error) {
	path := filepath.Join(status.DataDir, addressFile)
	if err := os.WriteFile(path, []byte(status.Listen.Admin+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("leaving the admin address: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil // one that stays names a port where nothing listens
}

// publicURL returns where the running or configured public port is reached.
func publicURL(cfg *config.Config, status *api.Status) string {
	address := cfg.Listen
	if status != nil {
		address = status.Listen.Public
	}
	return scheme(cfg.TLS) + dialable(address)
}
