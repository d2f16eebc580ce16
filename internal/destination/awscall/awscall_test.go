package awscall_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/secret"
)

// send makes one call with whatever credentials the access finds.
func send(t *testing.T, a *awscall.Access, endpoint string) error {
	t.Helper()
	c, err := a.Client(destinationtest.Deps(t), awscall.Target{
		Service: "events", Region: destinationtest.AWSRegion, Action: "events:PutEvents", Resource: "bus", Endpoint: endpoint,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.JSON(t.Context(), "1.1", "AWSEvents.PutEvents", struct{}{}, 0, 0)
	return err //nolint:wrapcheck // The test looks at it.
}

// fresh is an answer of a credentials service.
func fresh(w io.Writer, session string) {
	_, _ = fmt.Fprintf(w, `{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": %q, "SecretAccessKey": %q, "Token": %q, "Expiration": %q}`,
		destinationtest.AWSKeyID, destinationtest.AWSKey, session, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func TestCredentialsOfTheEnvironment(t *testing.T) {
	destinationtest.IsolateAWS(t)
	t.Setenv("AWS_ACCESS_KEY_ID", destinationtest.AWSKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", destinationtest.AWSKey)
	t.Setenv("AWS_SESSION_TOKEN", "of-the-environment")
	address, calls := destinationtest.AWS(t, "events", nil)
	if err := send(t, &awscall.Access{}, address); err != nil {
		t.Fatal(err)
	}
	if got := (<-calls).Header.Get("X-Amz-Security-Token"); got != "of-the-environment" {
		t.Errorf("token %q", got)
	}
}

func TestCredentialsOfAProfile(t *testing.T) {
	dir := destinationtest.IsolateAWS(t)
	text := "[default]\naws_access_key_id = WRONG\naws_secret_access_key = WRONG\n" +
		"[ops]\naws_access_key_id = " + destinationtest.AWSKeyID + "\naws_secret_access_key = " + destinationtest.AWSKey + "\n"
	if err := os.WriteFile(filepath.Join(dir, "credentials"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address, calls := destinationtest.AWS(t, "events", nil)
	if err := send(t, &awscall.Access{Profile: "ops"}, address); err != nil || len(calls) != 1 {
		t.Errorf("%v after %d calls", err, len(calls))
	}
	_, err := (&awscall.Access{Profile: "missing"}).Client(destinationtest.Deps(t), awscall.Target{Service: "events", Region: "us-east-1"})
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a profile that does not exist: %v, want an error that names it", err)
	}
}

func TestCredentialsOfAContainer(t *testing.T) {
	destinationtest.IsolateAWS(t)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "container-t0ken" || r.URL.Path != "/creds" {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
		fresh(w, "of-the-container")
	}))
	defer service.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service.URL+"/creds")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-t0ken")
	address, calls := destinationtest.AWS(t, "events", nil)
	if err := send(t, &awscall.Access{}, address); err != nil {
		t.Fatal(err)
	}
	if got := (<-calls).Header.Get("X-Amz-Security-Token"); got != "of-the-container" {
		t.Errorf("token %q", got)
	}
}

// IMDSv2: a session token comes first, by PUT, and every request shows it.
func TestCredentialsOfAnInstance(t *testing.T) {
	destinationtest.IsolateAWS(t)
	const base = "/latest/meta-data/iam/security-credentials/"
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			_, _ = io.WriteString(w, "imds-t0ken")
			return
		}
		if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "imds-t0ken" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case base:
			_, _ = io.WriteString(w, "hooks")
		case base + "hooks":
			fresh(w, "of-the-instance")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer service.Close()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.URL)
	address, calls := destinationtest.AWS(t, "events", nil)
	if err := send(t, &awscall.Access{}, address); err != nil {
		t.Fatal(err)
	}
	if got := (<-calls).Header.Get("X-Amz-Security-Token"); got != "of-the-instance" {
		t.Errorf("token %q", got)
	}
}

// sts is a stub of AssumeRole, which refuses what is not signed well.
func sts(t *testing.T, answer func(w http.ResponseWriter, form url.Values)) {
	t.Helper()
	signer := destinationtest.Signer{
		KeyID: destinationtest.AWSKeyID, Key: destinationtest.AWSKey, Region: destinationtest.AWSRegion, Service: "sts",
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := signer.Check(r, body); err != nil {
			t.Errorf("signature: %v", err)
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			t.Error(err)
		}
		answer(w, form)
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
}

func roleAccess() *awscall.Access {
	return &awscall.Access{
		Credentials: &awscall.Credentials{AccessKeyID: destinationtest.AWSKeyID, SecretAccessKey: secret.New(destinationtest.AWSKey)},
		AssumeRole: &awscall.Role{
			ARN: "arn:aws:iam::123456789012:role/hooks", ExternalID: secret.New("ext3rnal"), SessionName: "grapnel",
		},
	}
}

func TestARoleIsAssumedOnceAndAgainWhenItsKeysAreRefused(t *testing.T) {
	destinationtest.IsolateAWS(t)
	var assumed atomic.Int64
	sts(t, func(w http.ResponseWriter, form url.Values) {
		n := assumed.Add(1)
		if form.Get("RoleArn") != "arn:aws:iam::123456789012:role/hooks" || form.Get("ExternalId") != "ext3rnal" ||
			form.Get("RoleSessionName") != "grapnel" {
			t.Errorf("form %v", form)
		}
		_, _ = fmt.Fprintf(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>%s</AccessKeyId>`+
			`<SecretAccessKey>%s</SecretAccessKey><SessionToken>role-%d</SessionToken><Expiration>%s</Expiration>`+
			`</Credentials></AssumeRoleResult></AssumeRoleResponse>`, destinationtest.AWSKeyID, destinationtest.AWSKey, n,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	var tokens []string
	address, _ := destinationtest.AWS(t, "events", func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("X-Amz-Security-Token"))
		if len(tokens) == 2 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"ExpiredTokenException","message":"is expired"}`)
		}
	})
	c, err := roleAccess().Client(destinationtest.Deps(t), awscall.Target{
		Service: "events", Region: destinationtest.AWSRegion, Endpoint: address,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for i := range 3 {
		_, err := c.JSON(t.Context(), "1.1", "X", struct{}{}, 0, 0)
		if (err != nil) != (i == 1) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if got := strings.Join(tokens, " "); got != "role-1 role-1 role-2" {
		t.Errorf("tokens %s, want role-1 twice, then role-2", got)
	}
}

func TestARoleThatMayNotBeAssumedSaysWhatIsMissing(t *testing.T) {
	destinationtest.IsolateAWS(t)
	sts(t, func(w http.ResponseWriter, _ url.Values) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>`+
			`<Message>not authorized</Message></Error></ErrorResponse>`)
	})
	address, calls := destinationtest.AWS(t, "events", nil)
	got := destinationtest.Failed(t, send(t, roleAccess(), address))
	if got.Class != destination.Credentials || len(calls) != 0 ||
		!strings.Contains(got.Message, "must allow sts:AssumeRole on arn:aws:iam::123456789012:role/hooks") {
		t.Errorf("%+v after %d calls", got, len(calls))
	}
	destinationtest.AssertLeaksNoSecret(t, []string{destinationtest.AWSKey}, got, got.Err)
}

func TestNoCredentialsIsAClassOfItsOwn(t *testing.T) {
	destinationtest.IsolateAWS(t)
	address, calls := destinationtest.AWS(t, "events", nil)
	got := destinationtest.Failed(t, send(t, &awscall.Access{}, address))
	if got.Class != destination.Credentials || len(calls) != 0 {
		t.Errorf("%+v after %d calls", got, len(calls))
	}
}

func TestTheEnvironmentSetsEndpoints(t *testing.T) {
	destinationtest.IsolateAWS(t)
	access := roleAccess()
	access.AssumeRole = nil
	endpoint := func(service, region, own string) string {
		c, err := access.Client(destinationtest.Deps(t), awscall.Target{Service: service, Region: region, Endpoint: own})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.Endpoint()
	}
	for region, want := range map[string]string{
		"us-east-1": "https://sqs.us-east-1.amazonaws.com", "cn-north-1": "https://sqs.cn-north-1.amazonaws.com.cn",
		"eusc-de-east-1": "https://sqs.eusc-de-east-1.amazonaws.eu", "us-gov-west-1": "https://sqs.us-gov-west-1.amazonaws.com",
	} {
		if got := endpoint("sqs", region, ""); got != want {
			t.Errorf("endpoint in %s = %s, want %s", region, got, want)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://all:4566/")
	t.Setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://events:4566")
	t.Setenv("AWS_ENDPOINT_URL_SFN", "http://states:4566")
	for service, want := range map[string]string{
		"sqs": "http://all:4566", "events": "http://events:4566", "states": "http://states:4566",
	} {
		if got := endpoint(service, "us-east-1", ""); got != want {
			t.Errorf("endpoint of %s = %s, want %s", service, got, want)
		}
	}
	if got := endpoint("events", "us-east-1", "http://own/"); got != "http://own" {
		t.Errorf("endpoint of the configuration = %s", got)
	}
	t.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
	if got := endpoint("events", "us-east-1", ""); got != "https://events.us-east-1.amazonaws.com" {
		t.Errorf("endpoint that is not to be configured = %s", got)
	}
}

func FuzzExplain(f *testing.F) {
	for _, seed := range []string{
		`{"__type":"a.b#C","message":"m"}`, `{"message":1}`, `<Error><Code>C</Code><Message>m</Message></Error>`,
		`<ErrorResponse><Error><Code>C</Code></Error></ErrorResponse>`, `<!DOCTYPE x [<!ENTITY a "b">]><Error>&a;</Error>`, ``, `{`,
	} {
		f.Add("", seed)
		f.Add("Code:http://x/", seed)
	}
	f.Fuzz(func(t *testing.T, header, body string) {
		got := awscall.Explain(http.Header{"X-Amzn-Errortype": {header}}, []byte(body))
		if strings.ContainsAny(got.Code, ":# \r\n") || len(got.Code) > 128 {
			t.Errorf("Explain(%q, %q) = %+v", header, body, got)
		}
		if awscall.Class(got.Code, http.StatusBadRequest).Info().What == "" {
			t.Errorf("code %q has a class without a row", got.Code)
		}
	})
}

func TestPathsSelectTexts(t *testing.T) {
	t.Parallel()
	r := destinationtest.Request(`{"a": {"b": "t\u00e9xt", "n": 1.50, "list": [1, "x"], "t": true}}`)
	for text, want := range map[string]string{
		"plain": "plain", "$.detail.a.b": "téxt", "$.detail.a.n": "1.50", "$.detail.a.t": "true",
		"$.detail.a.list": `[1,"x"]`, "$.source": "test", "$5": "$5",
	} {
		w, err := awscall.ParseWord(text)
		if err != nil {
			t.Errorf("ParseWord(%s): %v", text, err)
			continue
		}
		if got, err := w.Of(r); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", text, got, err, want)
		}
	}
	w, err := awscall.ParseWord("$.detail.missing")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Of(r)
	if got := destinationtest.Failed(t, err); got.Class != destination.InputFailed {
		t.Errorf("a path that selects nothing: %v", got)
	}
	r.Event = nil
	if got, err := w.Of(r); err != nil || got != r.ID {
		t.Errorf("without an event: %q, %v, want the delivery's id", got, err)
	}
}

func TestMarshalLeavesHTMLAlone(t *testing.T) {
	t.Parallel()
	text, err := awscall.Marshal(map[string]string{"a": "<é>&"})
	if err != nil || string(text) != `{"a":"<é>&"}` || !json.Valid(text) {
		t.Errorf("Marshal = %s, %v", text, err)
	}
}
