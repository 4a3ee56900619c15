package audit

import (
	"net/netip"
	"strings"
)

// Anonymise returns the network an address is in: three octets of IPv4, the /48 of IPv6, the rest zero. It takes an
// address alone or with a port; what is no address becomes "".
func Anonymise(address string) string {
	a, ok := parseAddress(address)
	if !ok {
		return ""
	}
	bits := 48
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked().Addr().String()
}

// fullAddress drops the port, and what is no address.
func fullAddress(address string) string {
	a, ok := parseAddress(address)
	if !ok {
		return ""
	}
	return a.String()
}

func parseAddress(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		s = strings.TrimSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = withPort.Addr()
	}
	// A zone names an interface of this machine; an IPv4 client on a dual socket comes as ::ffff:a.b.c.d.
	return a.Unmap().WithZone(""), true
}
