package signature

import (
	"slices"
	"strings"
)

// The spellings of the URL that a profile may try. Senders and their own SDKs disagree about them.
const (
	urlAsIs              = "as-is"
	urlPortRemoved       = "port-removed"
	urlPortAdded         = "port-added"
	urlApostropheEncoded = "apostrophe-encoded"
	urlEscapesDecoded    = "escapes-decoded"
)

// knownVariants lists the spellings.
func knownVariants() []string {
	return []string{urlAsIs, urlPortRemoved, urlPortAdded, urlApostropheEncoded, urlEscapesDecoded}
}

// spell appends the spellings of the URL to out, without repeats: first those of the port, then
// those of the rest applied to each.
func spell(out []string, url string, variants []string) []string {
	url, _, _ = strings.Cut(url, "#")
	if len(variants) == 0 {
		return append(out, url)
	}
	for _, variant := range variants {
		switch variant {
		case urlAsIs:
			out = add(out, url)
		case urlPortRemoved:
			out = add(out, withPort(url, false))
		case urlPortAdded:
			out = add(out, withPort(url, true))
		default:
		}
	}
	for _, variant := range variants {
		for _, ported := range slices.Clip(out) {
			switch variant {
			case urlApostropheEncoded:
				out = add(out, encodeApostrophes(ported))
			case urlEscapesDecoded:
				out = add(out, decodeEscapes(ported))
			default:
			}
		}
	}
	return out
}

// add appends the URL if it is not there.
func add(out []string, url string) []string {
	if slices.Contains(out, url) {
		return out
	}
	return append(out, url)
}

// withPort returns the URL with the port that it has or its scheme implies, or without one.
func withPort(url string, port bool) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	// A colon before the last @ belongs to a password, one inside brackets to an IPv6 address.
	colon := strings.LastIndexByte(authority, ':')
	if colon < strings.LastIndexByte(authority, '@') || colon < strings.LastIndexByte(authority, ']') {
		colon = -1
	}
	switch {
	case port && colon < 0 && strings.EqualFold(scheme, "http"):
		return scheme + "://" + authority + ":80" + tail
	case port && colon < 0:
		return scheme + "://" + authority + ":443" + tail
	case !port && colon >= 0:
		return scheme + "://" + authority[:colon] + tail
	default:
		return url
	}
}

// encodeApostrophes returns the URL with the apostrophes of its query escaped, as the URL class of
// JavaScript does.
func encodeApostrophes(url string) string {
	base, query, ok := strings.Cut(url, "?")
	if !ok || !strings.Contains(query, "'") {
		return url
	}
	return base + "?" + strings.ReplaceAll(query, "'", "%27")
}

// decodeEscapes returns the URL with the escapes decoded that HubSpot decodes before it signs.
func decodeEscapes(url string) string {
	if !strings.Contains(url, "%") {
		return url
	}
	var b strings.Builder
	for i := 0; i < len(url); i++ {
		if url[i] == '%' && i+2 < len(url) {
			c := unhex(url[i+1])<<4 | unhex(url[i+2])
			if strings.IndexByte(":/?@!$'()*,;", c) >= 0 && unhex(url[i+2]) <= 15 {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(url[i])
	}
	return b.String()
}
