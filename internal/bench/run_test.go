package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/internal/bench"
)

// The arguments by which the test binary becomes a child: honest, or one that
// forgets a message of what arrived.
const (
	honestArg = "bench-role"
	lossyArg  = "bench-lossy-role"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && (os.Args[1] == honestArg || os.Args[1] == lossyArg) {
		if err := play(os.Args[1], os.Args[2]); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err) // there is nobody else to tell
			os.Exit(1)                          //nolint:forbidigo // this process is a child, not a test
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func play(arg, role string) error {
	if arg == honestArg {
		return bench.Role(context.Background(), role, os.Stdin, os.Stdout)
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- forget(r, os.Stdout) }()
	err := bench.Role(context.Background(), role, os.Stdin, w)
	return errors.Join(err, w.Close(), <-ended)
}

// forget copies the lines of a child, but for message 3 of what arrived.
func forget(r io.Reader, w io.Writer) error {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var a struct {
			Arrivals *struct {
				Seen []byte `json:"seen"`
				Last int64  `json:"last"`
			} `json:"arrivals"`
		}
		if json.Unmarshal(line, &a) == nil && a.Arrivals != nil {
			a.Arrivals.Seen[3] = 0
			if line, err = json.Marshal(a); err != nil {
				return err
			}
			line = append(line, '\n')
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
}

func options(t *testing.T, out io.Writer, arg string) bench.Options {
	t.Helper()
	return bench.Options{
		Out: out, JSON: true, Full: true, Duration: 200 * time.Millisecond, Rounds: 1, Connections: 8, PerSecond: 100,
		Events: 500, Dir: t.TempDir(), Version: "test", Command: []string{os.Args[0], arg},
	}
}

type figures struct {
	Throughput []struct {
		Name   string
		Rate   float64 `json:"per_second"`
		P99    float64 `json:"p99_ms"`
		CPU    float64 `json:"cpu_us"`
		Failed string
		Rounds []struct {
			Percent   float64 `json:"percent_of_limit"`
			Stored    map[string]int
			Delivered map[string]int
		}
	}
	Latency []struct {
		Name     string
		Messages int
		Total    struct {
			P50 float64 `json:"p50_ms"`
		} `json:"sent_to_delivered"`
		Failed string
	}
	Footprint struct {
		Start  float64 `json:"start_ms"`
		Idle   int64   `json:"idle_rss"`
		Binary int64
	}
	List struct {
		Newest struct {
			P50 float64 `json:"p50_ms"`
		}
	}
	Micro []struct{ NS float64 }
}

func TestEveryContenderRunsAndIsAccountedFor(t *testing.T) {
	t.Parallel()
	var out, progress bytes.Buffer
	o := options(t, &out, honestArg)
	o.Progress = &progress
	o.Profile = t.TempDir()
	if err := bench.Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	var got figures
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range got.Throughput {
		names = append(names, row.Name)
		round := row.Rounds[0]
		stored := round.Stored
		if row.Rate <= 0 || row.P99 <= 0 || row.CPU <= 0 || row.Failed != "" || stored["accepted"] == 0 || stored["missing"] != 0 {
			t.Errorf("%s: %+v", row.Name, row)
		}
		if delivers := strings.Contains(row.Name, "deliver") || strings.Contains(row.Name, "cycle"); delivers !=
			(round.Delivered["accepted"] == stored["accepted"]) {
			t.Errorf("%s: delivered %v, stored %v", row.Name, round.Delivered, stored)
		}
		if (row.Name != "bare") != (round.Percent > 0) {
			t.Errorf("%s: %v percent of its limit", row.Name, round.Percent)
		}
		if info, err := os.Stat(filepath.Join(o.Profile, row.Name+".cpu")); err != nil || info.Size() == 0 {
			t.Errorf("%s: no profile: %v", row.Name, err)
		}
	}
	const want = "bare raw_durable ingest raw_deliver full_cycle full_cycle_envelope"
	if all := strings.Join(names, " "); all != want {
		t.Errorf("contenders are %s, want %s", all, want)
	}
	for _, l := range got.Latency {
		if l.Messages != 40 || l.Total.P50 <= 0 || l.Failed != "" {
			t.Errorf("latency %+v, want 40 messages", l)
		}
	}
	f := got.Footprint
	if len(got.Latency) != 3 || f.Start <= 0 || f.Idle <= 0 || f.Binary <= 0 || got.List.Newest.P50 <= 0 || len(got.Micro) != 3 {
		t.Errorf("report %+v", got)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("%v left in the directory, %v", left, err)
	}
}

func TestAResultOfWhichAMessageIsMissingIsNoNumber(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := options(t, &out, lossyArg)
	o.JSON, o.Full, o.Events = false, false, -1
	err := bench.Run(t.Context(), o)
	if !errors.Is(err, bench.ErrFailed) || !strings.Contains(err.Error(), "1 accepted and missing") {
		t.Errorf("error %v, want ErrFailed with what is missing", err)
	}
	for line := range strings.Lines(out.String()) {
		for _, title := range []string{"bare handler", "limit: raw durable", "grapnel, "} {
			if strings.Contains(line, "  "+title) && !strings.Contains(line, "FAILED: ") {
				t.Errorf("a figure was printed:\n%s", line)
			}
		}
	}
	if n := strings.Count(out.String(), "FAILED: "); n != 7 {
		t.Errorf("%d results failed, want 5 rates and 2 latencies:\n%s", n, out.String())
	}
}

func TestRunSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bench.Options){
		"rounds -1":               func(o *bench.Options) { o.Rounds = -1 },
		"body size 3":             func(o *bench.Options) { o.BodySize = 3 },
		"connections 5000":        func(o *bench.Options) { o.Connections = 5000 },
		"duration 1ns":            func(o *bench.Options) { o.Duration = 1 },
		"no such file":            func(o *bench.Options) { o.Dir = filepath.Join(o.Dir, "missing") },
		"number of events 100000": func(o *bench.Options) { o.Events = 100_000_000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, io.Discard, honestArg)
			change(&o)
			if err := bench.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	o := options(t, io.Discard, honestArg)
	o.Duration = time.Minute
	o.Progress = writerFunc(func(p []byte) (int, error) { return len(p), nil })
	timer := time.AfterFunc(300*time.Millisecond, func() { cancel(cause) })
	defer timer.Stop()
	if err := bench.Run(ctx, o); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("%v left in the directory, %v", left, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRolesRefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	const setup = `{"run":"0123456789abcdef","body_size":1024,"capacity":1,"secret":"x"}`
	for _, tc := range []struct{ role, in, want string }{
		{"nobody", setup, `role "nobody" is not known`},
		{"bare", "{", "unexpected EOF"},
		{"bare", `{"body_size":1}`, "body of 1 bytes"},
		{"bare", setup + `{"ask":"weather"}`, `question \"weather\" is not known`},
		{"durable", setup + `{"ask":"arrived"}`, "this role counts nothing"},
		{"bare", setup + `{"ask":"profile"}`, "no profile runs"},
	} {
		t.Run(tc.role+" "+tc.want, func(t *testing.T) {
			t.Parallel()
			in := strings.Replace(tc.in, `"run"`, `"dir":"`+t.TempDir()+`","run"`, 1)
			var out bytes.Buffer
			err := bench.Role(t.Context(), tc.role, strings.NewReader(in), &out)
			if said := fmt.Sprint(err) + out.String(); !strings.Contains(said, tc.want) {
				t.Errorf("it said %q, want %q", said, tc.want)
			}
		})
	}
}
