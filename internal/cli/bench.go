package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/bench"
)

func (a *app) newBench() *cobra.Command {
	var o bench.Options
	var role string
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure what this machine does", Args: none,
		Long: `Measure Grapnel on this machine, beside the limits of the machine: bare programs that do
the least that could be called the same, under the same load. Everything runs in a
temporary directory and over loopback; every message is looked for afterwards, and a figure
of which something is missing is reported as failed.

--dir says which disk is measured. It should be the one that the data will be on.

Exit codes: 0 done, 1 failed, or a result did not pass its check, 2 wrong command line,
130 interrupted.`,
		Example: "  grapnel bench\n  grapnel bench --full --dir /var/lib/grapnel --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if role != "" {
				return bench.Role(cmd.Context(), role, a.env.Stdin, a.out)
			}
			return a.bench(cmd.Context(), &o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.Full, "full", false, "also what takes minutes: more rounds, lists at a million events")
	flags.DurationVar(&o.Duration, "duration", 0, "load on each contender in a round (default 1s, with --full 3s)")
	flags.IntVar(&o.Rounds, "rounds", 0, "turns of each contender (default 3, with --full 5)")
	flags.IntVar(&o.Connections, "connections", 0, "requests under way (default 64)")
	flags.IntVar(&o.BodySize, "body-size", 0, "bytes of a webhook's body (default 1024)")
	flags.IntVar(&o.PerSecond, "per-second", 0, "load at which latencies are measured (default 1000)")
	flags.IntVar(&o.Events, "events", 0, "events to list from; negative: none (default none, with --full 1000000)")
	flags.StringVar(&o.Dir, "dir", "", "where the temporary directory is made (default the system's)")
	flags.StringVar(&o.Profile, "profile", "", "directory for CPU and allocation profiles")
	flags.StringVar(&role, "role", "", "part that a child process plays")
	_ = flags.MarkHidden("role") // it exists: it was added above
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) bench(ctx context.Context, o *bench.Options) error {
	o.Out, o.JSON, o.Version = a.out, a.json, buildVersion()
	if a.note.terminal {
		o.Progress = a.note
	}
	if err := o.Check(); err != nil {
		return usage("see grapnel bench --help", "%v", err)
	}
	err := bench.Run(ctx, *o)
	if errors.Is(err, bench.ErrFailed) {
		return answerError{exitFailed} // the report says which
	}
	return err
}
