package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
)

func (a *app) newSources() *cobra.Command {
	return group("sources", "List and show sources: the URL to paste, the provider's steps",
		a.newSourcesList(), a.newSourcesShow())
}

func (a *app) newSourcesList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List sources with the URL to paste", Args: none,
		Long: "List sources with the URL to paste at the provider, and what came in since the start.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		all, err := c.Sources(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(api.SourcePage{Sources: all})
		}
		t := table{head: []string{"NAME", "PROVIDER", "URL", "BUS", "ACCEPTED", "DUPLICATES", "REFUSED"}}
		for i := range all {
			s := &all[i]
			t.add(s.Name, s.Provider, s.URL, s.Bus, number(s.Accepted), number(s.Duplicates), number(sum(s.Refused)))
		}
		t.print(a.out)
		return nil
	})
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (a *app) newSourcesShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show <name>", Short: "Show a source and the steps at its provider", Args: one("the name of a source"),
		Long: "Show a source: the URL to paste, the steps at the provider, what its signature covers, and a\ncommand that plays it.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		s, err := c.Source(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(s)
		}
		p := a.out
		p.line("%s  %s", p.bold(s.Name), word(s.Title))
		p.facts("  ", "url", s.URL, "description", s.Description, "bus", s.Bus,
			"signed", s.Signed, "not signed", s.Unsigned, "expects", s.Expects, "retries", s.Retries,
			"handshakes", strings.Join(s.Handshakes, ", "), "accepted", number(s.Accepted), "refused", number(sum(s.Refused)))
		a.printSteps(s.Steps)
		if s.Example != "" {
			p.line("")
			p.line("%s", p.bold("Try it"))
			p.block("  ", s.Example)
		}
		return nil
	})
}

func (a *app) printSteps(steps []string) {
	if len(steps) == 0 {
		return
	}
	a.out.line("")
	a.out.line("%s", a.out.bold("At the provider"))
	for i, step := range steps {
		a.out.line("  %d. %s", i+1, word(step))
	}
}

func (a *app) newRules() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List rules and their targets", Args: none,
		Long: "List rules: which events of which bus go where.",
	}
	list = a.server(list, func(ctx context.Context, c *client.Client, _ []string) error {
		all, err := c.Rules(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(api.RulePage{Rules: all})
		}
		t := table{head: []string{"RULE", "BUS", "TO", "PATTERN"}}
		for i := range all {
			r := &all[i]
			var to []string
			for _, target := range r.Targets {
				to = append(to, target.To)
			}
			t.add(r.Name, r.Bus, strings.Join(to, ", "), short(string(r.Pattern), 80))
		}
		t.print(a.out)
		return nil
	})
	return group("rules", "List rules", list)
}
