package webhook

import (
	"fmt"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/signature"
)

// The headers of Standard Webhooks, in the spelling of http.Header. The first
// two go with every request, whatever the scheme.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// The schemes.
const (
	schemeStandard = "standard-webhooks"
	schemeHMAC     = "hmac"
	schemeNone     = "none"
)

// Signing is how requests are signed.
type Signing struct {
	Scheme  string
	Secrets []secret.String
	HMAC    *HMAC
}

// Fields lists the fields.
func (s *Signing) Fields() []spec.Field {
	return []spec.Field{
		spec.Enum("scheme", &s.Scheme, schemeStandard, schemeHMAC, schemeNone).Default(schemeStandard).
			Doc("`standard-webhooks` is the scheme of standardwebhooks.com, for which receivers find libraries " +
				"in most languages; `hmac` any keyed digest, by its parameters; `none` sends unsigned on purpose."),
		spec.Secrets("secrets", &s.Secrets).Example(`["${CRM_SECRET}"]`).
			Doc("What requests are signed with, the newest first. All sign, so that the receiver can change from " +
				"one to the next at any time. For `standard-webhooks` they are base64, with or without `whsec_`; " +
				"`openssl rand -base64 32` makes one."),
		spec.Optional("hmac", &s.HMAC).Doc("The parameters of scheme `hmac`."),
	}
}

// Check checks the secrets against the scheme.
func (s *Signing) Check(at *spec.Place) {
	switch {
	case s.Scheme == schemeNone:
		if len(s.Secrets) > 0 {
			at.Problem("secrets", "are not used by scheme none")
		}
	case len(s.Secrets) == 0:
		at.Problem("secrets", "scheme "+s.Scheme+" needs at least one secret")
	}
	if (s.Scheme == schemeHMAC) != (s.HMAC != nil) {
		at.Problem("hmac", "goes with scheme hmac, and only with it")
	}
	if h := s.HMAC; h != nil && len(s.Secrets) > 1 && h.Separator == "" {
		at.Hint("needs a separator to send the signatures of several secrets", "set hmac.separator, or keep one secret",
			"hmac", "separator")
	}
	if !at.OK("scheme", "secrets", "hmac") {
		return
	}
	if _, err := s.signer(); err != nil {
		at.Problem("secrets", destination.Hide(s.texts()...).Text(err.Error()))
	}
}

func (s *Signing) texts() []string {
	texts := make([]string, len(s.Secrets))
	for i, text := range s.Secrets {
		texts[i] = text.Reveal()
	}
	return texts
}

// signer returns nil if nothing is signed.
func (s *Signing) signer() (*signature.Signer, error) {
	if s == nil || s.Scheme == schemeNone {
		return nil, nil //nolint:nilnil // No signer is a valid choice.
	}
	var signer *signature.Signer
	var err error
	if s.Scheme == schemeHMAC {
		signer, err = signature.NewProfileSigner(s.HMAC.profile(), signature.Secrets(s.texts()...))
	} else {
		signer, err = signature.StandardWebhooks(s.texts()...)
	}
	if err != nil {
		return nil, fmt.Errorf("making the signer: %w", err)
	}
	return signer, nil
}

// HMAC are the parameters of a keyed digest.
type HMAC struct {
	Header          string
	Algorithm       string
	Encoding        string
	Prefix          string
	Separator       string
	Content         string
	TimestampHeader string
	TimestampUnit   string
	Key             string
}

// Fields lists the fields.
func (h *HMAC) Fields() []spec.Field {
	return []spec.Field{
		spec.String("header", &h.Header).Required().Example("X-Signature").
			Check(func() error { return checkSigningHeader(h.Header) }).Doc("The header that carries the signature."),
		spec.Enum("algorithm", &h.Algorithm, "sha256", "sha512", "sha1").Default("sha256").Doc("The hash."),
		spec.Enum("encoding", &h.Encoding, "hex", "base64").Default("hex").Doc("How the digest is written."),
		spec.String("prefix", &h.Prefix).Example("sha256=").Doc("What stands before the digest."),
		spec.String("separator", &h.Separator).Example(",").
			Doc("What stands between the signatures of several secrets. Without it there can be one secret only."),
		spec.String("content", &h.Content).Default("{body}").Example("{ts}.{body}").
			Doc("What is signed: text with `{body}`, `{ts}`, `{url}`, `{method}` and `{header:NAME}`."),
		spec.String("timestamp_header", &h.TimestampHeader).Example("X-Timestamp").
			Check(func() error { return checkSigningHeader(h.TimestampHeader) }).
			Doc("The header that carries the time of sending, `{ts}`."),
		spec.Enum("timestamp_unit", &h.TimestampUnit, "s", "ms", "rfc3339").Default("s").
			Doc("How the time of sending is written: seconds or milliseconds since 1970, or a date."),
		spec.Enum("key", &h.Key, "raw", "base64", "hex").Default("raw").Doc("How the secret is written."),
	}
}

// checkSigningHeader allows Webhook-Signature and Webhook-Timestamp, unlike
// checkHeaderName: a scheme of one's own may use those names.
func checkSigningHeader(name string) error {
	switch {
	case name == "":
		return nil
	case !isToken(name):
		return fault.New(fault.Invalid, "invalid_header", "is not the name of a header")
	}
	if isFixed(name) {
		return fault.New(fault.Invalid, "fixed_header", "is a header that Grapnel sets itself")
	}
	return nil
}

func (h *HMAC) profile() signature.Profile {
	p := signature.Profile{
		Name: schemeHMAC, Mech: "mac", Alg: h.Algorithm, Enc: h.Encoding, Content: h.Content, Key: h.Key,
		Sig: &signature.Sig{In: "header", Name: signature.Names{h.Header}, Parse: "plain"},
	}
	switch {
	case h.Separator != "":
		p.Sig.Parse, p.Sig.Sep, p.Sig.Prefix = "list", h.Separator, h.Prefix
	case h.Prefix != "":
		p.Sig.Parse, p.Sig.Prefix = "prefix", h.Prefix
	}
	if h.TimestampHeader != "" {
		p.TS = &signature.Timestamp{In: "header", Name: signature.Names{h.TimestampHeader}, Unit: h.TimestampUnit}
	}
	return p
}
