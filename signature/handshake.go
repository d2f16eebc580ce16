package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// maxEcho bounds a text that is sent back to who sent it.
const maxEcho = 4 << 10

// Answer is an HTTP answer.
type Answer struct {
	// Status is the status code.
	Status int `json:"status,omitempty"`
	// Header are the header fields.
	Header http.Header `json:"header,omitempty"`
	// Body is the body.
	Body []byte `json:"body,omitempty"`
}

// Handshake is a request by which a provider verifies an endpoint before or beside its events. It is
// answered at once and never becomes an event. One that is not signed proves nothing about its
// sender.
type Handshake struct {
	// Name is what Provider.Handshakes call it.
	Name string
	// VerifyFirst says that the request is signed, or carries the token, like an event: verify it
	// and answer 401 if it is refused.
	VerifyFirst bool
	// Params are the keys of Config.Params that it needs.
	Params []string
	match  func(req *Request) bool
	answer func(req *Request, c *Config, key int) (Answer, Reason)
	reveal func(req *Request) string
	// confirm returns the address to fetch.
	confirm func(req *Request) string
}

// Handshakes lists all handshakes.
func Handshakes() []Handshake {
	return []Handshake{
		{Name: "slack", VerifyFirst: true, match: isSlack, answer: echoJSON("/challenge")},
		{Name: "meta", Params: []string{"verify_token"}, match: isMeta, answer: answerMeta},
		{Name: "zoom", VerifyFirst: true, match: isZoom, answer: answerZoom},
		{Name: "twitter", match: isGetWith("crc_token"), answer: answerTwitter},
		{Name: "dropbox", match: isGetWith("challenge"), answer: echoQuery("challenge")},
		{Name: "graph", match: isGraph, answer: echoQuery("validationToken")},
		{Name: "okta", VerifyFirst: true, match: isOkta, answer: answerOkta},
		{
			Name: "cloudevents", Params: []string{"allowed_origins"},
			match: isCloudEvents, answer: answerCloudEvents,
		},
		{Name: "discord", VerifyFirst: true, match: isDiscord, answer: answerDiscord},
		{Name: "twitch", VerifyFirst: true, match: isTwitch, answer: echoJSON("/challenge")},
		{Name: "notion", match: isNotion, answer: answerNotion, reveal: revealNotion},
		{Name: "woocommerce", match: isWooCommerce, answer: answerEmpty},
		{Name: "sns", VerifyFirst: true, match: isSNS, answer: answerSNS, confirm: confirmSNS},
	}
}

// Handshake returns the handshake that the request is, of those that the provider has.
func (p *Provider) Handshake(req *Request) (Handshake, bool) {
	if len(p.Handshakes) == 0 {
		return Handshake{}, false
	}
	for _, h := range Handshakes() {
		if slices.Contains(p.Handshakes, h.Name) && h.match(req) {
			return h, true
		}
	}
	return Handshake{}, false
}

// Answer returns what to send back. For a handshake with VerifyFirst, key is Proof.KeyIndex of its
// verification, otherwise it is ignored. If the error, an *Error, is not nil, the handshake is
// refused and the answer says so; it is to be sent all the same.
func (h Handshake) Answer(req *Request, c Config, key int) (Answer, error) {
	answer, reason := h.answer(req, &c, key)
	if reason != "" {
		return answer, &Error{Reason: reason, Profile: h.Name}
	}
	return answer, nil
}

// Reveal returns a text in the handshake that the owner of the endpoint has to be shown once, ""
// if there is none: Notion sends the secret of the endpoint that way.
func (h Handshake) Reveal(req *Request) string {
	if h.reveal == nil {
		return ""
	}
	return h.reveal(req)
}

// Confirm returns the https address that must be fetched once to complete the handshake, after it was
// verified and answered: SNS confirms subscriptions that way. "" says that there is none. Its host and
// query have been checked; follow no redirect, and dial no private network.
func (h Handshake) Confirm(req *Request) string {
	if h.confirm == nil {
		return ""
	}
	return h.confirm(req)
}

// refused is the answer to a handshake that makes no sense.
func refused() (Answer, Reason) {
	return Answer{Status: http.StatusBadRequest}, MalformedHandshake
}

// echo answers with a text of the request. Bounded, printable ASCII without angle brackets, declared
// as what it is: anything else would let a link to the endpoint run a script in a browser.
func echo(text string) (Answer, Reason) {
	unsafe := func(r rune) bool { return r < ' ' || r > '~' || r == '<' || r == '>' }
	if text == "" || len(text) > maxEcho || strings.ContainsFunc(text, unsafe) {
		return refused()
	}
	return textAnswer("text/plain", []byte(text)), ""
}

// textAnswer is a 200 with a body that no browser interprets otherwise.
func textAnswer(contentType string, body []byte) Answer {
	return Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {contentType}, "X-Content-Type-Options": {"nosniff"}},
		Body:   body,
	}
}

// jsonAnswer is a 200 with a JSON body.
func jsonAnswer(v any) (Answer, Reason) {
	body, err := json.Marshal(v)
	if err != nil {
		return refused()
	}
	return textAnswer("application/json", body), ""
}

// text returns the text at a JSON pointer of the body.
func (r *Request) text(ptr string) (string, bool) {
	p, ok := parsePointer(ptr)
	var at [1]found
	if !ok || find(r.Body, []pointer{p}, at[:]) != nil {
		return "", false
	}
	text, ok := at[0].text(nil, r.Body)
	return string(text), ok
}

// textIs reports whether the text at a JSON pointer is want.
func (r *Request) textIs(ptr, want string) bool {
	text, ok := r.text(ptr)
	return ok && text == want
}

// echoJSON answers with the text at a JSON pointer.
func echoJSON(ptr string) func(*Request, *Config, int) (Answer, Reason) {
	return func(req *Request, _ *Config, _ int) (Answer, Reason) {
		text, _ := req.text(ptr)
		return echo(text)
	}
}

// echoQuery answers with the value of a query parameter.
func echoQuery(name string) func(*Request, *Config, int) (Answer, Reason) {
	return func(req *Request, _ *Config, _ int) (Answer, Reason) {
		text, _, reason := req.query(name)
		if reason != "" {
			return refused()
		}
		return echo(text)
	}
}

// isGetWith reports whether the request is a GET with the parameter.
func isGetWith(name string) func(*Request) bool {
	return func(req *Request) bool {
		_, ok, _ := req.query(name)
		return req.Method == http.MethodGet && ok
	}
}

func isSlack(req *Request) bool {
	return req.Method == http.MethodPost && req.textIs("/type", "url_verification")
}

func isMeta(req *Request) bool {
	_, ok, _ := req.query("hub.mode")
	return req.Method == http.MethodGet && ok
}

// answerMeta echoes the challenge to who knows the verify token.
func answerMeta(req *Request, c *Config, _ int) (Answer, Reason) {
	mode, _, r1 := req.query("hub.mode")
	token, _, r2 := req.query("hub.verify_token")
	challenge, _, r3 := req.query("hub.challenge")
	if r1 != "" || r2 != "" || r3 != "" || mode != "subscribe" {
		return refused()
	}
	equal := 0
	sum := sha256.Sum256([]byte(token))
	for _, want := range c.Params["verify_token"] {
		if want == "" {
			continue
		}
		other := sha256.Sum256([]byte(want))
		equal |= subtle.ConstantTimeCompare(sum[:], other[:])
	}
	if equal != 1 {
		return Answer{Status: http.StatusForbidden}, BadToken
	}
	return echo(challenge)
}

func isZoom(req *Request) bool {
	return req.Method == http.MethodPost && req.textIs("/event", "endpoint.url_validation")
}

// answerZoom proves to Zoom that the endpoint has the secret by which the request verified.
func answerZoom(req *Request, c *Config, key int) (Answer, Reason) {
	plain, _ := req.text("/payload/plainToken")
	sum, ok := oracle(c, key, plain)
	if !ok {
		return refused()
	}
	return jsonAnswer(struct {
		Plain     string `json:"plainToken"`     //nolint:tagliatelle // Zoom's name
		Encrypted string `json:"encryptedToken"` //nolint:tagliatelle // Zoom's name
	}{plain, hex.EncodeToString(sum)})
}

// answerTwitter proves to X that the endpoint has the secret. The request is not signed, so that
// anybody may ask for the MAC of a text: it must be a short one without structure, and no event.
func answerTwitter(req *Request, c *Config, _ int) (Answer, Reason) {
	token, _, reason := req.query("crc_token")
	sum, ok := oracle(c, 0, token)
	if reason != "" || !ok {
		return refused()
	}
	return jsonAnswer(struct {
		Token string `json:"response_token"`
	}{"sha256=" + base64.StdEncoding.EncodeToString(sum)})
}

// oracle returns the HMAC of a challenge. Whoever may choose the challenge must not be able to have
// an event signed, and events are JSON: braces and brackets are refused.
func oracle(c *Config, key int, challenge string) ([]byte, bool) {
	const maxChallenge = 512
	unsafe := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`{}[]"<>`, r) }
	if challenge == "" || len(challenge) > maxChallenge || strings.ContainsFunc(challenge, unsafe) {
		return nil, false
	}
	if key < 0 || key >= len(c.Secrets) || c.Secrets[key] == "" {
		return nil, false
	}
	mac := hmac.New(sha256.New, []byte(c.Secrets[key]))
	// A hash never returns an error.
	_, _ = mac.Write([]byte(challenge))
	return mac.Sum(nil), true
}

func isGraph(req *Request) bool {
	_, ok, _ := req.query("validationToken")
	return req.Method == http.MethodPost && ok
}

const oktaHeader = "X-Okta-Verification-Challenge"

func isOkta(req *Request) bool {
	return req.Method == http.MethodGet && len(req.Header[oktaHeader]) > 0
}

func answerOkta(req *Request, _ *Config, _ int) (Answer, Reason) {
	text, reason := req.one(oktaHeader)
	if _, unsafe := echo(text); reason != "" || unsafe != "" {
		return refused()
	}
	return jsonAnswer(struct {
		Verification string `json:"verification"`
	}{text})
}

func isCloudEvents(req *Request) bool {
	return req.Method == http.MethodOptions && len(req.Header["Webhook-Request-Origin"]) > 0
}

// answerCloudEvents permits the origin to send, if it is configured (CloudEvents HTTP 1.1 Web Hooks
// 4). A requested rate is granted; limits are the gateway's own business.
func answerCloudEvents(req *Request, c *Config, _ int) (Answer, Reason) {
	origin, reason := req.one("Webhook-Request-Origin")
	if _, unsafe := echo(origin); reason != "" || unsafe != "" {
		return refused()
	}
	allowed := c.Params["allowed_origins"]
	if !slices.Contains(allowed, "*") && !slices.Contains(allowed, origin) {
		return Answer{Status: http.StatusForbidden}, BadToken
	}
	header := http.Header{"Allow": {"POST"}, "Webhook-Allowed-Origin": {origin}}
	if rate, reason := req.one("Webhook-Request-Rate"); reason == "" && rate != "" {
		if _, ok := digits(rate); !ok {
			return refused()
		}
		header["Webhook-Allowed-Rate"] = []string{rate}
	}
	return Answer{Status: http.StatusOK, Header: header}, ""
}

// isDiscord recognizes the ping of interactions (type 1) and of webhook events (type 0, where type 1
// is an event).
func isDiscord(req *Request) bool {
	if req.Method != http.MethodPost {
		return false
	}
	_, event := req.text("/event/type")
	return isDiscordEvent(req) || (req.textIs("/type", "1") && !event)
}

// isDiscordEvent recognizes the ping of webhook events, which carries no event.
func isDiscordEvent(req *Request) bool { return req.textIs("/type", "0") }

func answerDiscord(req *Request, _ *Config, _ int) (Answer, Reason) {
	if isDiscordEvent(req) {
		return Answer{Status: http.StatusNoContent}, ""
	}
	return textAnswer("application/json", []byte(`{"type":1}`)), ""
}

func isTwitch(req *Request) bool {
	kind, _ := req.one("Twitch-Eventsub-Message-Type")
	return req.Method == http.MethodPost && kind == "webhook_callback_verification"
}

// isNotion recognizes a body that holds the verification token and nothing else.
func isNotion(req *Request) bool {
	const name = "verification_token"
	first, ok := firstName(req.Body, "")
	_, more := firstName(req.Body, name)
	return req.Method == http.MethodPost && ok && first == name && !more
}

// isWooCommerce recognizes the ping that is sent, unsigned, when a webhook is saved.
func isWooCommerce(req *Request) bool {
	id, ok := bytes.CutPrefix(req.Body, []byte("webhook_id="))
	_, number := digits(string(id))
	return req.Method == http.MethodPost && req.isForm() && ok && number
}

// answerEmpty answers with nothing.
func answerEmpty(*Request, *Config, int) (Answer, Reason) {
	return Answer{Status: http.StatusOK}, ""
}

func answerNotion(req *Request, _ *Config, _ int) (Answer, Reason) {
	if revealNotion(req) == "" {
		return refused()
	}
	return Answer{Status: http.StatusOK}, ""
}

// revealNotion returns the token if it is fit to be shown.
func revealNotion(req *Request) string {
	text, _ := req.text("/verification_token")
	if _, unsafe := echo(text); unsafe != "" {
		return ""
	}
	return text
}
