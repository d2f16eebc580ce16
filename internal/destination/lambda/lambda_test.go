package lambda_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/lambda"
)

const (
	keyID   = "AKIDEXAMPLE"
	key     = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	token   = "s3ssion-token/with+signs=="
	region  = "eu-central-1"
	arn     = "arn:aws:lambda:" + region + ":123456789012:function:triage"
	keys    = `"credentials": {"access_key_id": "` + keyID + `", "secret_access_key": "` + key + `"}`
	tempKey = `"credentials": {"access_key_id": "` + keyID + `", "secret_access_key": "` + key + `", "session_token": "` + token + `"}`
)

// call is a request as the stub of the Lambda API saw it.
type call struct {
	method, uri, kind, token string
	body                     []byte
}

// api returns a stub of the Lambda API that refuses what is not signed well.
func api(tb testing.TB, answer http.HandlerFunc) (url string, calls <-chan call) {
	tb.Helper()
	seen := make(chan call, 100)
	signer := destinationtest.Signer{KeyID: keyID, Key: key, Region: region, Service: "lambda"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tb.Errorf("reading the request: %v", err)
		}
		if err := signer.Check(r, body); err != nil {
			tb.Errorf("signature: %v", err)
			w.Header().Set("X-Amzn-Errortype", "InvalidSignatureException")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		seen <- call{
			r.Method, r.RequestURI, r.Header.Get("X-Amz-Invocation-Type"), r.Header.Get("X-Amz-Security-Token"), body,
		}
		if answer != nil {
			answer(w, r)
		}
	}))
	tb.Cleanup(s.Close)
	return s.URL, seen
}

func build(tb testing.TB, url, fields string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, lambda.Kind(),
		fmt.Sprintf(`{"endpoint": %q, %s}`, url, fields), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: lambda.Kind(),
		Config: func(url string) string {
			return fmt.Sprintf(`{"function": %q, "endpoint": %q, %s}`, arn, url, tempKey)
		},
		Secrets: []string{key, token},
		Class: func(status int) destination.Class {
			if status == http.StatusGone {
				return destination.ServerError
			}
			return destination.OfStatus(status)
		},
	})
}

func TestFunctionsAreInvokedAsConfigured(t *testing.T) {
	t.Parallel()
	const path = "/2015-03-31/functions/"
	for fields, want := range map[string]call{
		`"function": "` + arn + `", ` + keys: {
			uri: path + "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Atriage/invocations",
		},
		`"function": "` + arn + `:live", ` + tempKey: {
			uri:   path + "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Atriage%3Alive/invocations",
			token: token,
		},
		`"function": "triage", "region": "eu-central-1", "qualifier": "$LATEST", ` + keys: {
			uri: path + "triage/invocations?Qualifier=%24LATEST",
		},
		`"function": "123456789012:function:triage", "region": "eu-central-1", "invocation": "event", ` + keys: {
			uri: path + "123456789012%3Afunction%3Atriage/invocations", kind: "Event",
		},
	} {
		url, calls := api(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Executed-Version", "7")
			w.Header().Set("X-Amzn-Requestid", "0f6c2b1e")
			_, _ = io.WriteString(w, `{"done":true}`)
		})
		resp, err := build(t, url, fields).Do(t.Context(), destinationtest.Request(`{"a": 1}`))
		if err != nil {
			t.Errorf("%s: %v", fields, err)
			continue
		}
		if resp.Status != 200 || string(resp.Body) != `{"done":true}` || resp.Truncated ||
			resp.Header.Get("X-Amz-Executed-Version") != "7" || resp.Header.Get("X-Amzn-Requestid") != "0f6c2b1e" {
			t.Errorf("%s: answer %+v", fields, resp)
		}
		got := <-calls
		want.kind = cmp.Or(want.kind, "RequestResponse")
		if got.method != http.MethodPost || got.uri != want.uri || got.kind != want.kind || got.token != want.token ||
			string(got.body) != `{"a": 1}` {
			t.Errorf("%s: call %+v, want %+v", fields, got, want)
		}
	}
}

func TestAFunctionThatFailsIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	const payload = `{"errorMessage":"stock missing for s3cret customer","errorType":"ValueError","stackTrace":[]}`
	url, calls := api(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		_, _ = io.WriteString(w, payload)
	})
	d := build(t, url, `"function": "`+arn+`", `+keys)
	request := destinationtest.Request(`{}`)
	_, err := d.Do(t.Context(), request)
	got := destinationtest.Failed(t, err)
	if got.Class != destination.FunctionFailed || got.Status != 200 || string(got.Excerpt) != payload {
		t.Errorf("error %+v with excerpt %s", got, got.Excerpt)
	}
	if want := "the function failed: Unhandled, ValueError"; got.Message != want {
		t.Errorf("message %q, want %q", got.Message, want)
	}
	request.WantBody = 10
	_, err = d.Do(t.Context(), request)
	if got := destinationtest.Failed(t, err); string(got.Excerpt) != payload[:10] {
		t.Errorf("excerpt %q, want 10 bytes", got.Excerpt)
	}
	if n := len(calls); n != 2 {
		t.Errorf("%d calls for two attempts", n)
	}
}

func TestErrorsOfTheAPIHaveClasses(t *testing.T) {
	t.Parallel()
	var status int
	var name, body string
	url, calls := api(t, func(w http.ResponseWriter, _ *http.Request) { // one request at a time
		if name != "" {
			w.Header().Set("X-Amzn-Errortype", name)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	d := build(t, url, `"function": "`+arn+`", `+keys)
	for _, row := range []struct {
		status int
		code   string
		want   destination.Class
	}{
		{400, "InvalidParameterValueException", destination.BadRequest},
		{400, "InvalidRequestContentException", destination.BadRequest},
		{400, "RecursiveInvocationException", destination.BadRequest},
		{402, "ServiceQuotaExceededException", destination.BadRequest},
		{403, "AccessDeniedException", destination.Forbidden},
		{403, "EFSMountFailureException", destination.Forbidden},
		{403, "InvalidSignatureException", destination.Credentials},
		{403, "UnrecognizedClientException", destination.Credentials},
		{403, "ExpiredTokenException", destination.Credentials},
		{403, "MissingAuthenticationTokenException", destination.Credentials},
		{403, "IncompleteSignatureException", destination.Credentials},
		{404, "ResourceNotFoundException", destination.NotFound},
		{408, "EFSMountTimeoutException", destination.RequestTimeout},
		{409, "ResourceConflictException", destination.FunctionPending},
		{409, "SnapStartNotReadyException", destination.FunctionPending},
		{409, "DurableExecutionAlreadyStartedException", destination.BadRequest},
		{409, "CodeArtifactUserPendingException", destination.BadRequest},
		{410, "EFSIOException", destination.ServerError},
		{413, "RequestTooLargeException", destination.TooLarge},
		{415, "UnsupportedMediaTypeException", destination.BadRequest},
		{429, "TooManyRequestsException", destination.Throttled},
		{500, "ServiceException", destination.ServerError},
		{502, "EC2ThrottledException", destination.Unavailable},
		{502, "ENILimitReachedException", destination.Unavailable},
		{502, "ResourceNotReadyException", destination.FunctionPending},
		{502, "KMSDisabledException", destination.BadRequest},
		{502, "KMSAccessDeniedException", destination.Forbidden},
		{502, "EC2AccessDeniedException", destination.Forbidden},
		{502, "InvalidZipFileException", destination.BadRequest},
	} {
		for where, spelling := range map[string][2]string{
			"header": {row.code + ":http://internal.amazon.com/coral/com.amazonaws/", ""},
			"body":   {"", `"__type":"` + row.code + `",`},
		} {
			status, name, body = row.status, spelling[0], `{`+spelling[1]+`"Type":"User","message":"because of this"}`
			_, err := d.Do(t.Context(), destinationtest.Request(`{}`))
			got := destinationtest.Failed(t, err)
			if got.Class != row.want || got.Status != row.status {
				t.Errorf("%s (%d, in the %s): class %s status %d, want %s", row.code, row.status, where, got.Class, got.Status, row.want)
			}
			want := row.code + ": because of this"
			if row.code == "AccessDeniedException" {
				want += "; the policy of the credentials must allow lambda:InvokeFunction on " + arn + " at " + url
			}
			if got.Message != want {
				t.Errorf("%s: message %q", row.code, got.Message)
			}
			<-calls
			if n := len(calls); n != 0 {
				t.Errorf("%s: %d calls more than one: retries are not the SDK's", row.code, n)
			}
		}
	}
}

func TestThrottlingSaysWhyAndHowLong(t *testing.T) {
	t.Parallel()
	url, _ := api(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-Errortype", "TooManyRequestsException")
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`)
	})
	_, err := build(t, url, `"function": "`+arn+`", `+keys).Do(t.Context(), destinationtest.Request(`{}`))
	got := destinationtest.Failed(t, err)
	const want = "TooManyRequestsException (ReservedFunctionConcurrentInvocationLimitExceeded): Rate Exceeded."
	if got.Class != destination.Throttled || got.RetryAfter != 3*time.Second || got.Message != want {
		t.Errorf("error %+v, want %s after 3s", got, want)
	}
}

func TestMessagesOverTheLimitAreNotSent(t *testing.T) {
	t.Parallel()
	for invocation, limit := range map[string]int{"request_response": 6 << 20, "event": 1 << 20} {
		url, calls := api(t, nil)
		d := build(t, url, `"function": "`+arn+`", "invocation": "`+invocation+`", `+keys)
		request := destinationtest.Request(``)
		request.Body = bytes.Repeat([]byte(" "), limit+1)
		_, err := d.Do(t.Context(), request)
		got := destinationtest.Failed(t, err)
		if got.Class != destination.TooLarge || !strings.Contains(got.Message, strconv.Itoa(limit+1)) ||
			!strings.Contains(got.Message, strconv.Itoa(limit)) || len(calls) != 0 {
			t.Errorf("%s: %v after %d calls, want too_large with both sizes and no call", invocation, got, len(calls))
		}
		request.Body = request.Body[:limit]
		if _, err := d.Do(t.Context(), request); err != nil || len((<-calls).body) != limit {
			t.Errorf("%s: %d bytes: %v", invocation, limit, err)
		}
	}
}

// raw is a webhook as the engine shows it.
type raw struct {
	body   string
	header [][2]string
}

func (r raw) Body() []byte { return []byte(r.body) }

func (r raw) Header(yield func(name, value string) bool) {
	for _, h := range r.header {
		if !yield(h[0], h[1]) {
			return
		}
	}
}

// What soketi sends to a function, so that a handler which checks the signature
// over JSON.stringify(payload) works as it is.
func TestTheRequestFormatIsTheWebhookItself(t *testing.T) {
	t.Parallel()
	url, calls := api(t, nil)
	d := build(t, url, `"function": "`+arn+`", "format": "request", `+keys)
	for name, row := range map[string]struct {
		raw  destination.Raw
		want string
	}{
		"as it came in": {
			raw{`{ "time_ms": 1.50,"x":"<é>\u00e9", "time_ms": 2 }`, [][2]string{
				{"content-type", "application/json"}, {"X-Pusher-Key", `a"b`}, {"X-Pusher-Signature", "ab12"}, {"X-Two", "1"}, {"X-Two", "2"},
			}},
			`{"payload":{ "time_ms": 1.50,"x":"<é>\u00e9", "time_ms": 2 },"headers":{"Content-Type":"application/json",` +
				`"X-Pusher-Key":"a\"b","X-Pusher-Signature":"ab12","X-Two":"1, 2"}}`,
		},
		"no webhook": {nil, `{"payload":{"a": 1},"headers":{"Content-Type":"application/json"}}`},
	} {
		r := destinationtest.Request(`{"a": 1}`)
		r.Raw = row.raw
		if _, err := d.Do(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := string((<-calls).body); got != row.want {
			t.Errorf("%s: payload\n%s, want\n%s", name, got, row.want)
		}
	}
	for _, body := range []string{"", "a=b", `{"a":`, `{} {}`} {
		r := destinationtest.Request(`{}`)
		r.Raw = raw{body: body}
		_, err := d.Do(t.Context(), r)
		if got := destinationtest.Failed(t, err); got.Class != destination.InputFailed || len(calls) != 0 {
			t.Errorf("%q: %v after %d calls, want input_failed and no call", body, got, len(calls))
		}
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                     "function: is missing",
		`{"function": "triage"}`: "region: is missing",
		`{"function": "123456789012:function:triage"}`:                         "region: is missing",
		`{"function": "a b", "region": "us-east-1"}`:                           "not the name or ARN",
		`{"function": "arn:aws:s3:::bucket"}`:                                  "not the name or ARN",
		`{"function": "arn:aws:lambda:us-east-1:function:x"}`:                  "not the name or ARN",
		`{"function": "arn:aws:lambda:us-east-1:123456789012:function:x:y:z"}`: "not the name or ARN",
		`{"function": "../../x", "region": "us-east-1"}`:                       "not the name or ARN",
		`{"function": "x", "region": "evil.com/"}`:                             "not an AWS region",
		`{"function": "x", "region": "US-EAST-1"}`:                             "not an AWS region",
		`{"function": "` + arn + `", "region": "us-east-1"}`:                   "differs",
		`{"function": "` + arn + `:live", "qualifier": "7"}`:                   "has a qualifier already",
		`{"function": "` + arn + `", "qualifier": "a b"}`:                      "neither a version nor an alias",
		`{"function": "` + arn + `", "invocation": "RequestResponse"}`:         "expected one of",
		`{"function": "` + arn + `", "profile": "p", ` + keys + `}`:            "together with credentials",
		`{"function": "` + arn + `", "credentials": {"access_key_id": "x"}}`:   "secret_access_key: is missing",
		`{"function": "` + arn + `", "endpoint": "http://u:p@h"}`:              "neither credentials",
		`{"function": "` + arn + `", "endpoint": "localhost:4566"}`:            "endpoint",
	} {
		_, problems := destinationtest.Decode(t, lambda.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
	for _, config := range []string{
		`{"function": "x", "region": "us-gov-west-1"}`,
		`{"function": "x:$LATEST", "region": "cn-north-1"}`,
		`{"function": "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:x"}`,
		`{"function": "arn:aws:lambda:us-east-1:123456789012:function:x:live", "region": "us-east-1"}`,
	} {
		if _, problems := destinationtest.Decode(t, lambda.Kind(), config); problems != "" {
			t.Errorf("%s: %s", config, problems)
		}
	}
}

func TestAddressIsAsMuchOfTheARNAsIsKnown(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"function": "` + arn + `"}`:                                  arn,
		`{"function": "` + arn + `", "qualifier": "live"}`:             arn + ":live",
		`{"function": "triage", "region": "us-east-1"}`:                "lambda:us-east-1:triage",
		`{"function": "` + arn + `", "endpoint": "http://[::1]:4566"}`: arn + " at http://[::1]:4566",
	} {
		c, problems := destinationtest.Decode(t, lambda.Kind(), config)
		if got := c.Address(); got != want || problems != "" {
			t.Errorf("%s: address %q, want %q (%s)", config, got, want, problems)
		}
	}
}

func TestCredentialsComeFromTheDefaultChain(t *testing.T) {
	destinationtest.IsolateAWS(t)
	t.Setenv("AWS_ACCESS_KEY_ID", keyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", key)
	t.Setenv("AWS_SESSION_TOKEN", token)
	t.Setenv("AWS_REGION", "ap-south-1")   // not the function's: must not count
	t.Setenv("AWS_MAX_ATTEMPTS", "5")      // nor this
	t.Setenv("AWS_RETRY_MODE", "adaptive") // nor this
	url, calls := api(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	_, err := build(t, url, `"function": "`+arn+`"`).Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.Unavailable {
		t.Errorf("class %s (%v), want unavailable", got.Class, got.Err)
	}
	if got := <-calls; got.token != token || len(calls) != 0 {
		t.Errorf("token %q and %d more calls, want one call with the token of the environment", got.token, len(calls))
	}
}

func TestCredentialsComeFromAProfile(t *testing.T) {
	dir := destinationtest.IsolateAWS(t)
	text := "[default]\naws_access_key_id = WRONG\naws_secret_access_key = WRONG\n" +
		"[ops]\naws_access_key_id = " + keyID + "\naws_secret_access_key = " + key + "\n"
	if err := os.WriteFile(filepath.Join(dir, "credentials"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	url, calls := api(t, nil)
	if _, err := build(t, url, `"function": "`+arn+`", "profile": "ops"`).Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
		t.Errorf("Do: %v", err)
	}
	if len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
	c, problems := destinationtest.Decode(t, lambda.Kind(), `{"function": "`+arn+`", "profile": "missing"}`)
	if problems != "" {
		t.Fatal(problems)
	}
	if _, err := c.Build(destinationtest.Deps(t)); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("Build with a profile that does not exist = %v, want an error that names it", err)
	}
}

func TestNoCredentialsIsAClassOfItsOwn(t *testing.T) {
	destinationtest.IsolateAWS(t)
	url, calls := api(t, nil)
	d := build(t, url, `"function": "`+arn+`"`)
	_, err := d.Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.Credentials || got.Class.Retry() != destination.RetryTransient {
		t.Errorf("error %v (%v), want class credentials", got, got.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Do(ctx, destinationtest.Request(`{}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if len(calls) != 0 {
		t.Errorf("%d calls without credentials", len(calls))
	}
}

// Keys of a container's role run out: the next attempt asks for new ones. The
// credentials service is on loopback, which network.allow need not have.
func TestExpiredCredentialsAreFetchedAgain(t *testing.T) {
	destinationtest.IsolateAWS(t)
	var fetched atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := fetched.Add(1)
		if r.Header.Get("Authorization") != "container-t0ken" {
			t.Errorf("asked with %v", r.Header)
		}
		_, _ = fmt.Fprintf(w, `{"AccessKeyId": %q, "SecretAccessKey": %q, "Token": "session-%d", "Expiration": %q}`,
			keyID, key, n, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer service.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service.URL+"/creds")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-t0ken")

	url, calls := api(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Security-Token") == "session-1" && fetched.Load() == 1 {
			w.Header().Set("X-Amzn-Errortype", "ExpiredTokenException")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"The security token included in the request is expired"}`)
		}
	})
	d := build(t, url, `"function": "`+arn+`"`)
	_, err := d.Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.Credentials {
		t.Errorf("class %s (%v), want credentials", got.Class, got.Err)
	}
	for range 2 {
		if _, err := d.Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
			t.Errorf("with fresh credentials: %v", err)
		}
	}
	first, second, third := <-calls, <-calls, <-calls
	if first.token != "session-1" || second.token != "session-2" || third.token != "session-2" {
		t.Errorf("tokens %s, %s, %s, want session-1, then session-2 twice", first.token, second.token, third.token)
	}

	// The function's address gets no such leave.
	closed := destinationtest.Deps(t)
	closed.Egress.SetAllow(nil)
	d = destinationtest.Build(t, lambda.Kind(), fmt.Sprintf(`{"function": %q, "endpoint": %q}`, arn, url), closed)
	_, err = d.Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.BlockedAddress {
		t.Errorf("class %s (%v), want blocked_address", got.Class, got.Err)
	}
}

func BenchmarkDo(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	defer s.Close()
	d := build(b, s.URL, `"function": "`+arn+`", `+keys)
	body := `{"x":"` + strings.Repeat("x", 1000) + `"}`
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		request := destinationtest.Request(body)
		for pb.Next() {
			if _, err := d.Do(context.Background(), request); err != nil {
				b.Error(err)
			}
		}
	})
}
