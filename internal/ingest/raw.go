package ingest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/signature"
)

// alwaysMasked are headers that are never stored, whatever the provider.
var alwaysMasked = []string{"Authorization", "Cookie", "Proxy-Authorization"}

// record returns what is stored of a request beside its body: headers sorted by
// name (net/http does not keep their order), with what could be used to send
// another request masked and named.
func record(r *http.Request, body []byte, creds *signature.Credentials) *store.Raw {
	raw := &store.Raw{
		Method: r.Method, Proto: r.Proto, Host: r.Host, RemoteAddr: r.RemoteAddr, Body: body,
		Header: make([]store.Field, 0, len(r.Header)),
	}
	path, query, _ := strings.Cut(target(r), "?")
	raw.Path, raw.Query = maskPath(path, creds, raw), maskQuery(query, creds, raw)
	for name, values := range r.Header {
		masked := slices.Contains(alwaysMasked, name) || slices.Contains(creds.Headers, name)
		if masked {
			raw.Masked = append(raw.Masked, name)
		}
		for _, v := range values {
			if masked {
				v = secret.Redacted
			}
			raw.Header = append(raw.Header, store.Field{Name: name, Value: v})
		}
	}
	slices.SortStableFunc(raw.Header, func(a, b store.Field) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(raw.Masked)
	return raw
}

// target returns the request target as it came over the wire.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // absolute form, as proxies are sent it
}

func maskPath(path string, creds *signature.Credentials, raw *store.Raw) string {
	if len(creds.Segments) == 0 {
		return path
	}
	segments := strings.Split(path, "/")
	for _, i := range creds.Segments {
		if i < 0 {
			i += len(segments)
		} else {
			i++ // what stands before the first slash is no segment
		}
		if i > 0 && i < len(segments) {
			segments[i] = secret.Redacted
			raw.Masked = append(raw.Masked, "path")
		}
	}
	return strings.Join(segments, "/")
}

func maskQuery(query string, creds *signature.Credentials, raw *store.Raw) string {
	if query == "" || len(creds.Query) == 0 {
		return query
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err == nil && slices.Contains(creds.Query, name) {
			pairs[i] = key + "=" + secret.Redacted
			raw.Masked = append(raw.Masked, "?"+name)
		}
	}
	return strings.Join(pairs, "&")
}
