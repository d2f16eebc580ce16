package config

import (
	"regexp"

	"github.com/grapnel/grapnel/internal/spec"
)

// Exposure returns warnings about what the configuration opens to the internet.
// They are for somebody who asks whether a file is good, not for each start: a
// server behind a firewall is fine without TLS.
func (c *Config) Exposure() []spec.Problem { return c.exposure }

// expose looks for what is too open on a public address.
func (k *checker) expose() {
	out := &checker{report: &spec.Report{File: k.report.File}, root: k.root, c: k.c}
	if c := k.c; !loopback(c.Listen) && c.TLS == nil && len(c.TrustedProxies) == 0 {
		out.at().Warn("listen", "the public port can be reached from other machines, without TLS",
			"set tls, or trusted_proxies where a proxy ends TLS, or listen on 127.0.0.1:8080")
	}
	for i := range k.c.Sources {
		s := &k.c.Sources[i]
		if s.Rate.Source.Count > 0 || len(s.Rate.Address) > 0 || s.Disabled {
			continue
		}
		for _, way := range s.Ways() {
			if way.Scheme().Mech == "token" {
				out.at("sources", s.Name).Warn("rate", "is missing: a token can be guessed at as often as somebody likes",
					"set rate: {address: [10/m, 100/h]}")
				break
			}
		}
	}
	k.c.exposure = out.report.Problems()
}

// awsKeyText is what ids of AWS access keys look like, of users and of roles.
var awsKeyText = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z2-7]{16}\b`)

// awsKeys warns about ids of AWS access keys anywhere in the file. Secrets that
// stand in fields for secrets are found by themselves.
func (k *checker) awsKeys(n *spec.Node, reported map[spec.Pos]bool) {
	if n == nil {
		return
	}
	if !n.Expanded() && awsKeyText.MatchString(n.Text) && !reported[n.Pos] {
		k.report.Warn(n, n.Path, "an AWS access key stands in the file itself",
			"write ${NAME} or ${file:/path} for it and its secret, or leave both out for the default chain")
	}
	for _, item := range n.Items {
		k.awsKeys(item, reported)
	}
	for _, e := range n.Entries {
		k.awsKeys(e.Value, reported)
	}
}
