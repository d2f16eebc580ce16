package slack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/grapnel/grapnel/internal/destination"
)

// maxText is the longest text that Slack takes without cutting it, in
// characters (chat.postMessage, "Truncating content"). Fewer bytes are fewer
// characters.
const maxText = 40_000

// members are those of a message that a body may set.
var members = []string{
	"text", "blocks", "attachments", "thread_ts", "reply_broadcast", "mrkdwn", "unfurl_links", "unfurl_media",
	"username", "icon_emoji", "icon_url", "metadata", "parse", "link_names",
}

// message makes a message of the body. One that is a message already, a JSON
// object with text, blocks or attachments, is posted as it is; a text becomes
// the text; anything else is shown as it is, below a line that says what it is.
func message(r *destination.Request, channel string) ([]byte, error) {
	m := map[string]any{}
	var object map[string]json.RawMessage
	if json.Unmarshal(r.Body, &object) == nil && isMessage(object) {
		for _, name := range members {
			if value, ok := object[name]; ok {
				m[name] = value
			}
		}
	} else {
		m["text"] = text(r)
	}
	if channel != "" {
		m["channel"] = channel // never from the body: senders do not choose where it goes
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func isMessage(object map[string]json.RawMessage) bool {
	if t, ok := object["text"]; ok && len(t) > 0 && t[0] == '"' {
		return true
	}
	for _, name := range []string{"blocks", "attachments"} {
		if list, ok := object[name]; ok && len(list) > 0 && list[0] == '[' {
			return true
		}
	}
	return false
}

// text returns the text of a message for a body that is none.
func text(r *destination.Request) string {
	var words string
	if json.Unmarshal(r.Body, &words) == nil {
		return cut(words, maxText)
	}
	if media, _, err := mime.ParseMediaType(r.ContentType); err == nil && media == "text/plain" {
		return cut(string(r.Body), maxText)
	}
	title := "Test of a Grapnel destination"
	if e := r.Event; e != nil {
		title = e.DetailType + " from " + e.Source
	}
	head := "*" + escape(strings.Join(strings.Fields(title), " ")) + "*\n```\n"
	shown := r.Body
	var indented bytes.Buffer
	if json.Indent(&indented, r.Body, "", "  ") == nil {
		shown = indented.Bytes()
	}
	return head + cut(escape(string(shown)), maxText-len(head)-len("\n```")) + "\n```"
}

// escape takes the meaning from the characters that mention people and begin
// links ("Escaping text" of Slack's page on formatting).
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.ToValidUTF8(text, "\ufffd"))
}

// cut returns the text, shortened to at most n bytes, and says so.
func cut(text string, n int) string {
	const more = "\n…"
	if len(text) <= n {
		return text
	}
	at := max(n-len(more), 0)
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + more
}
