// Package signature proves who sent a webhook, and signs webhooks. Providers and their schemes are
// data; the code knows a few mechanisms (keyed digests, public keys, tokens, JWTs, addresses, client
// certificates, and the two schemes of AWS). It fetches nothing: a KeySource or CertSource does.
//
// To verify a webhook, make a Verifier once and ask it for each request, with the body as it came:
//
//	v, err := signature.New("github", signature.Secrets("s3cret"))
//	...
//	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 25<<20))
//	...
//	proof, err := v.Verify(signature.NewRequest(r, body), time.Now())
//
// The error is an *Error with a Reason that says what is wrong, or nil.
//
// # What holds for every scheme
//
//   - The bytes are checked as received. Nothing is decoded, trimmed or re-encoded before.
//   - Comparison takes constant time. All secrets and all signatures of a request are tried, without
//     early exit. Tokens are compared by their SHA-256.
//   - There is no verifier without a secret: New refuses an empty one.
//   - A header or parameter that decides about trust and occurs twice is refused, because two readers
//     of the request might choose differently.
//   - Only the configured scheme counts. A weaker one beside it is ignored.
//   - The time of sending may differ from now by the profile's tolerance either way, inclusive. It is
//     judged after the signature, so that the answer to an old request says nothing about the key.
//   - Of a name that occurs twice in a JSON object the last one counts, as in encoding/json.
//
// # Several secrets
//
// Secrets change while requests are under way. Give New both, the new one first; Proof.KeyIndex says
// which one verified, so that it can be seen when the old one is no longer used.
//
// # Senders that are not built in
//
// A Profile is a scheme as data, in Go or JSON, and NewProfile makes a Verifier of it:
//
//	p := signature.Profile{
//		Name: "acme", Mech: "mac", Alg: "sha256", Enc: "hex",
//		Sig:     &signature.Sig{In: "header", Name: signature.Names{"X-Acme"}, Parse: "prefix", Prefix: "v1="},
//		Content: "{header:X-Acme-Id}.{body}",
//	}
//	v, err := signature.NewProfile(p, signature.Secrets("s3cret"))
//
// All and Any combine verifiers.
//
// # Beside the signature
//
// A Provider knows where its requests carry the delivery id and the event type, what it expects as
// an answer, the handshakes by which it verifies an endpoint, how it puts several events into one
// request, and which headers are credentials.
// A Signer signs requests in the way of any mac profile, Standard Webhooks among them.
package signature
