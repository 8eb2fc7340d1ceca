package api

import "time"

// BootConfig is what a ramdisk of one boot needs to find and prove itself to its server. It travels on the boot medium,
// or in a ramdisk that firmware loads over HTTPS, never on a kernel command line (safety.md I22, T11), in the region that
// is spliced in.
type BootConfig struct {
	Version int      `json:"version"` // 1
	Server  string   `json:"server"`  // https://address:port of the agent listener
	Pins    []string `json:"pins"`    // SHA-256 of the server key's SPKI, base64: one must match
	// Certificate is the agent listener's when the medium was made, DER. It is believed only if its key is pinned; without
	// it, or when the server has a newer one by now, an agent's first connection takes a handshake more.
	Certificate []byte    `json:"certificate,omitempty"`
	Node        NodeID    `json:"node,omitempty"`
	Generation  uint64    `json:"generation,omitempty"`
	Secret      string    `json:"secret,omitempty"` // 256 bits, base64url; redeemed by one lookup
	NotBefore   time.Time `json:"not_before"`       // floor for a machine whose clock says 1970 (F29)
	Network     *Network  `json:"network,omitempty"`
}

// Network is a static set-up of one card; without it every card with a link tries DHCP.
type Network struct {
	MAC         string   `json:"mac"`
	Address     string   `json:"address"` // CIDR
	Gateway     string   `json:"gateway,omitempty"`
	Nameservers []string `json:"nameservers,omitempty"`
	VLAN        int      `json:"vlan,omitempty"`
	MTU         int      `json:"mtu,omitempty"`
}
