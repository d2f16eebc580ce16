package signature

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ipCheck compares the sender's address with an allowlist.
type ipCheck struct {
	profile Profile
	allow   []netip.Prefix
	proxies []netip.Prefix
}

// compileIP compiles an ip profile.
func compileIP(p *Profile, c *Config) (check, error) {
	if len(c.Allow) == 0 {
		return nil, p.bad("no networks are allowed")
	}
	return &ipCheck{*p, plain(c.Allow), plain(c.TrustedProxies)}, nil
}

// plain returns the networks with IPv4-mapped ones as IPv4.
func plain(networks []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(networks))
	for _, n := range networks {
		if n.Addr().Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		out = append(out, n)
	}
	return out
}

// verify implements check.
func (c *ipCheck) verify(req *Request, _ time.Time) (Proof, error) {
	addr, ok := c.client(req)
	if !ok || !within(addr, c.allow) {
		return Proof{}, c.profile.refuse(IPDenied, "")
	}
	return Proof{Profile: c.profile.Name, KeyIndex: -1}, nil
}

// client returns the address of the sender: the peer's, or behind trusted proxies the last address
// in X-Forwarded-For that is not a trusted proxy's. What stands before it is the sender's own claim.
func (c *ipCheck) client(req *Request) (netip.Addr, bool) {
	addr, ok := parseAddr(req.RemoteAddr)
	if !ok || !within(addr, c.proxies) {
		return addr, ok
	}
	hops := strings.Split(strings.Join(req.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		if hop = strings.TrimSpace(hop); hop == "" {
			continue
		}
		if addr, ok = parseAddr(hop); !ok || !within(addr, c.proxies) {
			return addr, ok
		}
	}
	return addr, true
}

// parseAddr parses an address with or without a port.
func parseAddr(text string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}

// within reports whether one of the networks holds the address.
func within(addr netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}
