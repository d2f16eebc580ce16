package sns_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/sns"
)

const topic = "arn:aws:sns:eu-central-1:123456789012:hooks"

func config(url, fields string) string {
	return fmt.Sprintf(`{"endpoint": %q, %s, %s}`, url, fields, destinationtest.AWSKeys)
}

func build(tb testing.TB, url, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, sns.Kind(), config(url, fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: sns.Kind(), Config: func(url string) string { return config(url, `"topic": "`+topic+`"`) },
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken},
	})
}

func TestMessagesArePublishedAsConfigured(t *testing.T) {
	t.Parallel()
	const body, id = `{"a": "b&c=<é>+ "}`, "dlv_0199d2c4-1-2"
	plain := func(topic string) url.Values {
		return url.Values{
			"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {topic}, "Message": {body},
			"MessageAttributes.entry.1.Name":              {"webhook-id"},
			"MessageAttributes.entry.1.Value.DataType":    {"String"},
			"MessageAttributes.entry.1.Value.StringValue": {id},
		}
	}
	with := func(form url.Values, pairs ...string) url.Values {
		for pair := range slices.Chunk(pairs, 2) {
			form.Set(pair[0], pair[1])
		}
		return form
	}
	for name, row := range map[string]struct {
		fields     string
		attributes map[string]string
		want       url.Values
	}{
		"plain": {`"topic": "` + topic + `", "subject": "hi"`, nil, with(plain(topic), "Subject", "hi")},
		"FIFO": {
			`"topic": "` + topic + `.fifo", "message_group_id": "g"`, nil,
			with(plain(topic+".fifo"), "MessageGroupId", "g", "MessageDeduplicationId", id),
		},
		"a dead letter": {
			`"topic": "` + topic + `"`,
			map[string]string{"B": "", "ERROR_CODE": "TIMEOUT"},
			with(plain(topic), "MessageAttributes.entry.2.Name", "ERROR_CODE", "MessageAttributes.entry.2.Value.DataType", "String",
				"MessageAttributes.entry.2.Value.StringValue", "TIMEOUT"),
		},
	} {
		address, calls := destinationtest.AWS(t, "sns", nil)
		request := destinationtest.Request(body)
		request.Attributes = row.attributes
		if _, err := build(t, address, row.fields).Do(t.Context(), request); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := url.ParseQuery(string((<-calls).Body))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: form (-want +got):\n%s", name, diff)
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
		{404, "NotFound", destination.NotFound, "NotFound: because & so"},
		{403, "AuthorizationError", destination.Forbidden, "must allow sns:Publish on " + topic},
		{403, "SignatureDoesNotMatch", destination.Credentials, "because"},
		{403, "InvalidClientTokenId", destination.Credentials, "because"},
		{400, "InvalidParameter", destination.BadRequest, "because"},
		{400, "Throttled", destination.Throttled, "because"},
		{400, "KMSThrottling", destination.Throttled, "because"},
		{500, "InternalFailure", destination.ServerError, "because"},
	} {
		address, _ := destinationtest.AWS(t, "sns", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">
  <Error><Type>Sender</Type><Code>`+row.code+`</Code><Message>because &amp; so</Message></Error>
  <RequestId>r</RequestId>
</ErrorResponse>`)
		})
		_, err := build(t, address, `"topic": "`+topic+`"`).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != row.want || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: %+v, want %s that says %q", row.code, got, row.want, row.says)
		}
	}
}

func TestWhatNoTopicTakesIsNotSent(t *testing.T) {
	t.Parallel()
	address, calls := destinationtest.AWS(t, "sns", nil)
	d := build(t, address, `"topic": "`+topic+`"`)
	for body, want := range map[string]destination.Class{
		"":                                destination.InputFailed,
		"\xff":                            destination.InputFailed,
		strings.Repeat("x", 256<<10+1):    destination.TooLarge,
		strings.Repeat("x", (256<<10)-10): destination.TooLarge, // with its attribute
	} {
		r := destinationtest.Request(`{}`)
		r.Body = []byte(body)
		_, err := d.Do(t.Context(), r)
		if got := destinationtest.Failed(t, err); got.Class != want {
			t.Errorf("%.20q: %v, want %s", body, got, want)
		}
	}
	if len(calls) != 0 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                 "topic: is missing",
		`{"topic": "hooks"}`: "not the ARN of an SNS topic",
		`{"topic": "arn:aws:sns:us-east-1:123456789012:hooks:1111"}`:                  "not the ARN of an SNS topic",
		`{"topic": "` + topic + `", "region": "us-east-1"}`:                           "differs",
		`{"topic": "` + topic + `.fifo"}`:                                             "is a FIFO topic",
		`{"topic": "` + topic + `", "message_group_id": "a b"}`:                       "not a message group id",
		`{"topic": "` + topic + `", "subject": "` + strings.Repeat("x", 101) + `"}`:   "100 ASCII",
		`{"topic": "` + topic + `", "profile": "p", ` + destinationtest.AWSKeys + `}`: "together with credentials",
	} {
		_, problems := destinationtest.Decode(t, sns.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
