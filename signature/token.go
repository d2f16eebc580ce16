package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tokenCheck compares a constant that the sender was given.
type tokenCheck struct {
	profile Profile
	place   tokenPlace
	// sums are the SHA-256 of the secrets: equal lengths, so that comparing tells none.
	sums [][sha256.Size]byte
}

// tokenPlace reads the token of a request for token and jwt profiles.
type tokenPlace struct {
	in    string
	names []string
	index int
	ptrs  []pointer
	// list and rest are a pointer through the first element of an array, in two: the token of every
	// other element must be good too.
	list, rest []pointer
	scheme     string
	basic      bool
}

// compileToken compiles a token profile.
func compileToken(p *Profile, c *Config) (check, error) {
	place, err := compilePlace(p)
	if err != nil {
		return nil, err
	}
	if len(c.Secrets) == 0 {
		return nil, p.refuse(NoSecret, "")
	}
	t := &tokenCheck{profile: *p, place: place}
	for i, secret := range c.Secrets {
		if secret == "" {
			return nil, p.refuse(NoSecret, "")
		}
		if p.Basic && !strings.Contains(secret, ":") {
			return nil, p.bad("secret %d is not user:password", i)
		}
		t.sums = append(t.sums, sha256.Sum256([]byte(secret)))
	}
	return t, nil
}

// compilePlace checks where the token is.
func compilePlace(p *Profile) (tokenPlace, error) {
	if p.Token == nil || first(p.Token.Name) == "" {
		return tokenPlace{}, p.bad("no place for the token")
	}
	t := tokenPlace{in: p.Token.In, names: p.Token.Name, scheme: p.Token.Scheme, basic: p.Basic}
	if t.basic && t.scheme == "" {
		t.scheme = "Basic "
	}
	if t.scheme != "" && t.in != inHeader {
		return tokenPlace{}, p.bad("an authorization scheme belongs to a header")
	}
	var err error
	switch t.in {
	case inHeader:
		t.names = canonical(t.names)
	case inQuery:
	case inPath:
		if t.index, err = strconv.Atoi(t.names[0]); err != nil {
			return tokenPlace{}, p.bad("%q is not the index of a path segment", t.names[0])
		}
	case inJSON:
		if _, err = addPointer(t.names[0], &t.ptrs); err != nil {
			return tokenPlace{}, p.bad("%v", err)
		}
		if i := slices.Index(t.ptrs[0], "0"); i >= 0 {
			t.list, t.rest = []pointer{t.ptrs[0][:i]}, []pointer{t.ptrs[0][i+1:]}
		}
	default:
		return tokenPlace{}, p.bad("unknown place %q", t.in)
	}
	return t, nil
}

// verify implements check.
func (t *tokenCheck) verify(req *Request, _ time.Time) (Proof, error) {
	token, reason := t.place.read(req)
	if reason != "" {
		return Proof{}, t.profile.refuse(reason, t.place.names[0])
	}
	key := t.match(token)
	others, reason := t.place.others(req)
	if reason != "" {
		return Proof{}, t.profile.refuse(reason, t.place.names[0])
	}
	good := key >= 0
	for _, other := range others {
		good = t.match(other) >= 0 && good
	}
	if !good {
		return Proof{}, t.profile.refuse(BadToken, t.place.names[0])
	}
	return Proof{Profile: t.profile.Name, KeyIndex: key}, nil
}

// match returns the index of the secret that the token is, -1 for none.
func (t *tokenCheck) match(token string) int {
	sum, found := sha256.Sum256([]byte(token)), -1
	for i := range t.sums {
		equal := subtle.ConstantTimeCompare(sum[:], t.sums[i][:])
		found = pick(found, subtle.ConstantTimeSelect(equal, i, -1))
	}
	return found
}

// others returns the tokens of the other elements of the array that holds the token.
func (t *tokenPlace) others(req *Request) ([]string, Reason) {
	var at [1]found
	if t.list == nil || find(req.Body, t.list, at[:]) != nil {
		return nil, ""
	}
	list := req.Body[at[0].start:at[0].end]
	if len(list) == 0 || list[0] != '[' {
		return nil, ""
	}
	items, ok := elements(list)
	if !ok || len(items) == 0 {
		return nil, MalformedBody
	}
	tokens := make([]string, 0, len(items))
	for _, item := range items[1:] {
		if find(item, t.rest, at[:]) != nil {
			return nil, MalformedBody
		}
		text, ok := at[0].text(nil, item)
		if !ok {
			return nil, MissingToken
		}
		tokens = append(tokens, string(text))
	}
	return tokens, ""
}

// read returns the token.
func (t *tokenPlace) read(req *Request) (string, Reason) {
	switch t.in {
	case inQuery:
		// An empty parameter is a token, a wrong one; an empty header is none.
		token, ok, reason := req.query(t.names[0])
		if reason == "" && !ok {
			reason = MissingToken
		}
		return token, reason
	case inPath:
		return present(req.segment(t.index))
	case inJSON:
		var at [1]found
		if find(req.Body, t.ptrs, at[:]) != nil {
			return "", MalformedBody
		}
		text, ok := at[0].text(nil, req.Body)
		if !ok {
			return "", MissingToken
		}
		return string(text), ""
	default:
		token, reason := present(req.oneOf(t.names))
		if reason != "" || t.scheme == "" {
			return token, reason
		}
		return t.strip(token)
	}
}

// present turns an empty token into a refusal.
func present(token string, reason Reason) (string, Reason) {
	if reason == "" && token == "" {
		reason = MissingToken
	}
	return token, reason
}

// strip removes the authorization scheme, whose name has no case (RFC 9110 11.1), and decodes Basic
// credentials (RFC 7617 2).
func (t *tokenPlace) strip(value string) (string, Reason) {
	n := len(t.scheme)
	if len(value) < n || !strings.EqualFold(value[:n], t.scheme) {
		return "", MalformedToken
	}
	value = strings.TrimLeft(value[n:], " ")
	if !t.basic {
		return value, ""
	}
	if strings.ContainsAny(value, "\r\n") {
		return "", MalformedToken
	}
	decoded, err := base64.StdEncoding.DecodeString(value)
	if err != nil || !strings.Contains(string(decoded), ":") {
		return "", MalformedToken
	}
	return string(decoded), ""
}
