package signature

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"strings"
)

// Request is what a verifier sees of an HTTP request. The body is the bytes as received: nothing may
// have decoded, trimmed or re-encoded them.
type Request struct {
	// Method is the HTTP method in capitals.
	Method string
	// URL is the full public URL as the sender was given it: scheme, host, path and the raw query of
	// this request. Behind a proxy it is not the URL that the server itself sees. A fragment is ignored.
	URL string
	// Header holds the header fields under canonical names, as net/http delivers them.
	Header http.Header
	// Body is the raw body.
	Body []byte
	// RemoteAddr is the address of the peer, "host:port", as in http.Request.
	RemoteAddr string
	// PeerCertificates is the chain that the client presented in the TLS handshake, its own
	// certificate first. Only the possession of the first one's key is proven by that.
	PeerCertificates []*x509.Certificate
	// VerifiedChains are the chains that the TLS server has verified, as in tls.ConnectionState.
	VerifiedChains [][]*x509.Certificate
}

// NewRequest returns the Request for r, whose body has been read into body. The URL is made of the
// Host header and the request line, which is right only where no proxy changes them: set URL
// otherwise, because some senders sign it.
func NewRequest(r *http.Request, body []byte) *Request {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		target = r.URL.RequestURI()
	}
	req := &Request{
		Method:     r.Method,
		URL:        scheme + "://" + r.Host + target,
		Header:     r.Header,
		Body:       body,
		RemoteAddr: r.RemoteAddr,
	}
	if r.TLS != nil {
		req.PeerCertificates, req.VerifiedChains = r.TLS.PeerCertificates, r.TLS.VerifiedChains
	}
	return req
}

// one returns the only value of the header with the canonical name, "" if there is none.
func (r *Request) one(name string) (value string, reason Reason) {
	values := r.Header[name]
	switch len(values) {
	case 0:
		return "", ""
	case 1:
		return values[0], ""
	default:
		return "", DuplicateHeader
	}
}

// oneOf returns the value of whichever alternative name is there. Two that differ are refused like
// two copies of one header: it must not depend on the reader which of them counts.
func (r *Request) oneOf(names []string) (value string, reason Reason) {
	for _, name := range names {
		v, reason := r.one(name)
		switch {
		case reason != "":
			return "", reason
		case v == "" || v == value:
		case value == "":
			value = v
		default:
			return "", DuplicateHeader
		}
	}
	return value, ""
}

// isForm reports whether the body is declared as a URL-encoded form. The content type is compared
// without its parameters and without regard to case (RFC 9110 8.3.1).
func (r *Request) isForm() bool {
	values := r.Header["Content-Type"]
	if len(values) != 1 {
		return false
	}
	media, _, _ := strings.Cut(values[0], ";")
	return strings.EqualFold(strings.TrimSpace(media), "application/x-www-form-urlencoded")
}

// split cuts a URL into what stands before the query, and the raw query, without the fragment.
func split(url string) (base, query string) {
	url, _, _ = strings.Cut(url, "#")
	base, query, _ = strings.Cut(url, "?")
	return base, query
}

// query returns the value of the query parameter; found is false if there is none. A parameter that
// occurs twice is refused, however its name is spelled.
func (r *Request) query(name string) (value string, found bool, reason Reason) {
	_, rest := split(r.URL)
	for rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		k, v, _ := strings.Cut(pair, "=")
		if k != name {
			if !strings.ContainsAny(k, "%+") {
				continue
			}
			if key, ok := unescape(nil, []byte(k), true); !ok || string(key) != name {
				continue
			}
		}
		if found {
			return "", true, DuplicateParameter
		}
		text, ok := unescape(nil, []byte(v), true)
		if !ok {
			return "", true, MalformedToken
		}
		value, found = string(text), true
	}
	return value, found, ""
}

// segment returns the path segment at the index, counted from the end if negative, decoded.
func (r *Request) segment(index int) (value string, reason Reason) {
	base, _ := split(r.URL)
	if _, after, ok := strings.Cut(base, "://"); ok {
		base = after
	}
	_, path, _ := strings.Cut(base, "/")
	segments := strings.Split(path, "/")
	if index < 0 {
		index += len(segments)
	}
	if index < 0 || index >= len(segments) {
		return "", ""
	}
	text, ok := unescape(nil, []byte(segments[index]), false)
	if !ok {
		return "", MalformedToken
	}
	return string(text), ""
}

// pair is a decoded name and value of a form.
type pair struct{ name, value []byte }

// parseForm appends the pairs of a URL-encoded form to pairs, using buf for the decoded text. Unlike
// url.ParseQuery it gives a semicolon no meaning and keeps the order; like it, it refuses a broken
// escape. It is false if there is one.
func parseForm(pairs []pair, buf, form []byte) (out []pair, text []byte, ok bool) {
	// Decoding never grows the text, so buf is not moved below and the pairs may point into it.
	if cap(buf) < len(form) {
		buf = make([]byte, 0, len(form))
	}
	for len(form) > 0 {
		var item []byte
		item, form, _ = bytes.Cut(form, []byte{'&'})
		if len(item) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(item, []byte{'='})
		start := len(buf)
		if buf, ok = unescape(buf, name, true); !ok {
			return pairs, buf, false
		}
		middle := len(buf)
		if buf, ok = unescape(buf, value, true); !ok {
			return pairs, buf, false
		}
		pairs = append(pairs, pair{buf[start:middle:middle], buf[middle:len(buf):len(buf)]})
	}
	return pairs, buf, true
}

// unescape appends the percent-decoded text to dst; plus turns "+" into a space. It is false for a
// broken escape.
func unescape(dst, text []byte, plus bool) ([]byte, bool) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '%':
			if i+2 >= len(text) {
				return dst, false
			}
			hi, lo := unhex(text[i+1]), unhex(text[i+2])
			if hi > 15 || lo > 15 {
				return dst, false
			}
			dst = append(dst, hi<<4|lo)
			i += 2
		case c == '+' && plus:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
}

// unhex returns the value of a hexadecimal digit, 255 for anything else.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}
