package cli_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/grapnel/grapnel/internal/cli"
)

// runnable calls fn with every command that does something.
func runnable(cmd *cobra.Command, fn func(*cobra.Command)) {
	for _, c := range cmd.Commands() {
		if c.Name() == "completion" || c.Name() == "help" || c.Name() == "exit-codes" {
			continue // cobra's own, and a page
		}
		if !c.HasSubCommands() {
			fn(c)
		}
		runnable(c, fn)
	}
}

func TestEveryCommandDocumentsItselfAndItsExitCodes(t *testing.T) {
	t.Parallel()
	seen := 0
	runnable(cli.Commands(), func(c *cobra.Command) {
		seen++
		path := c.CommandPath()
		if !strings.Contains(c.Long, "\n\nExit codes: ") {
			t.Errorf("%s: the long help does not end with exit codes", path)
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q, want a clause without a full stop", path, c.Short)
		}
		for line := range strings.SplitSeq(c.Long+"\n"+c.Example, "\n") {
			if len(line) > 100 {
				t.Errorf("%s: a line of help has %d columns: %s", path, len(line), line)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") || f.Name != strings.ToLower(f.Name) || strings.Contains(f.Name, "_") {
				t.Errorf("%s --%s: usage %q", path, f.Name, f.Usage)
			}
		})
	})
	if seen < 30 {
		t.Errorf("%d commands seen, the walk is broken", seen)
	}
}

func TestListsAndShowsHaveJSON(t *testing.T) {
	t.Parallel()
	runnable(cli.Commands(), func(c *cobra.Command) {
		if name := c.Name(); (name == "list" || name == "show" || name == "status") && c.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", c.CommandPath())
		}
	})
}
