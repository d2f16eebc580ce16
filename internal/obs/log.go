// Package obs is what Grapnel shows of itself: structured logs and Prometheus
// metrics. Messages are constant, keys are snake_case, and nothing here ever
// sees a payload, a header or a secret. It is the only package that knows the
// metrics library.
package obs

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// NewLogger returns a logger that writes to w. Level is debug, info, warn or
// error; format is text or json.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var lv slog.Level
	if err := lv.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return nil, fmt.Errorf("log level %q is none of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: lv}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q is neither text nor json", format)
}

// Component returns a logger that names the part it belongs to.
func Component(log *slog.Logger, name string) *slog.Logger {
	return log.With(slog.String("component", name))
}
