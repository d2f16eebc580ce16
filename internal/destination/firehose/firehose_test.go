package firehose_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/firehose"
)

const (
	arn   = "arn:aws:firehose:eu-central-1:123456789012:deliverystream/hooks"
	named = `"stream": "hooks", "region": "eu-central-1"`
)

func config(url, fields string) string {
	return fmt.Sprintf(`{"endpoint": %q, %s, %s}`, url, fields, destinationtest.AWSKeys)
}

func build(tb testing.TB, url, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, firehose.Kind(), config(url, fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: firehose.Kind(), Config: func(url string) string { return config(url, named) },
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken},
	})
}

func TestRecordsArePutAsConfigured(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]string{
		named:                        "{\"a\": 1}\n",
		`"stream": "` + arn + `"`:    "{\"a\": 1}\n",
		named + `, "newline": false`: "{\"a\": 1}",
	} {
		url, calls := destinationtest.AWS(t, "firehose", nil)
		if _, err := build(t, url, fields).Do(t.Context(), destinationtest.Request(`{"a": 1}`)); err != nil {
			t.Errorf("%s: %v", fields, err)
			continue
		}
		var got struct {
			DeliveryStreamName string
			Record             struct{ Data []byte }
		}
		call := <-calls
		if err := json.Unmarshal(call.Body, &got); err != nil {
			t.Fatal(err)
		}
		if got.DeliveryStreamName != "hooks" || string(got.Record.Data) != want ||
			call.Header.Get("X-Amz-Target") != "Firehose_20150804.PutRecord" {
			t.Errorf("%s: stream %s, data %q, want %q", fields, got.DeliveryStreamName, got.Record.Data, want)
		}
	}
}

func TestErrorsHaveClasses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status int
		code   string
		want   destination.Class
		says   string
	}{
		{503, "ServiceUnavailableException", destination.Unavailable, "because"},
		{400, "ServiceUnavailableException", destination.Unavailable, "because"},
		{400, "ResourceNotFoundException", destination.NotFound, "because"},
		{400, "InvalidArgumentException", destination.BadRequest, "because"},
		{400, "AccessDeniedException", destination.Forbidden, "must allow firehose:PutRecord on firehose:eu-central-1:deliverystream/hooks"},
	} {
		url, _ := destinationtest.AWS(t, "firehose", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, `{"__type":"`+row.code+`","Message":"because"}`)
		})
		_, err := build(t, url, named).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != row.want || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: %+v, want %s that says %q", row.code, got, row.want, row.says)
		}
	}
}

// The line break counts.
func TestTheLimitIsThatOfFirehose(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "firehose", nil)
	d := build(t, url, named)
	r := destinationtest.Request(`{}`)
	for size, want := range map[int]bool{1000<<10 - 1: true, 1000 << 10: false} {
		r.Body = []byte(strings.Repeat("x", size))
		_, err := d.Do(t.Context(), r)
		if (err == nil) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err != nil && destinationtest.Failed(t, err).Class != destination.TooLarge {
			t.Errorf("%d bytes: %v, want too_large", size, err)
		}
	}
	if len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                  "stream: is missing",
		`{"stream": "hooks"}`: "region: is missing",
		`{"stream": "a b"}`:   "not the name or ARN",
		`{"stream": "arn:aws:kinesis:us-east-1:123456789012:stream/x"}`: "not the name or ARN",
		`{"stream": "arn:aws:firehose:us-east-1:123456789012:x"}`:       "not the name or ARN",
		`{"stream": "` + arn + `", "region": "us-east-1"}`:              "differs",
	} {
		_, problems := destinationtest.Decode(t, firehose.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
