// Package daemon is Grapnel as a whole: it reads the configuration, opens the
// store, fits the engines together, listens on the two ports, reloads, and
// stops in order. It is the only package that sees more than one engine or
// surface, so that tests, the demo and other binaries run the same wiring as
// the command.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/bus"
	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/ingest"
	"github.com/grapnel/grapnel/internal/lifecycle"
	"github.com/grapnel/grapnel/internal/obs"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// Options are what a daemon is started with.
type Options struct {
	// ConfigPath is the configuration file. It is read again on Reload and when
	// it changes.
	ConfigPath string
	// Version is shown by the API and sent in the User-Agent.
	Version string
	// Log is the parent of all loggers.
	Log *slog.Logger
	// Env looks up environment variables; nil: os.LookupEnv.
	Env func(name string) (string, bool)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// WatchEvery is how often the file is looked at; 0: 1 s, negative: never.
	WatchEvery time.Duration
	// DrainTime is how long Stop lets requests and attempts finish; 0: 20 s.
	DrainTime time.Duration
}

// Daemon is one running Grapnel.
type Daemon struct {
	opts    Options
	log     *slog.Logger
	group   lifecycle.Group
	metrics *obs.Metrics
	store   store.Store
	bus     *bus.Bus
	engine  *deliver.Engine
	ingest  *ingest.Ingest
	network *egress.Network
	keys    *ingest.KeySets
	token   secret.String
	genKey  []byte

	public, admin net.Listener
	// What the two ports show; nothing changes between TLS and none while they run.
	publicTLS, adminTLS certificate
	started             time.Time
	stopping            atomic.Bool

	mu      sync.Mutex // guards a reload from start to end
	current atomic.Pointer[built]
	last    atomic.Pointer[api.Reload]
}

// Service limits of the two ports (time for a whole request on the public one:
// a slow sender must not hold a connection for ever).
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = 60 * time.Second
	idleTimeout    = 120 * time.Second
	maxHeaderBytes = 64 << 10
)

// When a segment of the journal is sealed: retention drops whole segments, so
// that there must be several of them within its limits.
const (
	segmentBytes = 512 << 20
	segmentAge   = 24 * time.Hour
)

// New reads the configuration, opens the store and binds both ports; nothing is
// served and nothing delivered before Start. Errors of the configuration are a
// *ConfigError. On error nothing is left open.
func New(ctx context.Context, opts Options) (*Daemon, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	if opts.DrainTime == 0 {
		opts.DrainTime = 20 * time.Second
	}
	d := &Daemon{opts: opts, log: opts.Log, metrics: obs.NewMetrics(opts.Version), started: opts.Now()}
	if err := d.open(ctx); err != nil {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), opts.DrainTime)
		defer cancel()
		return nil, errors.Join(err, d.group.Stop(limit))
	}
	return d, nil
}

// open builds everything in the order of dependence. Each part registers its
// teardown as soon as it exists.
func (d *Daemon) open(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	if err := d.bind(ctx, cfg); err != nil {
		return err
	}
	if err := d.openStore(ctx, cfg); err != nil {
		return err
	}
	d.network = egress.New(egress.Config{Allow: cfg.Network.Allow})
	d.keys = ingest.NewKeySets(d.network)
	d.engine = deliver.New(deliver.Config{
		Queue: d.store, Recorder: recorder{d}, Records: d.store, Flags: d.store,
		Meter:    func(name string) deliver.Meter { return d.metrics.Destination(name) },
		Panicked: func() { d.metrics.Panicked("deliver") },
		Log:      obs.Component(d.log, "deliver"), DrainTime: d.opts.DrainTime,
	})
	d.bus = bus.New(bus.Config{
		Journal: timed{d.store, d.metrics}, Deliverer: d.engine, Metrics: d.metrics,
		Log: obs.Component(d.log, "bus"), Now: d.opts.Now,
	})
	d.ingest = ingest.New(ingest.Config{
		Publisher: d.bus, Metrics: d.metrics, Log: obs.Component(d.log, "ingest"), Now: d.opts.Now,
	})
	next, err := d.build(cfg)
	if err != nil {
		return err
	}
	d.apply(next)
	d.metrics.Reloaded(true, d.opts.Now())
	return nil
}

// recorder lets the engine be built before the bus that it records through.
type recorder struct{ d *Daemon }

func (r recorder) Submit(batch *store.Batch, done func(error)) { r.d.bus.Submit(batch, done) }

// timed measures how long events wait for their commit.
type timed struct {
	store.Journal

	metrics *obs.Metrics
}

func (t timed) Append(ctx context.Context, batch *store.Batch) error {
	began := time.Now()
	err := t.Journal.Append(ctx, batch)
	if err == nil {
		t.metrics.Committed(time.Since(began))
	}
	return err
}

func (d *Daemon) bind(ctx context.Context, cfg *config.Config) error {
	var lc net.ListenConfig
	var err error
	if d.public, err = lc.Listen(ctx, "tcp", cfg.Listen); err != nil {
		return listenError("listen", cfg.Listen, err)
	}
	d.group.OnStop("public listener", closeListener(d.public))
	if d.admin, err = lc.Listen(ctx, "tcp", cfg.Admin.Listen); err != nil {
		return listenError("admin.listen", cfg.Admin.Listen, err)
	}
	d.group.OnStop("admin listener", closeListener(d.admin))
	return nil
}

func closeListener(l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

func (d *Daemon) openStore(ctx context.Context, cfg *config.Config) error {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return dataError(cfg.Data, err)
	}
	opened, err := embedded.Open(ctx, embedded.Config{
		Dir: cfg.Data, Now: d.opts.Now, Log: obs.Component(d.log, "store"), Synced: d.metrics.Synced,
		SegmentBytes: min(segmentBytes, cfg.Retention.Bytes/8), SegmentAge: min(segmentAge, cfg.Retention.Age/8),
	})
	if err != nil {
		return fmt.Errorf("opening the store in %s: %w", cfg.Data, err)
	}
	d.store = opened
	d.group.OnStop("store", func(context.Context) error { return opened.Close() })
	if d.token, err = adminToken(filepath.Join(cfg.Data, TokenFile), d.log); err != nil {
		return err
	}
	if d.genKey, err = generationKey(ctx, d.store); err != nil {
		return err
	}
	d.metrics.Observe(d.figures)
	return nil
}

// Start serves both ports and begins to deliver. It does not block.
func (d *Daemon) Start(ctx context.Context) error {
	if err := d.engine.Start(ctx); err != nil {
		return fmt.Errorf("starting deliveries: %w", err)
	}
	d.group.OnStop("deliveries", d.engine.Stop)
	d.group.Go("retention", d.retain)
	if d.opts.WatchEvery >= 0 {
		d.group.Go("configuration watch", d.watch)
	}
	surface, handler, err := d.newAPI()
	if err != nil {
		return err
	}
	admin := d.server(handler)
	listenOn(admin, &d.adminTLS)
	admin.RegisterOnShutdown(surface.Close)
	admin.ReadTimeout = 0 // tails stay open
	d.serve("admin port", admin, d.admin)
	public := d.server(d.ingest)
	listenOn(public, &d.publicTLS)
	listener := d.public
	if d.current.Load().config.ProxyProtocol {
		listener = &proxyListener{Listener: d.public, trusted: func() []netip.Prefix {
			return unmapped(d.current.Load().config.TrustedProxies)
		}}
	}
	d.serve("public port", public, listener)
	d.log.InfoContext(ctx, "listening", slog.String("public", d.PublicAddr()), slog.String("admin", d.AdminAddr()),
		slog.String("data", d.current.Load().config.Data), slog.String("version", d.opts.Version))
	return nil
}

func (d *Daemon) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(obs.Component(d.log, "http").Handler(), slog.LevelDebug),
	}
}

// serve runs a server until it is stopped. Stopping lets requests finish: those
// that were accepted are answered after their commit.
func (d *Daemon) serve(name string, s *http.Server, l net.Listener) {
	d.group.Go(name, func(ctx context.Context) error {
		ended := make(chan error, 1)
		go func() {
			if s.TLSConfig != nil {
				ended <- s.ServeTLS(l, "", "")
				return
			}
			ended <- s.Serve(l)
		}()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.opts.DrainTime/2)
		defer cancel()
		err := s.Shutdown(limit)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close() // whoever still sends has not been promised anything
		}
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
}

// Failed delivers an error when a part of the daemon ended by itself.
func (d *Daemon) Failed() <-chan error { return d.group.Failed() }

// Stop takes no more requests, lets those under way and the attempts finish
// within the drain time, and closes the store.
func (d *Daemon) Stop(ctx context.Context) error {
	d.stopping.Store(true)
	limit, cancel := context.WithTimeout(ctx, d.opts.DrainTime)
	defer cancel()
	err := d.group.Stop(limit)
	d.log.InfoContext(ctx, "stopped", slog.Bool("clean", err == nil))
	return err
}

// PublicAddr is the address that the public port listens on.
func (d *Daemon) PublicAddr() string { return d.public.Addr().String() }

// AdminAddr is the address that the admin port listens on.
func (d *Daemon) AdminAddr() string { return d.admin.Addr().String() }

// Token is the admin token.
func (d *Daemon) Token() secret.String { return d.token }
