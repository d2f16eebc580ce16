// Command grapnel is the gateway between webhooks and functions.
package main

import (
	"os"

	"github.com/grapnel/grapnel/internal/cli"
)

func main() { os.Exit(cli.Main(cli.System())) }
