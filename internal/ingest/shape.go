package ingest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grapnel/grapnel/event"
)

// shaped is what a body became: the detail of the envelope.
type shaped struct {
	detail []byte
	isBody bool // the detail is the body itself
}

// shape turns a verified body into a detail. It never fails: what is not a JSON
// object is wrapped, byte for byte where JSON can hold it.
func shape(contentType string, body []byte, style FormStyle) shaped {
	if isForm(contentType) {
		if s, ok := shapeForm(body, style); ok {
			return s
		}
	}
	if looksLikeObject(body) && utf8.Valid(body) {
		// Publish reads every byte of it and refuses what is not JSON after all.
		return shaped{detail: body, isBody: true}
	}
	return shaped{detail: wrap(contentType, body)}
}

func looksLikeObject(body []byte) bool {
	text := bytes.Trim(body, " \t\r\n")
	return len(text) > 1 && text[0] == '{' && text[len(text)-1] == '}'
}

func isForm(contentType string) bool {
	return mediaType(contentType) == "application/x-www-form-urlencoded"
}

// mediaType returns the type without its parameters, in lower case.
func mediaType(contentType string) string {
	if t, _, err := mime.ParseMediaType(contentType); err == nil {
		return t
	}
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func shapeForm(body []byte, style FormStyle) (shaped, bool) {
	form, err := url.ParseQuery(string(body))
	if err != nil || !utf8.Valid(body) {
		return shaped{}, false
	}
	if p := form["payload"]; style == FormPayload && len(p) == 1 && event.IsObject([]byte(p[0])) {
		return shaped{detail: []byte(p[0])}, true
	}
	return shaped{detail: formObject(form, style)}, true
}

// formPayload returns the text of the only field of a form, if it is "payload"
// and not empty.
func formPayload(body []byte) ([]byte, bool) {
	form, err := url.ParseQuery(string(body))
	p := form["payload"]
	if err != nil || len(form) != 1 || len(p) != 1 || p[0] == "" {
		return nil, false
	}
	return []byte(p[0]), true
}

// formObject writes the fields as a JSON object in the order of their names.
func formObject(form url.Values, style FormStyle) []byte {
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	dst := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(event.AppendString(dst, name), ':')
		values := form[name]
		switch {
		case style == FormTwilio && name == "Payload" && form.Get("PayloadType") == "application/json" &&
			json.Valid([]byte(values[0])):
			dst = event.AppendCompact(dst, []byte(values[0]))
		case style == FormTwilio || len(values) == 1:
			dst = event.AppendString(dst, values[0])
		default:
			dst = appendStrings(dst, values)
		}
	}
	return append(dst, '}')
}

func appendStrings(dst []byte, values []string) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = event.AppendString(dst, v)
	}
	return append(dst, ']')
}

// wrap puts a body that is not a JSON object into one: JSON of another kind
// under "body", text under "body" as a string, anything else as "body_base64".
// The content type stands beside it.
func wrap(contentType string, body []byte) []byte {
	dst := make([]byte, 0, len(body)+len(contentType)+64)
	switch {
	case len(body) == 0:
		dst = append(dst, `{"body":""`...)
	case json.Valid(body) && utf8.Valid(body) && !event.IsObject(body):
		dst = append(append(dst, `{"body":`...), body...)
	default:
		return wrapText(contentType, body)
	}
	return closeWrap(dst, contentType)
}

// wrapText wraps a body without looking for JSON in it.
func wrapText(contentType string, body []byte) []byte {
	dst := make([]byte, 0, 2*len(body)+len(contentType)+64)
	if utf8.Valid(body) {
		dst = append(dst, `{"body":`...)
		dst = event.AppendString(dst, string(body))
	} else {
		dst = append(dst, `{"body_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, body)
		dst = append(dst, '"')
	}
	return closeWrap(dst, contentType)
}

func closeWrap(dst []byte, contentType string) []byte {
	if contentType != "" {
		dst = append(dst, `,"content_type":`...)
		dst = event.AppendString(dst, contentType)
	}
	return append(dst, '}')
}
