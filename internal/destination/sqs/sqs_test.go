package sqs_test

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
	"github.com/grapnel/grapnel/internal/destination/sqs"
)

const region = `"region": "` + destinationtest.AWSRegion + `"`

func config(fields string) string { return fmt.Sprintf(`{%s, %s}`, fields, destinationtest.AWSKeys) }

func build(tb testing.TB, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, sqs.Kind(), config(fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: sqs.Kind(),
		Config: func(url string) string {
			return config(`"queue": "` + url + `/123456789012/hooks.fifo", "message_group_id": "g", ` + region)
		},
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken},
	})
}

type attribute struct{ DataType, StringValue string }

type message struct {
	QueueURL, MessageBody, MessageGroupID, MessageDeduplicationID string
	MessageAttributes                                             map[string]attribute
}

func TestMessagesAreSentAsConfigured(t *testing.T) {
	t.Parallel()
	const body, id = `{"repo": {"name": "a/b"}, "html": "<é>"}`, "dlv_0199d2c4-1-2"
	for name, row := range map[string]struct {
		fields     string
		attributes map[string]string
		want       message
	}{
		"by URL": {`"queue": "URL/123456789012/hooks", ` + region, nil, message{
			"URL/123456789012/hooks", body, "", "", map[string]attribute{"webhook-id": {"String", id}},
		}},
		"by ARN": {`"queue": "arn:aws:sqs:eu-central-1:123456789012:hooks", "endpoint": "URL"`, nil, message{
			"URL/123456789012/hooks", body, "", "", map[string]attribute{"webhook-id": {"String", id}},
		}},
		"FIFO with a path": {
			`"queue": "URL/123456789012/hooks.fifo", "message_group_id": "$.detail.repo.name", ` + region, nil,
			message{"URL/123456789012/hooks.fifo", body, "a/b", id, map[string]attribute{"webhook-id": {"String", id}}},
		},
		"a dead letter": {
			`"queue": "URL/123456789012/dead", ` + region,
			map[string]string{"ERROR_CODE": "TIMEOUT", "RULE_ARN": ""},
			message{
				"URL/123456789012/dead", body, "", "",
				map[string]attribute{"webhook-id": {"String", id}, "ERROR_CODE": {"String", "TIMEOUT"}},
			},
		},
	} {
		url, calls := destinationtest.AWS(t, "sqs", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"MessageId":"m"}`)
		})
		request := destinationtest.Request(body)
		request.Attributes = row.attributes
		resp, err := build(t, strings.ReplaceAll(row.fields, "URL", url)).Do(t.Context(), request)
		if err != nil || string(resp.Body) != `{"MessageId":"m"}` {
			t.Errorf("%s: %+v, %v", name, resp, err)
			continue
		}
		call := <-calls
		if call.URI != "/" || call.Header.Get("X-Amz-Target") != "AmazonSQS.SendMessage" ||
			call.Header.Get("Content-Type") != "application/x-amz-json-1.0" {
			t.Errorf("%s: %s %v", name, call.URI, call.Header)
		}
		var got message
		if err := json.Unmarshal(call.Body, &got); err != nil {
			t.Fatal(err)
		}
		row.want.QueueURL = strings.ReplaceAll(row.want.QueueURL, "URL", url)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: message (-want +got):\n%s", name, diff)
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
		{400, "com.amazonaws.sqs#QueueDoesNotExist", destination.NotFound, "QueueDoesNotExist: because"},
		{400, "com.amazonaws.sqs#RequestThrottled", destination.Throttled, "because"},
		{400, "com.amazonaws.sqs#OverLimit", destination.Throttled, "because"},
		{400, "com.amazonaws.sqs#InvalidMessageContents", destination.BadRequest, "because"},
		{403, "com.amazon.coral.service#AccessDeniedException", destination.Forbidden, "must allow sqs:SendMessage on http"},
		{400, "com.amazonaws.sqs#KmsThrottled", destination.Throttled, "because"},
		{503, "ServiceUnavailable", destination.Unavailable, "because"},
		{403, "SignatureDoesNotMatch", destination.Credentials, "because"},
	} {
		url, _ := destinationtest.AWS(t, "sqs", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, `{"__type":"`+row.code+`","message":"because"}`)
		})
		_, err := build(t, `"queue": "`+url+`/123456789012/hooks", `+region).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != row.want || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: %+v, want %s that says %q", row.code, got, row.want, row.says)
		}
	}
}

func TestWhatNoQueueTakesIsNotSent(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "sqs", nil)
	d := build(t, `"queue": "`+url+`/123456789012/hooks.fifo", "message_group_id": "$.detail.group", `+region)
	group := `{"group": "g"}`
	for body, want := range map[string]destination.Class{
		"":                            destination.InputFailed,
		"\xff\xfe":                    destination.InputFailed,
		"a\x00b":                      destination.InputFailed,
		"\ufffe":                      destination.InputFailed,
		strings.Repeat("x", 1<<20+1):  destination.TooLarge,
		strings.Repeat("x", 1<<20-10): destination.TooLarge, // with its attribute
	} {
		r := destinationtest.Request(group)
		r.Body = []byte(body)
		_, err := d.Do(t.Context(), r)
		if got := destinationtest.Failed(t, err); got.Class != want || got.Class.Retry() != destination.RetryNever {
			t.Errorf("%.20q: %v, want %s", body, got, want)
		}
	}
	for _, detail := range []string{`{}`, `{"group": ""}`, `{"group": "a b"}`, `{"group": {"x": "` + strings.Repeat("x", 200) + `"}}`} {
		_, err := d.Do(t.Context(), destinationtest.Request(detail))
		if got := destinationtest.Failed(t, err); got.Class != destination.InputFailed {
			t.Errorf("%s: %v", detail, got)
		}
	}
	if len(calls) != 0 {
		t.Errorf("%d calls", len(calls))
	}
	if _, err := d.Do(t.Context(), destinationtest.Request(`{"group": 17}`)); err != nil {
		t.Errorf("a number as group: %v", err)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"region": "us-east-1"}`:                                                                                       "queue: is missing",
		`{"queue": "http://localhost:4566/000000000000/x"}`:                                                             "region: is missing",
		`{"queue": "hooks", "region": "us-east-1"}`:                                                                     "not the URL or ARN",
		`{"queue": "https://h.example/x", "region": "us-east-1"}`:                                                       "not the URL or ARN",
		`{"queue": "https://sqs.us-east-1.amazonaws.com/123456789012/x", "region": "eu-west-1"}`:                        "differs",
		`{"queue": "https://sqs.us-east-1.amazonaws.com/123456789012/x.fifo"}`:                                          "is a FIFO queue",
		`{"queue": "https://sqs.us-east-1.amazonaws.com/123456789012/x", "message_group_id": "a b"}`:                    "not a message group id",
		`{"queue": "https://sqs.us-east-1.amazonaws.com/123456789012/x", "message_group_id": "$.detail[", "region":""}`: "not a path",
	} {
		_, problems := destinationtest.Decode(t, sqs.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
	for _, config := range []string{
		`{"queue": "https://sqs.us-east-1.amazonaws.com/123456789012/x"}`,
		`{"queue": "https://eu-west-1.queue.amazonaws.com/123456789012/x"}`,
		`{"queue": "arn:aws:sqs:us-east-1:123456789012:x.fifo", "message_group_id": "g"}`,
	} {
		if _, problems := destinationtest.Decode(t, sqs.Kind(), config); problems != "" {
			t.Errorf("%s: %s", config, problems)
		}
	}
}
