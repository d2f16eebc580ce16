package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
)

// Proven is what the demo wants of a delivery.
func Proven(d *api.DeliveryDetail) error { return proven(d) }

// Commands returns the tree of all commands, for tests that look at all of them.
func Commands() *cobra.Command {
	none := func(string) (string, bool) { return "", false }
	a := &app{env: Env{Stdout: io.Discard, Stderr: io.Discard, LookupEnv: none}}
	a.out, a.note = newPrinter(io.Discard, none), newPrinter(io.Discard, none)
	return a.root()
}
