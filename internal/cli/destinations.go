package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
)

func (a *app) newDestinations() *cobra.Command {
	tryout := a.newTest()
	return group("destinations", "List, show, test, enable and disable destinations",
		a.newDestinationsList(), a.newDestinationsShow(), tryout, a.newDestinationsDisable(), a.newDestinationsEnable())
}

func (a *app) newDestinationsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List destinations and how they fare", Args: none,
		Long: "List destinations and how they fare: ok, open (it fails, nothing is tried for now),\nhalf_open (one probe decides), disabled.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		all, err := c.Destinations(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(api.DestinationPage{Destinations: all})
		}
		t := table{
			head: []string{"STATE", "NAME", "KIND", "ADDRESS", "IN FLIGHT", "WAITING", "LAST SUCCESS", "LAST FAILURE"},
			tint: func(column int, text, padded string) string {
				if column == 0 {
					return a.out.state(text, padded)
				}
				return padded
			},
		}
		for i := range all {
			d := &all[i]
			t.add(d.State, d.Name, d.Kind, d.Address, fmt.Sprintf("%d/%d", d.InFlight, d.MaxInFlight), number(d.Waiting),
				clockOf(d.LastSuccess), d.LastClass)
		}
		t.print(a.out)
		return nil
	})
}

func (a *app) newDestinationsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show <name>", Short: "Show a destination", Args: one("the name of a destination"),
		Long: "Show a destination: its address, its health, the last failure and what to do about it.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.Destination(ctx, args[0])
		return a.showDestination(&d, err)
	})
}

func (a *app) showDestination(d *api.Destination, err error) error {
	if err != nil {
		return err
	}
	if a.json {
		return a.out.json(d)
	}
	a.out.line("%s  %s", a.out.bold(d.Name), a.out.state(d.State, d.State))
	a.out.facts(
		"  ",
		"kind", d.Kind, "description", d.Description, "address", d.Address,
		"disabled", d.DisabledReason, "disabled by", d.DisabledBy, "open until", clockOf(d.OpenUntil),
		"in flight", fmt.Sprintf("%d of %d", d.InFlight, d.MaxInFlight), "waiting", number(d.Waiting),
		"last success", clockOf(d.LastSuccess), "last failure", clockOf(d.LastFailure),
		"class", d.LastClass, "reason", d.LastReason, "next", d.NextStep,
	)
	return nil
}

func (a *app) newDestinationsDisable() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "disable <name>", Short: "Hold what is bound for a destination", Args: one("the name of a destination"),
		Long: "Hold what is bound for a destination until it is enabled, or the deadline of a delivery\npasses. It stays so across restarts.",
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever looks at it later")
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.DisableDestination(ctx, args[0], reason)
		return a.showDestination(&d, err)
	})
}

func (a *app) newDestinationsEnable() *cobra.Command {
	cmd := &cobra.Command{
		Use: "enable <name>", Short: "Let deliveries go again", Args: one("the name of a destination"),
		Long: "Let deliveries to a destination go again, those that were held first.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.EnableDestination(ctx, args[0])
		return a.showDestination(&d, err)
	})
}

// newTest returns Test Connection; it is `test` and `destinations test`.
func (a *app) newTest() *cobra.Command {
	var body string
	cmd := &cobra.Command{
		Use: "test <destination>", Short: "Send one message to a destination now and show the answer",
		Args: one("the name of a destination"),
		Long: `Test a connection: send one message to a destination now, signed like any other, and show
status, time and body of the answer. Nothing is stored and nothing is retried. Exit code 1
says that the destination did not take it.`,
		Example: "  grapnel test crm\n  grapnel test crm --body '{\"hello\": \"world\"}'",
	}
	cmd.Flags().StringVar(&body, "body", "", "JSON to send: text, @file, or - for stdin (default a sample event)")
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		var request api.TestRequest
		if body != "" {
			text, err := a.input("--body", body)
			if err != nil {
				return err
			}
			if !json.Valid(text) {
				return usage("write JSON, or @file", "--body is not JSON")
			}
			request.Body = text
		}
		result, err := c.TestDestination(ctx, args[0], request)
		if err != nil {
			return err
		}
		if a.json {
			err = a.out.json(result)
		} else {
			a.printTested(&result)
		}
		if err == nil && !result.OK {
			err = answerError{exitFailed}
		}
		return err
	})
}

func (a *app) printTested(r *api.TestResult) {
	p := a.out
	verdict := p.green("ok")
	if !r.OK {
		verdict = p.red("failed")
	}
	p.line("%s  %s  %s  in %s", verdict, word(r.Destination), orDash(statusText(r.Status)), span(r.Duration))
	p.facts("  ", "class", r.Class, "reason", r.Reason, "meaning", r.What, "next", r.NextStep)
	for _, h := range r.Headers {
		p.line("  %s", p.dim(word(h.Name)+": "+word(h.Value)))
	}
	a.printContent("  ", r.Body)
}
