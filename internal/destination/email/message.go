package email

import (
	"bytes"
	"encoding/json"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grapnel/grapnel/internal/destination"
)

// maxSubject is the most of a subject that is sent, in bytes.
const maxSubject = 250

// message makes the email (RFC 5322). Nothing of an event can begin a header:
// what goes into one is a single line, encoded.
func (m *mailer) message(r *destination.Request) []byte {
	at := r.Time
	if at.IsZero() {
		at = m.now()
	}
	var to []string
	for _, a := range m.to {
		to = append(to, a.String())
	}
	var out bytes.Buffer
	for _, line := range [][2]string{
		{"From", m.from.String()},
		{"To", strings.Join(to, ",\r\n ")},
		{"Subject", header(m.title(r))},
		{"Date", at.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + localPart(r.ID) + "@" + m.domain + ">"},
		{"Auto-Submitted", "auto-generated"}, // nobody's absence notice comes back (RFC 3834)
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		out.WriteString(line[0] + ": " + line[1] + "\r\n")
	}
	out.WriteString("\r\n")
	// A bytes.Buffer takes everything.
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write([]byte(text(r)))
	_ = w.Close()
	return out.Bytes()
}

// title fills in the subject.
func (m *mailer) title(r *destination.Request) string {
	if r.Event == nil {
		return "Test of a Grapnel destination"
	}
	return strings.NewReplacer(
		"{detail-type}", r.Event.DetailType, "{source}", r.Event.Source, "{id}", string(r.Event.ID),
		"{bus}", r.Bus, "{rule}", r.Rule,
	).Replace(m.subject)
}

// header returns the text as the value of a header: on one line, not too long,
// in encoded words if it is not plain ASCII (RFC 2047).
func header(value string) string {
	value = strings.Map(func(r rune) rune {
		if isControl(r) || r == '\u0085' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(value, "\ufffd"))
	if len(value) > maxSubject {
		at := maxSubject
		for at > 0 && !utf8.RuneStart(value[at]) {
			at--
		}
		value = value[:at] + "…"
	}
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", value), "?= =?", "?=\r\n =?")
}

// localPart returns the id with nothing but what may stand before the @ of a
// Message-ID.
func localPart(id string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, id)
}

// text returns the body as text for people. Markup stays visible as such: what
// a sender wrote must not look like something that the recipient's own
// organization says.
func text(r *destination.Request) string {
	var words string
	if json.Unmarshal(r.Body, &words) == nil {
		return words
	}
	var indented bytes.Buffer
	if json.Indent(&indented, r.Body, "", "  ") == nil {
		return indented.String() + "\n"
	}
	return strings.ToValidUTF8(string(r.Body), "\ufffd")
}
