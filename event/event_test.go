package event_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/event"
)

func sample() *event.Envelope {
	return &event.Envelope{
		ID: "6a7e8feb-b491-4cf7-a9f1-bf3703467718", DetailType: "push", Source: "github.com",
		Account: "123456789012", Region: "us-east-1",
		Time:      time.Date(2026, 10, 2, 10, 15, 30, 999, time.FixedZone("", 7200)),
		Resources: []string{"arn:x:1"},
		Detail:    []byte("{\"b\": 1.50,\n \"a\" : \"x y\\\" {\" }"),
	}
}

func TestEnvelopeHasTheOrderAndSpellingOfEventBridge(t *testing.T) {
	t.Parallel()
	e := sample()
	want := `{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"push",` +
		`"source":"github.com","account":"123456789012","time":"2026-10-02T08:15:30Z",` +
		`"region":"us-east-1","resources":["arn:x:1"],"detail":{"b":1.50,"a":"x y\" {"}}`
	if diff := cmp.Diff(want, string(e.AppendJSON(nil))); diff != "" {
		t.Errorf("AppendJSON (-want +got):\n%s", diff)
	}
	e.ReplayName = "again"
	e.Detail = nil
	e.Resources = nil
	want = `{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"push",` +
		`"source":"github.com","account":"123456789012","time":"2026-10-02T08:15:30Z",` +
		`"region":"us-east-1","replay-name":"again","resources":[],"detail":{}}`
	if diff := cmp.Diff(want, string(e.AppendJSON(nil))); diff != "" {
		t.Errorf("AppendJSON of a replay (-want +got):\n%s", diff)
	}
	if head := e.AppendHead(nil); !json.Valid(head) || bytes.Contains(head, []byte(`"detail":`)) {
		t.Errorf("AppendHead = %s", head)
	}
}

func TestCloudEventIsValid(t *testing.T) {
	t.Parallel()
	var got map[string]any
	if err := json.Unmarshal(sample().AppendCloudEvent(nil, "default"), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"specversion": "1.0", "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718", "source": "github.com",
		"type": "push", "time": "2026-10-02T08:15:30Z", "datacontenttype": "application/json",
		"awsaccount": "123456789012", "awsregion": "us-east-1", "busname": "default",
		"data": map[string]any{"a": `x y" {`, "b": 1.5},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSizeCountsWhatPutEventsCounts(t *testing.T) {
	t.Parallel()
	e := &event.Envelope{Source: "sö", DetailType: "t", Detail: []byte(`{ }`), Resources: []string{"ab", "c"}}
	if got := event.Size(e); got != 3+1+3+3 {
		t.Errorf("Size without time = %d, want 10", got)
	}
	e.Time = time.Unix(1, 0)
	if got := event.Size(e); got != 24 {
		t.Errorf("Size with time = %d, want 24", got)
	}
}

func TestIDsSortByTimeAndParse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var last event.ID
		for range 100 {
			id := event.NewID(time.Now())
			if id <= last {
				t.Fatalf("%s is not after %s", id, last)
			}
			if got, ok := id.Time(); !ok || !got.Equal(time.Now().Truncate(time.Millisecond)) {
				t.Fatalf("Time() = %v, %v, want %v", got, ok, time.Now())
			}
			if back, err := event.ParseID(string(id)); err != nil || back != id {
				t.Fatalf("ParseID(%s) = %s, %v", id, back, err)
			}
			last = id
			time.Sleep(time.Millisecond)
		}
	})
	if id, err := event.ParseID("6A7E8FEB-B491-4CF7-A9F1-BF3703467718"); err != nil || id != sample().ID {
		t.Errorf("ParseID of upper case = %s, %v", id, err)
	}
	for _, bad := range []string{"", "x", "6a7e8feb-b491-4cf7-a9f1-bf370346771g", "6a7e8febxb491-4cf7-a9f1-bf3703467718"} {
		if _, err := event.ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) succeeds", bad)
		}
	}
	if _, ok := sample().ID.Time(); ok {
		t.Error("a version 4 id has a time")
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", "\x00\x1f\"\\\n\r\t\x7f", "é🚀\u2028", "\xff\xfe", "a\xc3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := event.AppendString(nil, s)
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var want string
		b, _ := json.Marshal(s)
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("AppendString(%q) reads %q, want %q", s, got, want)
		}
	})
}

func FuzzAppendCompact(f *testing.F) {
	for _, s := range []string{"{}", " { } ", `{"a b" : [1 , 2.0e1, "\" \\"]}`, "{\"a\":\n\t\"é \"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			_ = event.AppendCompact(nil, text) // must not panic
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, text); err != nil {
			t.Fatal(err)
		}
		if got := event.AppendCompact(nil, text); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("AppendCompact(%s) = %s, want %s", text, got, want.Bytes())
		}
	})
}

func ExampleEnvelope_AppendJSON() {
	e := event.Envelope{
		ID: "0190f2a0-0000-7000-8000-000000000001", Source: "github.com", DetailType: "ping",
		Account: "000000000000", Region: "us-east-1", Time: time.Unix(0, 0), Detail: []byte(`{"zen": "Keep it."}`),
	}
	fmt.Printf("%s\n", e.AppendJSON(nil))
	// Output: {"version":"0","id":"0190f2a0-0000-7000-8000-000000000001","detail-type":"ping","source":"github.com","account":"000000000000","time":"1970-01-01T00:00:00Z","region":"us-east-1","resources":[],"detail":{"zen":"Keep it."}}
}

func BenchmarkAppendJSON(b *testing.B) {
	e := sample()
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendJSON(dst[:0])
	}
}
