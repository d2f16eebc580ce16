package ingest_test

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Twilio signs with
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/ingest"
)

// TestAWSAnswersBrokenBodiesAsTheFunctionsDo has the rows of EventBridge's
// inbound webhook functions that are about what a verified body holds.
func TestAWSAnswersBrokenBodiesAsTheFunctionsDo(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) {
		s.Answer.AWS, s.FormStyle = &ingest.AWSStyle{Form: true}, ingest.FormPayload
	}))
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"start byte", "{\"a\":\"\xff\"}", 400, "'utf-8' codec can't decode byte 0xff in position 6: invalid start byte"},
		{"continuation byte", "{\"a\":\"\xc3(\"}", 400, "'utf-8' codec can't decode byte 0xc3 in position 6: invalid continuation byte"},
		{"cut short", "{\"a\":\"é\xe2\x82", 400, "'utf-8' codec can't decode byte 0xe2 in position 8: unexpected end of data"},
		{"NaN", `{"a": NaN, "b": -Infinity}`, 500, "FailedEntry Error - "},
		{"NaN in a string", `{"a": "NaN"}`, 202, "Message forwarded"},
		{"NaN and broken", `{"a": NaN`, 400, "Invalid JSON payload"},
	} {
		r := b.do(t, github(c.body, "d "+c.name))
		if r.StatusCode != c.status || !strings.HasPrefix(r.body, c.want) {
			t.Errorf("%s: answered %d %q, want %d %q", c.name, r.StatusCode, r.body, c.status, c.want)
		}
	}
	odd := github(`{}`, "d")
	odd.header["X-Hub-Signature-256"] = "sha256=é"
	if r := b.do(t, odd); r.StatusCode != 500 || r.body != "Internal Server Error" {
		t.Errorf("a signature that is not ASCII: %d %q", r.StatusCode, r.body)
	}
}

func TestAWSAnswersStripeHeadersAsTheFunctionDoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "stripe", "stripe", func(s *ingest.Source) { s.Answer.AWS = &ingest.AWSStyle{Timestamp: true} }))
	now := strconv.FormatInt(testNow.Unix(), 10)
	good := "t=" + now + ",v1=" + mac(now+".{}")
	for _, c := range []struct {
		name, header string
		status       int
		want         string
	}{
		{"good", good, 202, "Message forwarded to Amazon EventBridge"},
		{"no header", "", 400, "Invalid timestamp"},
		{"no time", "v1=" + mac(now+".{}"), 400, "Invalid timestamp"},
		{"no v1", "t=" + now, 401, "Invalid Signature"},
		{"v0 only", "t=" + now + ",v0=" + mac(now+".{}"), 401, "Invalid Signature"},
		{"forged", "t=" + now + ",v1=" + mac("x"), 401, "Invalid Signature"},
		{"an element without =", good + ",x", 500, "Internal Server Error"},
		{"an element with two =", good + ",x==", 500, "Internal Server Error"},
	} {
		request := call{path: "/in/stripe", body: "{}", header: map[string]string{"Content-Type": "application/json"}}
		if c.header != "" {
			request.header["Stripe-Signature"] = c.header
		}
		if r := b.do(t, request); r.StatusCode != c.status || r.body != c.want {
			t.Errorf("%s: answered %d %q, want %d %q", c.name, r.StatusCode, r.body, c.status, c.want)
		}
	}
}

func TestAWSAnswersTwilioAsTheFunctionDoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "twilio", "twilio", func(s *ingest.Source) {
		s.Answer.AWS, s.FormStyle = &ingest.AWSStyle{Fields: true}, ingest.FormTwilio
	}))
	send := func(form url.Values, contentType string) answer {
		h := hmac.New(sha1.New, []byte(testSecret))
		h.Write([]byte("https://hooks.example.com/in/twilio"))
		for _, name := range []string{"Payload", "PayloadType"} {
			if form.Has(name) {
				h.Write([]byte(name + form.Get(name)))
			}
		}
		return b.do(t, call{path: "/in/twilio", body: form.Encode(), header: map[string]string{
			"Content-Type": contentType, "X-Twilio-Signature": base64.StdEncoding.EncodeToString(h.Sum(nil)),
		}})
	}
	const formType = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		form   url.Values
		status int
		want   string
	}{
		{url.Values{"PayloadType": {"application/json"}, "Payload": {"{}"}}, 202, "Message forwarded to Amazon EventBridge"},
		{url.Values{"PayloadType": {"application/json"}, "Payload": {"{"}}, 500, "Internal Server Error"},
		{url.Values{"PayloadType": {"text/plain"}, "Payload": {"{"}}, 202, "Message forwarded to Amazon EventBridge"},
		{url.Values{}, 400, "Missing event body"},
	} {
		if r := send(c.form, formType); r.StatusCode != c.status || r.body != c.want {
			t.Errorf("%v: answered %d %q, want %d %q", c.form, r.StatusCode, r.body, c.status, c.want)
		}
	}
}

func TestRefusedRequestsShowNoLiveTokens(t *testing.T) {
	t.Parallel()
	const token = "live-t0ken-value"
	b := newBundle(t, source(t, "github", "github"))
	for _, path := range []string{
		"/in/github/" + token, "/in/nosuch/" + token + "/", "/in/nosuch?token=" + token, "/in/github?Token=" + token,
		"/in/github?" + token, "/in/github?x=" + token + "&y=%zz" + token,
	} {
		b.do(t, call{path: path, body: "{}"})
	}
	kept := b.Refusals("", true)
	if len(kept) != 6 {
		t.Fatalf("%d refusals are kept, want 6", len(kept))
	}
	for _, k := range kept {
		if strings.Contains(k.Raw.Path+k.Raw.Query, token) {
			t.Errorf("path %q query %q shows the token", k.Raw.Path, k.Raw.Query)
		}
		if len(k.Raw.Masked) == 0 {
			t.Errorf("path %q query %q does not say what was masked", k.Raw.Path, k.Raw.Query)
		}
	}
}

func TestKeysOfOtherSchemesAreNotStored(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github"))
	c := github(`{}`, "d-1")
	c.path = "/in/github?api_key=k3y&page=2"
	c.header["X-Api-Key"] = "k3y"
	if r := b.do(t, c); r.StatusCode != 200 {
		t.Fatalf("answered %d", r.StatusCode)
	}
	raw := b.journal.all()[0].Raw
	if raw.Get("X-Api-Key") != "[secret]" || raw.Query != "api_key=[secret]&page=2" {
		t.Errorf("stored X-Api-Key %q, query %q", raw.Get("X-Api-Key"), raw.Query)
	}
}
