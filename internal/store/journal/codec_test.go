package journal_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

func times() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		const year9999 = 253402300799
		at := time.Unix(rapid.Int64Range(-62135596799, year9999).Draw(t, "sec"), rapid.Int64Range(0, 999999999).Draw(t, "nsec"))
		return at.In(rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("x", 3600)}).Draw(t, "zone"))
	})
}

func someBytes(most int) *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		b := rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, "bytes")
		if len(b) == 0 {
			return nil
		}
		return b
	})
}

func ptr[T any](t *rapid.T, label string, g *rapid.Generator[T]) *T {
	if rapid.Bool().Draw(t, label) {
		return nil
	}
	v := g.Draw(t, label)
	return &v
}

func deliveries() *rapid.Generator[[]*store.Delivery] {
	one := rapid.Custom(func(t *rapid.T) *store.Delivery {
		return &store.Delivery{
			Rule: rapid.String().Draw(t, "rule"), Target: rapid.String().Draw(t, "target"),
			Destination: rapid.String().Draw(t, "destination"), Run: rapid.String().Draw(t, "run"),
			Origin:   store.Origin(rapid.IntRange(0, 5).Draw(t, "origin")),
			Mode:     store.Mode(rapid.IntRange(0, 3).Draw(t, "mode")),
			Deadline: times().Draw(t, "deadline"), NotBefore: times().Draw(t, "not before"),
			Hold: rapid.String().Draw(t, "hold"),
		}
	})
	return rapid.SliceOfN(one, 0, 4)
}

func events() *rapid.Generator[*store.Event] {
	text := rapid.String()
	return rapid.Custom(func(t *rapid.T) *store.Event {
		e := &store.Event{
			Envelope: event.Envelope{
				ID: event.ID(text.Draw(t, "id")), DetailType: text.Draw(t, "type"), Source: text.Draw(t, "source"),
				Account: text.Draw(t, "account"), Time: times().Draw(t, "time"), Region: text.Draw(t, "region"),
				ReplayName: text.Draw(t, "replay"), Resources: rapid.SliceOf(text).Draw(t, "resources"),
				Detail: someBytes(300).Draw(t, "detail"),
			},
			Received: times().Draw(t, "received"), Bus: text.Draw(t, "bus"), Endpoint: text.Draw(t, "endpoint"),
			DedupeKey: text.Draw(t, "dedupe"), ProviderID: text.Draw(t, "provider id"),
			DuplicateOf: store.Position(rapid.Uint64().Draw(t, "duplicate of")),
			Generation:  text.Draw(t, "generation"), Hops: rapid.IntRange(0, 8).Draw(t, "hops"),
			Parent: store.Position(rapid.Uint64().Draw(t, "parent")), Deliveries: deliveries().Draw(t, "deliveries"),
		}
		e.VerifiedBy = ptr(t, "verified", rapid.Custom(func(t *rapid.T) store.Verified {
			return store.Verified{
				Profile: text.Draw(t, "profile"), KeyIndex: rapid.Int().Draw(t, "key"), Timestamp: times().Draw(t, "signed"),
			}
		}))
		e.Raw = ptr(t, "raw", rapid.Custom(func(t *rapid.T) store.Raw {
			field := rapid.Custom(func(t *rapid.T) store.Field {
				return store.Field{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")}
			})
			return store.Raw{
				Method: text.Draw(t, "method"), Path: text.Draw(t, "path"), Query: text.Draw(t, "query"),
				Proto: text.Draw(t, "proto"), Host: text.Draw(t, "host"), RemoteAddr: text.Draw(t, "remote"),
				Header: rapid.SliceOfN(field, 0, 3).Draw(t, "header"), Body: someBytes(300).Draw(t, "body"),
				Masked: rapid.SliceOfN(text, 0, 3).Draw(t, "masked"),
			}
		}))
		if e.Raw != nil && rapid.Bool().Draw(t, "detail is body") {
			e.DetailIsBody = true
			e.Envelope.Detail = e.Raw.Body
		}
		return e
	})
}

// committed gives the event the positions and ids that it has once it is stored.
func committed(e *store.Event, at store.Position) *store.Event {
	e.At = at
	for _, d := range e.Deliveries {
		d.Event = at
		d.ID = store.NewDeliveryID(at, e.Envelope.ID, d.Rule, d.Target, d.Run)
	}
	return e
}

func tailOf(e *store.Event) []byte {
	body, detail := journal.EventTail(e)
	return append(append([]byte{}, body...), detail...)
}

func TestEventsAreDecodedAsTheyWereEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := committed(events().Draw(t, "event"), 77)
		head, tail := journal.AppendEvent(nil, want), tailOf(want)
		head = append(head, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "fields of later versions")...)
		got, size, err := journal.DecodeEvent(77, head, tail)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		wantSize := len(want.Envelope.Detail)
		if want.Raw != nil {
			wantSize = len(want.Raw.Body)
		}
		if size != int64(wantSize) {
			t.Errorf("size = %d, want %d", size, wantSize)
		}
		got, headSize, err := journal.DecodeEvent(77, head, nil)
		if err != nil {
			t.Fatal(err)
		}
		want.Envelope.Detail = nil
		if want.Raw != nil {
			want.Raw.Body = nil
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || headSize != size {
			t.Fatalf("without its tail, size %d (-want +got):\n%s", headSize, diff)
		}
	})
}

func TestTheBodyIsStoredOnceIfItIsTheDetail(t *testing.T) {
	t.Parallel()
	e := webhook([]byte(`{"a":1}`))
	if tail := tailOf(e); string(tail) != `{"a":1}` {
		t.Errorf("tail = %q", tail)
	}
	e.DetailIsBody = false
	if tail := tailOf(e); string(tail) != `{"a":1}{"a":1}` {
		t.Errorf("tail = %q", tail)
	}
}

func TestDispatchesAndOutcomesAreDecodedAsTheyWereEncoded(t *testing.T) {
	t.Parallel()
	text := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		later := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "fields of later versions")
		of := store.Position(rapid.Uint64().Draw(t, "event"))
		dispatch := &store.Dispatch{At: 5, Event: of, Deliveries: deliveries().Draw(t, "deliveries")}
		for _, d := range dispatch.Deliveries {
			d.Event = of
			d.ID = store.DeliveryID{Event: of, Key: rapid.Uint64().Draw(t, "key")}
		}
		gotDispatch, err := journal.DecodeDispatch(5, append(journal.AppendDispatch(nil, dispatch), later...))
		if diff := cmp.Diff(dispatch, gotDispatch, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
		outcome := &store.Outcome{
			At: 6, Delivery: store.DeliveryID{Event: of, Key: rapid.Uint64().Draw(t, "key")}, Time: times().Draw(t, "time"),
			State:   store.DeliveryState(rapid.IntRange(0, 9).Draw(t, "state")),
			Attempt: rapid.IntRange(0, math.MaxInt32).Draw(t, "attempt"),
			Counted: rapid.Bool().Draw(t, "counted"), Reset: rapid.Bool().Draw(t, "reset"),
			Deadline: times().Draw(t, "deadline"), NextAt: times().Draw(t, "next"),
			Duration: time.Duration(rapid.Int64().Draw(t, "duration")), Status: rapid.IntRange(0, 999).Draw(t, "status"),
			Class: text.Draw(t, "class"), Reason: text.Draw(t, "reason"), Generation: text.Draw(t, "generation"),
			Excerpt: someBytes(50).Draw(t, "excerpt"), By: text.Draw(t, "by"),
		}
		gotOutcome, err := journal.DecodeOutcome(6, append(journal.AppendOutcome(nil, outcome), later...))
		if diff := cmp.Diff(outcome, gotOutcome, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestRecordsOfANewerVersionAreNamedAsSuch(t *testing.T) {
	t.Parallel()
	head := journal.AppendEvent(nil, webhook(nil))
	head[0] = 2
	_, _, err := journal.DecodeEvent(1, head, nil)
	if !fault.Is(err, fault.Invalid) || codeOf(err) != "record_newer" {
		t.Errorf("err = %v", err)
	}
	for n := range len(head) - 1 {
		head[0] = 1
		if _, _, err := journal.DecodeEvent(1, head[:n], nil); codeOf(err) != "record_damaged" {
			t.Fatalf("the first %d bytes: err = %v", n, err)
		}
	}
}

// Whatever the bytes say, decoding must neither panic nor reserve memory that the
// bytes could not fill.
func FuzzDecode(f *testing.F) {
	e := webhook([]byte("body"))
	f.Add(journal.AppendEvent(nil, e), []byte("body"))
	f.Add(journal.AppendDispatch(nil, &store.Dispatch{Event: 3, Deliveries: e.Deliveries}), []byte(nil))
	f.Add(journal.AppendOutcome(nil, &store.Outcome{Class: "timeout", Excerpt: []byte("x")}), []byte{})
	f.Add([]byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, []byte("x"))
	f.Add(bytes.Repeat([]byte{0xff}, 40), []byte("x"))
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		if e, _, err := journal.DecodeEvent(1, head, tail); err == nil {
			again, _, err := journal.DecodeEvent(1, journal.AppendEvent(nil, e), tailOf(e))
			if err != nil {
				t.Fatalf("what was decoded cannot be decoded again: %v", err)
			}
			for i, d := range again.Deliveries { // the key is derived anew
				d.ID = e.Deliveries[i].ID
			}
			if diff := cmp.Diff(e, again, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-first +second):\n%s", diff)
			}
		}
		_, _ = journal.DecodeDispatch(1, head)
		_, _ = journal.DecodeOutcome(1, head)
	})
}
