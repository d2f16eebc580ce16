package api

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/grapnel/grapnel/internal/fault"
)

// timeLayout is RFC 3339 with exactly three digits of a second.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// Time is a moment as the API spells it: RFC 3339 in UTC with milliseconds.
type Time struct{ time.Time }

// MarshalJSON returns the moment as a JSON string.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.UTC().Format(timeLayout) + `"`), nil
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &t.Time) }

// Schema describes a Time to the OpenAPI document.
func (Time) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-01-02T03:04:05.678Z"}}
}

// Duration is a length of time as the API spells it: Go's notation, such as
// "1.5s", "250ms" or "1h30m0s".
type Duration time.Duration

// MarshalText returns the notation of time.Duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the notation of time.Duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 1.5s", text)
	}
	*d = Duration(v)
	return nil
}

// Schema describes a Duration to the OpenAPI document.
func (Duration) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Description: "A duration in Go's notation.", Examples: []any{"1.5s"},
	}
}

// When is a moment in a filter: an absolute time, or so long before now. The
// zero When does not filter.
type When struct {
	at  time.Time
	ago time.Duration
}

// maxAgo bounds relative times, so that arithmetic cannot wrap.
const maxAgo = 100 * 365 * 24 * time.Hour

// WhenAt returns the absolute moment.
func WhenAt(t time.Time) When { return When{at: t} }

// WhenAgo returns the moment so long before the server's clock.
func WhenAgo(d time.Duration) When { return When{ago: d} }

// ParseWhen reads an RFC 3339 time, a date (midnight UTC), or a positive
// duration before now: Go's notation, or days as in "7d" and "1d12h".
func ParseWhen(text string) (When, error) {
	for _, layout := range [...]string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return When{at: t}, nil
		}
	}
	rest, ago := text, time.Duration(0)
	if days, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || time.Duration(n) > maxAgo/(24*time.Hour) {
			return When{}, notWhen(text)
		}
		ago, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || d > maxAgo-ago {
			return When{}, notWhen(text)
		}
		ago += d
	}
	if ago == 0 {
		return When{}, notWhen(text)
	}
	return When{ago: ago}, nil
}

func notWhen(text string) error {
	if len(text) > 64 {
		text = text[:64] + "…"
	}
	return fault.New(fault.Invalid, codeInvalid,
		"%q is neither a time such as 2026-01-02T15:04:05Z nor a time before now such as 2h or 7d", text)
}

// IsZero reports whether the When does not filter.
func (w When) IsZero() bool { return w == When{} }

// On returns the moment by a clock that shows now; the zero time for the zero When.
func (w When) On(now time.Time) time.Time {
	if w.ago != 0 {
		return now.Add(-w.ago)
	}
	return w.at
}

// MarshalText returns a text that ParseWhen reads.
func (w When) MarshalText() ([]byte, error) {
	switch {
	case w.ago != 0:
		return []byte(w.ago.String()), nil
	case w.at.IsZero():
		return nil, nil
	}
	return w.at.AppendFormat(nil, time.RFC3339Nano), nil
}

// UnmarshalText is ParseWhen; the empty text is the zero When.
func (w *When) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*w = When{}
		return nil
	}
	v, err := ParseWhen(string(text))
	if err != nil {
		return err
	}
	*w = v
	return nil
}

// Schema describes a When to the OpenAPI document.
func (When) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type:        huma.TypeString,
		Description: "An RFC 3339 time, a date, or a duration before now (2h, 7d).",
		Examples:    []any{"2h"},
		// The form only, so that it is reported beside what else is wrong.
		Pattern:            `^(\d{4}-\d{2}-\d{2}\S*|(\d+d)?(\d[\d.]*(h|m|s|ms|us|µs|ns))*)$`,
		PatternDescription: "a time such as 2026-01-02T15:04:05Z or a time before now such as 2h or 7d",
	}
}

// The encodings of Content.Data.
const (
	EncodingText   = "text"
	EncodingBase64 = "base64"
)

// Content is bytes in a JSON document: as text where they are readable UTF-8,
// otherwise in base64, and never more than a bound.
type Content struct {
	ContentType string `json:"content_type,omitempty" doc:"The Content-Type that the bytes came with."`
	Size        int64  `json:"size" doc:"Bytes in all; data may hold fewer."`
	Encoding    string `json:"encoding" enum:"text,base64" doc:"How data is written."`
	Data        string `json:"data"`
	Truncated   bool   `json:"truncated,omitempty" doc:"Data does not hold all bytes."`
}

// NewContent shows at most limit bytes of data. Size is how many there are in
// all, if that is more than data holds.
func NewContent(contentType string, data []byte, size int64, limit int) *Content {
	c := &Content{ContentType: contentType, Size: max(size, int64(len(data))), Encoding: EncodingText}
	shown := data
	if len(shown) > limit {
		shown = shown[:limit]
		// The cut must not make a text look like binary.
		for i := 0; i < utf8.UTFMax && len(shown) > 0 && !utf8.RuneStart(data[len(shown)]); i++ {
			shown = shown[:len(shown)-1]
		}
	}
	c.Truncated = int64(len(shown)) < c.Size
	if readable(shown) {
		c.Data = string(shown)
		return c
	}
	c.Encoding, c.Data = EncodingBase64, base64Text(shown)
	return c
}

// Bytes returns the bytes that Data stands for.
func (c *Content) Bytes() ([]byte, error) {
	if c.Encoding != EncodingBase64 {
		return []byte(c.Data), nil
	}
	return base64Bytes(c.Data)
}

// readable reports whether data is UTF-8 without control characters other than
// the blanks of text, so that it survives JSON and does not disturb a terminal.
func readable(data []byte) bool {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return false
		}
		i += n
	}
	return true
}
