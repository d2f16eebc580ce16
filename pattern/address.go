package pattern

import (
	"net/netip"
	"strconv"
	"strings"
)

// parseAddress reads an address in the spellings that the service knows: four
// decimal numbers with any leading zeros, or IPv6 without dots and zones. An
// IPv4 address mapped into IPv6 is that IPv4 address.
func parseAddress[T text](s T) (netip.Addr, bool) {
	v4, v6 := addressShape(s)
	switch {
	case v4:
		return parseIPv4(s)
	case v6:
		addr, err := netip.ParseAddr(string(s))
		return addr.Unmap(), err == nil
	default:
		return netip.Addr{}, false
	}
}

// addressShape tells what a text looks like by its characters alone.
func addressShape[T text](s T) (v4, v6 bool) {
	// 45 bytes are the longest spelling of an IPv6 address there is.
	if len(s) == 0 || len(s) > 45 {
		return false, false
	}
	dots, colons, hex := 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if i == 0 || i == len(s)-1 || s[i-1] == '.' {
				return false, false
			}
			dots++
		case c == ':':
			colons++
		case c-'0' <= 9:
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			hex = true
		default:
			return false, false
		}
	}
	return dots == 3 && colons == 0 && !hex, colons > 0 && dots == 0
}

func parseIPv4[T text](s T) (netip.Addr, bool) {
	const longest = len("255.255.255.255")
	if len(s) > longest {
		return netip.Addr{}, false
	}
	var octets [4]byte
	part, value := 0, 0
	for i := range len(s) {
		if s[i] == '.' {
			octets[part] = byte(value)
			part, value = part+1, 0
			continue
		}
		if value = value*10 + int(s[i]-'0'); value > 255 {
			return netip.Addr{}, false
		}
	}
	octets[part] = byte(value)
	return netip.AddrFrom4(octets), true
}

// parseBlock reads the argument of cidr. The returned reason is empty when it
// is valid.
func parseBlock(s string) (netip.Prefix, string) {
	ip, mask, found := strings.Cut(s, "/")
	if !found || mask == "" || strings.Contains(mask, "/") {
		return netip.Prefix{}, "Malformed CIDR, one '/' required"
	}
	bits, err := strconv.ParseInt(mask, 10, 32)
	if err != nil {
		return netip.Prefix{}, "Malformed CIDR, mask bits must be an integer"
	}
	if bits < 0 {
		return netip.Prefix{}, "Malformed CIDR, mask bits must not be negative"
	}
	addr, ok := parseAddress(ip)
	switch v4, v6 := addressShape(ip); {
	case !ok && (v4 || v6):
		return netip.Prefix{}, "Invalid IP address: " + ip
	case !ok:
		return netip.Prefix{}, "Nonstandard IP address: " + ip
	case addr.Is4() && bits > 31:
		return netip.Prefix{}, "IPv4 mask bits must be < 32"
	case bits > 127:
		return netip.Prefix{}, "IPv6 mask bits must be < 128"
	}
	return netip.PrefixFrom(addr, int(bits)).Masked(), ""
}
