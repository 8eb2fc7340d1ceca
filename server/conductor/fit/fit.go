// Package fit tells whether a flow can succeed on a node before anything is done to its machine: by the node's interfaces,
// by its record (image, disk, boot mode, traits), and by what its BMC said of itself. It is pure.
//
// Start at For; Validate tells the same for each interface, Known keeps what later checks need of a BMC's facts.
package fit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Pretends tells whether a flow only pretends: no machine is booted, switched or erased. Only fake-hardware has what leads
// to it.
func Pretends(interfaces map[string]string, f state.Flow) bool {
	kind := drivers.Deploy
	switch f {
	case state.Inspect:
		kind = drivers.Inspect
	case state.RescueFlow, state.UnrescueFlow:
		kind = drivers.Rescue
	}
	return interfaces[kind] == drivers.Fake
}

// Reads tells whether a flow only reads the machine through its BMC: nothing is booted, and the power stays as it is.
func Reads(interfaces map[string]string, f state.Flow) bool {
	return f == state.Inspect && interfaces[drivers.Inspect] == "redfish"
}

// WritesImage tells whether the node's deploy interface writes the image by itself.
func WritesImage(interfaces map[string]string) bool {
	return cmp.Or(interfaces[drivers.Deploy], "direct") == "direct"
}

// For says why a flow can't succeed on this node: first by its interfaces, then by what its BMC is known to be able to
// do. nil when nothing speaks against it.
func For(n conductor.Node, interfaces map[string]string, f state.Flow) *fault.Fault {
	var used []string
	switch f {
	case state.Inspect:
		used = []string{drivers.Inspect}
	case state.RescueFlow:
		used = []string{drivers.Rescue}
	case state.Deploy:
		used = []string{drivers.Deploy, drivers.Network, drivers.Storage}
	}
	if !Pretends(interfaces, f) && !Reads(interfaces, f) && f != state.Verify {
		used = append(used, drivers.Boot, drivers.Power, drivers.Management)
	}
	for _, kind := range used {
		if err := drivers.Check(n.Driver, kind, interfaces[kind]); err != nil {
			return err
		}
	}
	if Pretends(interfaces, f) || Reads(interfaces, f) {
		return nil
	}
	return unfit(n, f, interfaces[drivers.Boot] == drivers.HTTPBoot, f == state.Deploy && BootsISO(interfaces))
}

// unfit says why a flow that boots the machine can't succeed, by what the BMC is known to be able to do; nil when nothing
// speaks against it. http says that the machine's firmware loads what is booted; iso that what is booted last is an ISO of the
// operator's.
func unfit(n conductor.Node, flow state.Flow, http, iso bool) *fault.Fault {
	mode, secure, from, err := wantedBoot(n)
	if err != nil {
		return fault.From(err)
	}
	k := n.BMC
	if k == nil {
		k = &conductor.Known{VirtualMedia: true, Unread: []string{conductor.PartSecureBoot}}
	}
	medium := "the ramdisk"
	if iso {
		medium = "the ISO of instance_info.boot_iso"
	}
	lacks := func(have []string, want string) bool { return len(have) > 0 && !slices.Contains(have, want) }
	acts := make([]string, 0, len(k.PowerActs))
	for _, a := range k.PowerActs {
		acts = append(acts, string(a))
	}
	switch {
	case lacks(k.BootModes, mode):
		return fault.New(fault.BMCBootMode, "boot mode %s is needed (%s), but the BMC offers %s only", mode, from, strings.Join(k.BootModes, ", "))
	case mode != bootUEFI:
		return fault.New(fault.BMCBootMode, "boot mode %s is asked for (%s), but this server boots machines in mode uefi only", mode, from).
			WithHint("use an image for UEFI and take boot_mode out of the capabilities")
	case secure && k.SecureBoot == nil && !slices.Contains(k.Unread, conductor.PartSecureBoot):
		return fault.New(fault.BMCSecureBoot, "secure boot is asked for (%s), but the BMC shows none", from)
	case secure && k.SecureBoot != nil && !*k.SecureBoot:
		return fault.New(fault.BMCSecureBoot, "secure boot is asked for (%s), but it is off, and this server does not switch it on", from)
	case http && unfitHTTP(k) != nil:
		return unfitHTTP(k)
	case !http && !k.VirtualMedia && !slices.Contains(k.Unread, conductor.PartMedia):
		return fault.New(fault.BMCNoMedia, "%s boots from a virtual CD, but the BMC has no virtual CD drive", medium)
	case !http && lacks(k.BootDevices, "cdrom"):
		return fault.New(fault.BMCBootDevice, "%s boots from a virtual CD, but the BMC can only boot the machine from %s", medium, strings.Join(k.BootDevices, ", "))
	case flow == state.Deploy && !iso && lacks(k.BootDevices, "disk"):
		return fault.New(fault.BMCBootDevice, "a deployment ends with a boot from disk, but the BMC can only boot the machine from %s", strings.Join(k.BootDevices, ", "))
	}
	for _, a := range []conductor.PowerAction{conductor.On, conductor.ForceOff} {
		if lacks(acts, string(a)) {
			return fault.New(fault.BMCPowerActs, "the power act %s is needed, but the BMC offers %s only", a, strings.Join(acts, ", "))
		}
	}
	return nil
}

// unfitHTTP says why a BMC can't have its machine boot over HTTP; nil when nothing speaks against it.
func unfitHTTP(k *conductor.Known) *fault.Fault {
	hint := "newer firmware of the BMC may help; or boot by virtual media: boot_interface redfish-virtual-media"
	switch {
	case len(k.BootDevices) > 0 && !slices.Contains(k.BootDevices, "uefihttp"):
		return fault.New(fault.BMCBootDevice, "the boot interface %s needs the boot source UefiHttp, but the BMC can only boot the machine from %s", drivers.HTTPBoot, strings.Join(k.BootDevices, ", ")).
			WithHint("%s", hint)
	case k.BootURI != nil && !*k.BootURI:
		return fault.New(fault.BMCBootDevice, "the boot interface %s gives the BMC an address to boot from, but the BMC has no HttpBootUri", drivers.HTTPBoot).WithHint("%s", hint)
	}
	return nil
}

const (
	bootUEFI = "uefi"
	bootBIOS = "bios"
)

// wantedBoot is the boot mode and whether secure boot is asked for, with where that stands, as Ironic reads it: the
// capabilities of instance_info before those of properties. Without a word of it the mode is UEFI, as the ramdisk needs.
func wantedBoot(n conductor.Node) (mode string, secure bool, from string, err error) {
	mode, from = bootUEFI, "the ramdisk's and the default"
	for _, p := range []struct {
		name string
		from map[string]any
	}{{"properties.capabilities", n.Properties}, {"instance_info.capabilities", n.InstanceInfo}} {
		c, err := capabilities(p.from["capabilities"])
		if err != nil {
			return "", false, "", fault.New(fault.RequestInvalid, "%s %s", p.name, err).
				WithHint("write boot_mode:uefi,secure_boot:true, or an object with these keys")
		}
		if v := c["boot_mode"]; v != "" {
			mode, from = v, p.name
		}
		if v := c["secure_boot"]; v != "" {
			secure, from = strings.EqualFold(v, "true"), p.name
		}
	}
	if v, _ := n.InstanceInfo["deploy_boot_mode"].(string); v != "" {
		mode, from = v, "instance_info.deploy_boot_mode"
	}
	if mode != bootUEFI && mode != bootBIOS {
		return "", false, "", fault.New(fault.RequestInvalid, "%s names the boot mode %.40q", from, mode).WithHint("boot_mode is uefi or bios")
	}
	return mode, secure, from, nil
}

// WithBootMode is a value of capabilities with the boot mode in it, in the value's own form. One that names a boot mode, or
// that can't be read, comes back as it is.
func WithBootMode(v any, mode string) any {
	c, err := capabilities(v)
	if err != nil || c["boot_mode"] != "" {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		out["boot_mode"] = mode
		return out
	case string:
		if strings.HasPrefix(strings.TrimSpace(v), "{") {
			break // the same as an object
		}
		return strings.TrimPrefix(strings.TrimRight(v, ", ")+",boot_mode:"+mode, ",")
	case nil:
		return "boot_mode:" + mode
	}
	out := map[string]any{"boot_mode": mode}
	for k, x := range c {
		if k != "boot_mode" {
			out[k] = x
		}
	}
	return out
}

// capabilities reads Ironic's forms: "a:1,b:2", an object, or an object as text.
func capabilities(v any) (map[string]string, error) {
	out := map[string]string{}
	switch v := v.(type) {
	case nil:
		return out, nil
	case map[string]any:
		for k, x := range v {
			out[k] = fmt.Sprint(x)
		}
		return out, nil
	case string:
		if strings.HasPrefix(strings.TrimSpace(v), "{") {
			var m map[string]any
			if json.Unmarshal([]byte(v), &m) != nil {
				return nil, fmt.Errorf("is no JSON object")
			}
			return capabilities(m)
		}
		for pair := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(pair) == "" {
				continue
			}
			k, x, ok := strings.Cut(pair, ":")
			if !ok {
				return nil, fmt.Errorf("has the entry %.40q, expected KEY:VALUE", pair)
			}
			out[strings.TrimSpace(k)] = strings.TrimSpace(x)
		}
		return out, nil
	}
	return nil, fmt.Errorf("is neither text nor an object")
}
