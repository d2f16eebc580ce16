// Package spec describes each configurable thing once: its fields with type, default, limits,
// secrecy and a sentence of documentation. From that one description come decoding, every check
// with its place in the file, the effective values, the Markdown reference and the JSON schema.
//
// A component owns a plain struct and lists its fields bound by pointer, as package flag does:
//
//	type Config struct {
//		URL     string
//		Timeout time.Duration
//		Secrets []secret.String
//		Signing *Signing
//	}
//
//	func (c *Config) Fields() []spec.Field {
//		return []spec.Field{
//			spec.URL("url", &c.URL).Required().Doc("Where requests go.").
//				Example("https://crm.example.com/hooks"),
//			spec.Duration("timeout", &c.Timeout).Default("30s").Min("1s").Max("300s").
//				Doc("How long one attempt may take."),
//			spec.Secrets("secrets", &c.Secrets).Doc("What requests are signed with."),
//			spec.Optional("signing", &c.Signing).Doc("How requests are signed."),
//		}
//	}
//
//	// Check is optional: what concerns several fields at once.
//	func (c *Config) Check(at *spec.Place) {
//		if c.Signing != nil && len(c.Secrets) == 0 {
//			at.Problem("secrets", "a signing scheme needs at least one secret")
//		}
//	}
//
// [Decode] fills such a struct from a [Node], the neutral form of a configuration text that
// internal/config makes from YAML and [ParseJSON] from JSON. It reports every problem, not the
// first, and no problem ever shows a secret: neither the value of a secret field nor text that came
// from ${NAME} or ${file:…}. There is no reflection and there are no struct tags.
package spec
