package signature

import "net/http"

// Reason is the code of a refusal: why a request was not accepted. It is safe to log, to count and
// to show to the owner of the endpoint; it is not meant for the sender, who only learns the status.
type Reason string

// The reasons for which a Verifier or a handshake refuses. Their meaning is in Reasons.
const (
	NoSecret           Reason = "no_secret"
	MissingSignature   Reason = "missing_signature"
	MissingToken       Reason = "missing_token"
	MissingHeader      Reason = "missing_header"
	MissingTimestamp   Reason = "missing_timestamp"
	MissingField       Reason = "missing_field"
	MissingBodyHash    Reason = "missing_body_hash"
	MissingCertURL     Reason = "missing_cert_url"
	MalformedSignature Reason = "malformed_signature"
	MalformedToken     Reason = "malformed_token"
	MalformedTimestamp Reason = "malformed_timestamp"
	MalformedHeader    Reason = "malformed_header"
	MalformedBody      Reason = "malformed_body"
	MalformedHandshake Reason = "malformed_handshake"
	DuplicateHeader    Reason = "duplicate_header"
	DuplicateParameter Reason = "duplicate_parameter"
	BadSignature       Reason = "bad_signature"
	BadToken           Reason = "bad_token"
	BadBodyHash        Reason = "bad_body_hash"
	BadClaim           Reason = "bad_claim"
	BadScope           Reason = "bad_scope"
	StaleTimestamp     Reason = "stale_timestamp"
	FutureTimestamp    Reason = "future_timestamp"
	Expired            Reason = "expired"
	NotYetValid        Reason = "not_yet_valid"
	UnknownKey         Reason = "unknown_key"
	UnknownTopic       Reason = "unknown_topic"
	UnsupportedAlg     Reason = "unsupported_alg"
	UnsupportedCrit    Reason = "unsupported_crit"
	UntrustedCertURL   Reason = "untrusted_cert_url"
	IPDenied           Reason = "ip_denied"
	CertDenied         Reason = "cert_denied"
)

// Error is a refusal. Every error that Verify returns for something that the request lacks or has
// wrong is an *Error; use errors.As to reach its Reason.
type Error struct {
	// Reason is the code.
	Reason Reason
	// Profile names the profile that refused.
	Profile string
	// Detail, if any, says where: the name of a header, a field or a parameter. It never holds a
	// value from the request, an expected signature or a secret.
	Detail string
}

// Error returns the profile, the reason code and the detail.
func (e *Error) Error() string {
	text := "signature: "
	if e.Profile != "" {
		text += e.Profile + ": "
	}
	text += string(e.Reason)
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Status returns the HTTP status that a refusal for r should be answered with: 403 where the sender
// is not allowed to be who it is, 400 for a handshake that makes no sense, otherwise 401.
func (r Reason) Status() int {
	if r == IPDenied || r == CertDenied {
		return http.StatusForbidden
	}
	if r == MalformedHandshake {
		return http.StatusBadRequest
	}
	return http.StatusUnauthorized
}

// ReasonText describes a reason code for documentation and for the people who look at refusals.
type ReasonText struct {
	// Reason is the code.
	Reason Reason
	// Meaning says what was found.
	Meaning string
	// Next says what the owner of the endpoint should look at.
	Next string
}

// Reasons returns all reason codes with their meaning, in the order in which a verifier meets them.
func Reasons() []ReasonText {
	return []ReasonText{
		{NoSecret, "No secret is configured, or one of them is empty.", "Configure the secret."},
		{IPDenied, "The sender's address is not on the allowlist.", "Check the list and the trusted proxies."},
		{
			CertDenied, "The client presented no certificate, or one that is not allowed.",
			"Compare the certificate's names or key with the source.",
		},
		{
			MissingSignature, "The request carries no signature of the configured scheme.",
			"Check that the provider has a secret and that no proxy drops the header.",
		},
		{MissingToken, "The request carries no token.", "Check header or parameter name on both sides."},
		{MissingHeader, "A header that is part of the signed text is missing.", "Check that no proxy drops it."},
		{MissingTimestamp, "The signed time of sending is missing.", "Check that no proxy drops the header."},
		{MissingField, "A field that is part of the signed text is missing.", "Compare the body with the provider's page."},
		{
			MissingBodyHash, "The body is authenticated by a hash that is not there.",
			"Check that the query string arrives unchanged.",
		},
		{MissingCertURL, "The address of the signing certificate is missing.", "Check the provider."},
		{
			DuplicateHeader, "A header that decides about trust occurs more than once.",
			"Find the proxy that adds a second copy.",
		},
		{
			DuplicateParameter, "A parameter that decides about trust occurs more than once.",
			"Check the URL that was given to the provider.",
		},
		{
			MalformedSignature, "The signature does not have the form of the configured scheme.",
			"Check that the source has the right provider and profile.",
		},
		{MalformedToken, "The token does not have the configured form.", "Check the authorization scheme."},
		{MalformedTimestamp, "The time of sending cannot be read.", "Check that the source has the right provider."},
		{
			MalformedHeader, "A signed header holds the character that delimits it in the signed text.",
			"Check the sender: its identifiers must not hold that character.",
		},
		{
			MalformedBody, "The body cannot be read in the form that the scheme requires.",
			"Check the content type that the provider is set to.",
		},
		{MalformedHandshake, "A verification request of the provider makes no sense.", "Start it again at the provider."},
		{UnknownKey, "The key that the request names is not configured.", "Configure the key, or check which one is used."},
		{UnknownTopic, "The topic is not on the allowlist.", "Add the topic to the source."},
		{UnsupportedAlg, "The algorithm is not one of those allowed.", "Check what the sender is set to."},
		{UnsupportedCrit, "The token demands an extension that is not supported.", "Check the sender."},
		{UntrustedCertURL, "The certificate's address is not the provider's.", "Nothing: this is what an attack looks like."},
		{
			BadSignature, "No configured secret produces the signature.",
			"Compare the secret; for senders that sign the URL, the public URL too; let no proxy change the body.",
		},
		{BadToken, "The token is not one of those configured.", "Compare the token."},
		{BadBodyHash, "The signed hash is not that of the body.", "Let no proxy change the body."},
		{BadClaim, "A claim of the token is missing or differs.", "Compare issuer, audience and the other claims."},
		{BadScope, "The signature is for another region or service.", "Compare region and service."},
		{StaleTimestamp, "The request is older than the tolerance.", "Check this machine's clock; a replay looks the same."},
		{FutureTimestamp, "The request was sent in the future.", "Check this machine's clock."},
		{Expired, "The token has expired.", "Check this machine's clock; else the sender must renew it."},
		{NotYetValid, "The token is not valid yet.", "Check this machine's clock."},
	}
}
