package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
)

// server makes a command one that asks a server: with the flags to find it, and
// with --json.
func (a *app) server(cmd *cobra.Command, fn func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command {
	cmd.Long += exitsServer
	a.serverFlags(cmd)
	a.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return asked(fn(cmd.Context(), c, args))
	}
	return cmd
}

// when is a flag for a moment in a filter.
type when struct{ to *api.When }

// String returns the moment as it is given.
func (w when) String() string {
	if w.to == nil {
		return ""
	}
	text, _ := w.to.MarshalText() // no When fails
	return string(text)
}

// Set reads a time, a date or a duration before now.
func (w when) Set(text string) error { return w.to.UnmarshalText([]byte(text)) }

// Type names the kind of value in help.
func (when) Type() string { return "time" }

// sinceFlags adds --since and --until.
func sinceFlags(cmd *cobra.Command, since, until *api.When) {
	cmd.Flags().Var(when{since}, "since", "received at this time or later: 2h, 7d, 2026-01-02, RFC 3339")
	if until != nil {
		cmd.Flags().Var(when{until}, "until", "received before this time")
	}
}

const defaultLimit = 20

// pageFlags adds --limit and --cursor.
func pageFlags(cmd *cobra.Command, limit *int, cursor *string) {
	cmd.Flags().IntVar(limit, "limit", defaultLimit, "how many, at most 1000")
	if cursor != nil {
		cmd.Flags().StringVar(cursor, "cursor", "", "go on from where the page before ended")
	}
}

// more says on stderr how to see the next page.
func (a *app) more(next string) {
	if next != "" {
		a.note.line("%s", a.note.dim("more: add --cursor "+next))
	}
}

// states writes numbers of deliveries by state, the unusual ones first.
func states(counts map[string]int) string {
	var parts []string
	for _, state := range []string{"dead", "expired", "interrupted", "held", "pending", "canceled", "delivered"} {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if len(parts) == 0 {
		return "no rule matched"
	}
	return strings.Join(parts, ", ")
}

func clockOf(t *api.Time) string {
	if t == nil {
		return ""
	}
	return clock(t.Time)
}

func span(d api.Duration) string { return spanText(time.Duration(d)) }

func statusText(status int) string {
	if status == 0 {
		return ""
	}
	return number(status)
}
