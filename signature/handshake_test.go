package signature_test

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/signature"
)

// handshake is an entry of handshakes in the vectors file.
type handshake struct {
	ID          string   `json:"id"`
	Provider    string   `json:"provider"`
	Secret      string   `json:"secret"`
	PublicKey   string   `json:"public_key"`
	VerifyToken string   `json:"verify_token"`
	Now         *float64 `json:"now"`
	Request     struct {
		Vector  string            `json:"vector"`
		Method  string            `json:"method"`
		URL     string            `json:"url"`
		Headers map[string]values `json:"headers"`
		Body    string            `json:"body"`
	} `json:"request"`
	Response struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"response"`
}

func (h *handshake) config() signature.Config {
	c := signature.Config{Params: map[string][]string{"allowed_origins": {"*"}}}
	if h.Secret != "" {
		c.Secrets = []string{h.Secret}
	}
	if h.PublicKey != "" {
		c.PublicKeys = []string{h.PublicKey}
	}
	if h.VerifyToken != "" {
		c.Params["verify_token"] = []string{h.VerifyToken}
	}
	return c
}

func TestHandshakeVectors(t *testing.T) {
	t.Parallel()
	file, _ := loadVectors(t)
	for _, h := range file.Handshakes {
		if h.Request.Vector != "" {
			continue // the request is a vector's: TestSNSHandshakes
		}
		t.Run(h.ID, func(t *testing.T) {
			t.Parallel()
			checkHandshake(t, &h)
		})
	}
}

func checkHandshake(t *testing.T, h *handshake) {
	t.Helper()
	p, ok := signature.LookupProvider(h.Provider)
	if !ok {
		t.Fatalf("LookupProvider(%s): not there", h.Provider)
	}
	req := &signature.Request{
		Method: h.Request.Method, URL: h.Request.URL,
		Header: headerOf(h.Request.Headers), Body: []byte(h.Request.Body),
	}
	shake, ok := p.Handshake(req)
	if !ok {
		t.Fatalf("Handshake(%s): not recognized", h.ID)
	}
	key := -1
	if shake.VerifyFirst && (h.Secret != "" || h.PublicKey != "") {
		key = verifyHandshake(t, h, req)
	}
	got, err := shake.Answer(req, h.config(), key)
	if got.Status != h.Response.Status || string(got.Body) != h.Response.Body {
		t.Errorf("Answer(%s) = %d %q, want %d %q", h.ID, got.Status, got.Body, h.Response.Status, h.Response.Body)
	}
	for name, want := range h.Response.Headers {
		if value := got.Header.Get(name); value != want {
			t.Errorf("Answer(%s) header %s = %q, want %q", h.ID, name, value, want)
		}
	}
	if (err != nil) != (h.Response.Status >= 400) {
		t.Errorf("Answer(%s) error = %v with status %d", h.ID, err, got.Status)
	}
	if len(got.Body) > 0 && got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("Answer(%s) lets a browser guess the type", h.ID)
	}
}

// verifyHandshake verifies the request as an event of the provider and returns the key index.
func verifyHandshake(t *testing.T, h *handshake, req *signature.Request) int {
	t.Helper()
	v, err := signature.New(h.Provider, h.config())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2023, 7, 19, 10, 11, 12, 0, time.UTC) // that of the Twitch vector, which has none
	if h.Now != nil {
		now = time.Unix(int64(*h.Now), 0)
	}
	proof, err := v.Verify(req, now)
	if err != nil {
		t.Fatalf("Verify(%s) = %v", h.ID, err)
	}
	return proof.KeyIndex
}

func TestHandshakeEchoesOnlyHarmlessText(t *testing.T) {
	t.Parallel()
	p, _ := signature.LookupProvider("dropbox")
	tests := map[string]struct {
		query string
		want  int
	}{
		"plain":      {"challenge=abc-1.2_3", http.StatusOK},
		"longest":    {"challenge=" + strings.Repeat("a", 4096), http.StatusOK},
		"too long":   {"challenge=" + strings.Repeat("a", 4097), http.StatusBadRequest},
		"empty":      {"challenge=", http.StatusBadRequest},
		"script":     {"challenge=%3Cscript%3E", http.StatusBadRequest},
		"line break": {"challenge=a%0d%0ab", http.StatusBadRequest},
		"not ASCII":  {"challenge=%c3%bc", http.StatusBadRequest},
		"twice":      {"challenge=a&challenge=b", http.StatusBadRequest},
		"broken":     {"challenge=%zz", http.StatusBadRequest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := &signature.Request{Method: http.MethodGet, URL: "https://h.example/in?" + tt.query}
			h, ok := p.Handshake(req)
			if !ok {
				t.Fatal("not recognized")
			}
			answer, err := h.Answer(req, signature.Config{}, -1)
			if answer.Status != tt.want {
				t.Errorf("Answer = %d, want %d", answer.Status, tt.want)
			}
			var refusal *signature.Error
			if tt.want != http.StatusOK {
				if !errors.As(err, &refusal) || refusal.Reason.Status() != tt.want {
					t.Errorf("Answer error = %v, want one of status %d", err, tt.want)
				}
				if len(answer.Body) > 0 {
					t.Errorf("a refused challenge is sent back: %q", answer.Body)
				}
			}
		})
	}
}

// A handshake that X asks for unsigned must not sign an event for whoever asks.
func TestTwitterChallengeCannotBeAnEvent(t *testing.T) {
	t.Parallel()
	p, _ := signature.LookupProvider("x")
	req := &signature.Request{Method: http.MethodGet, URL: "https://h.example/in?crc_token=%7B%22a%22%3A1%7D"}
	h, ok := p.Handshake(req)
	if !ok {
		t.Fatal("not recognized")
	}
	if answer, err := h.Answer(req, signature.Secrets("s"), -1); err == nil {
		t.Errorf("Answer = %s, want a refusal", answer.Body)
	}
}

func TestHandshakesNeedTheirSecrets(t *testing.T) {
	t.Parallel()
	get := func(query string) *signature.Request {
		return &signature.Request{Method: http.MethodGet, URL: "https://h.example/in?" + query}
	}
	origin := &signature.Request{
		Method: http.MethodOptions, URL: "https://h.example/in",
		Header: http.Header{"Webhook-Request-Origin": {"a.example"}},
	}
	tests := map[string]struct {
		req    *signature.Request
		config signature.Config
	}{
		"meta": {
			get("hub.mode=subscribe&hub.challenge=1&hub.verify_token="),
			signature.Config{Params: map[string][]string{"verify_token": {""}}},
		},
		"x":           {get("crc_token=abc"), signature.Config{}},
		"cloudevents": {origin, signature.Config{Params: map[string][]string{"allowed_origins": {"b.example"}}}},
	}
	for name, tt := range tests {
		p, _ := signature.LookupProvider(name)
		h, ok := p.Handshake(tt.req)
		if !ok {
			t.Fatalf("%s: not recognized", name)
		}
		if answer, err := h.Answer(tt.req, tt.config, -1); err == nil || answer.Status < 400 {
			t.Errorf("%s: Answer = %d %q, %v, want a refusal", name, answer.Status, answer.Body, err)
		}
	}
}

func TestZoomAnswersWithTheSecretThatVerified(t *testing.T) {
	t.Parallel()
	p, _ := signature.LookupProvider("zoom")
	req := &signature.Request{
		Method: http.MethodPost, URL: "https://h.example/in",
		Body: []byte(`{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}`),
	}
	h, _ := p.Handshake(req)
	config := signature.Secrets("new", "old")
	var bodies []string
	for key := range 2 {
		answer, err := h.Answer(req, config, key)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(answer.Body))
	}
	if bodies[0] == bodies[1] {
		t.Errorf("both secrets give %s", bodies[0])
	}
}

func TestNotionRevealsItsToken(t *testing.T) {
	t.Parallel()
	p, _ := signature.LookupProvider("notion")
	post := func(body string) *signature.Request {
		return &signature.Request{Method: http.MethodPost, URL: "https://h.example/in", Body: []byte(body)}
	}
	req := post(`{"verification_token":"secret_x"}`)
	h, ok := p.Handshake(req)
	if !ok {
		t.Fatal("not recognized")
	}
	if got := h.Reveal(req); got != "secret_x" {
		t.Errorf("Reveal = %q, want secret_x", got)
	}
	if h, ok := p.Handshake(post(`{"verification_token":"x","type":"page.created"}`)); ok {
		t.Errorf("an event is taken for handshake %s", h.Name)
	}
}

func TestDiscordEventIsNoPing(t *testing.T) {
	t.Parallel()
	p, _ := signature.LookupProvider("discord")
	req := &signature.Request{
		Method: http.MethodPost, URL: "https://h.example/in",
		Body: []byte(`{"version":1,"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}`),
	}
	if h, ok := p.Handshake(req); ok {
		t.Errorf("an event is taken for handshake %s", h.Name)
	}
}

// Handshakes run only on sources whose provider has them.
func TestProvidersAnswerOnlyTheirHandshakes(t *testing.T) {
	t.Parallel()
	req := &signature.Request{Method: http.MethodGet, URL: "https://h.example/in?challenge=a&crc_token=b&hub.mode=c"}
	var got []string
	for _, p := range signature.Providers() {
		if h, ok := p.Handshake(req); ok {
			got = append(got, p.Name+" "+h.Name+" "+strconv.FormatBool(h.VerifyFirst))
		}
	}
	want := []string{"dropbox dropbox false", "meta meta false", "x twitter false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("handshakes differ (-want +got):\n%s", diff)
	}
}

func TestEveryHandshakeHasAProvider(t *testing.T) {
	t.Parallel()
	var names []string
	for _, h := range signature.Handshakes() {
		names = append(names, h.Name)
		if h.Name == "sns" {
			continue // for providers that a program describes itself, which must fetch what Confirm says
		}
		if !slices.ContainsFunc(signature.Providers(), func(p signature.Provider) bool {
			return slices.Contains(p.Handshakes, h.Name)
		}) {
			t.Errorf("no provider has handshake %q", h.Name)
		}
	}
	for _, p := range signature.Providers() {
		for _, name := range p.Handshakes {
			if !slices.Contains(names, name) {
				t.Errorf("provider %s has unknown handshake %q", p.Name, name)
			}
		}
	}
}
