package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
)

// The boot region is the one part of a boot medium that differs from boot to boot: a file of fixed size, written once
// as zeros and overlaid with a BootConfig while the medium is served. Where it lies is told by a record in the
// application-use area of the ISO 9660 primary volume descriptor, so that neither the server nor the agent needs to
// read a file system. All numbers are little-endian.
//
//	record, at byte RegionRecordAt of the medium      region, at the offset the record names
//	 8  "BSMRREG1"                                      8  "BSMRCFG1"
//	 8  offset, bytes, a multiple of 2048               4  length of the JSON
//	 8  length, bytes, a multiple of 2048              32  SHA-256 of the JSON
//	                                                    …  BootConfig as JSON, then zeros
const (
	RegionSize     = 64 << 10 // what media reserve
	RegionMax      = 1 << 20  // what readers accept
	RegionRecordAt = pvdAt + 883
	RegionFile     = "BESSEMER.CFG" // its name on the medium, in the root
	MediumLabel    = "BESSEMER"     // the medium's volume identifier

	sector      = 2048
	pvdAt       = 16 * sector
	recordMagic = "BSMRREG1"
	regionMagic = "BSMRCFG1"
	regionHead  = len(regionMagic) + 4 + sha256.Size
)

// NoRegionError says why a medium is not one of ours; it is no reason to tell an operator by itself.
type NoRegionError struct{ Why string }

func (e *NoRegionError) Error() string { return "not a Bessemer boot medium: " + e.Why }

// RegionRecord is the record to write at RegionRecordAt of a medium.
func RegionRecord(offset, length int64) []byte {
	b := []byte(recordMagic)
	b = binary.LittleEndian.AppendUint64(b, uint64(offset))
	return binary.LittleEndian.AppendUint64(b, uint64(length))
}

// FindRegion reads from a medium where its region lies, in bytes. Anything but a Bessemer medium gives a
// *NoRegionError or the reader's error.
func FindRegion(medium io.ReaderAt) (offset, length int64, err error) {
	pvd := make([]byte, sector)
	if _, err := medium.ReadAt(pvd, pvdAt); err != nil && err != io.EOF {
		return 0, 0, fmt.Errorf("read volume descriptor: %w", err)
	}
	if pvd[0] != 1 || string(pvd[1:6]) != "CD001" {
		return 0, 0, &NoRegionError{"no ISO 9660 volume"}
	}
	rec := pvd[RegionRecordAt-pvdAt:]
	if string(rec[:len(recordMagic)]) != recordMagic {
		return 0, 0, &NoRegionError{"no region record in the volume descriptor"}
	}
	o := binary.LittleEndian.Uint64(rec[len(recordMagic):])
	l := binary.LittleEndian.Uint64(rec[len(recordMagic)+8:])
	size := uint64(binary.LittleEndian.Uint32(pvd[80:])) * sector
	if o%sector != 0 || l%sector != 0 || l == 0 || l > RegionMax || o <= pvdAt || o > size || l > size-o {
		return 0, 0, &NoRegionError{fmt.Sprintf("region record of %d bytes at %d makes no sense on a volume of %d", l, o, size)}
	}
	return int64(o), int64(l), nil
}

// EncodeBootConfig fills a region of length bytes.
func EncodeBootConfig(c BootConfig, length int64) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("boot config: %w", err)
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("boot config: %w", err)
	}
	if int64(regionHead+len(data)) > length {
		return nil, fmt.Errorf("boot config of %d bytes does not fit a region of %d", len(data), length)
	}
	sum := sha256.Sum256(data)
	out := make([]byte, 0, length)
	out = append(out, regionMagic...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	out = append(out, sum[:]...)
	out = append(out, data...)
	return append(out, make([]byte, length-int64(len(out)))...), nil
}

// DecodeBootConfig reads a region. A region of zeros (a base medium used as it is) is an error of its own wording.
// Fields it does not know are passed over: an older ramdisk must boot under a newer server (safety.md F39).
func DecodeBootConfig(region []byte) (BootConfig, error) {
	var c BootConfig
	if len(bytes.TrimRight(region, "\x00")) == 0 {
		return c, fmt.Errorf("the boot medium carries no configuration: it was not served by a Bessemer server for this boot")
	}
	if len(region) < regionHead || string(region[:len(regionMagic)]) != regionMagic {
		return c, fmt.Errorf("boot region: unknown format")
	}
	n := int64(binary.LittleEndian.Uint32(region[len(regionMagic):]))
	if n > int64(len(region)-regionHead) {
		return c, fmt.Errorf("boot region: %d bytes announced, %d there", n, len(region)-regionHead)
	}
	data := region[regionHead : int64(regionHead)+n]
	sum := sha256.Sum256(data)
	if subtle.ConstantTimeCompare(sum[:], region[len(regionMagic)+4:regionHead]) != 1 {
		return c, fmt.Errorf("boot region: damaged (its SHA-256 does not match)")
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return BootConfig{}, fmt.Errorf("boot region: %w", err)
	}
	if err := c.Check(); err != nil {
		return BootConfig{}, fmt.Errorf("boot region: %w", err)
	}
	return c, nil
}

// ReadBootConfig finds and reads the region of a medium.
func ReadBootConfig(medium io.ReaderAt) (BootConfig, error) {
	off, n, err := FindRegion(medium)
	if err != nil {
		return BootConfig{}, err
	}
	b := make([]byte, n)
	if _, err := medium.ReadAt(b, off); err != nil && err != io.EOF {
		return BootConfig{}, fmt.Errorf("read boot region: %w", err)
	}
	return DecodeBootConfig(b)
}

// BootConfigVersion is the one version there is.
const BootConfigVersion = 1

// Check says what is wrong with a configuration, without its secret.
func (c BootConfig) Check() error {
	if c.Version != BootConfigVersion {
		return fmt.Errorf("version %d, expected %d", c.Version, BootConfigVersion)
	}
	u, err := url.Parse(c.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("server %q, expected https://address:port", c.Server)
	}
	if len(c.Pins) == 0 {
		return fmt.Errorf("no pin of the server's key")
	}
	for _, p := range c.Pins {
		if b, err := base64.StdEncoding.DecodeString(p); err != nil || len(b) != sha256.Size {
			return fmt.Errorf("pin %q is no base64 SHA-256", p)
		}
	}
	if b, err := base64.RawURLEncoding.DecodeString(c.Secret); c.Secret != "" && (err != nil || len(b) != 32) {
		return fmt.Errorf("secret is not 256 bits in base64url")
	}
	if c.Network != nil {
		if err := c.Network.check(); err != nil {
			return fmt.Errorf("network: %w", err)
		}
	}
	return nil
}

func (n Network) check() error {
	if _, err := net.ParseMAC(n.MAC); err != nil {
		return fmt.Errorf("mac %q is no hardware address", n.MAC)
	}
	if _, err := netip.ParsePrefix(n.Address); err != nil {
		return fmt.Errorf("address %q, expected address/bits", n.Address)
	}
	for _, a := range append([]string{n.Gateway}, n.Nameservers...) {
		if _, err := netip.ParseAddr(a); a != "" && err != nil {
			return fmt.Errorf("%q is no address", a)
		}
	}
	if n.VLAN < 0 || n.VLAN > 4094 {
		return fmt.Errorf("vlan %d, expected 1 to 4094", n.VLAN)
	}
	if n.MTU != 0 && (n.MTU < 576 || n.MTU > 65535) {
		return fmt.Errorf("mtu %d, expected 576 to 65535", n.MTU)
	}
	return nil
}

// String leaves the secret out (safety.md I22).
func (c BootConfig) String() string {
	proof := "no secret"
	if c.Secret != "" {
		proof = "a secret"
	}
	network := "DHCP"
	if c.Network != nil {
		network = c.Network.Address + " on " + c.Network.MAC
	}
	return fmt.Sprintf("server %s, node %s, generation %d, %s, network %s", c.Server, c.Node, c.Generation, proof, network)
}

// LogValue leaves the secret out (safety.md I22).
func (c BootConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// GoString leaves the secret out (safety.md I22).
func (c BootConfig) GoString() string { return "api.BootConfig{" + c.String() + "}" }
