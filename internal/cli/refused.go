package cli

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
)

func (a *app) newRefused() *cobra.Command {
	return group("refused", "Look at requests that were not accepted", a.newRefusedList(), a.newRefusedShow())
}

func (a *app) newRefusedList() *cobra.Command {
	var f api.RefusedFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List refused requests and count them by reason", Args: none,
		Long: `List requests that were not accepted, newest first, with the reason. A bounded number is
kept for each source; the counts are exact.`,
		Example: "  grapnel refused list --source github --reason bad_signature",
	}
	cmd.Flags().StringVar(&f.Source, "source", "", "only to this source of the configuration")
	cmd.Flags().StringVar(&f.Reason, "reason", "", "only for this reason code")
	sinceFlags(cmd, &f.Since, nil)
	pageFlags(cmd, &f.Limit, nil)
	return a.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		page, err := c.Refused(ctx, f)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(page)
		}
		if len(page.Refused) == 0 {
			a.note.line("nothing was refused")
			return nil
		}
		t := table{head: []string{"TIME", "ID", "SOURCE", "STATUS", "REASON", "FROM", "SIZE"}}
		for i := range page.Refused {
			r := &page.Refused[i]
			t.add(clock(r.Time.Time), r.ID, r.Source, statusText(r.Status), r.Reason, r.RemoteAddr, byteText(r.Size))
		}
		t.print(a.out)
		a.printCounts(page.Counts)
		return nil
	})
}

func (a *app) printCounts(counts map[string]map[string]int64) {
	a.out.line("")
	t := table{head: []string{"SOURCE", "REASON", "COUNT SINCE START"}}
	for _, source := range slices.Sorted(maps.Keys(counts)) {
		for _, reason := range slices.Sorted(maps.Keys(counts[source])) {
			t.add(source, reason, number(counts[source][reason]))
		}
	}
	t.print(a.out)
}

func (a *app) newRefusedShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show <id>", Short: "Show a refused request", Args: one("the id of a refused request"),
		Long: "Show a request that was not accepted: the reason, what to do, and the request.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		r, err := c.RefusedRequest(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(r)
		}
		a.printRefused(&r.Refused)
		if r.Request != nil {
			a.out.line("")
			a.printRequest(r.Request)
		}
		return nil
	})
}

func (a *app) printRefused(r *api.Refused) {
	p := a.out
	p.line("%s  answered %d", p.red(word(r.Reason)), r.Status)
	p.facts("  ", "id", r.ID, "time", clock(r.Time.Time), "source", r.Source, "detail", r.Detail, "next", r.Hint)
}
