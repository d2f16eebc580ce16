package destination_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
)

func TestRetryAfterIsReadAsSecondsOrDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]struct {
		after time.Duration
		never bool
	}{
		"":                                 {0, false},
		"0":                                {0, false},
		"120":                              {2 * time.Minute, false},
		" 120 ":                            {2 * time.Minute, false},
		"1.5":                              {1500 * time.Millisecond, false},
		"86400":                            {24 * time.Hour, false},
		"86401":                            {24 * time.Hour, false},
		"99999999999999999999999":          {24 * time.Hour, false},
		"Inf":                              {24 * time.Hour, false},
		"NaN":                              {0, false},
		"-1":                               {0, true},
		"-Inf":                             {0, true},
		"later":                            {0, false},
		"12s":                              {0, false},
		"Sat, 21 Nov 2026 10:00:30 GMT":    {30 * time.Second, false},
		"Sat, 21 Nov 2026 09:59:30 GMT":    {0, false}, // over: as soon as you like
		"Mon, 21 Nov 2033 10:00:30 GMT":    {24 * time.Hour, false},
		"Saturday, 21-Nov-26 10:00:30 GMT": {30 * time.Second, false},
		"Sat Nov 21 10:00:30 2026":         {30 * time.Second, false},
	} {
		after, never := destination.RetryAfter(value, now)
		if after != want.after || never != want.never {
			t.Errorf("RetryAfter(%q) = %s, %t, want %s, %t", value, after, never, want.after, want.never)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "-1", "1e9", "0x10", "Sat, 21 Nov 2026 10:00:30 GMT", "1_000", "+5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		after, never := destination.RetryAfter(value, time.Unix(1_800_000_000, 0))
		if after < 0 || after > 24*time.Hour || never && after != 0 {
			t.Errorf("RetryAfter(%q) = %s, %t", value, after, never)
		}
	})
}

func TestAnswersThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	header := func(retryAfter string) http.Header { return http.Header{"Retry-After": {retryAfter}} }
	for _, row := range []struct {
		status int
		header http.Header
		want   destination.Error
	}{
		{500, nil, destination.Error{Class: destination.ServerError, Message: "the receiver answered 500 Internal Server Error"}},
		{599, nil, destination.Error{Class: destination.ServerError, Message: "the receiver answered 599"}},
		{429, header("3"), destination.Error{
			Class: destination.Throttled, RetryAfter: 3 * time.Second, Message: "the receiver answered 429 Too Many Requests",
		}},
		{503, header("-1"), destination.Error{
			Class: destination.Rejected, NoRetry: true, Message: "the receiver answered 503 Service Unavailable",
		}},
		// Gone has a consequence of its own, which a Retry-After must not hide.
		{410, header("-1"), destination.Error{Class: destination.Gone, NoRetry: true, Message: "the receiver answered 410 Gone"}},
	} {
		got := destination.Answered(row.status, row.header, []byte("why"), time.Now(), nil)
		if got.Class != row.want.Class || got.RetryAfter != row.want.RetryAfter || got.NoRetry != row.want.NoRetry ||
			got.Message != row.want.Message || got.Status != row.status || string(got.Excerpt) != "why" {
			t.Errorf("Answered(%d, %v) = %+v, want %+v", row.status, row.header, *got, row.want)
		}
	}
}

func TestEveryFailureOfEgressHasAClass(t *testing.T) {
	t.Parallel()
	var lookup error = &egress.BlockedError{Host: "h", Why: "loopback"}
	for want, err := range map[destination.Class]error{
		destination.BlockedAddress: lookup,
		destination.Refused:        &egress.UnreachableError{Host: "h"},
		destination.TLS:            &egress.HandshakeError{Host: "h", Err: errors.New("bad certificate")},
		destination.Reset:          io.ErrUnexpectedEOF,
		destination.Protocol:       errors.New("malformed HTTP response"),
		destination.Timeout:        context.DeadlineExceeded,
	} {
		failure, ok := errors.AsType[*destination.Error](destination.Unanswered(t.Context(), fmt.Errorf("sending: %w", err), nil))
		if !ok || failure.Class != want || !errors.Is(failure, err) || failure.Message == "" {
			t.Errorf("Unanswered(%v) = %+v, want class %s", err, failure, want)
		}
	}
	// The request's context lives: whoever canceled, it was not the caller.
	failure, ok := errors.AsType[*destination.Error](destination.Unanswered(t.Context(), context.Canceled, nil))
	if !ok || failure.Class != destination.Reset {
		t.Errorf("canceled by another: %+v, want class %s", failure, destination.Reset)
	}
}

func TestHiddenTextsDoNotShow(t *testing.T) {
	t.Parallel()
	hide := destination.Hide("s3cret/token", "s3cret/token-and-more", "abc", "", "päss wörd")
	for text, want := range map[string]string{ //nolint:gosec // G101: made up for the test
		"":                                "",
		"nothing":                         "nothing",
		"abc is too short to look for":    "abc is too short to look for",
		"got s3cret/token!":               "got [secret]!",
		"got s3cret/token-and-more!":      "got [secret]!",
		"in a URL s3cret%2Ftoken":         "in a URL [secret]",
		"päss wörd p%C3%A4ss+w%C3%B6rd":   "[secret] [secret]",
		"twice s3cret/token s3cret/token": "twice [secret] [secret]",
	} {
		if got := hide.Text(text); got != want {
			t.Errorf("Text(%q) = %q, want %q", text, got, want)
		}
		if got := string(hide.Bytes([]byte(text))); got != want {
			t.Errorf("Bytes(%q) = %q, want %q", text, got, want)
		}
	}
	if got := string(hide.Bytes([]byte("cut in s3cret/to"))); got != "cut in [secret]" {
		t.Errorf("the beginning of a secret at the end: %q", got)
	}
	clean := errors.New("clean")
	if got := hide.Err(clean); !errors.Is(got, clean) {
		t.Errorf("Err of a clean error = %v, want the same", got)
	}
	dirty := fmt.Errorf("wrapped: %w", errors.New("s3cret/token"))
	got := hide.Err(dirty)
	for err := got; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Err shows %q", err)
		}
	}
	if hide.Err(nil) != nil {
		t.Error("Err(nil) is an error")
	}
}
