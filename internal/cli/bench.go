package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/bench"
)

func (a *app) newBench() *cobra.Command {
	var o bench.Options
	var role string
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure this machine: Grapnel beside the limits", Args: none,
		Long: `Load Grapnel over loopback, and beside it the least programs that keep the same promise:
"raw durable" makes each body durable before it answers, "raw durable + deliver" also posts
it, signed, to a receiver. The percentages are what Grapnel keeps of those limits.

Everything that was accepted is looked for afterwards, byte for byte, where it was stored
and where it was delivered. It takes about half a minute; --full takes some minutes and a
few gigabytes in the temporary directory, and lists from a million events.

Nothing else should run meanwhile: the load shares the machine with what is measured.

Exit codes: 0 done, 1 failed or a result did not pass its check, 2 wrong command line.`,
		Example: "  grapnel bench\n  grapnel bench --dir /var/lib/grapnel --duration 5s\n  grapnel bench --full --json > bench.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if role != "" {
				return bench.Role(cmd.Context(), role, a.env.Stdin, a.env.Stdout)
			}
			return a.bench(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.Full, "full", false, "measure longer, whole envelopes and lists at a million events too")
	flags.DurationVar(&o.Duration, "duration", 0, "time of load in each round (default 1s, with --full 3s)")
	flags.IntVar(&o.Rounds, "rounds", 0, "turns of each contender (default 3, with --full 5)")
	flags.IntVar(&o.Connections, "connections", 0, "requests under way (default 64)")
	flags.IntVar(&o.BodySize, "body-size", 0, "bytes of a webhook's body (default 1024)")
	flags.IntVar(&o.PerSecond, "rate", 0, "webhooks a second for the latencies (default 1000)")
	flags.IntVar(&o.Events, "events", 0, "events to list from (default 1000000 with --full, else none)")
	flags.StringVar(&o.Dir, "dir", "", "make the data in this directory (default the system's temporary one)")
	flags.StringVar(&o.Profile, "profile", "", "write CPU and allocation profiles of each contender to this directory")
	flags.StringVar(&role, "role", "", "be a child process of a measurement")
	_ = flags.MarkHidden("role") // it was just added
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) bench(ctx context.Context, o bench.Options) error {
	o.Out, o.Progress, o.JSON, o.Version = a.out, a.note, a.json, buildVersion()
	if err := o.Check(); err != nil {
		return usage("see grapnel bench --help", "%v", err)
	}
	return bench.Run(ctx, o)
}
