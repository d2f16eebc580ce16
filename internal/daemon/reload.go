package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/destination/all"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// ConfigError is a configuration that cannot be used. Problems has everything
// that is wrong with it, warnings included, in the order of the file.
type ConfigError struct {
	Path     string
	Problems []spec.Problem
}

// Error lists the problems, one a line.
func (e *ConfigError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// LoadConfig reads and checks a configuration file. The error is a *ConfigError
// unless the file cannot be read. Warnings are returned beside a configuration.
func LoadConfig(path string, env func(string) (string, bool)) (*config.Config, []spec.Problem, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, configFileError(path, err)
	}
	var kinds []spec.Kind
	for _, k := range all.Kinds() {
		kinds = append(kinds, k.Spec())
	}
	cfg, problems := config.Load(path, data, config.Options{Env: env, ReadFile: os.ReadFile, Kinds: kinds})
	if cfg == nil {
		return nil, problems, &ConfigError{Path: path, Problems: problems}
	}
	return cfg, problems, nil
}

func (d *Daemon) load() (*config.Config, error) {
	cfg, warnings, err := LoadConfig(d.opts.ConfigPath, d.opts.Env)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		d.log.Warn("configuration warning", slog.String("problem", w.String()))
	}
	return cfg, nil
}

// Reload reads the configuration file again. Everything that can fail happens
// before anything live is touched: on error the old configuration stays in
// force, and the error says why.
func (d *Daemon) Reload(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.reload()
	now := d.opts.Now()
	d.metrics.Reloaded(err == nil, now)
	result := &api.Reload{Time: api.Time{Time: now}, OK: err == nil}
	if err != nil {
		result.Problems = strings.Split(err.Error(), "\n")
		d.log.ErrorContext(ctx, "configuration not taken, the old one stays in force", slog.Any("error", err))
	} else {
		d.log.InfoContext(ctx, "configuration taken", slog.String("generation", d.current.Load().generation))
	}
	d.last.Store(result)
	return err
}

func (d *Daemon) reload() error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	old := d.current.Load()
	if err := unchangeable(old.config, cfg); err != nil {
		return err
	}
	next, err := d.build(cfg)
	if err != nil {
		return err
	}
	d.apply(next)
	return nil
}

// unchangeable refuses what takes a restart, by name. Values are not shown:
// they may have come from the environment.
func unchangeable(old, next *config.Config) error {
	var errs []error
	for _, c := range []struct {
		key  string
		same bool
	}{
		{"listen", old.Listen == next.Listen},
		{"admin.listen", old.Admin.Listen == next.Admin.Listen},
		{"admin.auth", old.Admin.Auth == next.Admin.Auth},
		{"data", old.Data == next.Data},
		{"proxy_protocol", old.ProxyProtocol == next.ProxyProtocol},
		{"tls (with or without)", (old.TLS == nil) == (next.TLS == nil)},
		{"admin.tls (with or without)", (old.Admin.TLS == nil) == (next.Admin.TLS == nil)},
	} {
		if !c.same {
			errs = append(errs, fault.New(fault.Conflict, "restart_needed",
				"%s has changed: restart grapnel serve for that", c.key))
		}
	}
	return errors.Join(errs...)
}

// apply puts a built configuration in force. Nothing in it can fail. The rules
// come last: until then nothing is dispatched to what is new.
func (d *Daemon) apply(next *built) {
	d.network.SetAllow(next.config.Network.Allow)
	d.engine.Configure(next.deliver)
	d.bus.Configure(next.bus)
	d.ingest.Trust(next.config.TrustedProxies)
	d.ingest.Configure(next.sources)
	d.publicTLS.Store(next.publicTLS)
	d.adminTLS.Store(next.adminTLS)
	d.current.Store(next)
}

// watch reloads when the file changes, and the certificates when theirs do. It looks at size and time of change,
// which works on every file system and for files that are replaced.
func (d *Daemon) watch(ctx context.Context) error {
	every := d.opts.WatchEvery
	if every == 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	seen := fileMark(d.opts.ConfigPath)
	certificates := d.certificateMarks()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if now := fileMark(d.opts.ConfigPath); now != seen && now != (mark{}) {
			seen = now
			_ = d.Reload(ctx) // logged, counted and shown by the API
		}
		if now := d.certificateMarks(); now != certificates {
			certificates = now
			d.renew(ctx)
		}
	}
}

type mark struct {
	size int64
	time time.Time
}

func fileMark(path string) mark {
	info, err := os.Stat(path)
	if err != nil {
		return mark{} // being replaced: the next look finds it
	}
	return mark{info.Size(), info.ModTime()}
}
