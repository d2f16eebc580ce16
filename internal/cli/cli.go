package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Env is what commands touch of the world.
type Env struct {
	Args           []string // without the name of the program
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	LookupEnv      func(name string) (string, bool)
	Now            func() time.Time
}

// System returns the Env of this process.
func System() Env {
	return Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		LookupEnv: os.LookupEnv, Now: time.Now,
	}
}

// Main runs the command line and returns the exit code. The first SIGINT or
// SIGTERM asks the command to end, the second one kills the process.
func Main(env Env) int {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	context.AfterFunc(ctx, release)
	return run(ctx, env)
}

func run(ctx context.Context, env Env) int {
	a := &app{env: env, out: newPrinter(env.Stdout, env.LookupEnv), note: newPrinter(env.Stderr, env.LookupEnv)}
	root := a.root() //nolint:contextcheck // Commands get the context from ExecuteContext.
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.out.err // a full disk behind > must not look like success
	}
	if err == nil {
		return exitOK
	}
	return a.fail(ctx, err)
}

// app is one run of the command line.
type app struct {
	env  Env
	out  *printer // stdout: the result
	note *printer // stderr: hints, questions, progress
	json bool     // --json
	conn connection
}

// The groups of commands in the help.
const (
	groupStart = "start"
	groupLook  = "look"
	groupAct   = "act"
	groupTool  = "tool"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "grapnel",
		Short: "The gateway between webhooks and functions",
		Long: `Grapnel receives webhooks, proves who sent them, stores them before it answers,
matches them with EventBridge rules, and delivers them, signed and retried.

  grapnel demo     see all of it in a second, in a temporary directory
  grapnel init     write a configuration that works at once
  grapnel serve    run it`,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Start:"}, &cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupAct, Title: "Act:"}, &cobra.Group{ID: groupTool, Title: "Tools that need no server:"},
	)
	root.SetHelpCommandGroupID(groupTool)
	root.SetCompletionCommandGroupID(groupTool)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupStart, a.newDemo(), a.newInit(), a.newCheck(), a.newServe())
	add(groupLook, a.newStatus(), a.newEvents(), a.newRefused(), a.newSources(), a.newRules())
	add(groupAct, a.newSend(), a.newDeliveries(), a.newDestinations(), a.newTest())
	add(groupTool, a.newPattern(), a.newProviders(), a.newSign(), a.newVerify(),
		a.newSecret(), a.newConfig(), a.newOpenAPI(), a.newBench(), a.newVersion())
	root.AddCommand(exitTopic())
	return root
}

// jsonFlag adds --json to a command.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON, for programs")
}
