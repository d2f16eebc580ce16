package signature_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/signature"
)

// element is a signature.Element with a body that shows in differences.
type element struct{ Body, ID, Type string }

func split(t *testing.T, provider string, req *signature.Request) ([]element, bool) {
	t.Helper()
	p, ok := signature.LookupProvider(provider)
	if !ok {
		t.Fatalf("LookupProvider(%s): not there", provider)
	}
	list, ok := p.SplitBatch(req)
	var got []element
	for _, e := range list {
		got = append(got, element{string(e.Body), e.ID, e.Type})
	}
	return got, ok
}

func TestSplitBatch(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	tests := map[string]struct {
		provider, kind, body string
		want                 []element
	}{
		"sendgrid": {"sendgrid", "", "[ {\"sg_event_id\":\"a\",\"event\":\"open\"} ,\r\n{\"event\" : \"click\"}]\r\n", []element{
			{`{"sg_event_id":"a","event":"open"}`, "a", "open"}, {`{"event" : "click"}`, "", "click"},
		}},
		"hubspot": {"hubspot", "", `[{"eventId":1,"subscriptionId":2,"occurredAt":3,"subscriptionType":"a.b"}]`, []element{
			{`{"eventId":1,"subscriptionId":2,"occurredAt":3,"subscriptionType":"a.b"}`, "1-2-3", "a.b"},
		}},
		"graph": {"graph", "", `{"value":[{"changeType":"created"},{"changeType":"deleted","id":"x"}]}`, []element{
			{`{"changeType":"created"}`, "", "created"}, {`{"changeType":"deleted","id":"x"}`, "x", "deleted"},
		}},
		"okta": {"okta", "", `{"eventId":"o","data":{"events":[{"uuid":"u","eventType":"user.x"}]}}`, []element{
			{`{"uuid":"u","eventType":"user.x"}`, "u", "user.x"},
		}},
		"auth0, an array": {"auth0", "", `[{"log_id":"1","data":{"type":"s"}},{}]`, []element{
			{`{"log_id":"1","data":{"type":"s"}}`, "1", "s"}, {`{}`, "", "auth0-webhook"},
		}},
		"auth0, an object": {"auth0", "", `{"logs":[{"log_id":"1"}]}`, []element{{`{"log_id":"1"}`, "1", "auth0-webhook"}}},
		"event streams": {"twilio", "", `[{"id":"E1","type":"com.twilio.x"}]`, []element{
			{`{"id":"E1","type":"com.twilio.x"}`, "E1", "com.twilio.x"},
		}},
		"pusher": {"soketi", "", `{"time_ms":1,"events":[{"name":"a","channel":"é"},{"name":"b"}]}`, []element{
			{`{"name":"a","channel":"é"}`, "", "a"}, {`{"name":"b"}`, "", "b"},
		}},
		"meta": {"meta", "", `{"object":"page","entry":[{"id":"1","time":2,"changes":[{"field":"feed"}]},{"id":"3"}]}`, []element{
			{`{"id":"1","time":2,"changes":[{"field":"feed"}]}`, "1-2", "feed"}, {`{"id":"3"}`, "", "meta-webhook"},
		}},
		"line": {"line", "", `{"events":[{"type":"message","webhookEventId":"w"}]}`, []element{
			{`{"type":"message","webhookEventId":"w"}`, "w", "message"},
		}},
		"mandrill": {"mandrill", form, "x=1&mandrill_events=" + url.QueryEscape(`[{"_id":"m","event":"open","ts":5}]`), []element{
			{`{"_id":"m","event":"open","ts":5}`, "m-open-5", "open"},
		}},
		"the last member counts": {"pusher", "", `{"events":[{"name":"a"}],"events":[{"name":"b"}]}`, []element{{`{"name":"b"}`, "", "b"}}},
		"elements of any kind": {"sendgrid", "", `[1,"],[",null,[2,{}]]`, []element{
			{"1", "", "sendgrid-webhook"},
			{`"],["`, "", "sendgrid-webhook"},
			{"null", "", "sendgrid-webhook"},
			{"[2,{}]", "", "sendgrid-webhook"},
		}},
		"no batches":        {"github", "", `[{"id":1}]`, nil},
		"empty":             {"sendgrid", "", `[]`, nil},
		"no array":          {"pusher", "", `{"events":{"0":1}}`, nil},
		"missing":           {"pusher", "", `{}`, nil},
		"not JSON":          {"sendgrid", "", `[{}] x`, nil},
		"twilio's forms":    {"twilio", form, `MessageSid=SM1`, nil},
		"mandrill, no form": {"mandrill", "", `[{}]`, nil},
		"mandrill, twice":   {"mandrill", form, "mandrill_events=%5B1%5D&mandrill_events=%5B2%5D", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := &signature.Request{Method: http.MethodPost, Header: http.Header{"Content-Type": {tt.kind}}, Body: []byte(tt.body)}
			got, ok := split(t, tt.provider, req)
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != (tt.want != nil) {
				t.Errorf("SplitBatch: %t, differs (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestSplitBatchIsBounded(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]bool{10000: true, 10001: false} {
		body := "[" + strings.Repeat("0,", n-1) + "0]"
		got, ok := split(t, "sendgrid", &signature.Request{Body: []byte(body)})
		if ok != want || ok && len(got) != n {
			t.Errorf("SplitBatch of %d = %d elements, %t, want %t", n, len(got), ok, want)
		}
	}
}

// One element with a good clientState must not carry others in with it.
func TestGraphChecksEveryElement(t *testing.T) {
	t.Parallel()
	v := mustNew(t, "ms-graph", signature.Secrets("new", "old"))
	many := strings.Repeat(`{"clientState":"new"},`, 10000)
	for body, want := range map[string]signature.Reason{
		`{"value":[{"clientState":"new"},{"clientState":"old"}]}`:                     "",
		`{"value":[{"clientState":"new"},{"clientState":"bad"}]}`:                     signature.BadToken,
		`{"value":[{"clientState":"bad"},{"clientState":"new"}]}`:                     signature.BadToken,
		`{"value":[{"clientState":"new"},{"clientState":null}]}`:                      signature.MissingToken,
		`{"value":[{"clientState":"new"},{}]}`:                                        signature.MissingToken,
		`{"value":[{"clientState":"new"},"clientState"]}`:                             signature.MissingToken,
		`{"value":[{"clientState":"new"}],"value":[{"clientState":"new"},{}]}`:        signature.MissingToken,
		`{"value":[{"clientState":"new"},{"clientState":"new","clientState":"bad"}]}`: signature.BadToken,
		`{"value":[]}`: signature.MissingToken,
		`{"value":[` + many + `{"clientState":"bad"}]}`: signature.MalformedBody,
	} {
		_, err := v.Verify(&signature.Request{Method: http.MethodPost, Body: []byte(body)}, sentAt)
		t.Run(body[:min(len(body), 80)], func(t *testing.T) {
			t.Parallel()
			wantReason(t, err, want)
		})
	}
}

// Whatever the body, the elements are those that encoding/json sees, byte for byte and in order.
func FuzzSplitBatch(f *testing.F) {
	f.Add([]byte(`[{"event":"open"}, 1.5e3 ,"\u00e9",[[]],null]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`[1,2] `))
	f.Add([]byte("[\"]\",{\"a\":[1]}\n]"))
	p, _ := signature.LookupProvider("sendgrid")
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := p.SplitBatch(&signature.Request{Body: body})
		var want []json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil || len(want) == 0 || len(want) > 10000 {
			if ok {
				t.Fatalf("SplitBatch(%q) = %d elements, want none", body, len(got))
			}
			return
		}
		if len(got) != len(want) {
			t.Fatalf("SplitBatch(%q) = %d elements, want %d", body, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i].Body, want[i]) {
				t.Fatalf("element %d is %q, want %q", i, got[i].Body, want[i])
			}
		}
	})
}

func BenchmarkSplitBatch(b *testing.B) {
	p, _ := signature.LookupProvider("sendgrid")
	req := &signature.Request{Body: []byte("[" + strings.Repeat(kibibyte()+",", 99) + kibibyte() + "]")}
	b.SetBytes(int64(len(req.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if list, ok := p.SplitBatch(req); !ok || len(list) != 100 {
			b.Fatal(len(list))
		}
	}
}
