package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/s3"
)

func config(url, fields string) string {
	return fmt.Sprintf(`{"endpoint": %q, "bucket": "archive", "region": %q, %s%s}`,
		url, destinationtest.AWSRegion, fields, destinationtest.AWSKeys)
}

func build(tb testing.TB, url, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, s3.Kind(), config(url, fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: s3.Kind(), Config: func(url string) string { return config(url, `"prefix": "hooks/",`) },
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken},
	})
}

// The conformance suite compares bodies as they are sent; what an object holds
// is a line.
func TestObjectsAreLinesNamedAsDeliveries(t *testing.T) {
	t.Parallel()
	const key = "2027/01/15/08/dlv_0199d2c4-1-2"
	for name, row := range map[string]struct{ fields, body, contentType, uri, want, wantType string }{
		"JSON": {
			``, "{\"a\":\n 1.50}", "application/json", "/archive/" + key + ".ndjson", "{\"a\":1.50}\n", "application/x-ndjson",
		},
		"a prefix that needs escaping": {
			`"prefix": "dt=1/a'(b)!*/",`, `{}`, "", "/archive/dt%3D1/a%27%28b%29%21%2A/" + key + ".ndjson", "{}\n", "application/x-ndjson",
		},
		"no JSON": {`"prefix": "x",`, "a=b", "application/x-www-form-urlencoded", "/archive/x" + key + ".raw", "a=b", "application/x-www-form-urlencoded"},
	} {
		url, calls := destinationtest.AWS(t, "s3", nil)
		request := destinationtest.Request(row.body)
		request.ContentType = row.contentType
		request.Event.Time = time.Unix(1_800_000_000, 0)
		if _, err := build(t, url, row.fields).Do(t.Context(), request); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		call := <-calls
		if call.Method != http.MethodPut || call.URI != row.uri || string(call.Body) != row.want ||
			call.Header.Get("Content-Type") != row.wantType || call.Header.Get("X-Amz-Content-Sha256") == "" {
			t.Errorf("%s: %s %s %q %v", name, call.Method, call.URI, call.Body, call.Header)
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
		{403, "AccessDenied", destination.Forbidden, "must allow s3:PutObject on arn:aws:s3:::archive/hooks/*"},
		{403, "InvalidAccessKeyId", destination.Credentials, "because"},
		{403, "RequestTimeTooSkewed", destination.Credentials, "because"},
		{400, "ExpiredToken", destination.Credentials, "because"},
		{404, "NoSuchBucket", destination.NotFound, "because"},
		{400, "RequestTimeout", destination.RequestTimeout, "because"},
		{400, "EntityTooLarge", destination.TooLarge, "because"},
		{503, "SlowDown", destination.Throttled, "because"},
		{500, "InternalError", destination.ServerError, "because"},
		{301, "PermanentRedirect", destination.Redirect, "because"},
		{409, "OperationAborted", destination.Conflict, "because"},
	} {
		url, _ := destinationtest.AWS(t, "s3", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>`+row.code+`</Code><Message>because</Message><BucketName>archive</BucketName></Error>`)
		})
		_, err := build(t, url, `"prefix": "hooks/",`).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != row.want || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: %+v, want %s that says %q", row.code, got, row.want, row.says)
		}
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"region": "us-east-1"}`:                                        "bucket: is missing",
		`{"bucket": "archive"}`:                                          "region: is missing",
		`{"bucket": "Archive", "region": "us-east-1"}`:                   "not the name of a bucket",
		`{"bucket": "a/b", "region": "us-east-1"}`:                       "not the name of a bucket",
		`{"bucket": "archive", "prefix": "/a", "region": "us-east-1"}`:   "beginning of a key",
		`{"bucket": "archive", "prefix": "a//", "region": "us-east-1"}`:  "beginning of a key",
		`{"bucket": "archive", "prefix": "../a", "region": "us-east-1"}`: "beginning of a key",
		`{"bucket": "archive", "prefix": "a?b", "region": "us-east-1"}`:  "beginning of a key",
	} {
		_, problems := destinationtest.Decode(t, s3.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
