package cli

import (
	"cmp"
	"crypto/rand"
	_ "embed" // for the sample
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/signature"
)

// pushBody is the body of a GitHub push: that of the demo, and the sample of
// sources with provider github.
//
//go:embed push.json
var pushBody []byte

// part is one part of a locator or of a template of what is signed.
var part = regexp.MustCompile(`\{(header|json|form):([^}]+)\}`)

// spot is where a single value stands in a request.
type spot struct{ in, name string }

// spotOf returns the first of the locators that is one value at one place.
func spotOf(list []signature.Locator) (spot, bool) {
	for _, l := range list {
		text := l.String()
		if m := part.FindStringSubmatch(text); m != nil && m[0] == text {
			return spot{m[1], m[2]}, true
		}
	}
	return spot{}, false
}

// dress gives the request what its provider sends beside the signature: event
// type, delivery id, and a sample body unless there is one.
func dress(req *signature.Request, src *config.Source, p *signature.Provider, s *sending, own bool) error {
	sample := newSample(src, p, s)
	if !own {
		req.Body = sample.body()
	}
	for _, want := range []struct {
		flag, value, fallback string
		list                  []signature.Locator
	}{
		{"--event", s.event, sample.event, p.Type},
		{"--delivery-id", s.deliveryID, randomID(), p.ID},
	} {
		at, ok := spotOf(want.list)
		switch {
		case ok && at.in == "header":
			if req.Header.Get(at.name) == "" || want.value != "" {
				req.Header.Set(at.name, cmp.Or(want.value, want.fallback))
			}
		case want.value == "" || !own && ok:
		case ok:
			return usage("put it there", "%s has what %s sets in the body, at %s", p.Title, want.flag, at.name)
		default:
			return usage("leave it out", "%s has nothing that %s could set", p.Title, want.flag)
		}
	}
	// What is signed beside the body must be there: the message id of Standard Webhooks.
	for _, way := range src.Ways() {
		for _, m := range part.FindAllStringSubmatch(way.Scheme().Content, -1) {
			if m[1] == "header" && req.Header.Get(m[2]) == "" {
				req.Header.Set(m[2], cmp.Or(s.deliveryID, randomID()))
			}
		}
	}
	if !own && sample.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return nil
}

// sample is a small body as a provider might send it.
type sample struct {
	event string
	text  []byte
	tree  any
	form  url.Values
}

func newSample(src *config.Source, p *signature.Provider, s *sending) *sample {
	if p.Name == "github" {
		return &sample{event: "push", text: pushBody}
	}
	out := &sample{event: "test", tree: map[string]any{}}
	profile := src.Ways()[0].Scheme()
	if strings.Contains(profile.Content, "{form-sorted}") {
		out.tree, out.form = nil, url.Values{"MessageSid": {randomID()}, "SmsStatus": {"received"}, "Body": {"hello from grapnel send"}}
		return out
	}
	for _, m := range part.FindAllStringSubmatch(profile.Content, -1) {
		if m[1] == "json" {
			out.put(m[2], randomID())
		}
	}
	if at, ok := spotOf(p.Type); ok && at.in == "json" {
		out.put(at.name, cmp.Or(s.event, out.event))
	}
	if at, ok := spotOf(p.ID); ok && at.in == "json" {
		out.put(at.name, cmp.Or(s.deliveryID, randomID()))
	}
	// A signature inside the body replaces a value that is there.
	if sig := profile.Sig; sig != nil && sig.In == "json" {
		out.put(sig.Name[0], "")
	}
	if ts := profile.TS; ts != nil && ts.In == "json" {
		out.put(ts.Name[0], 0)
	}
	if t := profile.Token; t != nil && t.In == "json" {
		out.put(t.Name[0], "")
	}
	if m, ok := out.tree.(map[string]any); ok {
		m["message"] = "hello from grapnel send"
	}
	return out
}

func (s *sample) put(pointer string, value any) {
	s.tree = place(s.tree, strings.Split(strings.TrimPrefix(pointer, "/"), "/"), value)
}

// place puts a value into a tree of JSON values; "0" makes a list of one.
func place(tree any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if path[0] == "0" {
		list, _ := tree.([]any)
		if len(list) == 0 {
			list = []any{nil}
		}
		list[0] = place(list[0], path[1:], value)
		return list
	}
	m, ok := tree.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	m[path[0]] = place(m[path[0]], path[1:], value)
	return m
}

func (s *sample) body() []byte {
	switch {
	case s.text != nil:
		return s.text
	case s.form != nil:
		return []byte(s.form.Encode())
	}
	text, err := json.Marshal(s.tree)
	if err != nil {
		panic(fmt.Sprintf("a sample cannot be written: %v", err)) // a bug: it is made of strings and numbers
	}
	return text
}

// randomID returns a random UUID (RFC 9562 5.4).
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
