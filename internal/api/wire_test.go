package api_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/api/apitest"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func TestTimesHaveMillisecondsInUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6_789_000, time.FixedZone("", 3600))
	text, err := json.Marshal(api.Time{Time: at})
	if err != nil || string(text) != `"2026-01-02T02:04:05.006Z"` {
		t.Errorf("time = %s, %v", text, err)
	}
	var back api.Time
	if err := json.Unmarshal(text, &back); err != nil || !back.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("back = %v, %v", back, err)
	}
}

func TestDurationsAreInGoNotation(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(api.Duration(1500 * time.Millisecond))
	if err != nil || string(text) != `"1.5s"` {
		t.Errorf("duration = %s, %v", text, err)
	}
	var back api.Duration
	if err := json.Unmarshal([]byte(`"1h0.5s"`), &back); err != nil || time.Duration(back) != time.Hour+time.Second/2 {
		t.Errorf("back = %v, %v", time.Duration(back), err)
	}
	if err := json.Unmarshal([]byte(`"soon"`), &back); err == nil {
		t.Error(`"soon" was read as a duration`)
	}
}

func TestParseWhen(t *testing.T) {
	t.Parallel()
	now := apitest.Now
	for text, want := range map[string]time.Time{
		"2h": now.Add(-2 * time.Hour), "90m": now.Add(-90 * time.Minute), "7d": now.Add(-7 * 24 * time.Hour),
		"1d12h": now.Add(-36 * time.Hour), "1.5h": now.Add(-90 * time.Minute), "250ms": now.Add(-250 * time.Millisecond),
		"2026-01-02":                  time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		"2026-01-02T03:04:05Z":        time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05.5+01:00": time.Date(2026, 1, 2, 2, 4, 5, 5e8, time.UTC),
	} {
		w, err := api.ParseWhen(text)
		if err != nil || !w.On(now).Equal(want) {
			t.Errorf("ParseWhen(%q) on %v = %v, %v, want %v", text, now, w.On(now), err, want)
		}
	}
	for _, text := range []string{
		"", "0", "0s", "0d", "-2h", "2", "d", "1d-2h", "tomorrow", "2026-13-01", "99999d", "9999999h", "1d1d", "+1d", "2 h",
		"2026-01-02T03:04:05", strings.Repeat("9", 1000),
	} {
		w, err := api.ParseWhen(text)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseWhen(%q) = %v, %v, want an Invalid fault", text, w.On(now), err)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("the error for %d bytes has %d", len(text), len(err.Error()))
		}
	}
	if got := (api.When{}).On(now); !got.IsZero() {
		t.Errorf("the zero When is %v", got)
	}
}

func FuzzParseWhen(f *testing.F) {
	for _, seed := range []string{"2h", "7d", "1d12h", "2026-01-02", "2026-01-02T03:04:05.678+02:00", "d", "9d9d", "1e9h", "0.0000001ns"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := api.ParseWhen(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("ParseWhen(%q) = %v, want an Invalid fault", text, err)
			}
			return
		}
		if w.IsZero() {
			// Only the zero time is the zero When, and nothing filters by it.
			if at, parse := time.Parse(time.RFC3339Nano, text); parse == nil && at.IsZero() {
				return
			}
			t.Fatalf("ParseWhen(%q) does not filter", text)
		}
		printed, err := w.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		again, err := api.ParseWhen(string(printed))
		if err != nil || !again.On(apitest.Now).Equal(w.On(apitest.Now)) {
			t.Fatalf("%q prints as %q, which is %v, %v", text, printed, again.On(apitest.Now), err)
		}
	})
}

func FuzzCursors(f *testing.F) {
	f.Add(api.EventCursor(0x1234))
	f.Add(api.DeliveryCursor(store.DeliveryID{Event: 7, Key: 9}))
	f.Add("")
	f.Add("ZQAAAAAAAAAQAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if at, err := api.ParseEventCursor(text); err == nil && api.EventCursor(at) != text && text != "" {
			t.Errorf("%q was read as %v, which is written %q", text, at, api.EventCursor(at))
		}
		if id, err := api.ParseDeliveryCursor(text); err == nil && api.DeliveryCursor(id) != text && text != "" {
			t.Errorf("%q was read as %v, which is written %q", text, id, api.DeliveryCursor(id))
		}
		if back, err := api.ParsePlace(text); err == nil && back != text {
			t.Errorf("%q was read as a place that is written %q", text, back)
		} else if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("error for %q is %v, want Invalid", text, err)
		}
	})
}

func TestCursorsOfOneBitOffAreRefused(t *testing.T) {
	t.Parallel()
	cursor := api.EventCursor(0x1234)
	if at, err := api.ParseEventCursor(cursor); err != nil || at != 0x1234 {
		t.Fatalf("cursor = %v, %v", at, err)
	}
	for i := range cursor {
		for bit := range 6 {
			changed := []byte(cursor)
			changed[i] ^= 1 << bit
			if at, err := api.ParseEventCursor(string(changed)); err == nil {
				t.Errorf("%q, one bit off %q, was read as %v", changed, cursor, at)
			}
		}
	}
	if _, err := api.ParseDeliveryCursor(cursor); err == nil {
		t.Error("a cursor of events was read as one of deliveries")
	}
}

func TestContentIsTextWhereItCanBe(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name      string
		data      string
		limit     int
		encoding  string
		truncated bool
		shown     string
	}{
		{"text", "héllo\n", 100, api.EncodingText, false, "héllo\n"},
		{"empty", "", 100, api.EncodingText, false, ""},
		{"binary", "a\x00b", 100, api.EncodingBase64, false, "a\x00b"},
		{"escape sequences", "\x1b[2J", 100, api.EncodingBase64, false, "\x1b[2J"},
		{"invalid UTF-8", "\xff\xfe", 100, api.EncodingBase64, false, "\xff\xfe"},
		{"cut text", "abcdef", 3, api.EncodingText, true, "abc"},
		{"cut inside a character", "ab€", 3, api.EncodingText, true, "ab"},
		{"cut binary", "\xff\xff\xff", 2, api.EncodingBase64, true, "\xff\xff"},
	} {
		c := api.NewContent("text/plain", []byte(row.data), 0, row.limit)
		shown, err := c.Bytes()
		if err != nil || c.Encoding != row.encoding || c.Truncated != row.truncated || c.Size != int64(len(row.data)) {
			t.Errorf("%s: content %+v, %v", row.name, c, err)
		}
		if row.name != "cut binary" && !bytes.Equal(shown, []byte(row.shown)) {
			t.Errorf("%s: shows %q, want %q", row.name, shown, row.shown)
		}
	}
	if c := api.NewContent("", []byte("ab"), 500, 100); !c.Truncated || c.Size != 500 {
		t.Errorf("2 of 500 bytes = %+v, want truncated", c)
	}
}
