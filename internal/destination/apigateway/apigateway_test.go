package apigateway_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/apigateway"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
)

func config(url, fields string) string {
	return fmt.Sprintf(`{"url": %q, "region": %q, %s, %s}`, url, destinationtest.AWSRegion, fields, destinationtest.AWSKeys)
}

func build(tb testing.TB, url, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, apigateway.Kind(), config(url, fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: apigateway.Kind(),
		Config: func(url string) string {
			return config(url+"/prod/hooks?key=qu3ry-secret", `"headers": {"X-Api-Key": "h3ader-secret"}`)
		},
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken, "qu3ry-secret", "h3ader-secret"},
	})
}

func TestConformanceWithHeadersAsText(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind:    apigateway.Kind(),
		Config:  func(url string) string { return config(url, `"headers": "X-Api-Key:h3ader-secret,X-B:b"`) },
		Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken, "h3ader-secret"},
	})
}

func TestRequestsAreSignedAsConfigured(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]struct{ service, method, path, uri, body, header string }{
		`"method": "POST"`: {
			service: "execute-api", method: "POST", path: "/prod/hooks", uri: "/prod/hooks", body: `{"a": 1}`,
		},
		`"service": "lambda"`: {service: "lambda", method: "POST", uri: "/", body: `{"a": 1}`},
		`"service": "es", "method": "PUT", "headers": {"x-team":  "platform,  x"}`: {
			service: "es", method: "PUT", path: "/a%2Fb/c%3Ad", uri: "/a%2Fb/c%3Ad", body: `{"a": 1}`, header: "platform,  x",
		},
		`"headers": " X-Team : red:green , Content-Type:text/plain"`: {
			service: "execute-api", method: "POST", path: "/?b=2&a=x+y&a=&empty", uri: "/?a=&a=x%20y&b=2&empty=",
			body: `{"a": 1}`, header: "red:green",
		},
		`"method": "GET"`:                       {service: "execute-api", method: "GET", path: "/x", uri: "/x"},
		`"service": "s3", "method": "PUT"`:      {service: "s3", method: "PUT", path: "/a//b%20c", uri: "/a//b%20c", body: `{"a": 1}`},
		`"service": "execute-api"`:              {service: "execute-api", method: "POST", path: "/ü", uri: "/%C3%BC", body: `{"a": 1}`},
		`"method": "DELETE", "service": "aoss"`: {service: "aoss", method: "DELETE", path: "/~-._/*", uri: "/~-._/*", body: `{"a": 1}`},
	} {
		url, calls := destinationtest.AWS(t, want.service, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "taken")
		})
		resp, err := build(t, url+want.path, fields).Do(t.Context(), destinationtest.Request(`{"a": 1}`))
		if err != nil || resp.Status != http.StatusAccepted || string(resp.Body) != "taken" {
			t.Errorf("%s: %+v, %v", fields, resp, err)
			continue
		}
		got := <-calls
		if got.Method != want.method || got.URI != want.uri || string(got.Body) != want.body ||
			got.Header.Get("X-Team") != want.header {
			t.Errorf("%s: %s %s %q %q", fields, got.Method, got.URI, got.Body, got.Header.Get("X-Team"))
		}
		if got.Header.Get("Webhook-Id") != "dlv_0199d2c4-1-2" || got.Header.Get("X-Amz-Security-Token") != destinationtest.AWSToken {
			t.Errorf("%s: header %v", fields, got.Header)
		}
		signed := got.Header.Get("Authorization")
		for _, name := range []string{"webhook-id", "x-amz-security-token", "host"} {
			if !strings.Contains(signed, name) {
				t.Errorf("%s: %s is not signed: %s", fields, name, signed)
			}
		}
		if want.header != "" && !strings.Contains(signed, "x-team") {
			t.Errorf("%s: the header of the configuration is not signed: %s", fields, signed)
		}
	}
}

func TestRefusalsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		service, code, body string
		status              int
		class               destination.Class
		want                string
	}{
		{"execute-api", "AccessDeniedException", `{"Message":"User: x is not authorized to perform it"}`, 403, destination.Forbidden, "must allow execute-api:Invoke on http"},
		{"execute-api", "", `{"message":"Forbidden"}`, 403, destination.Forbidden, "must allow execute-api:Invoke on http"},
		{"lambda", "AccessDeniedException", `{"Message":"Forbidden"}`, 403, destination.Forbidden, "must allow lambda:InvokeFunctionUrl (and lambda:InvokeFunction)"},
		{"execute-api", "MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`, 403, destination.NotFound, "no such stage, path or method"},
		{"execute-api", "ExpiredTokenException", `{"message":"The security token included in the request is expired"}`, 403, destination.Credentials, "is expired"},
		{"execute-api", "InternalServerErrorException", `{"message":"Internal server error"}`, 500, destination.ServerError, "Internal server error"},
		// What the application behind the gateway says is its own.
		{"execute-api", "", `{"code":"AccessDenied","message":"no such tenant"}`, 403, destination.Forbidden, "the receiver answered 403 Forbidden"},
		{"execute-api", "", `{"__type":"ThrottlingException"}`, 400, destination.BadRequest, "the receiver answered 400"},
	} {
		url, _ := destinationtest.AWS(t, row.service, func(w http.ResponseWriter, _ *http.Request) {
			if row.code != "" {
				w.Header().Set("X-Amzn-Errortype", row.code+":http://internal.amazon.com/")
			}
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, row.body)
		})
		_, err := build(t, url, `"service": "`+row.service+`"`).Do(t.Context(), destinationtest.Request(`{}`))
		got := destinationtest.Failed(t, err)
		if got.Class != row.class || !strings.Contains(got.Message, row.want) || string(got.Excerpt) != row.body {
			t.Errorf("%s %s: %+v (%s), want %s that says %q", row.code, row.body, got, got.Excerpt, row.class, row.want)
		}
		if row.want == "the receiver answered 403 Forbidden" && strings.Contains(got.Message, "must allow") {
			t.Errorf("%s: a hint where AWS said nothing: %s", row.body, got.Message)
		}
	}
}

// A machine whose clock is wrong signs in a time that AWS refuses. The answer
// tells the right one.
func TestAClockThatIsWrongIsLearnedFromTheAnswer(t *testing.T) {
	t.Parallel()
	var times []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Error(err)
		}
		times = append(times, r.Header.Get("X-Amz-Date"))
		if time.Since(at).Abs() > 5*time.Minute {
			w.Header().Set("X-Amzn-Errortype", "InvalidSignatureException")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"Signature expired"}`)
		}
	}))
	t.Cleanup(s.Close)
	deps := destinationtest.Deps(t)
	deps.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	d := destinationtest.Build(t, apigateway.Kind(), config(s.URL, `"method": "POST"`), deps)
	_, err := d.Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.Credentials {
		t.Errorf("class %s, want credentials", got.Class)
	}
	if _, err := d.Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
		t.Errorf("after the clock was learned: %v (%v)", err, times)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	const api = `"url": "https://a1b2.execute-api.us-east-1.amazonaws.com/prod/x"`
	for _, c := range []struct{ config, want string }{
		{`{"region": "us-east-1"}`, "url: is missing"},
		{`{` + api + `}`, "region: is missing"},
		{`{` + api + `, "region": "eu-west-1"}`, "differs from the region in the host"},
		{`{` + api + `, "region": "US"}`, "not an AWS region"},
		{`{` + api + `, "region": "us-east-1", "service": "lambda"}`, "host is of service execute-api"},
		{`{"url": "https://abc.lambda-url.us-east-1.on.aws/", "region": "us-east-1"}`, "host is of service lambda"},
		{`{"url": "https://u:p@h.example/", "region": "us-east-1"}`, "no credentials"},
		{`{"url": "https://h.example/a//b", "region": "us-east-1"}`, "path with //"},
		{`{"url": "https://h.example/a/../b", "region": "us-east-1"}`, "path with //"},
		{`{` + api + `, "region": "us-east-1", "method": "post"}`, "in capitals"},
		{`{` + api + `, "region": "us-east-1", "service": "a b"}`, "not the name of a service"},
		{`{` + api + `, "region": "us-east-1", "headers": {"authorization": "x"}}`, "sets itself"},
		{`{` + api + `, "region": "us-east-1", "headers": {"a b": "x"}}`, "not the name of a header"},
		{`{` + api + `, "region": "us-east-1", "headers": {"A": "x\r\nB: y"}}`, "line breaks"},
		{`{` + api + `, "region": "us-east-1", "headers": "A"}`, "name:value"},
		{`{` + api + `, "region": "us-east-1", "headers": "A:b,c"}`, "name:value"},
		{`{` + api + `, "region": "us-east-1", "headers": "Host:b"}`, "sets itself"},
		{`{` + api + `, "region": "us-east-1", "headers": "A:b,a:c"}`, "twice"},
		{`{` + api + `, "region": "us-east-1", "profile": "p", ` + destinationtest.AWSKeys + `}`, "together with credentials"},
		{`{` + api + `, "region": "us-east-1", "assume_role": {"arn": "x"}}`, "the ARN of a role"},
		{`{` + api + `, "region": "us-east-1", "assume_role": {"arn": "arn:aws:iam::123456789012:role/r", "session_name": "a b"}}`, "a session name"},
	} {
		_, problems := destinationtest.Decode(t, apigateway.Kind(), c.config)
		if !strings.Contains(problems, c.want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", c.config, problems, c.want)
		}
	}
}
