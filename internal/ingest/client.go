package ingest

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Trust says which networks are proxies of the owner: what they say about the
// sender in X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host is
// believed, of anybody else it is not. It may be called at any time.
func (in *Ingest) Trust(proxies []netip.Prefix) {
	plain := make([]netip.Prefix, 0, len(proxies))
	for _, p := range proxies {
		plain = append(plain, unmapped(p))
	}
	in.proxies.Store(&plain)
}

// unmapped returns an IPv4-mapped network as the IPv4 network that it is.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// origin is who sent a request.
type origin struct {
	// addr is the sender's address without a zone; invalid if it is unknown.
	addr netip.Addr
	// proxied says that a trusted proxy passed the request on.
	proxied bool
}

// originOf returns the address of the peer, or behind trusted proxies the last
// one in X-Forwarded-For that is not a trusted proxy's: what stands before it is
// the sender's own claim. A hop that is no address ends the walk with an unknown
// sender, which no allowlist holds.
func originOf(r *http.Request, proxies []netip.Prefix) origin {
	addr := parseAddr(r.RemoteAddr)
	if !addr.IsValid() || !within(addr, proxies) {
		return origin{addr: addr}
	}
	for _, line := range slices.Backward(r.Header["X-Forwarded-For"]) {
		for line != "" {
			rest, hop := "", line
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				rest, hop = line[:i], line[i+1:]
			}
			line = rest
			if hop = strings.TrimSpace(hop); hop == "" {
				continue
			}
			if addr = parseAddr(hop); !addr.IsValid() || !within(addr, proxies) {
				return origin{addr: addr, proxied: true}
			}
		}
	}
	return origin{addr: addr, proxied: true}
}

// parseAddr reads an address with or without a port, IPv4-mapped ones as IPv4.
// It returns the zero Addr for anything else.
func parseAddr(text string) netip.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func within(addr netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// identify finds out who sent the request. From here on the request carries the
// sender's address where a proxy's was, so that nothing mistakes the one for
// the other.
func (x *exchange) identify() {
	var proxies []netip.Prefix
	if p := x.in.proxies.Load(); p != nil {
		proxies = *p
	}
	x.origin = originOf(x.r, proxies)
	if !x.origin.proxied {
		return
	}
	r := *x.r
	r.RemoteAddr = "unknown"
	if x.origin.addr.IsValid() {
		r.RemoteAddr = x.origin.addr.String()
	}
	x.r = &r
}

// forwarded returns scheme and host by which a request came to a trusted proxy,
// each "" if it does not say. Of several values the last one counts: it is the
// trusted proxy's own.
func (x *exchange) forwarded() (scheme, host string) {
	if !x.origin.proxied {
		return "", ""
	}
	switch s := strings.ToLower(lastValue(x.r.Header["X-Forwarded-Proto"])); s {
	case "http", "https":
		scheme = s
	}
	if h := lastValue(x.r.Header["X-Forwarded-Host"]); !strings.ContainsAny(h, "/?#@\\ ") {
		host = h
	}
	return scheme, host
}

func lastValue(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

// hostName returns the host of a request without its port, in lower case.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
