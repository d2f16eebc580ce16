package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// The exit codes. They are stable; more may come.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitToken       = 4
	exitNotFound    = 5
	exitInterrupted = 130
)

// exitMeanings is the table of `grapnel help exit-codes`.
var exitMeanings = []struct {
	code int
	text string
}{
	{exitOK, "It worked, and the answer is yes."},
	{exitFailed, "It failed, or the answer is no: an invalid configuration, a signature that does not\n       verify, a pattern that does not match, a test that the receiver refused."},
	{exitUsage, "The command line is wrong: unknown command or flag, missing or unreadable argument."},
	{exitUnreachable, "Grapnel does not answer at the address that was asked."},
	{exitToken, "The admin token is missing or wrong."},
	{exitNotFound, "What was named does not exist."},
	{exitInterrupted, "Interrupted before it was done."},
}

// The exit codes of commands, as their help lists them.
const (
	exitsOffline = `

Exit codes: 0 done, 1 failed, 2 wrong command line.`
	exitsAnswer = `

Exit codes: 0 yes, 1 no, 2 wrong command line or unusable input.`
	exitsServer = `

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no server, 4 wrong token, 5 no such thing.`
)

func exitTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("The exit codes of grapnel. They are stable; more may come.\n\n")
	for _, m := range exitMeanings {
		fmt.Fprintf(&b, "%5d  %s\n", m.code, m.text)
	}
	b.WriteString("\nErrors go to stderr: a line, and a hint what to do. With --json they are one JSON\n" +
		"object: {\"error\": {\"code\", \"kind\", \"message\", \"hint\", \"exit_code\"}}.")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: b.String()}
}

// answerError is the error of a command that did its work and whose answer is no.
// It was printed: only the exit code is left to set.
type answerError struct{ code int }

// Error says what the exit code says.
func (e answerError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// usage is an error of the command line, with what to do about it.
func usage(hint, format string, args ...any) error {
	f := fault.New(fault.Invalid, codeUsage, format, args...)
	if hint != "" {
		f = f.WithHint("%s", hint)
	}
	return f
}

// Codes of the errors that commands make themselves.
const (
	codeUsage       = "usage"
	codeUnreachable = "unreachable"
)

// exitCode returns the code that stands for an error.
func exitCode(ctx context.Context, err error) int {
	if no, ok := errors.AsType[answerError](err); ok {
		return no.code
	}
	if _, ok := errors.AsType[argumentError](err); ok {
		return exitUsage
	}
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case !ok && ctx.Err() != nil:
		return exitInterrupted
	case !ok:
		return exitFailed
	case f.Code == codeUsage:
		return exitUsage
	case f.Code == codeUnreachable:
		return exitUnreachable
	case f.Kind == fault.Unauthorized:
		return exitToken
	case f.Kind == fault.NotFound:
		return exitNotFound
	}
	return exitFailed
}

type errorText struct {
	Code     string `json:"code,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	ExitCode int    `json:"exit_code"`
}

// fail prints an error and returns its exit code. Unlike a server, a command
// shows causes: whoever runs it owns what they name.
func (a *app) fail(ctx context.Context, err error) int {
	code := exitCode(ctx, err)
	if _, said := errors.AsType[answerError](err); said || code == exitInterrupted {
		return code
	}
	text := errorText{Message: err.Error(), ExitCode: code}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		text.Code, text.Kind, text.Hint = f.Code, f.Kind.String(), f.Hint
	}
	if a.json {
		line, _ := json.Marshal(map[string]errorText{"error": text}) // strings and a number: cannot fail
		a.note.line("%s", line)
		return code
	}
	a.note.line("%s %s", a.note.red("grapnel:"), clean(text.Message))
	if text.Hint != "" {
		a.note.line("%s %s", a.note.yellow("hint:"), clean(text.Hint))
	}
	return code
}

// flagError makes an error of pflag one of the command line, with a suggestion.
func flagError(cmd *cobra.Command, err error) error {
	hint := "see " + cmd.CommandPath() + " --help"
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		if s := spec.Suggest("--"+unknown.GetSpecifiedName(), names); s != "" {
			hint = s
		}
	}
	return usage(hint, "%v", err)
}

// noCommand refuses what is left after the name of a group: an unknown command.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	hint := spec.Suggest(args[0], names)
	if hint == "" {
		hint = "see " + cmd.CommandPath() + " --help"
	}
	return usage(hint, "unknown command %q for %q", args[0], cmd.CommandPath())
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// one returns a check that wants one argument; what says which.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return usage("usage: "+cmd.UseLine(), "%s wants %s", cmd.CommandPath(), what)
	}
}

// none refuses arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage("usage: "+cmd.UseLine(), "%s takes no argument, got %q", cmd.CommandPath(), args[0])
}

// atMost returns a check that takes up to n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		return usage("usage: "+cmd.UseLine(), "%s takes at most %d argument, got %d", cmd.CommandPath(), n, len(args))
	}
}
