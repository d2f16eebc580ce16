package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/grapnel/grapnel/internal/cli"
)

// patience is how long a script waits for something before it fails.
const patience = 30 * time.Second

var update = flag.Bool("update", false, "rewrite what scripts compare with cmp")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"grapnel": func() { os.Exit(cli.Main(cli.System())) }, //nolint:forbidigo // This is the command's main here.
	})
}

// TestScripts runs testdata/script/*.txtar: each is a session at a shell, with
// the real command. Beside the commands of testscript there are
//
//	code N cmd args...        run a command that must end with exit code N
//	await cmd args...         repeat a command until it succeeds
//	await -m REGEX cmd...     repeat it until its stdout matches
//	receiver NAME 503 200     start an HTTP server that answers so, the last status from then on
//	                          (0 does not answer); sets $NAME to its URL
//	edit FILE OLD NEW         replace a text that must be there
//	glob NAME PATTERN         wait for the one file that the pattern names, and set $NAME to it
//	certificate CERT KEY      write a certificate that no authority has signed, and its key
//	hangup                    send SIGHUP to the process in the background
//	insist                    send it SIGINT until it has ended
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
			return os.MkdirAll(filepath.Join(env.WorkDir, "tmp"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": cmdCode, "await": cmdAwait, "receiver": cmdReceiver, "edit": cmdEdit, "glob": cmdGlob, "hangup": cmdHangup,
			"insist": cmdInsist, "certificate": cmdCertificate,
		},
	})
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N cmd args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// until repeats try until it returns true.
func until(ts *testscript.TestScript, what string, try func() bool) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !try() {
		pause.Reset(50 * time.Millisecond) // between two tries, however long one takes
		select {
		case <-pause.C:
		case <-limit.C:
			ts.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	match := regexp.MustCompile("")
	if len(args) > 2 && args[0] == "-m" {
		match, args = regexp.MustCompile("(?m)"+args[1]), args[2:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: await [-m REGEX] cmd args...")
	}
	until(ts, strings.Join(args, " "), func() bool {
		return ts.Exec(args[0], args[1:]...) == nil && match.MatchString(ts.ReadFile("stdout"))
	})
}

func cmdEdit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate CERT KEY")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"hooks.example.com"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: cert}, {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), pem.EncodeToMemory(block), 0o600))
	}
}

func cmdGlob(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: glob NAME PATTERN")
	}
	until(ts, args[1], func() bool {
		found, err := filepath.Glob(ts.MkAbs(args[1]))
		ts.Check(err)
		if len(found) == 1 {
			ts.Setenv(args[0], found[0])
		}
		return len(found) == 1
	})
}

func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.BackgroundCmds()
	if neg || len(args) != 0 || len(running) != 1 {
		ts.Fatalf("usage: hangup, with one process in the background")
	}
	ts.Check(running[0].Process.Signal(syscall.SIGHUP))
}

func cmdInsist(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.BackgroundCmds()
	if neg || len(args) != 0 || len(running) != 1 {
		ts.Fatalf("usage: insist, with one process in the background")
	}
	until(ts, "the process to end", func() bool {
		return errors.Is(running[0].Process.Signal(os.Interrupt), os.ErrProcessDone)
	})
}

func cmdReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: receiver NAME STATUS...")
	}
	r := &answers{}
	for _, text := range args[1:] {
		status, err := strconv.Atoi(text)
		ts.Check(err)
		r.statuses = append(r.statuses, status)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	server := &http.Server{Handler: r, ReadHeaderTimeout: patience}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }() // ends with the script, which waits for it
	ts.Defer(func() {
		ts.Check(server.Close())
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			ts.Fatalf("serving: %v", err)
		}
	})
	ts.Setenv(args[0], "http://"+l.Addr().String())
}

// answers answers with one status after the other, and with the last one for ever.
type answers struct {
	mu       sync.Mutex // guards statuses
	statuses []int
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	a.mu.Lock()
	status := a.statuses[0]
	if len(a.statuses) > 1 {
		a.statuses = a.statuses[1:]
	}
	a.mu.Unlock()
	if status == 0 {
		<-r.Context().Done()
		return
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "got %d bytes (%v)", len(body), err)
}
