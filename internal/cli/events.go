package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
	"github.com/grapnel/grapnel/internal/fault"
)

func (a *app) newEvents() *cobra.Command {
	return group("events", "List, show, follow, explain and replay events",
		a.newEventsList(), a.newEventsShow(), a.newEventsTail(), a.newEventsExplain(), a.newEventsBody(), a.newEventsReplay())
}

func (a *app) newEventsList() *cobra.Command {
	var f api.EventFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List events, newest first", Args: none,
		Long:    "List the events that were accepted, newest first.",
		Example: "  grapnel events list --since 2h --state dead\n  grapnel events list --unmatched --json | jq -r '.events[].id'",
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Bus, "bus", "", "only of this bus")
	flags.StringVar(&f.Source, "source", "", "only with this source in the envelope, as github.com")
	flags.StringVar(&f.Type, "type", "", "only with this detail type")
	flags.StringVar(&f.Endpoint, "endpoint", "", "only what came in at this source of the configuration")
	flags.StringVar(&f.State, "state", "", "only with a delivery in this state: pending, held, delivered, dead, canceled, expired, interrupted")
	flags.BoolVar(&f.Unmatched, "unmatched", false, "only what matched no rule")
	flags.BoolVar(&f.Duplicates, "duplicates", false, "only repetitions")
	flags.BoolVar(&f.Ascending, "ascending", false, "oldest first")
	sinceFlags(cmd, &f.Since, &f.Until)
	pageFlags(cmd, &f.Limit, &f.Cursor)
	return a.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		page, err := c.EventsPage(ctx, f)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(page)
		}
		if len(page.Events) == 0 {
			a.note.line("no events; what was not accepted: grapnel refused list")
			return nil
		}
		t := table{head: []string{"RECEIVED", "ID", "SOURCE", "TYPE", "SIZE", "DELIVERIES"}}
		for i := range page.Events {
			e := &page.Events[i]
			t.add(clock(e.Received.Time), e.ID, e.Source, e.DetailType, byteText(int64(e.Size)), deliveriesOf(e))
		}
		t.print(a.out)
		a.more(page.Next)
		return nil
	})
}

func deliveriesOf(e *api.EventSummary) string {
	if e.DuplicateOf != "" && len(e.DeliveryStates) == 0 {
		return "duplicate"
	}
	return states(e.DeliveryStates)
}

func (a *app) newEventsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show <id>", Short: "Show an event with its request and attempts", Args: one("the id of an event"),
		Long: "Show an event: its envelope, the request as it was received, and every attempt to\ndeliver it.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		e, err := c.Event(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(e)
		}
		a.printEvent(&e)
		return nil
	})
}

func (a *app) newEventsTail() *cobra.Command {
	var f api.TailFilter
	var count int
	cmd := &cobra.Command{
		Use: "tail", Short: "Follow events as they are committed", Args: none,
		Long: `Print events as they are committed, until interrupted. It goes on by itself when the
server restarts, without a gap. With --json each line is an item of the stream.`,
		Example: "  grapnel events tail --type push\n  grapnel events tail --json --envelope | jq .envelope.detail",
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Bus, "bus", "", "only of this bus")
	flags.StringVar(&f.Source, "source", "", "only with this source in the envelope")
	flags.StringVar(&f.Type, "type", "", "only with this detail type")
	flags.StringVar(&f.Endpoint, "endpoint", "", "only what came in at this source of the configuration")
	flags.BoolVar(&f.Duplicates, "duplicates", false, "only repetitions")
	flags.BoolVar(&f.Envelope, "envelope", false, "print whole envelopes")
	flags.IntVarP(&count, "count", "n", 0, "end after so many events")
	sinceFlags(cmd, &f.Since, nil)
	return a.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		return a.tail(ctx, c, f, count)
	})
}

func (a *app) tail(ctx context.Context, c *client.Client, f api.TailFilter, count int) error {
	seen := 0
	for item, err := range c.Tail(ctx, f) {
		if err != nil {
			if ctx.Err() != nil {
				return nil // it was asked to end
			}
			return err
		}
		if item.Type != api.TailEvent {
			continue
		}
		if err := a.printItem(&item); err != nil {
			return err
		}
		if seen++; seen == count {
			return nil
		}
	}
	return nil
}

func (a *app) printItem(item *api.TailItem) error {
	if a.json {
		line, err := json.Marshal(item)
		if err != nil {
			return fmt.Errorf("writing an item: %w", err)
		}
		a.out.line("%s", line)
		return a.out.err
	}
	e := item.Event
	a.out.line("%s  %s  %s  %s  %s", a.out.dim(clock(e.Received.Time)), e.ID, word(e.Source), a.out.bold(word(e.DetailType)),
		byteText(int64(e.Size)))
	if len(item.Envelope) > 0 {
		a.out.block("  ", string(item.Envelope))
	}
	return a.out.err
}

func (a *app) newEventsExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain <id>", Short: "Say why an event went where it went", Args: one("the id of an event"),
		Long: `Ask every rule in force why it matches the event or does not: which field missed, what was
wanted and what was there. It says so when the rules have changed since.`,
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		e, err := c.Explain(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(e)
		}
		a.out.line("%s", word(e.Summary))
		for i := range e.Rules {
			a.printVerdict("  ", &e.Rules[i])
		}
		return nil
	})
}

func (a *app) printVerdict(indent string, v *api.RuleVerdict) {
	p := a.out
	switch {
	case v.Matched:
		p.line("%s%s  %s", indent, p.green("✓"), word(v.Rule))
	case v.OtherBus:
		p.line("%s%s  %s  %s", indent, p.dim("·"), word(v.Rule), p.dim(word(v.Text)))
	case len(v.Misses) == 0:
		p.line("%s%s  %s  %s", indent, p.yellow("✗"), word(v.Rule), word(v.Text))
	default:
		p.line("%s%s  %s", indent, p.yellow("✗"), word(v.Rule))
		for _, m := range v.Misses {
			p.line("%s     %s", indent, word(m.Text))
		}
	}
}

func (a *app) newEventsBody() *cobra.Command {
	cmd := &cobra.Command{
		Use: "body <id>", Short: "Print the body of an event's request, byte for byte", Args: one("the id of an event"),
		Long:    "Print the body of the request that an event came with, byte for byte as it was received.\nBodies that are not text are not printed to a terminal.",
		Example: "  grapnel events body 0199b7d5-6f0e-7c0a-8000-3b1f2a6c1d2e | sha256sum",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) (err error) {
		body, _, err := c.EventBody(ctx, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, body.Close()) }()
		if !a.out.terminal {
			_, err = io.Copy(a.out, body)
			return err
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return fmt.Errorf("reading the body: %w", err)
		}
		if strings.IndexFunc(string(text), unsafe) >= 0 {
			return fault.New(fault.Invalid, "binary_body", "the body is not text").WithHint("send it to a file: > body.bin")
		}
		a.out.line("%s", text)
		return nil
	})
}

func (a *app) newEventsReplay() *cobra.Command {
	var r api.ReplayRequest
	cmd := &cobra.Command{
		Use: "replay <id>", Short: "Dispatch an event again", Args: one("the id of an event"),
		Long: `Dispatch an event again, to all rules that match it now or only to those that are named.
A replay makes new deliveries with ids of their own; the receiver sees a second message.
The same --run makes no second delivery, so a script may repeat itself.`,
		Example: "  grapnel events replay 0199b7d5-6f0e-7c0a-8000-3b1f2a6c1d2e --rule everything",
	}
	cmd.Flags().StringSliceVar(&r.Rules, "rule", nil, "only this rule; may be repeated")
	cmd.Flags().StringVar(&r.Run, "run", "", "name of the replay")
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		done, err := c.Replay(ctx, args[0], r)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(done)
		}
		a.out.line("%s made by run %s", deliveriesText(len(done.Deliveries)), done.Run)
		for _, id := range done.Deliveries {
			a.out.line("  %s", id)
		}
		return nil
	})
}
