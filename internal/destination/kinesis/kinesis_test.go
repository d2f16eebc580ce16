package kinesis_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/kinesis"
)

const (
	arn   = "arn:aws:kinesis:eu-central-1:123456789012:stream/hooks"
	named = `"stream": "hooks", "region": "eu-central-1"`
)

func config(url, fields string) string {
	return fmt.Sprintf(`{"endpoint": %q, %s, %s}`, url, fields, destinationtest.AWSKeys)
}

func build(tb testing.TB, url, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, kinesis.Kind(), config(url, fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: kinesis.Kind(), Config: func(url string) string { return config(url, named) },
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken},
	})
}

type record struct {
	StreamName, StreamARN, PartitionKey string
	Data                                []byte
}

func TestRecordsArePutAsConfigured(t *testing.T) {
	t.Parallel()
	body := `{"user": "ü", "n": 12.50}`
	for fields, want := range map[string]record{
		named + `, "partition_key": "$.detail.user"`:             {"hooks", "", "ü", []byte(body)},
		`"stream": "` + arn + `", "partition_key": "$.detail.n"`: {"", arn, "12.50", []byte(body)},
		named + `, "partition_key": "all"`:                       {"hooks", "", "all", []byte(body)},
		named:                                                    {"hooks", "", "EVENT", []byte(body)},
	} {
		url, calls := destinationtest.AWS(t, "kinesis", nil)
		request := destinationtest.Request(body)
		if want.PartitionKey == "EVENT" {
			want.PartitionKey = string(request.Event.ID)
		}
		if _, err := build(t, url, fields).Do(t.Context(), request); err != nil {
			t.Errorf("%s: %v", fields, err)
			continue
		}
		call := <-calls
		var got record
		if err := json.Unmarshal(call.Body, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || call.Header.Get("X-Amz-Target") != "Kinesis_20131202.PutRecord" {
			t.Errorf("%s: %v, record (-want +got):\n%s", fields, call.Header, diff)
		}
	}
}

func TestErrorsHaveClasses(t *testing.T) {
	t.Parallel()
	for code, row := range map[string]struct {
		want destination.Class
		says string
	}{
		"ProvisionedThroughputExceededException": {destination.Throttled, "because"},
		"KMSThrottlingException":                 {destination.Throttled, "because"},
		"ResourceNotFoundException":              {destination.NotFound, "because"},
		"InvalidArgumentException":               {destination.BadRequest, "because"},
		"AccessDeniedException":                  {destination.Forbidden, "must allow kinesis:PutRecord on kinesis:eu-central-1:stream/hooks"},
	} {
		url, _ := destinationtest.AWS(t, "kinesis", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"`+code+`","message":"because"}`)
		})
		_, err := build(t, url, named).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != row.want || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: %+v, want %s that says %q", code, got, row.want, row.says)
		}
	}
}

func TestWhatNoStreamTakesIsNotSent(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "kinesis", nil)
	d := build(t, url, named+`, "partition_key": "$.detail.k"`)
	for detail, want := range map[string]destination.Class{
		`{}`:        destination.InputFailed,
		`{"k": ""}`: destination.InputFailed,
		`{"k": "` + strings.Repeat("x", 257) + `"}`:              destination.InputFailed,
		`{"k": "k", "x": "` + strings.Repeat("x", 10<<20) + `"}`: destination.TooLarge,
	} {
		_, err := d.Do(t.Context(), destinationtest.Request(detail))
		if got := destinationtest.Failed(t, err); got.Class != want {
			t.Errorf("%.20s: %v, want %s", detail, got, want)
		}
	}
	if len(calls) != 0 {
		t.Errorf("%d calls", len(calls))
	}
	r := destinationtest.Request(`{}`)
	r.Event, r.Test = nil, true
	if _, err := d.Do(t.Context(), r); err != nil {
		t.Errorf("a test of the connection: %v", err)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                  "stream: is missing",
		`{"stream": "hooks"}`: "region: is missing",
		`{"stream": "a b"}`:   "not the name or ARN",
		`{"stream": "arn:aws:kinesis:us-east-1:123456789012:x"}`:                         "not the name or ARN",
		`{"stream": "` + arn + `", "region": "us-east-1"}`:                               "differs",
		`{"stream": "` + arn + `", "partition_key": "$.detail["}`:                        "not a path",
		`{"stream": "` + arn + `", "partition_key": "` + strings.Repeat("x", 257) + `"}`: "longer than 256",
	} {
		_, problems := destinationtest.Decode(t, kinesis.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
