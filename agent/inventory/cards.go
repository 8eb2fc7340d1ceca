package inventory

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/safchain/ethtool"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Live is the running machine.
func Live(bootMedium string) Source {
	return Source{Root: "/", BootMedium: bootMedium, PermAddr: permAddr, Addresses: addresses}
}

func permAddr(nic string) (mac string, err error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return "", err
	}
	defer e.Close()
	return e.PermAddr(nic)
}

func addresses(nic string) (ip4, ip6 string, err error) {
	i, err := net.InterfaceByName(nic)
	if err != nil {
		return "", "", err
	}
	addrs, err := i.Addrs()
	if err != nil {
		return "", "", err
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok:
		case n.IP.To4() != nil && ip4 == "":
			ip4 = n.IP.String()
		case n.IP.To4() == nil && (ip6 == "" || strings.Contains(ip6, "%")):
			ip6 = n.IP.String() // a routable address is worth more than a link-local one
			if n.IP.IsLinkLocalUnicast() {
				ip6 += "%" + nic
			}
		}
	}
	return ip4, ip6, nil
}

// readCards lists the network cards: what has a device behind it, or is a bond.
func readCards(root fs.FS, src Source, problem func(string, ...any)) []inventory.Interface {
	out := []inventory.Interface{}
	entries, err := fs.ReadDir(root, "sys/class/net")
	if err != nil {
		problem("network cards: %v", err)
		return out
	}
	for _, e := range entries {
		dir := path.Join("sys/class/net", e.Name())
		_, device := fs.Stat(root, dir+"/device")
		_, bond := fs.Stat(root, dir+"/bonding")
		if device != nil && bond != nil {
			continue
		}
		if len(out) == maxCards {
			problem("network cards: more than %d, the rest is not listed", maxCards)
			break
		}
		out = append(out, readCard(root, dir, src, problem))
	}
	return out
}

func readCard(root fs.FS, dir string, src Source, problem func(string, ...any)) inventory.Interface {
	c := inventory.Interface{Name: path.Base(dir), HasCarrier: text(root, dir+"/carrier") == "1"}
	c.MACAddress = strings.ToLower(text(root, dir+"/address"))
	// Only a bond or an operator changes a card's address; the card itself knows the one it was made with.
	if src.PermAddr != nil {
		mac, err := src.PermAddr(c.Name)
		if hw, e := net.ParseMAC(mac); err == nil && e == nil && slices.Max(hw) > 0 {
			c.MACAddress = hw.String()
		} else if text(root, dir+"/addr_assign_type") != "0" {
			problem("network cards: %s does not tell its permanent address; %s may be a temporary one", c.Name, c.MACAddress)
		}
	}
	if src.Addresses != nil {
		ip4, ip6, err := src.Addresses(c.Name)
		if err != nil {
			problem("network cards: addresses of %s: %v", c.Name, err)
		}
		c.IPv4Address, c.IPv6Address = some(ip4), some(ip6)
	}
	c.Vendor, c.Product = some(text(root, dir+"/device/vendor")), some(text(root, dir+"/device/device"))
	if speed, err := strconv.ParseInt(text(root, dir+"/speed"), 10, 64); err == nil && speed > 0 {
		c.SpeedMbps = &speed
	}
	if link, err := fs.ReadLink(root, dir); err == nil {
		for segment := range strings.SplitSeq(link, "/") {
			if isPCI(segment) {
				c.PCIAddress = &segment
			}
		}
	}
	if link, err := fs.ReadLink(root, dir+"/device/driver"); err == nil {
		c.Driver = some(path.Base(link))
	}
	return c
}

// isPCI recognises "0000:00:02.0".
func isPCI(s string) bool {
	if len(s) < 12 || s[len(s)-2] != '.' {
		return false
	}
	return strings.Count(s, ":") == 2 && strings.Trim(s, "0123456789abcdef:.") == ""
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// text is a small file's content without white space around it; "" when it can't be read.
func text(root fs.FS, name string) string {
	b, err := read(root, name, 1<<20)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
}

var errTooLong = errors.New("longer than any sane file of its kind")

func read(root fs.FS, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLong
	}
	return b, err
}
