package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ErrProfile is what New and its relatives return, wrapped, for a profile or a configuration that
// makes no sense.
var ErrProfile = errors.New("unusable profile")

// Profile is a verification scheme as data: a mechanism and its parameters. The JSON form is stable
// and is what custom schemes are configured with. Fields that the mechanism does not use stay empty.
type Profile struct {
	// Name is what Proof and Error call the profile.
	Name string `json:"name,omitempty"`
	// Mech names the mechanism: mac, pubkey, token, jwt, sns, sigv4, ip, mtls or none.
	Mech string `json:"mech"`
	// Alg is the algorithm. For mac: sha1, sha256, sha512 (HMAC) or concat-sha256 (a plain digest
	// whose content holds the secret). For pubkey: ed25519, ecdsa-p256-sha256-der, rsa-pkcs1-sha256.
	Alg string `json:"alg,omitempty"`
	// Keyfmt is the form of the configured public key: ed25519-hex, ed25519-whpk or spki-base64. PEM
	// is always understood.
	Keyfmt string `json:"keyfmt,omitempty"`
	// Enc is the encoding of the signature: hex or base64.
	Enc string `json:"enc,omitempty"`
	// Sig is where the signature is and how it is parsed.
	Sig *Sig `json:"sig,omitempty"`
	// Content is the template of the signed bytes: text with {body} {ts} {url} {method}
	// {form-sorted} {secret} {crc32} {header:N} {json:/p} {form:N} {param:N}.
	Content string `json:"content,omitempty"`
	// TS is where the time of sending is, unless the signature header holds it.
	TS *Timestamp `json:"ts,omitempty"`
	// Tolerance is how many seconds the time of sending may differ from now, either way and
	// inclusive; 0 checks no freshness.
	Tolerance int `json:"tolerance,omitempty"`
	// Key is the encoding of the configured secret: raw (the default), base64 or hex.
	Key string `json:"key,omitempty"`
	// KeyStrip is a prefix that is removed from the secret, if there, before it is decoded.
	KeyStrip string `json:"key_strip,omitempty"`
	// URLVariants are the spellings of the URL that are tried: as-is, port-removed, port-added,
	// apostrophe-encoded, escapes-decoded. The default is as-is.
	URLVariants []string `json:"url_variants,omitempty"`
	// BodyHashParam is a query parameter that holds the hexadecimal SHA-256 of a body that is not a
	// form.
	BodyHashParam string `json:"body_hash_param,omitempty"`
	// Require are headers that must equal configured parameters.
	Require []Require `json:"require,omitempty"`
	// Token is where the token is.
	Token *Token `json:"token,omitempty"`
	// Basic says that the token is HTTP Basic credentials; the secret is "user:password".
	Basic bool `json:"basic,omitempty"`
	// Algs are the algorithms that a jwt may use: HS256, RS256, ES256, EdDSA.
	Algs []string `json:"algs,omitempty"`
	// Expect are claims of a jwt that must have the value. An aud may also be a list that holds it.
	Expect map[string]string `json:"expect,omitempty"`
	// BodyHashClaim is the claim that holds the hexadecimal SHA-256 of the body.
	BodyHashClaim string `json:"body_hash_claim,omitempty"`
	// Leeway is how many seconds exp and nbf are stretched.
	Leeway int `json:"leeway,omitempty"`
	// RequireExp refuses a jwt without exp.
	RequireExp bool `json:"require_exp,omitempty"`
	// Claims is false if the payload of the jwt is not a set of claims.
	Claims *bool `json:"claims,omitempty"`
	// CertURL is where the address of the signing certificate is.
	CertURL *Place `json:"cert_url,omitempty"`
	// CertHost and CertPath are the regular expressions that host and path of that address match.
	CertHost string `json:"cert_host,omitempty"`
	CertPath string `json:"cert_path,omitempty"`
	// AlgHeader names a header that must have the value AlgValue.
	AlgHeader string `json:"alg_header,omitempty"`
	AlgValue  string `json:"alg_value,omitempty"`
}

// Sig is where a signature is and how it is parsed.
type Sig struct {
	// In is header, json or form.
	In string `json:"in"`
	// Name is the header (or its alternatives), the JSON pointer, or the form field.
	Name Names `json:"name"`
	// Parse is plain, prefix, list or kv.
	Parse string `json:"parse"`
	// Prefix is what a signature starts with (prefix, list).
	Prefix string `json:"prefix,omitempty"`
	// Sep separates the elements (list, kv).
	Sep string `json:"sep,omitempty"`
	// SigKey and TSKey are the keys of the signatures and of the timestamp (kv).
	SigKey string `json:"sig_key,omitempty"`
	TSKey  string `json:"ts_key,omitempty"`
}

// Timestamp is where the time of sending is.
type Timestamp struct {
	// In is header, json or form; kv says that it is in the signature header, under Sig.TSKey.
	In string `json:"in"`
	// Name is the header, the JSON pointer or the form field.
	Name Names `json:"name,omitempty"`
	// Unit is s, ms, rfc3339 (which takes seconds too) or http-date (RFC 9110 5.6.7).
	Unit string `json:"unit"`
}

// Token is where a token is.
type Token struct {
	// In is header, query, path or json.
	In string `json:"in"`
	// Name is the header, the parameter, the index of the path segment (negative: from the end), or
	// the JSON pointer. A pointer through element 0 of an array wants the token of every element.
	Name Names `json:"name"`
	// Scheme is what stands before the token in a header, with its space: "Bearer ".
	Scheme string `json:"scheme,omitempty"`
}

// Place is where something is.
type Place struct {
	// In is header.
	In string `json:"in"`
	// Name is the header.
	Name Names `json:"name"`
}

// Require is a header that must equal a configured parameter.
type Require struct {
	// Header is the header.
	Header string `json:"header"`
	// Param is the key in Config.Params.
	Param string `json:"param"`
}

// Names is one name or several alternatives. In JSON a single name may be a string or a number.
type Names []string

// UnmarshalJSON reads a string, a number or a list of strings.
func (n *Names) UnmarshalJSON(data []byte) error {
	var list []string
	if len(data) > 0 && data[0] == '[' {
		if err := json.Unmarshal(data, &list); err != nil {
			return fmt.Errorf("reading names: %w", err)
		}
		*n = list
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		*n = Names{text}
		return nil
	}
	var number int
	if err := json.Unmarshal(data, &number); err != nil {
		return fmt.Errorf("reading a name: %w", err)
	}
	*n = Names{strconv.Itoa(number)}
	return nil
}

// MarshalJSON writes a single name as a string, several as a list.
func (n Names) MarshalJSON() ([]byte, error) {
	if len(n) == 1 {
		return json.Marshal(n[0])
	}
	return json.Marshal([]string(n))
}

// ParseProfiles reads a JSON object of profiles by name and gives each its name. An unknown field is
// an error: a misspelled restriction must not be a restriction less.
func ParseProfiles(data []byte) (map[string]Profile, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var profiles map[string]Profile
	if err := dec.Decode(&profiles); err != nil {
		return nil, fmt.Errorf("reading profiles: %w", err)
	}
	for name, p := range profiles {
		p.Name = name
		profiles[name] = p
	}
	return profiles, nil
}

// Credentials are the places where a request carries something that would let its reader send
// requests too. They must be masked before a request is stored or shown.
type Credentials struct {
	// Headers are canonical header names.
	Headers []string
	// Query are names of query parameters.
	Query []string
	// Segments are indexes of path segments, negative ones counted from the end.
	Segments []int
	// Pointers are JSON pointers into the body.
	Pointers []string
}

// Credentials returns where requests of the profile carry credentials. Signatures are none: they
// are worth nothing for another body.
func (p *Profile) Credentials() Credentials {
	if p.Token == nil || (p.Mech == mechJWT && p.BodyHashClaim != "") {
		return Credentials{}
	}
	switch p.Token.In {
	case inHeader:
		return Credentials{Headers: canonical(p.Token.Name)}
	case inQuery:
		return Credentials{Query: p.Token.Name}
	case inPath:
		if index, err := strconv.Atoi(first(p.Token.Name)); err == nil {
			return Credentials{Segments: []int{index}}
		}
		return Credentials{}
	case inJSON:
		return Credentials{Pointers: p.Token.Name}
	default:
		return Credentials{}
	}
}

// first returns the first name, "" if there is none.
func first(names Names) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// bad returns an ErrProfile for the profile.
func (p *Profile) bad(format string, args ...any) error {
	return fmt.Errorf("profile %q: %s: %w", p.Name, fmt.Sprintf(format, args...), ErrProfile)
}

// refuse returns the refusal of the profile.
func (p *Profile) refuse(reason Reason, detail string) error {
	return &Error{Reason: reason, Profile: p.Name, Detail: detail}
}
