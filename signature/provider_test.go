package signature_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/signature"
)

// Every row of the table is complete, and what it names exists.
func TestProvidersAreComplete(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	seen := map[string]string{}
	for _, p := range signature.Providers() {
		for _, n := range append([]string{p.Name}, p.Aliases...) {
			if seen[n] != "" || !name.MatchString(n) {
				t.Errorf("%s: name %q is another's (%s) or no name", p.Name, n, seen[n])
			}
			seen[n] = p.Name
		}
		for what, text := range map[string]string{
			"title": p.Title, "source": p.Source, "detail type": p.DetailType, "expects": p.Expects,
			"signed": p.Signed, "unsigned": p.Unsigned, "retries": p.Retries,
		} {
			if text == "" {
				t.Errorf("%s has no %s", p.Name, what)
			}
		}
		if len(p.Steps) < 3 || len(p.Steps) > 6 || !strings.Contains(strings.Join(p.Steps, " "), "{url}") {
			t.Errorf("%s: steps are not three to six with {url}: %q", p.Name, p.Steps)
		}
		if len(p.Profiles) == 0 {
			t.Errorf("%s has no profile", p.Name)
		}
		for _, profile := range p.Profiles {
			if _, ok := signature.LookupProfile(profile); !ok {
				t.Errorf("%s: profile %q is not there", p.Name, profile)
			}
		}
	}
	for _, p := range signature.Profiles() {
		used := slices.ContainsFunc(signature.Providers(), func(q signature.Provider) bool {
			return slices.Contains(q.Profiles, p.Name)
		})
		// These are for configurations that name them, and for the vectors.
		spare := []string{"github-sha1", "github-sha512", "ip-allowlist", "mtls", "sns"}
		if !used && !slices.Contains(spare, p.Name) {
			t.Errorf("no provider has profile %q", p.Name)
		}
		if owner := seen[p.Name]; owner != "" && used {
			if q, _ := signature.LookupProvider(owner); !slices.Contains(q.Profiles, p.Name) {
				t.Errorf("name %q means provider %s, which lacks the profile of that name", p.Name, owner)
			}
		}
	}
}

// What the envelopes of these three say is fixed: rules for them exist elsewhere.
func TestFixedSourcesAndTypes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{
		"github": {"github.com", "github-webhook-lambda"},
		"stripe": {"stripe.com", "stripe-webhook-lambda"},
		"twilio": {"twilio.com", "twilio-webhook-lambda"},
	} {
		p, _ := signature.LookupProvider(name)
		if got := [2]string{p.Source, p.EventType(&signature.Request{})}; got != want {
			t.Errorf("%s: source and detail-type = %q, want %q", name, got, want)
		}
	}
}

func TestDeliveryIDAndEventType(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		provider string
		header   map[string]values
		body     string
		id, kind string
	}{
		{"github", map[string]values{"X-GitHub-Delivery": {"72d3162e"}, "X-GitHub-Event": {"push"}}, `{"action":"x"}`, "72d3162e", "push"},
		{"github", map[string]values{"X-GitHub-Delivery": {"a", "b"}}, ``, "", "github-webhook-lambda"},
		{"stripe", nil, `{"id":"evt_1","type":"invoice.paid","data":{"id":"x","type":"y"}}`, "evt_1", "invoice.paid"},
		{"stripe", nil, `not JSON`, "", "stripe-webhook-lambda"},
		{"stripe", nil, `{"id":null,"type":{"a":1}}`, "", "stripe-webhook-lambda"},
		{"gitlab", map[string]values{"Webhook-Id": {"w"}}, `{"object_kind":"push"}`, "w", "push"},
		{"gitlab", map[string]values{"Idempotency-Key": {"i"}, "Webhook-Id": {"w"}, "X-Gitlab-Event": {"Push Hook"}}, ``, "i", "Push Hook"},
		{"slack", nil, `{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}`, "Ev1", "message"},
		{"slack", map[string]values{"Content-Type": {form}}, `command=%2Fweather&text=x`, "", "/weather"},
		{"linear", map[string]values{"Linear-Delivery": {"d"}, "Linear-Event": {"Issue"}}, `{"action":"create"}`, "d", "Issue.create"},
		{"linear", map[string]values{"Linear-Event": {"Issue"}}, `{}`, "", "Issue"},
		{"netlify", map[string]values{"X-Netlify-Event": {"deploy_created"}}, `{"id":"1","state":"ready"}`, "1-ready", "deploy_created"},
		{"netlify", nil, `{"id":"1"}`, "", "netlify-webhook"},
		{"telegram", nil, `{"update_id":10,"message":{}}`, "10", "message"},
		{"x", nil, `{"for_user_id":"1","tweet_create_events":[]}`, "", "tweet_create_events"},
		{"hubspot", nil, `[{"eventId":1,"subscriptionId":2,"occurredAt":3,"subscriptionType":"contact.creation"}]`, "1-2-3", "contact.creation"},
		{"twilio", map[string]values{"Content-Type": {form}}, `MessageSid=SM1&MessageStatus=sent`, "SM1-sent", "twilio-webhook-lambda"},
		{"twilio", map[string]values{"Content-Type": {"application/json"}}, `[{"id":"EZ1"}]`, "EZ1", "twilio-webhook-lambda"},
		{"shopify", map[string]values{"X-Shopify-Webhook-Id": {"w"}, "X-Shopify-Event-Id": {"e"}, "X-Shopify-Topic": {"orders/create"}}, ``, "e", "orders/create"},
		{"pagerduty", nil, `{"event":{"id":"01B","event_type":"incident.triggered"}}`, "01B", "incident.triggered"},
		{"docker-hub", nil, `{"callback_url":"x"}`, "", "push"},
		{"stripe", nil, `{"id":"` + strings.Repeat("x", 257) + `","type":"` + strings.Repeat("x", 129) + `"}`, "", "stripe-webhook-lambda"},
		{"stripe", nil, `{"id":"a\nb","type":"a\u0000"}`, "", "stripe-webhook-lambda"},
	}
	for _, tt := range tests {
		p, ok := signature.LookupProvider(tt.provider)
		if !ok {
			t.Fatalf("LookupProvider(%s): not there", tt.provider)
		}
		req := &signature.Request{Header: headerOf(tt.header), Body: []byte(tt.body)}
		if id, kind := p.DeliveryID(req), p.EventType(req); id != tt.id || kind != tt.kind {
			t.Errorf("%s %s: id %q, type %q, want %q, %q", tt.provider, tt.body, id, kind, tt.id, tt.kind)
		}
	}
}

func TestCredentialsAreKnown(t *testing.T) {
	t.Parallel()
	always := []string{"Authorization", "Cookie", "Proxy-Authorization"}
	tests := []struct {
		provider, profile string
		want              signature.Credentials
	}{
		{"github", "", signature.Credentials{Headers: always}},
		{"gitlab", "", signature.Credentials{Headers: append(slices.Clone(always), "X-Gitlab-Token")}},
		{"docker-hub", "", signature.Credentials{Headers: always, Query: []string{"token"}}},
		{"docker-hub", "path-token", signature.Credentials{Headers: always, Query: []string{"token"}, Segments: []int{-1}}},
		{"ms-graph", "", signature.Credentials{Headers: always, Pointers: []string{"/value/0/clientState"}}},
		{"netlify", "", signature.Credentials{Headers: always}},
		{"jwt", "", signature.Credentials{Headers: always}},
	}
	for _, tt := range tests {
		p, _ := signature.LookupProvider(tt.provider)
		if diff := cmp.Diff(tt.want, p.Credentials(tt.profile)); diff != "" {
			t.Errorf("%s: Credentials(%q) differ (-want +got):\n%s", tt.provider, tt.profile, diff)
		}
	}
	// Whatever a token profile reads is among the credentials.
	for _, p := range signature.Profiles() {
		c := p.Credentials()
		known := len(c.Headers) + len(c.Query) + len(c.Segments) + len(c.Pointers)
		if p.Mech == "token" && known == 0 {
			t.Errorf("%s: the place of the token is not known", p.Name)
		}
	}
}

func TestLocators(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{body}", "{ts}", "{json:a}", "{param:x}", "{header:}", "{", "}"} {
		if _, err := signature.ParseLocator(text); err == nil {
			t.Errorf("ParseLocator(%q): no error", text)
		}
	}
	var l signature.Locator
	if err := json.Unmarshal([]byte(`"{header:x-a}/{json:/b}"`), &l); err != nil {
		t.Fatal(err)
	}
	req := &signature.Request{Header: http.Header{"X-A": {"1"}}, Body: []byte(`{"b":true}`)}
	if got, ok := l.Find(req); got != "1/true" || !ok {
		t.Errorf("Find = %q, %v, want 1/true", got, ok)
	}
	if data, err := json.Marshal(l); err != nil || string(data) != `"{header:x-a}/{json:/b}"` {
		t.Errorf("Marshal = %s, %v", data, err)
	}
}

func TestReasonsAreComplete(t *testing.T) {
	t.Parallel()
	file, _ := loadVectors(t)
	known := map[signature.Reason]bool{}
	for _, r := range signature.Reasons() {
		if known[r.Reason] || r.Meaning == "" || r.Next == "" {
			t.Errorf("%s: twice, or without a text", r.Reason)
		}
		known[r.Reason] = true
	}
	for _, v := range file.Vectors {
		if v.Reason != "" && !known[v.Reason] {
			t.Errorf("%s: reason %q has no text", v.ID, v.Reason)
		}
	}
	if got := signature.IPDenied.Status(); got != http.StatusForbidden {
		t.Errorf("status of ip_denied = %d", got)
	}
}
