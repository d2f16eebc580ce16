package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
)

func (a *app) newDeliveries() *cobra.Command {
	return group("deliveries", "List, show, retry and cancel deliveries",
		a.newDeliveriesList(), a.newDeliveriesShow(), a.newDeliveriesRetry(), a.newDeliveriesCancel())
}

// deliveryFlags adds the flags of a filter.
func deliveryFlags(cmd *cobra.Command, f *api.DeliveryFilter) {
	flags := cmd.Flags()
	flags.StringVar(&f.Event, "event", "", "only of this event: an id or a position")
	flags.StringVar(&f.Rule, "rule", "", "only those that this rule caused")
	flags.StringVar(&f.Target, "target", "", "only for the target with this id")
	flags.StringVar(&f.Destination, "destination", "", "only for this destination")
	flags.StringVar(&f.State, "state", "", "only in this state: pending, held, delivered, dead, canceled, expired, interrupted")
	flags.StringVar(&f.Class, "class", "", "only those whose last failure is of this class")
	sinceFlags(cmd, &f.Since, &f.Until)
}

func (a *app) newDeliveriesList() *cobra.Command {
	var list api.DeliveryList
	cmd := &cobra.Command{
		Use: "list", Short: "List deliveries, those of the newest event first", Args: none,
		Long:    "List deliveries: each is one event bound for one target of a rule.",
		Example: "  grapnel deliveries list --state dead --since 1d\n  grapnel deliveries list --destination crm --class timeout",
	}
	deliveryFlags(cmd, &list.DeliveryFilter)
	pageFlags(cmd, &list.Limit, &list.Cursor)
	return a.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		page, err := c.DeliveriesPage(ctx, list)
		if err != nil {
			return err
		}
		if a.json {
			return a.out.json(page)
		}
		if len(page.Deliveries) == 0 {
			a.note.line("no deliveries")
			return nil
		}
		t := table{
			head: []string{"STATE", "ID", "DESTINATION", "RULE", "ATTEMPTS", "LAST", "UPDATED", "NEXT"},
			tint: func(column int, text, padded string) string {
				if column == 0 {
					return a.out.state(text, padded)
				}
				return padded
			},
		}
		for i := range page.Deliveries {
			d := &page.Deliveries[i]
			t.add(d.State, d.ID, d.Destination, d.Rule, number(d.Attempts), last(d), clockOf(d.Updated), clockOf(d.NextAt))
		}
		t.print(a.out)
		a.more(page.Next)
		return nil
	})
}

// last is what the last attempt ended with.
func last(d *api.Delivery) string {
	return strings.TrimSpace(statusText(d.Status) + " " + d.Class)
}

func (a *app) newDeliveriesShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show <id>", Short: "Show a delivery with its attempts", Args: one("the id of a delivery"),
		Long: "Show a delivery: every attempt with status, duration and answer, and what to do next.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.Delivery(ctx, args[0])
		return a.showDelivery(&d, err)
	})
}

func (a *app) showDelivery(d *api.DeliveryDetail, err error) error {
	if err != nil {
		return err
	}
	if a.json {
		return a.out.json(d)
	}
	a.printDelivery("", d)
	a.out.facts("  ", "event", d.EventID, "origin", d.Origin, "run", d.Run, "deadline", clockOf(d.Deadline))
	return nil
}

func (a *app) newDeliveriesCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel <id>", Short: "Cancel a delivery that is not final", Args: one("the id of a delivery"),
		Long: "Cancel a delivery that is not final. It can be retried later.",
	}
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.CancelDelivery(ctx, args[0])
		return a.showDelivery(&d, err)
	})
}

// bulkFlags are the flags of a retry by filter.
type bulkFlags struct {
	filter api.DeliveryFilter
	rate   float64
	limit  int
	dryRun bool
	yes    bool
}

func (a *app) newDeliveriesRetry() *cobra.Command {
	var b bulkFlags
	cmd := &cobra.Command{
		Use: "retry [id]", Short: "Retry one delivery, or all that fit a filter", Args: atMost(1),
		Long: `Retry a delivery now, with its attempts and deadline anew. It keeps its id, so that the
receiver knows it again.

Without an id: retry all deliveries that fit the filter (those that are dead, unless
--state says otherwise), at most --rate in a second. It asks first; --yes answers for
scripts, --dry-run only counts. Interrupted, it keeps what was retried until then.`,
		Example: "  grapnel deliveries retry dlv_06a1b2c3d4e5f6g7h8j9k0m1n2\n" +
			"  grapnel deliveries retry --destination crm --since 1d --rate 20 --dry-run",
	}
	deliveryFlags(cmd, &b.filter)
	flags := cmd.Flags()
	flags.Float64Var(&b.rate, "rate", 50, "how many are retried in a second")
	flags.IntVar(&b.limit, "limit", 0, "at most so many (default all)")
	flags.BoolVar(&b.dryRun, "dry-run", false, "only count")
	flags.BoolVar(&b.yes, "yes", false, "do not ask")
	return a.server(cmd, func(ctx context.Context, c *client.Client, args []string) error {
		switch {
		case len(args) == 1 && (b.filter != (api.DeliveryFilter{}) || b.dryRun):
			return usage("leave out the id, or the filter", "an id and a filter do not go together")
		case len(args) == 1:
			d, err := c.RetryDelivery(ctx, args[0])
			return a.showDelivery(&d, err)
		case b.rate <= 0 || b.limit < 0:
			return usage("see grapnel deliveries retry --help", "--rate must be positive, and --limit not negative")
		}
		return a.retryMany(ctx, c, &b)
	})
}

func (a *app) retryMany(ctx context.Context, c *client.Client, b *bulkFlags) error {
	if !b.dryRun && !b.yes {
		yes, err := a.confirmRetry(ctx, c, b)
		if err != nil || !yes {
			return err
		}
	}
	done, err := a.retryAll(ctx, c, b)
	if err != nil {
		if done.Retried > 0 {
			a.note.line("%s retried before the error", deliveriesText(done.Retried))
		}
		return err
	}
	if a.json {
		err = a.out.json(done)
	} else {
		a.printRetried(&done)
	}
	if err == nil && done.Failed > 0 {
		err = answerError{exitFailed}
	}
	return err
}

// retryAll retries in requests of a few seconds each, so that it can show how
// far it is and be interrupted, and returns the sum.
func (a *app) retryAll(ctx context.Context, c *client.Client, b *bulkFlags) (sum api.BulkRetried, err error) {
	sum = api.BulkRetried{DryRun: b.dryRun, Errors: []api.BulkError{}}
	request := api.BulkRetry{Filter: b.filter, Rate: b.rate, DryRun: b.dryRun}
	for {
		request.Limit = max(1, min(int(5*b.rate), 1000))
		if b.dryRun {
			request.Limit = 10000
		}
		if b.limit > 0 {
			request.Limit = min(request.Limit, b.limit-sum.Matched)
		}
		done, err := c.RetryDeliveries(ctx, request)
		sum.Matched, sum.Retried, sum.Failed = sum.Matched+done.Matched, sum.Retried+done.Retried, sum.Failed+done.Failed
		sum.Errors = append(sum.Errors, done.Errors...)
		sum.Next, request.Cursor = done.Next, done.Next
		if err != nil || done.Next == "" || b.limit > 0 && sum.Matched >= b.limit {
			return sum, err
		}
		if a.note.terminal && !b.dryRun {
			a.note.line("%s so far", deliveriesText(sum.Retried))
		}
	}
}

// confirmRetry says how many deliveries a retry concerns and asks for a yes.
func (a *app) confirmRetry(ctx context.Context, c *client.Client, b *bulkFlags) (bool, error) {
	if !isTerminal(a.env.Stdin) {
		return false, usage("add --yes, or see what it would do with --dry-run", "a retry of many deliveries wants a confirmation")
	}
	dry := *b
	dry.dryRun = true
	count, err := a.retryAll(ctx, c, &dry)
	if err != nil {
		return false, err
	}
	if count.Matched == 0 {
		a.note.line("no delivery fits")
		return false, nil
	}
	_, _ = fmt.Fprintf(a.note, "Retry %s, %g a second? [y/N] ", deliveriesText(count.Matched), b.rate) // kept in note.err
	answer, err := bufio.NewReader(a.env.Stdin).ReadString('\n')
	if err != nil && answer == "" { // a device that is no terminal, such as /dev/null
		return false, usage("add --yes, or see what it would do with --dry-run", "a retry of many deliveries wants a confirmation")
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

func deliveriesText(n int) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}

func (a *app) printRetried(done *api.BulkRetried) {
	p := a.out
	switch {
	case done.Matched == 0:
		p.line("no delivery fits")
	case done.DryRun:
		p.line("%s would be retried", deliveriesText(done.Matched))
	default:
		p.line("%s retried", deliveriesText(done.Retried))
	}
	if done.Failed > 0 {
		p.line("%s could not be retried:", p.red(deliveriesText(done.Failed)))
		for _, e := range done.Errors {
			p.line("  %s  %s  %s", e.ID, word(e.Code), word(e.Message))
		}
	}
}
