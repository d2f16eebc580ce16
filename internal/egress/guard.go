package egress

import (
	"net/netip"
)

// BlockedError says that an address may not be reached. Trying again does not
// help; adding its network to network.allow does.
type BlockedError struct {
	Host string     // as the URL names it; may be empty
	Addr netip.Addr // what it resolved to
	Why  string     // which rule blocks it
}

// Error names host, address and rule.
func (e *BlockedError) Error() string {
	addr := e.Addr.String()
	if e.Host == "" || e.Host == addr {
		return addr + " may not be reached: " + e.Why
	}
	return e.Host + " resolves to " + addr + ", which may not be reached: " + e.Why
}

// reserved are the networks that are not the public internet: the special
// purpose registries of IANA (RFC 6890 and its successors) and the metadata
// services that live on public addresses. Order matters for the reason only.
var reserved = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("169.254.169.254/32"), "cloud metadata service"},
	{netip.MustParsePrefix("169.254.170.0/24"), "container credentials service"},
	{netip.MustParsePrefix("100.100.100.200/32"), "cloud metadata service"},
	{netip.MustParsePrefix("168.63.129.16/32"), "cloud metadata service"}, // Azure; a public address
	{netip.MustParsePrefix("192.0.0.192/32"), "cloud metadata service"},   // Oracle
	{netip.MustParsePrefix("fd00:ec2::/32"), "cloud metadata service"},

	{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 1122)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private network (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "carrier network (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private network (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private network (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"},

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::/96"), "IPv4-compatible (RFC 4291)"},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4-translated (RFC 2765)"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64 (RFC 6052)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "local NAT64 (RFC 8215)"},
	{netip.MustParsePrefix("100::/64"), "discard (RFC 6666)"},
	{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix (RFC 9780)"},
	{netip.MustParsePrefix("2001::/32"), "Teredo (RFC 4380)"},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments (RFC 2928)"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation (RFC 3849)"},
	{netip.MustParsePrefix("2002::/16"), "6to4 (RFC 3056)"},
	{netip.MustParsePrefix("3fff::/20"), "documentation (RFC 9637)"},
	{netip.MustParsePrefix("5f00::/16"), "segment routing (RFC 9602)"},
	{netip.MustParsePrefix("fc00::/7"), "private network (RFC 4193)"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local (RFC 3879)"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// normalPrefix returns the IPv4 network of a prefix that spells one in its
// mapped form, ::ffff:10.0.0.0/104, and any other without its host bits.
func normalPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}

// blocked returns why the address may not be reached, "" if it may. An IPv6
// address that carries an IPv4 address needs leave for both: allowing a NAT64
// prefix does not open the private networks behind the translator.
func blocked(addr netip.Addr, allow []netip.Prefix) string {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return "not an IP address"
	}
	if why := blockedPlain(addr, allow); why != "" {
		return why
	}
	for _, inner := range embedded(addr) {
		if why := blockedPlain(inner, allow); why != "" {
			return "carries " + inner.String() + ", " + why
		}
	}
	return ""
}

func blockedPlain(addr netip.Addr, allow []netip.Prefix) string {
	for _, p := range allow {
		if p.Contains(addr) {
			return ""
		}
	}
	for _, r := range reserved {
		if r.prefix.Contains(addr) {
			return r.why
		}
	}
	return ""
}

// embedded returns the IPv4 addresses that an IPv6 address of a transition
// mechanism carries: packets to it may end there. Of the local NAT64 prefix
// only the /96 form is read (RFC 6052 2.2).
func embedded(addr netip.Addr) []netip.Addr {
	if !addr.Is6() || addr.IsLoopback() || addr.IsUnspecified() {
		return nil
	}
	b := addr.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		return []netip.Addr{at(2)}
	case [4]byte(b[:4]) == [4]byte{0x20, 0x01, 0, 0}: // Teredo: server, and client inverted
		return []netip.Addr{at(4), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case [4]byte(b[:4]) == [4]byte{0, 0x64, 0xff, 0x9b}, // NAT64, both prefixes
		[8]byte(b[:8]) == [8]byte{},                                 // IPv4-compatible, IPv4-translated
		b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP (RFC 5214)
		return []netip.Addr{at(12)}
	}
	return nil
}
