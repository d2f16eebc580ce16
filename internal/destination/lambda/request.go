package lambda

import (
	"encoding/json"
	"net/textproto"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
)

// requestPayload returns the webhook as it came in: the body byte for byte, and
// the headers, the values of one that came several times joined by a comma. An
// event that was no webhook has its message as payload, and says what that is.
func requestPayload(r *destination.Request) ([]byte, error) {
	body, names, values := r.Body, []string(nil), map[string]string{}
	if r.Raw != nil {
		body = r.Raw.Body()
		for name, value := range r.Raw.Header {
			name = textproto.CanonicalMIMEHeaderKey(name)
			if joined, twice := values[name]; twice {
				values[name] = joined + ", " + value
				continue
			}
			names, values[name] = append(names, name), value
		}
	} else if r.ContentType != "" {
		names, values["Content-Type"] = []string{"Content-Type"}, r.ContentType
	}
	if !json.Valid(body) {
		return nil, awscall.Unfit("the body of the webhook is not JSON, which format request needs")
	}
	out := make([]byte, 0, len(body)+64*len(names)+64)
	out = append(append(append(out, `{"payload":`...), body...), `,"headers":{`...)
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(event.AppendString(out, name), ':')
		out = event.AppendString(out, values[name])
	}
	return append(out, "}}"...), nil
}
