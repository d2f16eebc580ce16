// Package exec is the kind of destination that runs a command on this machine
// for each message: no shell, an environment that is empty but for what is
// listed, and a process group that ends with the attempt. Whoever can change the
// configuration can run programs as Grapnel with it, so that the file has to
// enable the kind as a whole.
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	osexec "os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
)

const (
	// tempFail is EX_TEMPFAIL of sysexits.h: try again later.
	tempFail = 75
	// leaveTime is how long output is waited for once the command has ended: it
	// may have left somebody behind who holds its end of the pipe.
	leaveTime = time.Second
)

// command is a destination.
type command struct {
	words  []string
	dir    string
	env    []string
	giveUp bool // at exit codes other than 0 and tempFail
	shown  string
	hide   destination.Hidden
}

// Format prints the program, whatever the verb: the fields hold secrets.
func (c *command) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "exec "+c.shown) }

// Do runs the command.
func (c *command) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	if ctx.Err() != nil {
		return nil, destination.Unanswered(ctx, context.Cause(ctx), c.hide)
	}
	out := &excerpt{left: max(r.WantBody, 0)}
	cmd := osexec.CommandContext(ctx, c.words[0], c.words[1:]...) //nolint:gosec // G204: the operator names it, and has enabled the kind
	cmd.Dir = c.dir
	cmd.Env = append(slices.Clip(c.env),
		"GRAPNEL_DELIVERY_ID="+r.ID, "GRAPNEL_ATTEMPT="+strconv.Itoa(r.Attempt))
	if r.Test {
		cmd.Env = append(cmd.Env, "GRAPNEL_TEST=true")
	}
	cmd.Stdin = bytes.NewReader(r.Body)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = leaveTime
	// A group of its own, so that what the command starts ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		// The command was not waited for yet, so that its number is still its own.
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	err := cmd.Run()
	if err == nil || errors.Is(err, osexec.ErrWaitDelay) && cmd.ProcessState.Success() {
		return &destination.Response{Status: 200, Body: c.hide.Bytes(out.text), Truncated: out.more}, nil
	}
	if ctx.Err() != nil {
		return nil, destination.Unanswered(ctx, context.Cause(ctx), c.hide)
	}
	return nil, c.failure(err, out.text)
}

// failure returns the error for a command that did not succeed.
func (c *command) failure(err error, text []byte) error {
	e := &destination.Error{Class: destination.FunctionFailed, Excerpt: c.hide.Bytes(text), Err: c.hide.Err(err)}
	exit, ended := errors.AsType[*osexec.ExitError](err)
	switch {
	case ended && exit.ExitCode() == tempFail:
		e.Message = "the command exited with 75 (EX_TEMPFAIL)"
	case ended && exit.ExitCode() < 0:
		e.Message = "the command was ended: " + exit.String()
	case ended:
		e.Message = "the command exited with " + strconv.Itoa(exit.ExitCode())
		if c.giveUp {
			e.Class = destination.Rejected
		}
	case errors.Is(err, fs.ErrNotExist):
		e.Class, e.Message = destination.NotFound, "there is no such program or directory"
	case errors.Is(err, fs.ErrPermission):
		e.Class, e.Message = destination.Forbidden, "the program may not be run by the user that Grapnel runs as"
	default:
		e.Class, e.Message = destination.InternalError, "the program could not be started"
	}
	return e
}

// excerpt keeps the beginning of what is written to it.
type excerpt struct {
	text []byte
	left int
	more bool
}

// Write keeps what there is room for and takes the rest.
func (e *excerpt) Write(p []byte) (int, error) {
	n := min(len(p), e.left)
	e.text = append(e.text, p[:n]...)
	e.left -= n
	e.more = e.more || n < len(p)
	return len(p), nil
}
