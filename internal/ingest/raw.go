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

// alwaysMasked are headers whose values are never stored, whatever the provider:
// they let their reader in somewhere.
var alwaysMasked = []string{
	"Api-Key", "Authorization", "Cookie", "Proxy-Authorization", "X-Access-Token", "X-Amz-Security-Token",
	"X-Api-Key", "X-Auth-Token", "X-Gitlab-Token",
}

// alwaysMaskedQuery are the same for query parameters, in lower case.
var alwaysMaskedQuery = []string{"access_token", "api_key", "apikey", "auth_token", "key", "password", "secret", "token"}

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

// recordRefused is record for a request that was not accepted. A token that was
// sent to the wrong place is a live token all the same: of the path only what
// names a source is kept, and no value of the query.
func recordRefused(r *http.Request, body []byte, creds *signature.Credentials, known string) *store.Raw {
	raw := record(r, body, creds)
	if rest, ok := strings.CutPrefix(raw.Path, known); ok && strings.Trim(rest, "/") != "" && len(creds.Segments) == 0 {
		raw.Path = known + "/" + secret.Redacted
		raw.Masked = append(raw.Masked, "path")
	}
	if raw.Query == "" {
		return raw
	}
	pairs := strings.Split(raw.Query, "&")
	for i, pair := range pairs {
		if key, value, found := strings.Cut(pair, "="); found && value != secret.Redacted {
			pairs[i] = key + "=" + secret.Redacted
			raw.Masked = append(raw.Masked, "?"+key)
		} else if !found {
			pairs[i] = secret.Redacted // a bare word may be the token itself
			raw.Masked = append(raw.Masked, "?")
		}
	}
	raw.Query = strings.Join(pairs, "&")
	slices.Sort(raw.Masked)
	return raw
}

// knownPart returns the part of a path that may be shown: the longest path of a
// source that it begins with, else its first two segments.
func (t *table) knownPart(path string) string {
	for cut := path; cut != ""; cut = cut[:max(0, strings.LastIndexByte(cut, '/'))] {
		if _, ok := t.byPath[cut]; ok {
			return cut
		}
	}
	parts := strings.SplitN(path, "/", 4)
	return strings.Join(parts[:min(3, len(parts))], "/")
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
	if query == "" {
		return query
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil || slices.Contains(creds.Query, name) || slices.Contains(alwaysMaskedQuery, strings.ToLower(name)) {
			pairs[i] = key + "=" + secret.Redacted
			raw.Masked = append(raw.Masked, "?"+name)
		}
	}
	return strings.Join(pairs, "&")
}
