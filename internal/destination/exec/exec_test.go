package exec_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/exec"
)

// shell returns the configuration of a destination that runs a script.
func shell(script, more string) string {
	return fmt.Sprintf(`{"command": ["/bin/sh", "-c", %q]%s}`, script, more)
}

func build(tb testing.TB, config string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, exec.Kind(), config, destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.RunOffline(t, exec.Kind(), `{"command": ["/bin/cat"]}`)
}

func TestTheCommandGetsTheBodyAndAnEmptyEnvironment(t *testing.T) {
	t.Parallel()
	request := destinationtest.Request(`{"a": "$(date)"}`)
	request.Attempt = 3
	resp, err := build(t, shell(`cat; echo; pwd; /usr/bin/env | sort | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD=; echo err >&2`,
		`, "env": {"COLOR": "green"}, "dir": "/tmp"`)).Do(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a": "$(date)"}` + "\n/tmp\nCOLOR=green\nGRAPNEL_ATTEMPT=3\nGRAPNEL_DELIVERY_ID=" + request.ID + "\nerr\n"
	if diff := cmp.Diff(want, string(resp.Body)); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	request.Test = true
	resp, err = build(t, shell(`echo $GRAPNEL_TEST`, "")).Do(t.Context(), request)
	if err != nil || string(resp.Body) != "true\n" {
		t.Errorf("a test: %+v, %v", resp, err)
	}
}

func TestArgumentsAreNotExpanded(t *testing.T) {
	t.Parallel()
	resp, err := build(t, `{"command": ["/bin/echo", "$HOME", "*", "a  b", "; ls"]}`).Do(t.Context(), destinationtest.Request(`{}`))
	if err != nil || string(resp.Body) != "$HOME * a  b ; ls\n" {
		t.Errorf("Do = %+v, %v", resp, err)
	}
}

func TestExitCodesHaveClasses(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]destination.Class{
		shell(`echo why; exit 1`, ``):                             destination.Rejected,
		shell(`echo why; exit 1`, `, "on_failure": "transient"`):  destination.FunctionFailed,
		shell(`echo why; exit 75`, ``):                            destination.FunctionFailed,
		shell(`echo why; exit 255`, ``):                           destination.Rejected,
		shell(`echo why; kill -SEGV $$`, ``):                      destination.FunctionFailed,
		`{"command": ["/does/not/exist"]}`:                        destination.NotFound,
		`{"command": ["/bin/cat"], "dir": "/does/not/exist"}`:     destination.NotFound,
		`{"command": ["/etc/passwd"]}`:                            destination.Forbidden,
		shell(`echo why; exit 75`, `, "on_failure": "permanent"`): destination.FunctionFailed,
	} {
		_, err := build(t, config).Do(t.Context(), destinationtest.Request(`{}`))
		got := destinationtest.Failed(t, err)
		if got.Class != want {
			t.Errorf("%s: class %s (%v), want %s", config, got.Class, got, want)
		}
		if strings.Contains(config, "echo why") && string(got.Excerpt) != "why\n" {
			t.Errorf("%s: excerpt %q, want the output", config, got.Excerpt)
		}
	}
}

func TestATimeoutKillsTheProcessGroup(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := build(t, shell(`sleep 600 & echo $! >`+pids+`; wait`, "")).Do(ctx, destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.Timeout {
		t.Errorf("class %s, want timeout", got.Class)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("Do took %s", took)
	}
	pid, tick := number(t, pids), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	patience, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	for alive(t, pid) {
		select {
		case <-tick.C:
		case <-patience.Done():
			t.Fatal("the child of the command is alive")
		}
	}
}

// alive reports whether there is such a process that has not ended.
func alive(tb testing.TB, pid int) bool {
	tb.Helper()
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// One that ended is there until its parent, which may be any, waits for it.
	state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(state), ") Z ")
}

func number(tb testing.TB, file string) int {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 2 {
		tb.Fatalf("process %q, %v", text, err)
	}
	return pid
}

func TestABigBodyThatNobodyReadsIsNoFailure(t *testing.T) {
	t.Parallel()
	resp, err := build(t, shell(`exit 0`, "")).Do(t.Context(), destinationtest.Request(strings.Repeat("x", 4<<20)))
	if err != nil || len(resp.Body) != 0 {
		t.Errorf("Do = %+v, %v", resp, err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	request := destinationtest.Request(`{}`)
	request.WantBody = 100
	resp, err := build(t, shell(`head -c 10000000 /dev/zero`, "")).Do(t.Context(), request)
	if err != nil || len(resp.Body) != 100 || !resp.Truncated {
		t.Errorf("%d bytes, %v, want 100 that say that there were more", len(resp.Body), err)
	}
}

// A daemon that the command leaves behind holds its output open.
func TestWhatIsLeftBehindIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pid")
	begun := time.Now()
	_, err := build(t, shell(`sleep 60 & echo $! >`+pids+`; exit 0`, "")).Do(t.Context(), destinationtest.Request(`{}`))
	if err != nil {
		t.Errorf("Do: %v", err)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("Do took %s", took)
	}
	if err := syscall.Kill(number(t, pids), syscall.SIGKILL); err != nil {
		t.Errorf("ending what was left behind: %v", err)
	}
}

func TestSecretsOfTheEnvironmentStayHidden(t *testing.T) {
	t.Parallel()
	const hidden = "s3cret-of-the-env"
	config := shell(`echo key $KEY is wrong; exit 1`, `, "env": {"KEY": "`+hidden+`"}`)
	d := build(t, config)
	_, err := d.Do(t.Context(), destinationtest.Request(`{}`))
	c, _ := destinationtest.Decode(t, exec.Kind(), config)
	destinationtest.AssertLeaksNoSecret(t, []string{hidden}, err, d, c, c.Address())
	if got := destinationtest.Failed(t, err); !strings.Contains(string(got.Excerpt), "[secret] is wrong") {
		t.Errorf("excerpt %q", got.Excerpt)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                                            "command: is missing",
		`{"command": []}`:                               "command:",
		`{"command": ["ls"]}`:                           "whole path",
		`{"command": ["./x"]}`:                          "whole path",
		`{"command": "/bin/ls"}`:                        "command",
		`{"command": ["/bin/ls", "a\u0000b"]}`:          "NUL",
		`{"command": ["/bin/ls"], "dir": "x"}`:          "whole path",
		`{"command": ["/bin/ls"], "env": {"A-B": "x"}}`: "not the name of a variable",
		`{"command": ["/bin/ls"], "env": {"GRAPNEL_ATTEMPT": "x"}}`: "sets itself",
		`{"command": ["/bin/ls"], "env": {"A": "a\u0000b"}}`:        "NUL",
		`{"command": ["/bin/ls"], "on_failure": "retry"}`:           "on_failure",
		`{"command": ["/bin/ls"], "shell": true}`:                   "not a known key",
	} {
		_, problems := destinationtest.Decode(t, exec.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
