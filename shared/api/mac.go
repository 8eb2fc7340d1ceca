package api

import (
	"net"
	"strconv"
)

// MAC is the address of an Ethernet card as it is kept: six bytes in lower case, with colons. Every form that the standard
// library reads is one; ok is false for anything else.
func MAC(text string) (mac string, ok bool) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		return "", false
	}
	return hw.String(), true
}

// CardMAC is an address that a card can have of its own: not that of many, nor of none.
func CardMAC(text string) (mac string, ok bool) {
	mac, ok = MAC(text)
	if !ok || mac == "00:00:00:00:00:00" {
		return "", false
	}
	first, err := strconv.ParseUint(mac[:2], 16, 8)
	if err != nil || first&1 != 0 {
		return "", false
	}
	return mac, true
}
