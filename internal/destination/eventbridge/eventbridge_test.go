package eventbridge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/eventbridge"
)

func config(url, fields string) string {
	return fmt.Sprintf(`{"endpoint": %q, %s, %s}`, url, fields, destinationtest.AWSKeys)
}

const region = `"bus": "default", "region": "` + destinationtest.AWSRegion + `"`

func build(tb testing.TB, url, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, eventbridge.Kind(), config(url, fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: eventbridge.Kind(), Config: func(url string) string { return config(url, region) },
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken},
	})
}

// entry is an entry as it is on the wire.
type entry struct {
	Time                                     json.Number
	Source, DetailType, Detail, EventBusName string
	Resources                                []string
}

func entryOf(tb testing.TB, call destinationtest.AWSCall) entry {
	tb.Helper()
	var in struct{ Entries []entry }
	if err := json.Unmarshal(call.Body, &in); err != nil || len(in.Entries) != 1 {
		tb.Fatalf("request %s: %v", call.Body, err)
	}
	if call.URI != "/" || call.Header.Get("X-Amz-Target") != "AWSEvents.PutEvents" ||
		call.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		tb.Errorf("%s with %v", call.URI, call.Header)
	}
	return in.Entries[0]
}

const taken = `{"FailedEntryCount":0,"Entries":[{"EventId":"e-1"}]}`

// request returns a request for an event; body "" is the event itself.
func request(body string) *destination.Request {
	r := destinationtest.Request(`{ "ref": "main <b>", "n": 1.50 }`)
	r.Event.Source, r.Event.DetailType, r.Event.Resources = "github.com", "push", []string{"arn:x", "y"}
	r.Event.Time = time.Unix(1_800_000_000, 500)
	r.Body = r.Event.AppendJSON(nil)
	if body != "" {
		r.Body = []byte(body)
	}
	return r
}

func TestEventsKeepWhatTheyAre(t *testing.T) {
	t.Parallel()
	detail := `{ "ref": "main <b>", "n": 1.50 }`
	for name, row := range map[string]struct {
		fields, body string
		want         entry
	}{
		"the event itself": {region, "", entry{"1800000000", "github.com", "push", detail, "default", []string{"arn:x", "y"}}},
		"what an input made of it": {
			strings.Replace(region, "default", "audit", 1), `{"text": "a"}`,
			entry{"1800000000", "github.com", "push", `{"text": "a"}`, "audit", []string{"arn:x", "y"}},
		},
		"under another name": {
			`"bus": "arn:aws:events:eu-central-1:123456789012:event-bus/audit", "source": "s", "detail_type": "t"`, "",
			entry{"1800000000", "s", "t", detail, "arn:aws:events:eu-central-1:123456789012:event-bus/audit", []string{"arn:x", "y"}},
		},
	} {
		url, calls := destinationtest.AWS(t, "events", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, taken) })
		resp, err := build(t, url, row.fields).Do(t.Context(), request(row.body))
		if err != nil || resp.Status != 200 || string(resp.Body) != taken {
			t.Errorf("%s: %+v, %v", name, resp, err)
			continue
		}
		if diff := cmp.Diff(row.want, entryOf(t, <-calls)); diff != "" {
			t.Errorf("%s: entry (-want +got):\n%s", name, diff)
		}
	}
}

// An answer 200 may hold an error: the classic mistake of clients.
func TestAnEntryThatFailedIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	var body string
	url, _ := destinationtest.AWS(t, "events", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	d := build(t, url, strings.Replace(region, "default", "audit", 1))
	for _, row := range []struct {
		code string
		want destination.Class
		says string
	}{
		{"ThrottlingException", destination.Throttled, "ThrottlingException: because"},
		{"InternalFailure", destination.ServerError, "because"},
		{"SomethingNew", destination.ServerError, "because"},
		{"MalformedDetail", destination.BadRequest, "because"},
		{"InvalidArgument", destination.BadRequest, "because"},
		{"NotAuthorizedForSourceException", destination.Forbidden, "because"},
		{"AccessDeniedException", destination.Forbidden, "must allow events:PutEvents on events:eu-central-1:event-bus/audit"},
	} {
		body = `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"` + row.code + `","ErrorMessage":"because"}]}`
		_, err := d.Do(t.Context(), request(""))
		got := destinationtest.Failed(t, err)
		if got.Class != row.want || got.Status != 200 || !strings.Contains(got.Message, row.says) || string(got.Excerpt) != body {
			t.Errorf("%s: %+v, want %s that says %q", row.code, got, row.want, row.says)
		}
	}
	for text, want := range map[string]destination.Class{
		`{"FailedEntryCount":1,"Entries":[]}`: destination.ServerError,
		`<html>a portal</html>`:               destination.Protocol,
		`{"FailedEntryCount":0,"Ent`:          destination.Protocol,
	} {
		body = text
		_, err := d.Do(t.Context(), request(""))
		if got := destinationtest.Failed(t, err); got.Class != want || got.Class.Retry() == destination.RetryNever {
			t.Errorf("%s: class %s, want %s, to be tried again", text, got.Class, want)
		}
	}
	// How much is wanted of the answer does not decide whether it is understood.
	body = `{"FailedEntryCount":1,"Entries":[{"ErrorCode":"MalformedDetail","ErrorMessage":"because"}]}`
	r := request("")
	r.WantBody = 0
	_, err := d.Do(t.Context(), r)
	if got := destinationtest.Failed(t, err); got.Class != destination.BadRequest || len(got.Excerpt) != 0 {
		t.Errorf("nothing wanted: %+v", got)
	}
}

func TestErrorsOfTheRequestHaveClasses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status     int
		code, text string
		want       destination.Class
		says       string
	}{
		{400, "AccessDeniedException", "User: x is not authorized", destination.Forbidden, "must allow events:PutEvents"},
		{400, "ThrottlingException", "Rate exceeded", destination.Throttled, "Rate exceeded"},
		{400, "ValidationException", "Total size of the entries in the request is over the limit.", destination.TooLarge, "(the entry has 66 bytes)"},
		{400, "ValidationException", "1 validation error detected", destination.BadRequest, "1 validation error"},
		{400, "UnrecognizedClientException", "The security token included in the request is invalid.", destination.Credentials, "invalid"},
		{500, "InternalException", "", destination.ServerError, "InternalException"},
	} {
		url, calls := destinationtest.AWS(t, "events", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(row.status)
			_, _ = fmt.Fprintf(w, `{"__type":"com.amazon.coral.service#%s","message":%q}`, row.code, row.text)
		})
		_, err := build(t, url, region).Do(t.Context(), request(""))
		if got := destinationtest.Failed(t, err); got.Class != row.want || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: %+v, want %s that says %q", row.code, got, row.want, row.says)
		}
		if len(calls) != 1 {
			t.Errorf("%s: %d calls, want one: retries are the engine's", row.code, len(calls))
		}
	}
}

func TestWhatNoBusTakesIsNotSent(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "events", nil)
	d := build(t, url, region)
	for body, want := range map[string]destination.Class{
		`[1]`:          destination.InputFailed,
		`"text"`:       destination.InputFailed,
		`plain`:        destination.InputFailed,
		`{"a":`:        destination.InputFailed,
		"{\"\xff\":1}": destination.InputFailed,
		`{"a":"` + strings.Repeat("x", 1<<20) + `"}`: destination.TooLarge,
	} {
		_, err := d.Do(t.Context(), request(body))
		got := destinationtest.Failed(t, err)
		if got.Class != want || got.Class.Retry() != destination.RetryNever {
			t.Errorf("%.20q: %v, want %s", body, got, want)
		}
		size := len(body) + 14 + len("github.com"+"push"+"arn:x"+"y")
		if want == destination.TooLarge && !strings.Contains(got.Message, strconv.Itoa(size)) {
			t.Errorf("%s: want the size %d", got.Message, size)
		}
	}
	r := request("")
	r.Event.Source = "aws.s3"
	r.Body = r.Event.AppendJSON(nil)
	_, err := d.Do(t.Context(), r)
	if got := destinationtest.Failed(t, err); got.Class != destination.InputFailed {
		t.Errorf("source aws.s3: %v", got)
	}
	if len(calls) != 0 {
		t.Errorf("%d calls", len(calls))
	}
}

// The largest entry is sent, the next one is not.
func TestTheLimitIsThatOfAWS(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "events", nil)
	d := build(t, url, region)
	r := destinationtest.Request(`{}`)
	e := event.Envelope{Source: "s", DetailType: "t", Time: time.Unix(1_800_000_000, 0)}
	r.Event = &e
	for over := range 2 {
		r.Body = []byte(`{"a":"` + strings.Repeat("x", 1<<20-14-2-8+over) + `"}`)
		_, err := d.Do(t.Context(), r)
		if (err != nil) != (over > 0) {
			t.Errorf("%d bytes over the limit: %v", over, err)
		}
	}
	if len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestATestOfTheConnectionIsAnEvent(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "events", nil)
	r := destinationtest.Request(``)
	r.Event, r.Test = nil, true
	if _, err := build(t, url, region).Do(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := entryOf(t, <-calls); got.Detail != "{}" || got.Source != "grapnel" || got.DetailType != "test" {
		t.Errorf("entry %+v", got)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:events:us-east-1:123456789012:event-bus/audit"
	for config, want := range map[string]string{
		`{"region": "us-east-1"}`:                                     "bus: is missing",
		`{"bus": "default"}`:                                          "region: is missing",
		`{"bus": "a b", "region": "us-east-1"}`:                       "not the name or ARN of a bus",
		`{"bus": "arn:aws:sqs:us-east-1:123456789012:x"}`:             "arn:aws:events:",
		`{"bus": "arn:aws:events:us-east-1:123456789012:rule/x"}`:     "not the ARN of a bus",
		`{"bus": "` + arn + `", "region": "eu-west-1"}`:               "differs from the region in bus",
		`{"bus": "` + arn + `", "source": "aws.x"}`:                   "cannot begin with aws.",
		`{"bus": "` + arn + `", "endpoint": "http://u:p@localhost/"}`: "neither credentials nor a query",
	} {
		_, problems := destinationtest.Decode(t, eventbridge.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
	c, problems := destinationtest.Decode(t, eventbridge.Kind(), `{"bus": "`+arn+`"}`)
	if c.Address() != arn || problems != "" {
		t.Errorf("address %q (%s)", c.Address(), problems)
	}
}
