package slack_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/slack"
)

const (
	hook  = "/services/T00000000/B00000000/s3cr3tXXXXXXXXXXXXXXXXXX"
	token = "xoxb-made-up-t0ken-of-a-test" //nolint:gosec // G101: made up for the test
)

func build(tb testing.TB, config string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, slack.Kind(), config, destinationtest.Deps(tb))
}

// posted is what Slack got.
type posted struct {
	header http.Header
	path   string
	body   map[string]any
}

// fake returns a Slack that answers with the status and body.
func fake(tb testing.TB, status int, answer string) (url string, last func() posted) {
	tb.Helper()
	seen := make(chan posted, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := posted{header: r.Header, path: r.URL.Path}
		if err := json.NewDecoder(r.Body).Decode(&p.body); err != nil {
			tb.Errorf("reading the message: %v", err)
		}
		seen <- p
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	tb.Cleanup(s.Close)
	return s.URL, func() posted { return <-seen }
}

func app(url string) string {
	return fmt.Sprintf(`{"token": %q, "channel": "C0123", "api_url": %q}`, token, url+"/api")
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind:    slack.Kind(),
		Config:  func(url string) string { return fmt.Sprintf(`{"url": %q}`, url+hook) },
		Secrets: []string{"T00000000", "B00000000", "s3cr3tXXXXXXXXXXXXXXXXXX"},
	})
}

func TestBodiesBecomeMessages(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		body, contentType string
		want              map[string]any
	}{
		"a message": {
			`{"text": "hi <!here>", "blocks": [{"type": "divider"}], "channel": "#stolen", "token": "x"}`, "application/json",
			map[string]any{"text": "hi <!here>", "blocks": []any{map[string]any{"type": "divider"}}},
		},
		"a JSON text":  {`"deployed\n<https://h|now>"`, "application/json", map[string]any{"text": "deployed\n<https://h|now>"}},
		"a plain text": {`build 7 is red`, "text/plain; charset=utf-8", map[string]any{"text": "build 7 is red"}},
		"an event": {
			`{"a":"<!channel> & co"}`, "application/json",
			map[string]any{"text": "*sample from test*\n```\n{\n  \"a\": \"&lt;!channel&gt; &amp; co\"\n}\n```"},
		},
		"text that is no text": {
			`{"text": {"a": 1}}`, "application/json",
			map[string]any{"text": "*sample from test*\n```\n{\n  \"text\": {\n    \"a\": 1\n  }\n}\n```"},
		},
		"a form": {`a=1`, "application/x-www-form-urlencoded", map[string]any{"text": "*sample from test*\n```\na=1\n```"}},
	} {
		request := destinationtest.Request(row.body)
		request.ContentType = row.contentType
		url, last := fake(t, 200, "ok")
		if _, err := build(t, fmt.Sprintf(`{"url": %q}`, url+hook)).Do(t.Context(), request); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := last()
		if diff := cmp.Diff(row.want, got.body); diff != "" || got.path != hook {
			t.Errorf("%s: posted to %s (-want +got):\n%s", name, got.path, diff)
		}
		if got.header.Get("Webhook-Id") != request.ID {
			t.Errorf("%s: the delivery's id is not sent", name)
		}

		url, last = fake(t, 200, `{"ok": true, "ts": "1.2"}`)
		resp, err := build(t, app(url)).Do(t.Context(), request)
		if err != nil || !strings.Contains(string(resp.Body), "1.2") {
			t.Fatalf("%s: as an app: %+v, %v", name, resp, err)
		}
		got = last()
		row.want["channel"] = "C0123"
		if diff := cmp.Diff(row.want, got.body); diff != "" || got.path != "/api/chat.postMessage" {
			t.Errorf("%s: posted to %s (-want +got):\n%s", name, got.path, diff)
		}
		if got.header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s: the token is not sent", name)
		}
	}
}

func TestLongBodiesAreCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	url, last := fake(t, 200, "ok")
	for _, body := range []string{strings.Repeat("ü", 50_000), `{"a":"` + strings.Repeat("ü", 50_000) + `"}`} {
		request := destinationtest.Request(body)
		request.ContentType = "text/plain"
		if strings.HasPrefix(body, "{") {
			request.ContentType = "application/json"
		}
		if _, err := build(t, fmt.Sprintf(`{"url": %q}`, url+hook)).Do(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		text, _ := last().body["text"].(string)
		if len(text) > 40_000 || len(text) < 39_000 || !strings.Contains(text, "…") || strings.Contains(text, "\ufffd") {
			t.Errorf("%d bytes that end in %q, want at most 40000 that say they were cut", len(text), text[len(text)-20:])
		}
	}
}

func TestErrorsOfTheWebAPIHaveClasses(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]destination.Class{
		`{"ok": false, "error": "invalid_auth"}`:      destination.Unauthorized,
		`{"ok": false, "error": "missing_scope"}`:     destination.Forbidden,
		`{"ok": false, "error": "not_in_channel"}`:    destination.Forbidden,
		`{"ok": false, "error": "channel_not_found"}`: destination.NotFound,
		`{"ok": false, "error": "is_archived"}`:       destination.Gone,
		`{"ok": false, "error": "msg_too_long"}`:      destination.TooLarge,
		`{"ok": false, "error": "ratelimited"}`:       destination.Throttled,
		`{"ok": false, "error": "fatal_error"}`:       destination.ServerError,
		`{"ok": false, "error": "request_timeout"}`:   destination.RequestTimeout,
		`{"ok": false, "error": "invalid_blocks"}`:    destination.BadRequest,
		`{"ok": false, "error": "` + token + `"}`:     destination.BadRequest,
		`{"ok": false}`:      destination.BadRequest,
		`{}`:                 destination.Protocol,
		`<html>a login page`: destination.Protocol,
		``:                   destination.Protocol,
	} {
		url, _ := fake(t, 200, answer)
		_, err := build(t, app(url)).Do(t.Context(), destinationtest.Request(`{}`))
		got := destinationtest.Failed(t, err)
		if got.Class != want || string(got.Excerpt) != strings.ReplaceAll(answer, token, "[secret]") {
			t.Errorf("%s: class %s with excerpt %q, want %s", answer, got.Class, got.Excerpt, want)
		}
		if want == destination.Throttled && got.RetryAfter != 30*time.Second {
			t.Errorf("Retry-After %s, want 30s", got.RetryAfter)
		}
		destinationtest.AssertLeaksNoSecret(t, []string{token}, err)
	}
}

func TestErrorsOfIncomingWebhooksAreNamed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status int
		answer string
		want   destination.Class
	}{
		{400, "invalid_payload", destination.BadRequest},
		{403, "action_prohibited", destination.Forbidden},
		{404, "no_service", destination.NotFound},
		{410, "channel_is_archived", destination.Gone},
		{429, "rate_limited", destination.Throttled},
		{500, "rollup_error", destination.ServerError},
	} {
		url, _ := fake(t, row.status, row.answer)
		_, err := build(t, fmt.Sprintf(`{"url": %q}`, url+hook)).Do(t.Context(), destinationtest.Request(`{}`))
		got := destinationtest.Failed(t, err)
		if got.Class != row.want || got.Status != row.status || !strings.HasSuffix(got.Message, ": "+row.answer) {
			t.Errorf("%d %s: class %s, %q, want %s", row.status, row.answer, got.Class, got.Message, row.want)
		}
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{ //nolint:gosec // G101: made up for the test
		`{}`: "url: is missing",
		`{"url": "https://hooks.slack.com/services/x", "token": "y", "channel": "z"}`: "either url or token",
		`{"url": "hooks.slack.com"}`:                                 "not the URL of an incoming webhook",
		`{"url": ""}`:                                                "must not be empty",
		`{"token": "x"}`:                                             "goes with token",
		`{"url": "https://h/x", "channel": "c"}`:                     "goes with token",
		`{"token": "a\r\nb", "channel": "c"}`:                        "control characters",
		`{"token": "a", "channel": "c", "api_url": "https://u:p@h"}`: "neither credentials",
		`{"url": "https://hooks.slack.com/services/x", "webhook": "https://h/url"}`: "not a known key",
	} {
		_, problems := destinationtest.Decode(t, slack.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}

func TestAddressShowsNoSecret(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"url": "https://hooks.slack.com` + hook + `"}`: "https://hooks.slack.com/[secret]",
		app("https://slack.com"):                         "Slack channel C0123",
	} {
		c, _ := destinationtest.Decode(t, slack.Kind(), config)
		if got := c.Address(); got != want {
			t.Errorf("Address() = %q, want %q", got, want)
		}
		destinationtest.AssertLeaksNoSecret(t, []string{hook, token}, c, build(t, config))
	}
}
