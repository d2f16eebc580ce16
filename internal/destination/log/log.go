// Package log is the kind of destination that writes a line to Grapnel's log
// for each message and always succeeds: a place for dead letters, and for
// looking at what a rule matches.
package log

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "log", Summary: "Writes a line to Grapnel's log for each message.",
		New: func() destination.Config { return &Config{} },
	}
}

// maxBody bounds what a line shows of a body, in bytes.
const maxBody = 64 << 10

// Config is the configuration of a log destination.
type Config struct {
	Body bool
}

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return []spec.Field{
		spec.Bool("body", &c.Body).Default("false").
			Doc("Whether lines hold the message itself, up to 64 KiB of it. Messages may be confidential: " +
				"without it a line says only what came from where."),
	}
}

// Address returns where the lines go.
func (c *Config) Address() string { return "Grapnel's log" }

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	return &writer{log: d.Log.With(slog.String("destination", d.Name)), body: c.Body}, nil
}

type writer struct {
	log  *slog.Logger
	body bool
}

// Do writes a line.
func (w *writer) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, destination.Unanswered(ctx, err, nil)
	}
	line := make([]slog.Attr, 0, 12)
	line = append(line, slog.String("delivery", r.ID), slog.Int("attempt", r.Attempt))
	if e := r.Event; e != nil {
		line = append(line, slog.String("event", string(e.ID)), slog.String("source", e.Source),
			slog.String("detail_type", e.DetailType))
	}
	line = append(line, slog.String("bus", r.Bus), slog.String("rule", r.Rule), slog.String("target", r.Target),
		slog.Int("size", len(r.Body)))
	if len(r.Attributes) > 0 {
		words := make([]any, 0, len(r.Attributes))
		for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
			words = append(words, slog.String(name, r.Attributes[name]))
		}
		line = append(line, slog.Group("attributes", words...))
	}
	if w.body {
		line = append(line, slog.String("body", string(r.Body[:min(len(r.Body), maxBody)])),
			slog.Bool("truncated", len(r.Body) > maxBody))
	}
	w.log.LogAttrs(ctx, slog.LevelInfo, "event delivered to the log", line...)
	return &destination.Response{Status: 200}, nil
}
