package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
)

func (a *app) newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show how the server is", Args: none,
		Long: "Show whether the server takes events, how much it holds and what waits.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(status)
		}
		a.printStatus(&status)
		return nil
	})
}

func (a *app) printStatus(s *api.Status) {
	p := a.out
	if s.Ready.Ready {
		p.line("%s  grapnel %s, up %s", p.green("ready"), s.Version, time.Duration(s.Uptime).Round(time.Second))
	} else {
		p.line("%s  grapnel %s", p.red("not ready"), s.Version)
		for _, why := range s.Reasons {
			p.line("  %s", word(why))
		}
	}
	p.facts(
		"  ",
		"webhooks", s.Listen.Public, "public url", s.Listen.PublicURL, "admin", s.Listen.Admin,
		"config", fmt.Sprintf("%s (generation %s, loaded %s)", s.Config.Path, s.Generation, clock(s.Config.LoadedAt.Time)),
		"data", fmt.Sprintf("%s (%s journal in %s, %s index, %s free)", s.DataDir, byteText(s.Store.JournalBytes),
			plural(s.Store.Segments, "segment"), byteText(s.Store.IndexBytes), free(s.Store.FreeBytes)),
		"pending", fmt.Sprintf("%d, held %d", s.Store.Pending, s.Store.Held), "oldest", clockOf(s.Store.OldestPending),
	)
	for _, d := range s.Store.Damaged {
		p.line("  %s segment %d, %d bytes at %d: %s", p.red("damaged"), d.Segment, d.Length, d.Offset, word(d.Reason))
	}
	if last := s.Config.LastReload; last != nil && !last.OK {
		p.line("  %s the configuration file has problems; the one loaded before stays in force", p.red("reload"))
		for _, problem := range last.Problems {
			p.line("    %s", word(problem))
		}
	}
}

func free(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return byteText(n)
}
