package signature

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SignatureVersion 1, which must be allowed expressly
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"time"
)

// This file verifies messages of Amazon SNS. What is signed depends on fields of the body, and the
// certificate is named in it, so that it is code and no row of a table.

// The keys of Config.Params for sns.
const (
	paramTopic   = "topic_arn"
	paramVersion = "signature_version"
)

// The types of messages.
const (
	snsNotification = "Notification"
	snsSubscribe    = "SubscriptionConfirmation"
	snsUnsubscribe  = "UnsubscribeConfirmation"
)

// snsCheck verifies messages of the topics that are allowed: a good signature only proves that some
// topic of somebody sent it.
type snsCheck struct {
	profile  Profile
	keys     signingKeys
	topics   []string
	versions []string
}

// compileSNS compiles an sns profile.
func compileSNS(p *Profile, c *Config) (check, error) {
	keys, err := compileSigningKeys(p, c)
	if err != nil {
		return nil, err
	}
	v := &snsCheck{profile: *p, keys: keys, topics: c.Params[paramTopic], versions: c.Params[paramVersion]}
	if len(v.topics) == 0 || slices.Contains(v.topics, "") {
		return nil, p.bad("parameter %q needs the topics that are allowed", paramTopic)
	}
	if len(v.versions) == 0 {
		v.versions = []string{"2"}
	}
	for _, version := range v.versions {
		if version != "1" && version != "2" {
			return nil, p.bad("parameter %q is 1 or 2", paramVersion)
		}
	}
	return v, nil
}

// snsMessage holds the fields of a message that matter here, decoded.
type snsMessage map[string]string

// readSNS reads the message. What is no string is as good as missing.
func readSNS(body []byte) (snsMessage, bool) {
	names := snsFields()
	ptrs := make([]pointer, len(names))
	for i, name := range names {
		ptrs[i] = pointer{name}
	}
	at := make([]found, len(ptrs))
	if find(body, ptrs, at) != nil {
		return nil, false
	}
	m := snsMessage{}
	for i, f := range at {
		if f.end > f.start && body[f.start] == '"' {
			text, _ := f.text(nil, body)
			m[names[i]] = string(text)
		}
	}
	return m, true
}

// snsFields are the names of the fields that matter. The address of the certificate has two
// spellings; that of the events of Lambda differs.
func snsFields() []string {
	return []string{
		"Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion",
		"Signature", "SigningCertURL", "SigningCertUrl", "SubscribeURL", "SubscribeUrl", "Token",
	}
}

// either returns the value under one of two spellings; ok is false if they contradict each other.
func (m snsMessage) either(a, b string) (value string, ok bool) {
	switch {
	case m[a] == "":
		return m[b], true
	case m[b] == "" || m[a] == m[b]:
		return m[a], true
	default:
		return "", false
	}
}

// canonical returns the signed text: names and values, each on its line, in a fixed order.
func (m snsMessage) canonical() ([]byte, Reason, string) {
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != snsNotification {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var text []byte
	for _, name := range names {
		value, ok := m[name]
		if name == "SubscribeURL" {
			value, ok = m.either("SubscribeURL", "SubscribeUrl")
			ok = ok && value != ""
		}
		if !ok && name == "Subject" {
			continue
		}
		if !ok {
			return nil, MissingField, name
		}
		text = append(append(append(append(text, name...), '\n'), value...), '\n')
	}
	return text, "", ""
}

// verify implements check.
func (v *snsCheck) verify(req *Request, now time.Time) (Proof, error) {
	m, text, sig, reason, detail := v.read(req)
	if reason != "" {
		return Proof{}, v.profile.refuse(reason, detail)
	}
	address, ok := m.either("SigningCertURL", "SigningCertUrl")
	switch {
	case !ok:
		return Proof{}, v.profile.refuse(MalformedBody, "SigningCertURL")
	case address == "":
		return Proof{}, v.profile.refuse(MissingCertURL, "SigningCertURL")
	case !v.keys.rule.allows(address):
		return Proof{}, v.profile.refuse(UntrustedCertURL, "SigningCertURL")
	case !slices.Contains(v.topics, m["TopicArn"]):
		return Proof{}, v.profile.refuse(UnknownTopic, "TopicArn")
	}
	sent, err := time.Parse(time.RFC3339, m["Timestamp"])
	if err != nil {
		return Proof{}, v.profile.refuse(MalformedTimestamp, "Timestamp")
	}
	key, reason, err := v.keys.fetch(address, now)
	switch {
	case err != nil:
		return Proof{}, err
	case reason != "":
		return Proof{}, v.profile.refuse(reason, "SigningCertURL")
	}
	index, ok := v.match(m["SignatureVersion"], text, sig, key)
	if !ok {
		return Proof{}, v.profile.refuse(BadSignature, "Signature")
	}
	if reason := fresh(sent, now, time.Duration(v.profile.Tolerance)*time.Second); reason != "" {
		return Proof{}, v.profile.refuse(reason, "Timestamp")
	}
	return Proof{Profile: v.profile.Name, KeyIndex: index, Timestamp: sent}, nil
}

// read returns the message with its signed text and its signature.
func (v *snsCheck) read(req *Request) (m snsMessage, text, sig []byte, r Reason, detail string) {
	const raw = "X-Amz-Sns-Rawdelivery"
	for _, value := range req.Header[raw] {
		if strings.EqualFold(value, "true") {
			return nil, nil, nil, MissingSignature, raw
		}
	}
	m, ok := readSNS(req.Body)
	switch {
	case !ok:
		return nil, nil, nil, MalformedBody, ""
	case m["Signature"] == "":
		return nil, nil, nil, MissingSignature, "Signature"
	case !slices.Contains(v.versions, m["SignatureVersion"]):
		return nil, nil, nil, UnsupportedAlg, "SignatureVersion"
	case !slices.Contains([]string{snsNotification, snsSubscribe, snsUnsubscribe}, m["Type"]):
		return nil, nil, nil, MissingField, "Type"
	}
	if sig, ok = appendBase64(nil, []byte(m["Signature"])); !ok {
		return nil, nil, nil, MalformedSignature, "Signature"
	}
	text, r, detail = m.canonical()
	return m, text, sig, r, detail
}

// match checks the signature by the pins and the key that was fetched, whose index is -1. The version
// chooses the hash.
func (v *snsCheck) match(version string, text, sig []byte, fetched crypto.PublicKey) (index int, ok bool) {
	hash, sum := crypto.SHA256, sha256.Sum256(text)
	digest := sum[:]
	if version == "1" {
		old := sha1.Sum(text) //nolint:gosec // what version 1 is
		hash, digest = crypto.SHA1, old[:]
	}
	verifies := func(key crypto.PublicKey) bool {
		public, ok := key.(*rsa.PublicKey)
		return ok && rsa.VerifyPKCS1v15(public, hash, digest, sig) == nil
	}
	if i := slices.IndexFunc(v.keys.pins, verifies); i >= 0 {
		return i, true
	}
	return -1, verifies(fetched)
}

// isSNS recognizes the messages about subscriptions.
func isSNS(req *Request) bool {
	kind, _ := req.text("/Type")
	return req.Method == http.MethodPost && (kind == snsSubscribe || kind == snsUnsubscribe)
}

// answerSNS accepts a message whose signature has been verified. What it asks for is in Confirm.
func answerSNS(req *Request, _ *Config, _ int) (Answer, Reason) {
	if req.textIs("/Type", snsSubscribe) && confirmSNS(req) == "" {
		return refused()
	}
	return Answer{Status: http.StatusOK}, ""
}

// confirmSNS returns the address that confirms a subscription, "" if it is not what SNS sends: the
// host in the topic's region, and a query that confirms this topic with this token and nothing else.
// The end of a subscription names an address too, which would revive it: it is never returned.
func confirmSNS(req *Request) string {
	m, ok := readSNS(req.Body)
	if !ok || m["Type"] != snsSubscribe {
		return ""
	}
	address, ok := m.either("SubscribeURL", "SubscribeUrl")
	if !ok {
		return ""
	}
	u, ok := plainURL(address)
	arn := strings.Split(m["TopicArn"], ":")
	if !ok || len(arn) != 6 || strings.Contains(arn[3], ".") || m["Token"] == "" || u.Path != "/" && u.Path != "" {
		return ""
	}
	host := "sns." + arn[3] + ".amazonaws.com"
	if arn[1] == "aws-cn" {
		host += ".cn"
	}
	want := map[string]string{"Action": "ConfirmSubscription", "TopicArn": m["TopicArn"], "Token": m["Token"]}
	given := u.Query()
	if u.Host != host || len(given) != len(want) {
		return ""
	}
	for name, value := range want {
		if len(given[name]) != 1 || given[name][0] != value {
			return ""
		}
	}
	return address
}
