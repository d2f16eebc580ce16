package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/event"
)

// EncodingGzip is the one encoding of bodies that can be taken (RFC 9110
// 8.4.1.3).
const EncodingGzip = "gzip"

// contentEncoding returns how the body is encoded, in lower case; "" if it is
// as it is.
func contentEncoding(r *http.Request) string {
	encoding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header["Content-Encoding"], ",")))
	switch encoding {
	case "identity":
		return ""
	case "x-gzip":
		return EncodingGzip // the same, RFC 9110 8.4.1.3
	}
	return encoding
}

// decode makes the content of a proven request out of its body, where the
// source takes the encoding. It reports false when it has refused the request.
// A body in any other encoding stays what it is: bytes.
func (x *exchange) decode() bool {
	x.content = x.body
	if x.encoding = contentEncoding(x.r); x.encoding == "" || !slices.Contains(x.src.Encodings, x.encoding) {
		return true
	}
	content, err := gunzip(x.body, x.src.MaxBody)
	switch {
	case errors.Is(err, errBomb):
		x.refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge,
			fmt.Sprintf("%d bytes of gzip hold more than the %d bytes that the source takes", len(x.body), x.src.MaxBody),
			"raise max_body on the source")
		return false
	case err != nil:
		x.refuse(http.StatusBadRequest, ReasonEncoding, "the body is not the gzip that Content-Encoding says it is",
			"look at the sender, or at a proxy that changes bodies without their headers")
		return false
	}
	x.content, x.decoded, x.encoding = content, true, ""
	x.req.Body = content
	return true
}

var errBomb = errors.New("the content is larger than allowed")

// gunzip decodes at most limit bytes: what is small on the wire can be
// anything in memory.
func gunzip(body []byte, limit int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, errBomb
	}
	return content, nil
}

// wrapOpaque wraps a body in an encoding that nobody looked into.
func wrapOpaque(contentType, encoding string, body []byte) []byte {
	dst := make([]byte, 0, base64.StdEncoding.EncodedLen(len(body))+len(contentType)+len(encoding)+80)
	dst = append(dst, `{"body_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, body)
	dst = append(dst, `","content_encoding":`...)
	dst = event.AppendString(dst, encoding)
	return closeWrap(dst, contentType)
}
