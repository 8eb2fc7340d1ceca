package fit

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func TestCapabilitiesAreReadAsIronicWritesThem(t *testing.T) {
	for _, c := range []struct {
		v    any
		mode string
		bad  bool
	}{
		{nil, "", false}, {"boot_mode:bios", "bios", false}, {" boot_mode : uefi ,x:y", "uefi", false}, {`{"boot_mode":"bios"}`, "bios", false},
		{map[string]any{"boot_mode": "bios"}, "bios", false}, {"boot_mode", "", true}, {"{", "", true}, {7, "", true}, {"", "", false},
	} {
		got, err := capabilities(c.v)
		if (err != nil) != c.bad || got["boot_mode"] != c.mode {
			t.Errorf("%v gives %v, %v", c.v, got, err)
		}
	}
	n := conductor.Node{InstanceInfo: map[string]any{"deploy_boot_mode": "sideways"}}
	if err := unfit(n, state.Inspect, false, false); !fault.Has(err, fault.RequestInvalid) {
		t.Errorf("an unknown boot mode gives %v", err)
	}
}

func TestValidateSaysWhy(t *testing.T) {
	good := nodetest.Snapshot().Node
	missing := fault.New(fault.DriverInfoMissing, "driver_info lacks redfish_address")
	for _, c := range []struct {
		name   string
		driver string
		chosen map[string]string
		info   error
		change func(*conductor.Node)
		bad    map[string]string // by interface what the reason says; the others are well
	}{
		{name: "a good record", bad: nil},
		{name: "without an address", info: missing, bad: map[string]string{"power": "redfish_address", "management": "redfish_address", "boot": "redfish_address",
			"bios": "redfish_address", "firmware": "redfish_address", "deploy": "redfish_address"}},
		{name: "no image", change: func(n *conductor.Node) { n.InstanceInfo = map[string]any{} }, bad: map[string]string{"deploy": "image_source"}},
		{name: "no image, and none written", chosen: map[string]string{"deploy": "custom-agent"}, change: func(n *conductor.Node) { n.InstanceInfo = map[string]any{} }},
		{name: "wrong hints", change: func(n *conductor.Node) { n.Properties = map[string]any{"root_device": map[string]any{"colour": "red"}} }, bad: map[string]string{"deploy": "colour"}},
		{name: "hints that are none", change: func(n *conductor.Node) { n.Properties = map[string]any{"root_device": "sda"} }, bad: map[string]string{"deploy": "root_device"}},
		{name: "wrong capabilities", change: func(n *conductor.Node) { n.Properties = map[string]any{"capabilities": "boot_mode"} }, bad: map[string]string{"boot": "capabilities", "deploy": "capabilities"}},
		{name: "a trait too many", change: func(n *conductor.Node) {
			n.Traits, n.InstanceInfo = []string{"CUSTOM_A"}, maps.Clone(n.InstanceInfo)
			n.InstanceInfo["traits"] = []any{"CUSTOM_A", "CUSTOM_B"}
		}, bad: map[string]string{"deploy": "CUSTOM_B"}},
		{name: "no list of traits", change: func(n *conductor.Node) {
			n.InstanceInfo = maps.Clone(n.InstanceInfo)
			n.InstanceInfo["traits"] = "CUSTOM_A"
		}, bad: map[string]string{"deploy": "traits"}},
		{name: "network boot", chosen: map[string]string{"boot": "pxe"}, bad: map[string]string{"boot": "virtual CD", "deploy": "virtual CD"}},
		{name: "by HTTPS", chosen: map[string]string{"boot": drivers.HTTPBoot}, change: func(n *conductor.Node) {
			n.BMC = &conductor.Known{BootURI: new(true), BootDevices: []string{"uefihttp", "disk"}}
		}},
		{name: "by HTTPS, of which the BMC says nothing", chosen: map[string]string{"boot": drivers.HTTPBoot}, change: func(n *conductor.Node) { n.BMC = &conductor.Known{} }},
		{name: "by HTTPS without the source", chosen: map[string]string{"boot": drivers.HTTPBoot}, change: func(n *conductor.Node) { n.BMC = &conductor.Known{BootDevices: []string{"cdrom", "disk"}} },
			bad: map[string]string{"boot": "UefiHttp", "deploy": "UefiHttp"}},
		{name: "by HTTPS without an address", chosen: map[string]string{"boot": drivers.HTTPBoot}, change: func(n *conductor.Node) { n.BMC = &conductor.Known{BootURI: new(false)} },
			bad: map[string]string{"boot": "HttpBootUri", "deploy": "HttpBootUri"}},
		{name: "without BIOS", chosen: map[string]string{"bios": "no-bios"}, bad: map[string]string{"bios": "does not support"}},
		{name: "a part of an image", change: func(n *conductor.Node) {
			n.InstanceInfo = maps.Clone(n.InstanceInfo)
			n.InstanceInfo["image_type"] = "partition"
		}, bad: map[string]string{"deploy": "image_type"}},
		{name: "an ISO", chosen: map[string]string{"deploy": "ramdisk"}, change: func(n *conductor.Node) { n.InstanceInfo = map[string]any{"boot_iso": "https://images/x.iso"} }},
		{name: "no ISO", chosen: map[string]string{"deploy": "ramdisk"}, change: func(n *conductor.Node) { n.InstanceInfo = map[string]any{} }, bad: map[string]string{"boot": "boot_iso is not set", "deploy": "boot_iso is not set"}},
		{name: "an ISO and an image", chosen: map[string]string{"deploy": "ramdisk"}, change: func(n *conductor.Node) {
			n.InstanceInfo = maps.Clone(n.InstanceInfo)
			n.InstanceInfo["boot_iso"] = "https://images/x.iso"
		}, bad: map[string]string{"boot": "both image_source and boot_iso", "deploy": "both image_source and boot_iso"}},
		{name: "an ISO by the network", chosen: map[string]string{"deploy": "ramdisk", "boot": "ipxe"}, change: func(n *conductor.Node) { n.InstanceInfo = map[string]any{"boot_iso": "https://images/x.iso"} },
			bad: map[string]string{"boot": "virtual CD", "deploy": "virtual CD"}},
		{name: "pretending", driver: "fake-hardware", change: func(n *conductor.Node) { n.InstanceInfo = map[string]any{} }},
		{name: "ipmi", driver: "ipmi", bad: map[string]string{"power": "IPMI", "management": "IPMI", "boot": "virtual CD", "deploy": "virtual CD"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := good
			n.Driver = "redfish"
			if c.driver != "" {
				n.Driver = c.driver
			}
			if c.change != nil {
				c.change(&n)
			}
			interfaces := nodetest.Implementations(n.Driver, c.chosen)
			got := Validate(n, interfaces, c.info)
			if len(got) != 12 {
				t.Errorf("%d interfaces are judged, expected 12", len(got))
			}
			for kind, f := range got {
				want, bad := c.bad[kind]
				if !bad && drivers.Disabled(interfaces[kind]) {
					want, bad = "does not support", true // also of a good record
				}
				if (f != nil) != bad || bad && !strings.Contains(f.Message, want) {
					t.Errorf("%s (%s): %v, expected %q", kind, interfaces[kind], f, want)
				}
			}
		})
	}
}

func TestImageFields(t *testing.T) {
	base := nodetest.Snapshot().Node.InstanceInfo
	for key, v := range map[string]any{"image_type": "odd", "kernel": "http://images/vmlinuz", "ramdisk": "x", "boot_iso": "http://images/x.iso", "image_os_hash_value": nil} {
		info := maps.Clone(base)
		info[key] = v
		if _, err := ImageArgs(info, nil); !fault.Has(err, fault.RequestInvalid) && !fault.Has(err, fault.ImageFormat) {
			t.Errorf("%s = %v gives %v", key, v, err)
		}
	}
	info := maps.Clone(base)
	info["image_type"] = "whole-disk"
	if _, err := ImageArgs(info, nil); err != nil {
		t.Error(err)
	}
	for _, url := range []string{"ftp://images/os.raw", "file:///os.raw", "oci://images/os", "an-image-id", "HTTP"} { // seen now, and not by a machine that has booted for it
		info := maps.Clone(base)
		info["image_source"] = url
		if _, err := ImageArgs(info, nil); !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), "no http or https URL") {
			t.Errorf("%s gives %v", url, err)
		}
	}
}

// What an image is packed in stands in its name, of which Ironic's formats know nothing; else what was said of it goes before its name.
func TestImageFormat(t *testing.T) {
	base := nodetest.Snapshot().Node.InstanceInfo
	for _, c := range []struct{ url, format, want string }{
		{"http://x/os.raw", "raw", "raw"}, {"http://x/os.raw", "", "raw"}, {"http://x/os.img", "", ""}, {"http://x/os.img", "raw", "raw"},
		{"http://x/os.raw.gz?a=b", "raw", "raw.gz"}, {"http://x/os.XZ", "", "raw.xz"}, {"http://x/os.zst", "raw", "raw.zst"}, {"http://x/os.zst", "raw.gz", "raw.gz"},
		{"http://x/os", "raw.xz", "raw.xz"}, {"http://x/os.vmdk", "", "!"}, {"http://x/os.raw", "vmdk", "!"}, {"http://x/os.qcow2.gz", "", "!"}, {"http://x/os.vmdk", "raw", "raw"},
		{"http://x/os.img", "qcow2", "qcow2"}, {"http://x/os.qcow2", "", "qcow2"}, {"http://x/os.qcow2", "raw", "raw"}, {"http://x/os.gz", "qcow2", "!"},
	} {
		info := maps.Clone(base)
		info["image_source"], info["image_disk_format"] = c.url, c.format
		args, err := ImageArgs(info, nil)
		got := args.Text("format")
		if err != nil && fault.Has(err, fault.ImageFormat) && fault.From(err).Hint != "" {
			got = "!"
		}
		if got != c.want {
			t.Errorf("%s as %q: %q (%v), expected %q", c.url, c.format, got, err, c.want)
		}
	}
}

// A URL in the place of the digest is that of a file of checksums; what was read of it is of that file and that image only.
func TestChecksums(t *testing.T) {
	const list, image = "https://images/SHA256SUMS", "http://images/os.raw"
	sha := strings.Repeat("b", 64)
	read := &conductor.ImageDigest{List: list, Source: image, Algorithm: "sha256", Digest: sha}
	for name, c := range map[string]struct {
		info   map[string]any
		read   *conductor.ImageDigest
		list   string
		digest string
		reason fault.Reason
	}{
		"a digest":             {map[string]any{"image_checksum": sha}, nil, "", sha, ""},
		"a digest wins":        {map[string]any{"image_checksum": list, "image_os_hash_algo": "sha256", "image_os_hash_value": sha}, nil, "", sha, ""},
		"not read":             {map[string]any{"image_checksum": list}, nil, list, "", ""},
		"read":                 {map[string]any{"image_checksum": list}, read, list, sha, ""},
		"read as hash":         {map[string]any{"image_os_hash_algo": "SHA256", "image_os_hash_value": list}, read, list, sha, ""},
		"of another algorithm": {map[string]any{"image_os_hash_algo": "sha512", "image_os_hash_value": list}, read, list, "", fault.RequestInvalid},
		"of MD5":               {map[string]any{"image_os_hash_algo": "md5", "image_os_hash_value": list}, nil, list, "", fault.RequestInvalid},
		"without algorithm":    {map[string]any{"image_os_hash_value": list}, nil, list, "", fault.RequestInvalid},
		"of another file":      {map[string]any{"image_checksum": list + "2"}, read, list + "2", "", fault.StateConflict},
		"of another image":     {map[string]any{"image_checksum": list, "image_source": image + "2"}, read, list, "", fault.StateConflict},
		"by ftp":               {map[string]any{"image_checksum": "ftp://images/SHA256SUMS"}, nil, "", "", fault.RequestInvalid},
	} {
		info := map[string]any{"image_source": image}
		maps.Copy(info, c.info)
		args, err := ImageArgs(info, c.read)
		if Checksums(info) != c.list || args.Text("digest") != c.digest || (err != nil) != (c.reason != "") || err != nil && !fault.Has(err, c.reason) {
			t.Errorf("%s: list %q, %v, %v", name, Checksums(info), args, err)
		}
	}
}

func TestInstanceTraits(t *testing.T) {
	for _, c := range []struct {
		traits any
		want   []string
	}{{nil, nil}, {"CUSTOM_A", nil}, {[]any{"CUSTOM_B", 1, "CUSTOM_A"}, []string{"CUSTOM_B", "CUSTOM_A"}}} {
		if got := InstanceTraits(conductor.Node{InstanceInfo: map[string]any{"traits": c.traits}}); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.traits, got)
		}
	}
}

func TestTheBootModeIsPutIntoCapabilitiesAsTheyAreWritten(t *testing.T) {
	for name, c := range map[string]struct{ before, want any }{
		"none":          {nil, "boot_mode:uefi"},
		"empty":         {"", "boot_mode:uefi"},
		"pairs":         {"a:1, b:2,", "a:1, b:2,boot_mode:uefi"},
		"named":         {"a:1,boot_mode:bios", "a:1,boot_mode:bios"},
		"object":        {map[string]any{"a": true}, map[string]any{"a": true, "boot_mode": "uefi"}},
		"named there":   {map[string]any{"boot_mode": "bios"}, map[string]any{"boot_mode": "bios"}},
		"object's text": {`{"a": "1"}`, map[string]any{"a": "1", "boot_mode": "uefi"}},
		"no pairs":      {"nonsense", "nonsense"},
		"a number":      {7.0, 7.0},
	} {
		if got := WithBootMode(c.before, "uefi"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, expected %v", name, got, c.want)
		}
	}
}
