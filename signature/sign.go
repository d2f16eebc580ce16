package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrSign is what Sign returns, wrapped, for a request that cannot be signed: a header or field of
// the signed text is missing, or holds what delimits it.
var ErrSign = errors.New("request cannot be signed")

// Signer signs requests in the way of a profile: with mac as the sender would, with token by putting
// the token where it belongs, with jwt by an HS256 token, with sigv4 as an AWS SDK would. It is safe for concurrent use.
type Signer struct {
	profile Profile
	scheme  *scheme
	mac     *macKeys
	secrets []string
	sigV4   *sigV4Check
}

// NewSigner returns the Signer for a provider or profile by name. Errors are those of New.
func NewSigner(name string, c Config) (*Signer, error) {
	p, err := resolve(name, c.Profile)
	if err != nil {
		return nil, err
	}
	return NewProfileSigner(p, c)
}

// NewProfileSigner returns the Signer for a profile. Errors are those of New.
func NewProfileSigner(p Profile, c Config) (*Signer, error) {
	s := &Signer{profile: p, secrets: c.Secrets}
	var err error
	switch p.Mech {
	case mechMAC:
		s.scheme, s.mac, err = macScheme(&p, &c)
	case mechToken:
		_, err = compileToken(&p, &c)
	case mechJWT:
		if len(c.Secrets) == 0 {
			return nil, p.bad("only %s tokens can be made, with a secret", algHS256)
		}
		_, err = compileJWT(&p, &c)
	case mechSigV4:
		s.sigV4, err = sigV4Keys(&p, &c)
	case mechNone:
	default:
		err = p.bad("mechanism %q cannot sign", p.Mech)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// StandardWebhooks returns the Signer for Standard Webhooks. All secrets sign, the newest first, so
// that the receiver may change to it at any time. Each is base64, with or without "whsec_".
func StandardWebhooks(secrets ...string) (*Signer, error) {
	return NewSigner("standard-webhooks", Secrets(secrets...))
}

// Sign signs the request as sent at the time now, by setting header fields or, for profiles that
// keep the signature there, fields of the body or a query parameter. Headers that are part of the
// signed text must be set before: for Standard Webhooks Webhook-Id, which must not hold a dot.
//
// Where the scheme carries several signatures, all secrets sign; otherwise the first one does.
func (s *Signer) Sign(req *Request, now time.Time) error {
	if req.Header == nil {
		req.Header = http.Header{}
	}
	var err error
	switch s.profile.Mech {
	case mechMAC:
		err = s.signMAC(req, now)
	case mechToken:
		err = s.putToken(req, s.secrets[0])
	case mechJWT:
		var token string
		if token, err = s.makeJWT(req.Body, now); err == nil {
			err = s.putToken(req, token)
		}
	case mechSigV4:
		s.signSigV4(req, now)
	}
	if err != nil {
		return fmt.Errorf("signing by %s: %w", s.profile.Name, err)
	}
	return nil
}

// signMAC signs by a keyed digest.
func (s *Signer) signMAC(req *Request, now time.Time) error {
	c := s.scheme
	work, _ := c.pool.Get().(*scratch)
	defer c.release(work)
	if err := s.prepare(req, work, now); err != nil {
		return err
	}
	url := ""
	if c.content.has(kindURL) {
		url = spell(nil, req.URL, nil)[0]
	}
	if reason, detail := c.fill(work, req, url); reason != "" {
		return fmt.Errorf("%s (%s): %w", reason, detail, ErrSign)
	}
	return s.put(req, s.profile.Sig.In, c.sigNames, c.profile.Sig.Name[0], s.render(req, work))
}

// prepare sets what stands in the request beside the signature: time, key id, body hash.
func (s *Signer) prepare(req *Request, work *scratch, now time.Time) error {
	c := s.scheme
	if c.tsIn != "" {
		unit := unitSeconds
		if c.profile.TS != nil {
			unit = c.profile.TS.Unit
		}
		work.ts = formatTime(now, unit)
	}
	if c.tsIn != "" && c.tsIn != inKV {
		if err := s.put(req, c.tsIn, c.tsNames, c.profile.TS.Name[0], work.ts); err != nil {
			return err
		}
	}
	for _, rule := range c.require {
		req.Header.Set(rule.header, rule.values[0])
	}
	if name := c.profile.BodyHashParam; name != "" && len(req.Body) > 0 && !req.isForm() {
		sum := sha256.Sum256(req.Body)
		setQuery(req, name, hex.EncodeToString(sum[:]))
	}
	return nil
}

// formatTime writes a timestamp of the unit.
func formatTime(t time.Time, unit string) string {
	switch unit {
	case unitMillis:
		return strconv.FormatInt(t.UnixMilli(), 10)
	case unitHTTP:
		return t.UTC().Format(http.TimeFormat)
	case unitRFC3339:
		return t.UTC().Format(time.RFC3339)
	default:
		return strconv.FormatInt(t.Unix(), 10)
	}
}

// render returns the text of the signatures.
func (s *Signer) render(req *Request, work *scratch) string {
	sig := s.profile.Sig
	one := func(key int) string {
		sum := s.mac.sum(work, req, key)
		if s.profile.Enc == encHex {
			return hex.EncodeToString(sum)
		}
		return base64.StdEncoding.EncodeToString(sum)
	}
	switch sig.Parse {
	case parsePrefix:
		return sig.Prefix + one(0)
	case parseList:
		parts := make([]string, len(s.mac.keys))
		for i := range parts {
			parts[i] = sig.Prefix + one(i)
		}
		return strings.Join(parts, sig.Sep)
	case parseKV:
		var parts []string
		if sig.TSKey != "" {
			parts = append(parts, sig.TSKey+"="+work.ts)
		}
		for i := range s.mac.keys {
			parts = append(parts, sig.SigKey+"="+one(i))
		}
		return strings.Join(parts, sig.Sep)
	default:
		return one(0)
	}
}

// put sets a value at a place of the request.
func (s *Signer) put(req *Request, in string, headers []string, name, value string) error {
	switch in {
	case inHeader:
		for _, other := range headers[1:] {
			delete(req.Header, other)
		}
		req.Header[headers[0]] = []string{value}
		return nil
	case inJSON:
		return putJSON(req, name, value)
	default:
		return putForm(req, name, value)
	}
}

// putJSON replaces the value at a JSON pointer of the body. It must be there: where else to put it is
// the sender's choice.
func putJSON(req *Request, ptr, value string) error {
	p, _ := parsePointer(ptr)
	var at [1]found
	if find(req.Body, []pointer{p}, at[:]) != nil || at[0].end == 0 {
		return fmt.Errorf("the body has no %s to put it in: %w", ptr, ErrSign)
	}
	quoted := []byte(value)
	if req.Body[at[0].start] == '"' {
		var err error
		if quoted, err = json.Marshal(value); err != nil {
			return fmt.Errorf("quoting: %w", err)
		}
	}
	req.Body = bytes.Join([][]byte{req.Body[:at[0].start], quoted, req.Body[at[0].end:]}, nil)
	return nil
}

// putForm sets a field of a form.
func putForm(req *Request, name, value string) error {
	if !req.isForm() {
		return fmt.Errorf("the body is not a form: %w", ErrSign)
	}
	req.Body = []byte(replacePair(string(req.Body), name, value))
	return nil
}

// setQuery sets a query parameter.
func setQuery(req *Request, name, value string) {
	base, query := split(req.URL)
	req.URL = base + "?" + replacePair(query, name, value)
}

// replacePair returns the URL-encoded pairs with the value of name, and the rest as it was.
func replacePair(pairs, name, value string) string {
	name = url.QueryEscape(name)
	var kept []string
	for item := range strings.SplitSeq(pairs, "&") {
		if k, _, _ := strings.Cut(item, "="); item != "" && k != name {
			kept = append(kept, item)
		}
	}
	return strings.Join(append(kept, name+"="+url.QueryEscape(value)), "&")
}

// putToken puts a token where the profile has it.
func (s *Signer) putToken(req *Request, token string) error {
	place := s.profile.Token
	switch place.In {
	case inHeader:
		scheme := place.Scheme
		if s.profile.Basic {
			token = base64.StdEncoding.EncodeToString([]byte(token))
			if scheme == "" {
				scheme = "Basic "
			}
		}
		req.Header.Set(place.Name[0], scheme+token)
		return nil
	case inQuery:
		setQuery(req, place.Name[0], token)
		return nil
	case inJSON:
		return putJSON(req, place.Name[0], token)
	default:
		return fmt.Errorf("the token is part of the path: %w", ErrSign)
	}
}

// makeJWT returns an HS256 token with the claims that the profile asks for.
func (s *Signer) makeJWT(body []byte, now time.Time) (string, error) {
	claims := map[string]any{"iat": now.Unix()}
	for name, value := range s.profile.Expect {
		claims[name] = value
	}
	if s.profile.RequireExp {
		claims["exp"] = now.Add(5 * time.Minute).Unix()
	}
	if name := s.profile.BodyHashClaim; name != "" {
		sum := sha256.Sum256(body)
		claims[name] = hex.EncodeToString(sum[:])
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("writing claims: %w", err)
	}
	signed := base64URL.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64URL.EncodeToString(payload)
	key, err := decodeSecret(&s.profile, s.secrets[0])
	if err != nil {
		return "", fmt.Errorf("decoding the secret: %w", err)
	}
	return signed + "." + base64URL.EncodeToString((&Key{Secret: key}).sum([]byte(signed))), nil
}
