package api

import "net"

// MAC is the address of an Ethernet card as it is kept: six bytes in lower case, with colons. Every form that the standard
// library reads is one; ok is false for anything else.
func MAC(text string) (mac string, ok bool) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		return "", false
	}
	return hw.String(), true
}
