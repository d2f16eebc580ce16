package bench_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/bench"
)

func message(tb testing.TB) *bench.Message {
	tb.Helper()
	m, err := bench.NewMessage("0123456789abcdef", 1024)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestMessagesHaveTheirSizeAndNumber(t *testing.T) {
	t.Parallel()
	for _, size := range []int{512, 513, 1024, 1 << 20} {
		m, err := bench.NewMessage("0123456789abcdef", size)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 255, 1 << 30} {
			body := m.Body(n)
			if got, ok := m.Number(body); len(body) != size || got != n || !ok {
				t.Errorf("size %d: message %d has %d bytes and number %d, %v", size, n, len(body), got, ok)
			}
		}
	}
	for _, size := range []int{0, 511, 5 << 20} {
		if _, err := bench.NewMessage("0123456789abcdef", size); err == nil {
			t.Errorf("a body of %d bytes was made", size)
		}
	}
}

func TestNoByteOfAMessageMayDiffer(t *testing.T) {
	t.Parallel()
	m := message(t)
	for at := range m.Body(7) {
		body := m.Body(7)
		body[at] ^= 0x20
		if n, ok := m.Number(body); ok && n == 7 {
			t.Fatalf("with byte %d changed it is still message 7", at)
		}
	}
	body := m.Body(7)
	for name, other := range map[string][]byte{
		"cut": body[:len(body)-1], "longer": append(bytes.Clone(body), '\n'), "empty": nil,
		"capital digits":  bytes.Replace(m.Body(0xabc), []byte("abc"), []byte("ABC"), 1),
		"number too high": bytes.Replace(body, []byte("0000000000000007"), []byte("f000000000000007"), 1),
	} {
		if n, ok := m.Number(other); ok {
			t.Errorf("%s: taken for message %d", name, n)
		}
	}
	stranger, err := bench.NewMessage("fedcba9876543210", 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Number(stranger.Body(7)); ok {
		t.Error("a message of another run was taken for one of this run")
	}
}

func TestMessagesAreFoundInEnvelopes(t *testing.T) {
	t.Parallel()
	m := message(t)
	envelope := []byte(`{"version":"0","detail":` + string(m.Body(9)) + `}`)
	if n, ok := m.Number(m.Within(envelope)); n != 9 || !ok {
		t.Errorf("Within(envelope) is message %d, %v", n, ok)
	}
	for _, envelope := range []string{"", "{}", `{"detail":` + string(m.Body(9)[:900]) + `}`} {
		if got := m.Within([]byte(envelope)); got != nil {
			t.Errorf("Within(%q) = %q", envelope, got)
		}
	}
}

func FuzzNumber(f *testing.F) {
	m := message(f)
	f.Add(m.Body(3))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if n, ok := m.Number(body); ok && !bytes.Equal(m.Body(n), body) {
			t.Errorf("%q was taken for message %d", body, n)
		}
		m.Number(m.Within(body))
	})
}

func TestTheAccountFindsWhatWentWrong(t *testing.T) {
	t.Parallel()
	m := message(t)
	changed := m.Body(1)
	changed[900] = '!'
	arrive := func(numbers ...int) (bodies [][]byte) {
		for _, n := range numbers {
			bodies = append(bodies, m.Body(n))
		}
		return bodies
	}
	all := []bench.Fate{bench.Accepted, bench.Accepted, bench.Accepted}
	for _, tc := range []struct {
		name    string
		fates   []bench.Fate
		bodies  [][]byte
		want    bench.Audit
		problem string // a part of it; empty: none
	}{
		{name: "all there", fates: all, bodies: arrive(2, 0, 1), want: bench.Audit{Accepted: 3}},
		{name: "lost", fates: all, bodies: arrive(0, 2), want: bench.Audit{Accepted: 3, Missing: 1}, problem: "1 accepted and missing"},
		{name: "the last ones lost", fates: all, bodies: arrive(0), want: bench.Audit{Accepted: 3, Missing: 2}, problem: "2 accepted and missing"},
		{name: "all lost", fates: all, want: bench.Audit{Accepted: 3, Missing: 3}, problem: "3 accepted and missing"},
		{name: "twice", fates: all, bodies: arrive(0, 1, 2, 1, 1), want: bench.Audit{Accepted: 3, Duplicates: 2}},
		{
			name: "changed", fates: all, bodies: append(arrive(0, 2), changed),
			want: bench.Audit{Accepted: 3, Missing: 1, Changed: 1}, problem: "1 with other bytes",
		},
		{
			name: "changed beside the right one", fates: all, bodies: append(arrive(0, 1, 2), changed),
			want: bench.Audit{Accepted: 3, Changed: 1}, problem: "1 with other bytes",
		},
		{name: "never sent", fates: all, bodies: arrive(0, 1, 2, 3), want: bench.Audit{Accepted: 3, Foreign: 1}, problem: "1 that were not accepted"},
		{name: "out of range", fates: all, bodies: arrive(0, 1, 2, 99), want: bench.Audit{Accepted: 3, Changed: 1}, problem: "other bytes"},
		{
			name: "refused and there", fates: []bench.Fate{bench.Accepted, bench.Refused}, bodies: arrive(0, 1),
			want: bench.Audit{Accepted: 1, Foreign: 1}, problem: "1 that were not accepted",
		},
		{
			name: "nobody knows", fates: []bench.Fate{bench.Accepted, bench.Unknown, bench.Unknown, bench.Unsent},
			bodies: arrive(0, 1), want: bench.Audit{Accepted: 1},
		},
		{name: "nothing accepted", fates: []bench.Fate{bench.Refused}, problem: "nothing was accepted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := bench.NewLedger(m, 10)
			for _, body := range tc.bodies {
				l.Note(body, time.Now())
			}
			got := l.Audit(tc.fates...)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("audit (-want +got):\n%s", diff)
			}
			if p := got.Problem(); (p == "") != (tc.problem == "") || !strings.Contains(p, tc.problem) {
				t.Errorf("problem = %q, want %q", p, tc.problem)
			}
		})
	}
}
