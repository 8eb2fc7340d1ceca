package fit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Instance checks what a deployment takes from the record whatever writes the image: the root device hints, the
// capabilities, and that the node has the traits its instance asks for.
func Instance(n conductor.Node, interfaces map[string]string) *fault.Fault {
	if f := lacksTraits(n); f != nil || Pretends(interfaces, state.Deploy) {
		return f
	}
	for _, p := range []struct {
		name string
		from map[string]any
	}{{"instance_info", n.InstanceInfo}, {"properties", n.Properties}} {
		v, there := p.from["root_device"]
		if !there || v == nil {
			continue
		}
		hints, ok := v.(map[string]any)
		if !ok {
			return fault.New(fault.RequestInvalid, "%s.root_device must be an object of hints", p.name)
		}
		if _, err := inventory.ParseHints(hints); err != nil {
			return fault.From(err)
		}
	}
	if _, _, _, err := wantedBoot(n); err != nil {
		return fault.From(err)
	}
	return nil
}

// BootsDisk tells whether the instance is booted from the machine's own disk.
func BootsDisk(n conductor.Node, interfaces map[string]string) bool {
	c, err := capabilities(n.InstanceInfo["capabilities"])
	option := c["boot_option"]
	return err == nil && (option == "" || option == "local") && !slices.Contains([]string{"ramdisk", "anaconda"}, interfaces[drivers.Deploy])
}

// BootsISO tells whether the node's deploy interface boots an ISO of the operator's, and writes to no disk.
func BootsISO(interfaces map[string]string) bool { return interfaces[drivers.Deploy] == "ramdisk" }

// BootISO is the address of the ISO that instance_info names for the deploy interface ramdisk. The fault is request.invalid.
func BootISO(info map[string]any) (string, error) {
	url, text := info["boot_iso"].(string)
	switch {
	case info["boot_iso"] != nil && !text:
		return "", fault.New(fault.RequestInvalid, "instance_info.boot_iso is %T, expected a string with the ISO's URL", info["boot_iso"])
	case url == "":
		return "", fault.New(fault.RequestInvalid, "instance_info.boot_iso is not set, and the deploy interface ramdisk boots nothing else").
			WithHint("set it to the ISO's http or https URL, as bessemer node deploy NODE --iso URL does")
	}
	for _, key := range []string{"image_source", "kernel", "ramdisk"} {
		if v := info[key]; v != nil && v != "" {
			return "", fault.New(fault.RequestInvalid, "instance_info has both %s and boot_iso", key).WithHint("take one of the two out")
		}
	}
	_, err := conductor.MediumURL("instance_info.boot_iso", url, "http", "https")
	return url, err
}

// lacksTraits says what the instance asks of the node that the node does not have; nil when it has all.
func lacksTraits(n conductor.Node) *fault.Fault {
	wanted, given := n.InstanceInfo["traits"]
	if !given || wanted == nil {
		return nil
	}
	list, ok := wanted.([]any)
	if !ok {
		return fault.New(fault.RequestInvalid, "instance_info.traits is no list of traits")
	}
	lacks := map[string]bool{}
	for _, v := range list {
		t, text := v.(string)
		switch {
		case !text:
			return fault.New(fault.RequestInvalid, "instance_info.traits holds %v, which is no trait", v)
		case !slices.Contains(n.Traits, t):
			lacks[t] = true
		}
	}
	if len(lacks) > 0 {
		return fault.New(fault.RequestInvalid, "Cannot specify instance traits that are not also set on the node: %s",
			strings.Join(slices.Sorted(maps.Keys(lacks)), ", ")).WithHint("give the node the traits, or take them out of instance_info.traits")
	}
	return nil
}

// Checksums is the URL of the file of checksums that instance_info gives in the place of a digest; "" where it gives none.
func Checksums(info map[string]any) string {
	given, _ := info["image_os_hash_value"].(string)
	if given == "" {
		given, _ = info["image_checksum"].(string)
	}
	if fetched(given) {
		return given
	}
	return ""
}

// fetched tells a URL that is fetched.
func fetched(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

// ImageArgs makes the arguments of deploy.write_image from instance_info. Where that gives the URL of a file of checksums, the
// digest is that of read; with read nil it is left out.
func ImageArgs(info map[string]any, read *conductor.ImageDigest) (step.Args, error) {
	text := func(k string) string { s, _ := info[k].(string); return s }
	url := text("image_source")
	if url == "" {
		return nil, fault.New(fault.RequestInvalid, "instance_info.image_source is not set").
			WithHint("set it to the image's http or https URL, or use bessemer node deploy NODE --image NAME; an ISO is booted by the deploy interface ramdisk")
	}
	if !fetched(url) {
		return nil, fault.New(fault.RequestInvalid, "instance_info.image_source is no http or https URL").WithHint("machines fetch images by http and https only")
	}
	if err := wholeDisk(info); err != nil {
		return nil, err
	}
	algo, digest := strings.ToLower(text("image_os_hash_algo")), strings.ToLower(text("image_os_hash_value"))
	list := Checksums(info)
	switch {
	case list != "" && text("image_os_hash_value") != "" && algo != "sha256" && algo != "sha512":
		return nil, fault.New(fault.RequestInvalid, "image_os_hash_algo is %.40q, expected sha256 or sha512", algo)
	case list == "":
	case read == nil:
		return imageFormat(step.Args{"url": url}, text("image_disk_format"))
	case read.List != list || read.Source != url:
		return nil, fault.New(fault.StateConflict, "the image was changed while its file of checksums was read")
	case read.Fault != nil:
		return nil, read.Fault
	case text("image_os_hash_value") != "" && read.Algorithm != algo:
		return nil, fault.New(fault.RequestInvalid, "the file of checksums has a %s digest of the image, and image_os_hash_algo is %s", read.Algorithm, algo)
	default:
		return imageFormat(step.Args{"url": url, "digest_algorithm": read.Algorithm, "digest": read.Digest}, text("image_disk_format"))
	}
	if sum := strings.ToLower(text("image_checksum")); digest == "" && sum != "" {
		digest = sum
		algo = map[int]string{64: "sha256", 128: "sha512"}[len(sum)]
	}
	if digest == "" || algo == "" {
		return nil, fault.New(fault.RequestInvalid, "instance_info names no SHA-256 or SHA-512 digest of the image").
			WithHint("set image_os_hash_algo (sha256 or sha512) and image_os_hash_value")
	}
	if want := map[string]int{"sha256": 64, "sha512": 128}[algo]; want != len(digest) || strings.Trim(digest, "0123456789abcdef") != "" {
		return nil, fault.New(fault.RequestInvalid, "image digest: %q is not a %s digest in hex", digest, cmp.Or(algo, "known")).
			WithHint("image_os_hash_algo is sha256 (64 hex digits) or sha512 (128)")
	}
	return imageFormat(step.Args{"url": url, "digest_algorithm": algo, "digest": digest}, text("image_disk_format"))
}

// imageFormat adds the image's format to the arguments, where it is known.
func imageFormat(args step.Args, format string) (step.Args, error) {
	named := catalog.FormatByName(args.Text("url"))
	if format == "" || format == catalog.Raw && strings.HasPrefix(named, catalog.Raw+".") { // Ironic has no word for what it is packed in
		format = named
	}
	switch {
	case format == catalog.QCOW2 && strings.HasPrefix(named, catalog.Raw+"."):
		return nil, fault.New(fault.ImageFormat, "the image is qcow2 by image_disk_format and %s by its name: qcow2 inside another file is not unpacked", named).
			WithHint("serve the qcow2 file itself; its clusters can be compressed, by qemu-img convert -c")
	case format == "": // the agent looks at the first bytes
	case slices.Contains(catalog.Formats, format):
		args["format"] = format
	default:
		return nil, fault.New(fault.ImageFormat, "the image is %.40q by image_disk_format or by its name", format)
	}
	return args, nil
}

// wholeDisk refuses what asks for another thing than one image for the whole disk.
func wholeDisk(info map[string]any) error {
	switch kind := info["image_type"]; kind {
	case nil, "whole-disk":
	case "partition":
		return fault.New(fault.ImageFormat, "image_type is partition, and this server writes whole-disk images only").
			WithHint("use an image of a whole disk, with its boot loader")
	default:
		return fault.New(fault.RequestInvalid, "image_type is %.40q, expected whole-disk", fmt.Sprint(kind))
	}
	for _, key := range []string{"kernel", "ramdisk"} {
		if v := info[key]; v != nil && v != "" {
			return fault.New(fault.ImageFormat, "instance_info.%s goes with an image of a partition, and this server writes whole-disk images only", key).
				WithHint("use an image of a whole disk, and take kernel and ramdisk out of instance_info")
		}
	}
	if v := info["boot_iso"]; v != nil && v != "" {
		return fault.New(fault.RequestInvalid, "instance_info has both image_source and boot_iso").WithHint("take one of the two out")
	}
	return nil
}

// InstanceTraits are the traits that the instance asks for, in its order; what is no trait is left out. A deployment adds
// the steps of the deploy templates of these names.
func InstanceTraits(n conductor.Node) (out []string) {
	list, _ := n.InstanceInfo["traits"].([]any)
	for _, v := range list {
		if t, ok := v.(string); ok {
			out = append(out, t)
		}
	}
	return out
}
