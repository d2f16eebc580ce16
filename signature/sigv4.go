package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file verifies and makes AWS Signature Version 4 in its header form: what AWS SDKs and Sumo
// Logic's AWS Lambda connection send. Presigned URLs, unsigned and streamed bodies, and the
// asymmetric variant are refused.

const (
	sigV4Scheme     = "AWS4-HMAC-SHA256"
	sigV4Terminator = "aws4_request"
	sigV4Time       = "20060102T150405Z"
	sigV4Date       = "20060102"
	sigV4BodyHash   = "X-Amz-Content-Sha256"
	sigV4DateHeader = "X-Amz-Date"
	sigV4Header     = "Authorization"
)

// The keys of Config.Params for sigv4.
const (
	paramRegion  = "region"
	paramService = "service"
)

// maxSignedHeaders bounds the list of signed headers.
const maxSignedHeaders = 128

// sigV4Services are the services that are accepted unless others are configured: gateways and
// function URLs.
func sigV4Services() []string { return []string{"execute-api", "lambda"} }

// sigV4Key is an access key with its secret.
type sigV4Key struct{ id, secret string }

// sigV4Check verifies the signatures of static keys.
type sigV4Check struct {
	profile  Profile
	keys     []sigV4Key
	regions  []string
	services []string
}

// compileSigV4 compiles a sigv4 profile. The secrets are "access key id:secret access key".
func compileSigV4(p *Profile, c *Config) (check, error) { return sigV4Keys(p, c) }

func sigV4Keys(p *Profile, c *Config) (*sigV4Check, error) {
	if len(c.Secrets) == 0 {
		return nil, p.refuse(NoSecret, "")
	}
	v := &sigV4Check{profile: *p, regions: c.Params[paramRegion], services: c.Params[paramService]}
	if len(v.services) == 0 {
		v.services = sigV4Services()
	}
	if slices.Contains(v.regions, "") || slices.Contains(v.services, "") {
		return nil, p.bad("a region or service is empty")
	}
	for i, text := range c.Secrets {
		id, secret, ok := strings.Cut(text, ":")
		if text == "" || ok && secret == "" {
			return nil, p.refuse(NoSecret, "")
		}
		if !ok || id == "" || strings.ContainsAny(id, "/, ") {
			return nil, p.bad("secret %d is not \"access key id:secret access key\"", i)
		}
		v.keys = append(v.keys, sigV4Key{id, secret})
	}
	if p.Tolerance < 0 {
		return nil, p.bad("negative tolerance")
	}
	return v, nil
}

// sigV4Auth is a parsed Authorization header.
type sigV4Auth struct {
	key, date, region, service string
	headers                    []string
	signature                  [sha256.Size]byte
}

// verify implements check.
func (v *sigV4Check) verify(req *Request, now time.Time) (Proof, error) {
	key, sent, reason, detail := v.judge(req, now)
	if reason != "" {
		return Proof{}, v.profile.refuse(reason, detail)
	}
	return Proof{Profile: v.profile.Name, KeyIndex: key, Timestamp: sent}, nil
}

// judge goes through the checks in the order of the package's rules.
func (v *sigV4Check) judge(req *Request, now time.Time) (key int, sent time.Time, r Reason, detail string) {
	value, r := req.one(sigV4Header)
	switch {
	case r != "":
		return -1, sent, r, sigV4Header
	case value == "":
		return -1, sent, MissingSignature, sigV4Header
	}
	auth, ok := parseSigV4(value)
	if !ok {
		return -1, sent, MalformedSignature, sigV4Header
	}
	if r, detail = v.signedHeaders(req, &auth); r != "" {
		return -1, sent, r, detail
	}
	stamp, r := req.one(sigV4DateHeader)
	if r != "" {
		return -1, sent, r, sigV4DateHeader
	}
	sent, err := time.Parse(sigV4Time, stamp)
	switch {
	case stamp == "":
		return -1, sent, MissingTimestamp, sigV4DateHeader
	case err != nil || len(stamp) != len(sigV4Time):
		return -1, sent, MalformedTimestamp, sigV4DateHeader
	case auth.date != stamp[:len(sigV4Date)]:
		return -1, sent, BadScope, "date"
	case len(v.regions) > 0 && !slices.Contains(v.regions, auth.region):
		return -1, sent, BadScope, paramRegion
	case !slices.Contains(v.services, auth.service):
		return -1, sent, BadScope, paramService
	}
	sum := sha256.Sum256(req.Body)
	if r = v.bodyHash(req, sum[:]); r != "" {
		return -1, sent, r, sigV4BodyHash
	}
	if key, r = v.match(req, &auth, stamp, sum[:]); r != "" {
		return -1, sent, r, ""
	}
	return key, sent, fresh(sent, now, time.Duration(v.profile.Tolerance)*time.Second), ""
}

// parseSigV4 reads the Authorization header: each part once, in any order.
func parseSigV4(value string) (a sigV4Auth, ok bool) {
	rest, ok := strings.CutPrefix(value, sigV4Scheme+" ")
	if !ok {
		return a, false
	}
	var credential, headers, signature string
	for part := range strings.SplitSeq(rest, ",") {
		name, text, found := strings.Cut(strings.TrimSpace(part), "=")
		var into *string
		switch name {
		case "Credential":
			into = &credential
		case "SignedHeaders":
			into = &headers
		case "Signature":
			into = &signature
		default:
			return a, false
		}
		if !found || text == "" || *into != "" {
			return a, false
		}
		*into = text
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || slices.Contains(scope, "") || scope[4] != sigV4Terminator {
		return a, false
	}
	a.key, a.date, a.region, a.service = scope[0], scope[1], scope[2], scope[3]
	raw, ok := appendHex(a.signature[:0], []byte(signature))
	if !ok || len(raw) != sha256.Size {
		return a, false
	}
	a.headers = strings.Split(headers, ";")
	return a, len(a.headers) <= maxSignedHeaders
}

// signedHeaders holds that the list is lower case and sorted, names what says where and when, and
// leaves no header out that AWS would obey.
func (v *sigV4Check) signedHeaders(req *Request, a *sigV4Auth) (Reason, string) {
	for i, name := range a.headers {
		lower := !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || 'A' <= r && r <= 'Z' })
		if name == "" || !lower || i > 0 && a.headers[i-1] >= name {
			return MalformedSignature, "SignedHeaders"
		}
	}
	for _, name := range []string{"host", "x-amz-date"} {
		if _, ok := slices.BinarySearch(a.headers, name); !ok {
			return MalformedSignature, name
		}
	}
	for name := range req.Header {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "x-amz-") {
			continue
		}
		if _, ok := slices.BinarySearch(a.headers, lower); !ok {
			return MalformedSignature, name
		}
	}
	if _, query := split(req.URL); strings.Contains(query, "X-Amz-Signature=") {
		return MalformedSignature, "X-Amz-Signature"
	}
	for _, name := range a.headers {
		if name != "host" && name != "content-length" && len(req.Header[textproto.CanonicalMIMEHeaderKey(name)]) == 0 {
			return MissingHeader, name
		}
	}
	return "", ""
}

// bodyHash compares the declared hash of the body, if there is one. The computed one is what counts.
func (v *sigV4Check) bodyHash(req *Request, sum []byte) Reason {
	declared, r := req.one(sigV4BodyHash)
	if r != "" || declared == "" {
		return r
	}
	var got [sha256.Size]byte
	raw, ok := appendHex(got[:0], []byte(declared))
	switch {
	case strings.HasPrefix(declared, "UNSIGNED-") || strings.HasPrefix(declared, "STREAMING-"):
		return UnsupportedAlg
	case !ok || subtle.ConstantTimeCompare(raw, sum) != 1:
		return BadBodyHash
	default:
		return ""
	}
}

// match returns the index of the key that made the signature. An unknown key costs as much as a
// known one.
func (v *sigV4Check) match(req *Request, a *sigV4Auth, stamp string, sum []byte) (int, Reason) {
	key, secret := -1, "unknown"
	for i, k := range v.keys {
		if k.id == a.key {
			key, secret = i, k.secret
		}
	}
	signing := sigV4Derive(secret, a.date, a.region, a.service)
	equal := 0
	for _, text := range sigV4Canonical(req, a.headers, sum) {
		equal |= subtle.ConstantTimeCompare(a.signature[:], sigV4Sum(signing, a, stamp, text))
	}
	switch {
	case key < 0:
		return -1, UnknownKey
	case equal != 1:
		return -1, BadSignature
	default:
		return key, ""
	}
}

// sigV4Derive returns the signing key.
func sigV4Derive(secret, date, region, service string) []byte {
	key := []byte("AWS4" + secret)
	for _, text := range []string{date, region, service, sigV4Terminator} {
		key = sigV4HMAC(key, []byte(text))
	}
	return key
}

func sigV4HMAC(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	// A hash never returns an error.
	_, _ = mac.Write(text)
	return mac.Sum(nil)
}

// sigV4Sum returns the signature of a canonical request.
func sigV4Sum(key []byte, a *sigV4Auth, stamp string, canonical []byte) []byte {
	sum := sha256.Sum256(canonical)
	text := make([]byte, 0, 256)
	text = append(append(text, sigV4Scheme+"\n"...), stamp...)
	for _, part := range []string{"\n", a.date, "/", a.region, "/", a.service, "/" + sigV4Terminator + "\n"} {
		text = append(text, part...)
	}
	return sigV4HMAC(key, hex.AppendEncode(text, sum[:]))
}

// sigV4Canonical returns the canonical requests that senders may mean: the path normalized, as the
// rules want it, or as sent, as the SDK for Go has it; the query encoded again, or sorted as sent, as
// the SDK for Python leaves a plus sign. Usually they are one.
func sigV4Canonical(req *Request, headers []string, sum []byte) [][]byte {
	base, query := split(req.URL)
	scheme, rest, _ := strings.Cut(base, "://")
	host, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	tail := sigV4Headers(req, headers, host, sum)
	paths := []string{sigV4Escape(sigV4Clean("/"+path), true), sigV4Escape("/"+path, true)}
	queries := []string{sigV4Query(query, true), sigV4Query(query, false)}
	texts := make([][]byte, 0, 4)
	for _, p := range slices.Compact(paths) {
		for _, q := range slices.Compact(queries) {
			text := make([]byte, 0, len(req.Method)+len(p)+len(q)+len(tail)+3)
			for _, part := range []string{req.Method, "\n", p, "\n", q, "\n"} {
				text = append(text, part...)
			}
			texts = append(texts, append(text, tail...))
		}
	}
	return texts
}

// sigV4Clean removes dot segments and doubled slashes and keeps the slash at the end.
func sigV4Clean(path string) string {
	var kept []string
	segments := strings.Split(path, "/")
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		default:
			kept = append(kept, s)
		}
	}
	last := segments[len(segments)-1]
	path = "/" + strings.Join(kept, "/")
	if len(kept) > 0 && (last == "" || last == "." || last == "..") {
		path += "/"
	}
	return path
}

// sigV4Escape percent-encodes every byte that is not unreserved (RFC 3986 2.3), slashes excepted if
// asked.
func sigV4Escape(text string, slash bool) string {
	const digits = "0123456789ABCDEF"
	var out []byte
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/' && slash:
			out = append(out, c)
		default:
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out)
}

// sigV4Query returns the sorted query, its names and values decoded and encoded strictly, or as they
// are.
func sigV4Query(query string, encode bool) string {
	type item struct{ name, value string }
	var items []item
	for text := range strings.SplitSeq(query, "&") {
		if text == "" {
			continue
		}
		name, value, _ := strings.Cut(text, "=")
		if encode {
			name, value = sigV4Recode(name), sigV4Recode(value)
		}
		items = append(items, item{name, value})
	}
	slices.SortFunc(items, func(a, b item) int {
		if order := strings.Compare(a.name, b.name); order != 0 {
			return order
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, it := range items {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(it.name + "=" + it.value)
	}
	return b.String()
}

// sigV4Recode decodes and encodes; what is no escape is text, and a plus sign is one.
func sigV4Recode(text string) string {
	if decoded, ok := unescape(nil, []byte(text), false); ok {
		text = string(decoded)
	}
	return sigV4Escape(text, false)
}

// sigV4Headers returns the canonical request from the headers on.
func sigV4Headers(req *Request, names []string, host string, sum []byte) []byte {
	var text []byte
	for _, name := range names {
		values := req.Header[textproto.CanonicalMIMEHeaderKey(name)]
		switch {
		case name == "host":
			values = []string{host}
		case name == "content-length" && len(values) == 0:
			values = []string{strconv.Itoa(len(req.Body))}
		}
		text = append(append(text, name...), ':')
		for i, value := range values {
			if i > 0 {
				text = append(text, ',')
			}
			text = appendCollapsed(text, value)
		}
		text = append(text, '\n')
	}
	text = append(text, '\n')
	text = append(text, strings.Join(names, ";")...)
	return hex.AppendEncode(append(text, '\n'), sum)
}

// appendCollapsed appends the value trimmed, with runs of spaces as one.
func appendCollapsed(dst []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if value[i] == ' ' && i > 0 && value[i-1] == ' ' {
			continue
		}
		dst = append(dst, value[i])
	}
	return dst
}

// signSigV4 signs with the first key, for the first region and service.
func (s *Signer) signSigV4(req *Request, now time.Time) {
	now = now.UTC()
	stamp := now.Format(sigV4Time)
	a := sigV4Auth{key: s.sigV4.keys[0].id, date: now.Format(sigV4Date), region: "us-east-1", service: s.sigV4.services[0]}
	if len(s.sigV4.regions) > 0 {
		a.region = s.sigV4.regions[0]
	}
	req.Header[sigV4DateHeader] = []string{stamp}
	a.headers = []string{"host"}
	for name := range req.Header {
		lower := strings.ToLower(name)
		if lower == "content-type" || strings.HasPrefix(lower, "x-amz-") {
			a.headers = append(a.headers, lower)
		}
	}
	slices.Sort(a.headers)
	sum := sha256.Sum256(req.Body)
	key := sigV4Derive(s.sigV4.keys[0].secret, a.date, a.region, a.service)
	signature := sigV4Sum(key, &a, stamp, sigV4Canonical(req, a.headers, sum[:])[0])
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s Credential=%s/%s/%s/%s/%s, SignedHeaders=%s, Signature=%x", sigV4Scheme,
		a.key, a.date, a.region, a.service, sigV4Terminator, strings.Join(a.headers, ";"), signature)
	req.Header[sigV4Header] = []string{b.String()}
}
