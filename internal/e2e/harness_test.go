package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the built command, made once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "grapnel-e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "grapnel")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, "../../cmd/grapnel")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("building: %v\n%s", err, out))
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code) //nolint:forbidigo // what TestMain is for
}

// server is one running grapnel serve.
type server struct {
	t      testing.TB
	cmd    *exec.Cmd
	dir    string
	public string // http://host:port
	admin  string
	token  string
	log    *logBuffer
	ended  chan struct{}
}

// logBuffer keeps what a process wrote; tests show it when they fail.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.WriteString(line + "\n")
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// writeConfig puts a configuration into a new directory and returns the directory.
func writeConfig(tb testing.TB, text string) string {
	tb.Helper()
	dir := tb.TempDir()
	head := "listen: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\"}\ndata: " + filepath.Join(dir, "data") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "grapnel.yaml"), []byte(head+text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

var listening = regexp.MustCompile(`msg=listening .*public=(\S+) admin=(\S+)`)

// serve starts the binary and waits until it is ready.
func serve(tb testing.TB, dir string) *server {
	tb.Helper()
	s := &server{t: tb, dir: dir, log: &logBuffer{}, ended: make(chan struct{})}
	s.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), binary, "serve", "-c", filepath.Join(dir, "grapnel.yaml"), "--log-format", "text")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	addresses := make(chan []string, 1)
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.log.add(lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				addresses <- m
			}
		}
		_ = s.cmd.Wait()
	}()
	tb.Cleanup(s.kill)
	select {
	case m := <-addresses:
		s.public, s.admin = "http://"+m[1], "http://"+m[2]
	case <-s.ended:
		tb.Fatalf("grapnel serve ended:\n%s", s.log)
	case <-time.After(30 * time.Second):
		tb.Fatalf("grapnel serve did not start:\n%s", s.log)
	}
	token, err := os.ReadFile(filepath.Join(dir, "data", "admin.token"))
	if err != nil {
		tb.Fatal(err)
	}
	s.token = strings.TrimSpace(string(token))
	return s
}

// kill ends the process as a power button would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// stop ends it as an operator would, and returns the exit code.
func (s *server) stop() int {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
	return s.cmd.ProcessState.ExitCode()
}

// api asks the admin port and decodes the answer into out.
func (s *server) api(method, path string, out any) error {
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.admin+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s %s", method, path, response.Status, body)
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = body
		return nil
	}
	return json.Unmarshal(body, out)
}

func (s *server) get(path string, out any) {
	s.t.Helper()
	if err := s.api(http.MethodGet, path, out); err != nil {
		s.t.Fatal(err)
	}
}

// eventually asks until the answer is yes; the log is shown when it never is.
func (s *server) eventually(what string, limit time.Duration, ok func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			s.t.Fatalf("%s: not within %v\n%s", what, limit, s.log)
		}
	}
}

const githubSecret = "It's a Secret to Everybody"

func signGitHub(body []byte) string {
	h := hmac.New(sha256.New, []byte(githubSecret))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// sendGitHub posts a signed webhook and returns status and answer.
func sendGitHub(ctx context.Context, client *http.Client, base, path, event, id string, body []byte) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", id)
	r.Header.Set("X-Hub-Signature-256", signGitHub(body))
	response, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// listed is an event as the API lists it.
type listed struct {
	ID         string `json:"id"`
	Position   string `json:"position"`
	DetailType string `json:"detail_type"`
	Source     string `json:"source"`
	ProviderID string `json:"provider_id"`
	Endpoint   string `json:"endpoint"`
}

// events lists all events that the query selects, over all pages.
func (s *server) events(query string) []listed {
	s.t.Helper()
	var all []listed
	cursor := ""
	for {
		var page struct {
			Events []listed `json:"events"`
			Next   string   `json:"next"`
		}
		path := "/api/v1/events?limit=1000&" + query
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		s.get(path, &page)
		all = append(all, page.Events...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}
