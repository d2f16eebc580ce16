package webhook_test

import (
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/webhook"
	"github.com/grapnel/grapnel/internal/spec"
)

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	const signed = `"url": "https://h", "signing": `
	for config, want := range map[string]string{ //nolint:gosec // G101: made up for the test
		`{}`:                                                                                                           "url: is missing",
		`{"url": "crm.example.com"}`:                                                                                   "url:",
		`{"url": "ftp://h"}`:                                                                                           "https:// or http://",
		`{"url": "https://h:99999"}`:                                                                                   "port",
		`{"url": "https://h:0"}`:                                                                                       "port",
		`{"url": "https://h", "method": "post"}`:                                                                       "capitals",
		`{"url": "https://h", "method": "P OST"}`:                                                                      "no HTTP method",
		`{"url": "https://h", "method": "CONNECT"}`:                                                                    "carries no message",
		`{"url": "https://h", "verb": "POST"}`:                                                                         "not a known key",
		`{"url": "https://h", "headers": {"a b": "c"}}`:                                                                "not the name of a header",
		`{"url": "https://h", "headers": {"A": "b\r\nX-Evil: 1"}}`:                                                     "line breaks",
		`{"url": "https://h", "headers": {"A": "b\u0000"}}`:                                                            "control characters",
		`{"url": "https://h", "headers": {"A\r\nB": "b"}}`:                                                             "not the name of a header",
		`{"url": "https://h", "headers": {"webhook-id": "1"}}`:                                                         "sets itself",
		`{"url": "https://h", "headers": {"Webhook-Signature": "1"}}`:                                                  "sets itself",
		`{"url": "https://h", "headers": {"WEBHOOK-TIMESTAMP": "1"}}`:                                                  "sets itself",
		`{"url": "https://h", "headers": {"Host": "other"}}`:                                                           "sets itself",
		`{"url": "https://h", "headers": {"content-length": "1"}}`:                                                     "sets itself",
		`{"url": "https://h", "headers": {"Transfer-Encoding": "chunked"}}`:                                            "sets itself",
		`{"url": "https://h", "headers": {"Accept-Encoding": "gzip"}}`:                                                 "sets itself",
		`{"url": "https://h", "auth": {}}`:                                                                             "exactly one",
		`{"url": "https://h", "auth": {"bearer": "x", "api_key": {"header": "A", "value": "v"}}}`:                      "exactly one",
		`{"url": "https://h", "auth": {"bearer": "a\nb"}}`:                                                             "line breaks",
		`{"url": "https://h", "auth": {"bearer": ""}}`:                                                                 "must not be empty",
		`{"url": "https://h", "auth": {"basic": {"username": "a:b", "password": "c"}}}`:                                "colon",
		`{"url": "https://h", "auth": {"basic": {"username": "a"}}}`:                                                   "password: is missing",
		`{"url": "https://u:p@h", "auth": {"bearer": "x"}}`:                                                            "credentials too",
		`{"url": "https://u:p@h", "headers": {"authorization": "x"}}`:                                                  "set by the credentials in the URL",
		`{"url": "https://h", "auth": {"bearer": "x"}, "headers": {"authorization": "x"}}`:                             "set by auth",
		`{"url": "https://h", "auth": {"api_key": {"value": "v"}}}`:                                                    "either header or query",
		`{"url": "https://h", "auth": {"api_key": {"header": "A", "query": "b", "value": "v"}}}`:                       "either header or query",
		`{"url": "https://h", "auth": {"api_key": {"header": "A", "value": "v\n1"}}}`:                                  "line breaks",
		`{"url": "https://h", "auth": {"api_key": {"header": "A", "value": "v"}}, "headers": {"a": "b"}}`:              "set by auth",
		`{` + signed + `{}}`:                                                                                           "at least one secret",
		`{` + signed + `{"secrets": []}}`:                                                                              "at least one secret",
		`{` + signed + `{"secrets": [""]}}`:                                                                            "must not be empty",
		`{` + signed + `{"secrets": ["not base64!"]}}`:                                                                 "signing.secrets",
		`{` + signed + `{"scheme": "none", "secrets": ["c2VjcmV0"]}}`:                                                  "not used",
		`{` + signed + `{"scheme": "hmac", "secrets": ["x"]}}`:                                                         "goes with scheme hmac",
		`{` + signed + `{"secrets": ["c2VjcmV0"], "hmac": {"header": "X"}}}`:                                           "goes with scheme hmac",
		`{` + signed + `{"scheme": "hmac", "secrets": ["x"], "hmac": {}}}`:                                             "header: is missing",
		`{` + signed + `{"scheme": "hmac", "secrets": ["x", "y"], "hmac": {"header": "X"}}}`:                           "separator",
		`{` + signed + `{"scheme": "hmac", "secrets": ["x"], "hmac": {"header": "Host"}}}`:                             "sets itself",
		`{` + signed + `{"scheme": "hmac", "secrets": ["x"], "hmac": {"header": "X", "content": "{nonsense}"}}}`:       "signing",
		`{` + signed + `{"scheme": "hmac", "secrets": ["zz"], "hmac": {"header": "X", "key": "hex"}}}`:                 "signing",
		`{` + signed + `{"scheme": "hmac", "secrets": ["x"], "hmac": {"header": "X-Sig"}}, "headers": {"x-sig": "1"}}`: "set by signing",
	} {
		_, problems := destinationtest.Decode(t, webhook.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}

func TestAddressShowsNoSecret(t *testing.T) {
	t.Parallel()
	config, _ := destinationtest.Decode(t, webhook.Kind(), `{"url": "https://us3r:p4ss@crm.example.com:8443/in/a?token=t0ken&b"}`)
	if got, want := config.Address(), "https://crm.example.com:8443/in/a?token=[secret]&[secret]"; got != want {
		t.Errorf("Address() = %q, want %q", got, want)
	}
}

// A URL that came from the environment shows its host only: with some receivers
// the path is the secret.
func TestAnExpandedURLShowsItsHostOnly(t *testing.T) {
	t.Parallel()
	text := "https://hooks.example.com/services/T0/B0/s3cr3t-p4th"
	node := &spec.Node{Type: spec.Map, Entries: []spec.Entry{
		{Key: "url", Value: &spec.Node{Type: spec.Text, Text: text, Path: "url", Hidden: []string{text}, Origin: "${HOOK}"}},
		{Key: "headers", Value: &spec.Node{Type: spec.Map, Path: "headers", Entries: []spec.Entry{
			{Key: "X-Tenant", Value: &spec.Node{Type: spec.Text, Text: "t3nant-secret", Path: "headers.X-Tenant", Hidden: []string{"t3nant-secret"}}},
		}}},
	}}
	config := webhook.Kind().New()
	report := spec.Report{File: "config"}
	spec.Decode(&report, node, config)
	if p := report.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	if got, want := config.Address(), "https://hooks.example.com/[secret]"; got != want {
		t.Errorf("Address() = %q, want %q", got, want)
	}
	destinationtest.AssertLeaksNoSecret(t, []string{"s3cr3t-p4th", "t3nant-secret"}, config)
}

func TestUnusualConfigurationsAreAccepted(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		`{"url": "http://[::1]:8080"}`,
		`{"url": "https://h?x", "method": "PURGE"}`,
		`{"url": "https://h", "headers": {"X-Tab": "a\tb", "X-Text": "grüß"}}`,
		`{"url": "https://h", "signing": {"scheme": "none"}}`,
		`{"url": "https://h", "auth": {"bearer": 12345678}}`,
		`{"url": "https://h", "headers": {"X-Idempotency-Key": "mine"}}`,
	} {
		if _, problems := destinationtest.Decode(t, webhook.Kind(), config); problems != "" {
			t.Errorf("%s: %s", config, problems)
		}
	}
}

func TestSendingUnsignedIsWarnedOf(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]bool{
		`{"url": "https://h"}`:                                   true,
		`{"url": "https://h", "signing": {"scheme": "none"}}`:    false,
		`{"url": "https://h", "auth": {"bearer": "t"}}`:          false,
		`{"url": "https://u:p@h"}`:                               false,
		`{"url": "https://h", "headers": {"X-Receiver": "key"}}`: false,
	} {
		report := &spec.Report{File: "config"}
		node, err := spec.ParseJSON([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		spec.Decode(report, node, webhook.Kind().New())
		if got := len(report.Problems()) > 0; got != want {
			t.Errorf("%s: warned %v, want %v: %v", config, got, want, report.Problems())
		}
	}
}
