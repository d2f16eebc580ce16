package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/signature"
)

func (a *app) newProviders() *cobra.Command {
	cmd := &cobra.Command{
		Use: "providers [name]", Short: "List the providers whose webhooks are understood, or show one", Args: atMost(1),
		Long: `List the providers whose webhooks are verified and named by their own schemes, or show one:
what its signature covers, what answer it waits for, and the steps to set it up.

Exit codes: 0 done, 1 failed, 2 wrong command line, 5 no such provider.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listProviders()
			}
			return a.showProvider(args[0])
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) listProviders() error {
	all := signature.Providers()
	if a.json {
		return a.out.json(map[string]any{"providers": all})
	}
	t := table{head: []string{"NAME", "TITLE", "PROFILES", "SIGNED"}}
	for i := range all {
		p := &all[i]
		t.add(p.Name, p.Title, strings.Join(p.Profiles, ", "), short(p.Signed, 60))
	}
	t.print(a.out)
	return nil
}

func (a *app) showProvider(name string) error {
	p, ok := signature.LookupProvider(name)
	if !ok {
		var all []string
		for _, p := range signature.Providers() {
			all = append(append(all, p.Name), p.Aliases...)
		}
		hint := spec.Suggest(name, all)
		if hint == "" {
			hint = "list them with: grapnel providers; any HMAC scheme works as provider hmac"
		}
		return fault.New(fault.NotFound, "provider_not_found", "no provider has the name %q", name).WithHint("%s", hint)
	}
	if a.json {
		return a.out.json(p)
	}
	a.out.line("%s  %s", a.out.bold(p.Name), p.Title)
	a.out.facts("  ", "aliases", strings.Join(p.Aliases, ", "), "events from", p.Source, "profiles", strings.Join(p.Profiles, ", "),
		"signed", p.Signed, "not signed", p.Unsigned, "delivery id", locatorText(p.ID), "event type", locatorText(p.Type),
		"expects", p.Expects, "retries", p.Retries, "handshakes", strings.Join(p.Handshakes, ", "))
	a.printSteps(p.Steps)
	return nil
}

func locatorText(list []signature.Locator) string {
	var texts []string
	for _, l := range list {
		texts = append(texts, l.String())
	}
	return strings.Join(texts, ", else ")
}
