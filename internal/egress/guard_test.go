package egress_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/internal/egress"
)

func TestAddressesThatAreNotThePublicInternetAreBlocked(t *testing.T) {
	t.Parallel()
	rows := map[string]string{ // address: a word of the reason, "" if it may be reached
		"8.8.8.8": "", "1.1.1.1": "", "100.63.255.255": "", "100.128.0.0": "", "172.15.255.255": "",
		"172.32.0.0": "", "192.167.255.255": "", "198.17.255.255": "", "198.20.0.0": "", "223.255.255.255": "",
		"2606:4700::1111": "", "2a00:1450:4001::200e": "", "2001:4860:4860::8888": "", "2003::1": "",

		"0.0.0.0": "this network", "0.1.2.3": "this network",
		"10.0.0.0": "private", "10.255.255.255": "private", "172.16.0.1": "private", "172.31.255.255": "private",
		"192.168.0.1": "private", "192.168.255.255": "private",
		"127.0.0.1": "loopback", "127.255.255.254": "loopback",
		"100.64.0.1": "carrier", "100.127.255.255": "carrier", "100.100.100.200": "metadata",
		"169.254.0.1": "link-local", "169.254.169.254": "metadata", "169.254.170.2": "credentials",
		"169.254.170.23": "credentials", "168.63.129.16": "metadata", "192.0.0.192": "metadata",
		"192.0.0.8": "protocol", "192.0.2.1": "documentation", "198.51.100.1": "documentation",
		"203.0.113.1": "documentation", "198.18.0.1": "benchmarks", "198.19.255.255": "benchmarks",
		"192.88.99.1": "6to4", "224.0.0.1": "multicast", "239.255.255.255": "multicast",
		"240.0.0.1": "reserved", "255.255.255.255": "broadcast",

		"::": "unspecified", "::1": "loopback", "fe80::1": "link-local", "fe80::1%eth0": "link-local",
		"fec0::1": "site-local", "fc00::1": "private", "fdff::1": "private", "fd00:ec2::254": "metadata",
		"fd00:ec2::23": "metadata", "ff02::1": "multicast", "2001:db8::1": "documentation",
		"3fff::1": "documentation", "100::1": "discard", "2001:2::1": "protocol", "5f00::1": "segment",
		"::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "metadata",
		"::ffff:8.8.8.8":  "", // the socket is one of IPv4: nothing but another spelling
		"::127.0.0.1":     "IPv4-compatible",
		"::ffff:0:7f00:1": "IPv4-translated",
		"64:ff9b::7f00:1": "NAT64", "64:ff9b::8.8.8.8": "NAT64", "64:ff9b:1::1": "NAT64",
		"2002:7f00:1::": "6to4", "2002:808:808::1": "6to4",
		"2001::1": "Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
		"2606:4700::5efe:10.0.0.1":     "carries 10.0.0.1", // ISATAP
		"2606:4700::200:5efe:10.0.0.1": "carries 10.0.0.1",
		"2606:4700::200:5efe:8.8.8.8":  "",
	}
	network := egress.New(egress.Config{})
	for text, want := range rows {
		err := network.Check("host.example", netip.MustParseAddr(text))
		if want == "" {
			if err != nil {
				t.Errorf("Check(%s) = %v, want nil", text, err)
			}
			continue
		}
		var blocked *egress.BlockedError
		if !errors.As(err, &blocked) || !strings.Contains(blocked.Why, want) {
			t.Errorf("Check(%s) = %v, want a BlockedError that says %q", text, err, want)
			continue
		}
		if blocked.Host != "host.example" || !strings.Contains(err.Error(), blocked.Addr.String()) {
			t.Errorf("Check(%s) = %q, does not name host and address", text, err)
		}
	}
	if err := network.Check("", netip.Addr{}); err == nil {
		t.Error("Check of no address = nil, want an error")
	}
}

func TestOnlyTheAllowListOpensAddresses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		allow, addr string
		want        bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3", true},
		{"10.9.9.9/8", "10.1.2.3", true},
		{"10.0.0.0/8", "192.168.0.1", false},
		{"127.0.0.1/32", "127.0.0.1", true},
		{"127.0.0.1/32", "127.0.0.2", false},
		{"::1/128", "127.0.0.1", false},
		{"::1/128", "::1", true},
		{"fe80::/10", "fe80::1%eth0", true},
		{"0.0.0.0/0", "169.254.169.254", true},
		{"0.0.0.0/0", "::1", false},
		// An IPv6 address that carries an IPv4 address needs leave for both.
		{"64:ff9b::/96", "64:ff9b::8.8.8.8", true},
		{"64:ff9b::/96", "64:ff9b::10.0.0.1", false},
		{"64:ff9b::/96 10.0.0.0/8", "64:ff9b::10.0.0.1", true},
		{"64:ff9b:1::/48", "64:ff9b:1::169.254.169.254", false},
		{"64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", true},
		{"2002::/16", "2002:a9fe:a9fe::1", false},
		{"2002::/16", "2002:808:808::1", true},
		{"2001::/32", "2001:0:808:808:8000:63bf:f5ff:fffe", false}, // client 10.0.0.1
		{"2001::/32", "2001:0:a00:1:8000:63bf:f7f7:f7f7", false},   // server 10.0.0.1
		{"2001::/32", "2001:0:808:808:8000:63bf:f7f7:f7f7", true},
		{"::/0", "::127.0.0.1", false},
		{"::/0", "::ffff:0:127.0.0.1", false},
		{"::/0", "::1", true},
	} {
		network := egress.New(egress.Config{Allow: prefixes(t, strings.Fields(row.allow)...)})
		if err := network.Check("", netip.MustParseAddr(row.addr)); (err == nil) != row.want {
			t.Errorf("allow %s: Check(%s) = %v, want allowed = %t", row.allow, row.addr, err, row.want)
		}
	}
}

// However an IPv4 address is wrapped, it is no easier to reach than bare.
func TestWrappedAddressesAreBlockedWithTheirContent(t *testing.T) {
	t.Parallel()
	network := egress.New(egress.Config{Allow: prefixes(t, "::/0")})
	rapid.Check(t, func(t *rapid.T) {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], rapid.Uint32().Draw(t, "address"))
		bare := netip.AddrFrom4(four)
		allowed := network.Check("", bare) == nil
		wrapped := map[string][16]byte{
			"mapped":     {10: 0xff, 11: 0xff},
			"translated": {8: 0xff, 9: 0xff},
			"nat64":      {1: 0x64, 2: 0xff, 3: 0x9b},
			"isatap":     {0: 0x26, 1: 0x06, 10: 0x5e, 11: 0xfe},
		}
		for name, form := range wrapped {
			copy(form[12:], four[:])
			if got := network.Check("", netip.AddrFrom16(form)) == nil; got != allowed {
				t.Errorf("%s form of %s allowed = %t, bare %t", name, bare, got, allowed)
			}
		}
		six := [16]byte{0: 0x20, 1: 0x02, 15: 1}
		copy(six[2:], four[:])
		if got := network.Check("", netip.AddrFrom16(six)) == nil; got != allowed {
			t.Errorf("6to4 form of %s allowed = %t, bare %t", bare, got, allowed)
		}
	})
}
