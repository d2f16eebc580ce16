package egress

import (
	"net/url"
	"strings"

	"github.com/grapnel/grapnel/internal/secret"
)

// RedactURL returns the URL as it may be shown: without user-info, fragment
// and the values of query parameters, whose names stay.
func RedactURL(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	var text strings.Builder
	text.WriteString(shown.String())
	separator := byte('?')
	for _, pair := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, valued := strings.Cut(pair, "=")
		text.WriteByte(separator)
		separator = '&'
		if !valued { // ?token: the name may be the secret
			text.WriteString(secret.Redacted)
			continue
		}
		text.WriteString(name + "=" + secret.Redacted)
	}
	return text.String()
}
