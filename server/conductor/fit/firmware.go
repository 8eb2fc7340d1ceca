package fit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// maxVersion is how many bytes of a version an operator may ask for.
const maxVersion = 255

// MinimumFirmware is properties.minimum_firmware: the oldest version of the parts bios and bmc that the operator takes. The
// fault is request.invalid.
func MinimumFirmware(properties map[string]any) (map[string]string, error) {
	given := properties["minimum_firmware"]
	if given == nil {
		return nil, nil
	}
	wrong := func(format string, args ...any) (map[string]string, error) {
		return nil, fault.New(fault.RequestInvalid, "properties.minimum_firmware "+format, args...).
			WithHint(`write it like {"bmc": "2.72", "bios": "U30 v2.50"}, in the form in which the BMC tells its versions`)
	}
	parts, ok := given.(map[string]any)
	if !ok {
		return wrong("is %T, expected an object", given)
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		version, text := parts[name].(string)
		switch {
		case name != "bios" && name != "bmc":
			return wrong("names the part %.40q, expected bios or bmc", name)
		case !text || version == "" || len(version) > maxVersion:
			return wrong("has %.40q for %s, expected a version of at most %d bytes", fmt.Sprint(parts[name]), name, maxVersion)
		}
		out[name] = version
	}
	return out, nil
}

// old says of each part whose version is known that it is older than the operator takes, or can't be compared.
func old(n conductor.Node, f conductor.Facts) (out []string) {
	minimum, err := MinimumFirmware(n.Properties)
	if err != nil {
		return nil // a record from before its check
	}
	for _, part := range []struct{ name, have string }{{"bios", f.BIOSVersion}, {"bmc", f.BMCFirmware}} {
		want := minimum[part.name]
		if want == "" || part.have == "" {
			continue
		}
		switch order, ok := compare(part.have, want); {
		case !ok:
			out = append(out, fmt.Sprintf("the machine has %s %s; the minimum %q can't be compared with it", part.name, part.have, want))
		case order < 0:
			out = append(out, fmt.Sprintf("the machine has %s %s, expected %s or newer", part.name, part.have, want))
		}
	}
	return out
}

// pieces are the numbers and words of a version, in lower case.
func pieces(version string) (out []string) {
	kind := func(c byte) int {
		switch {
		case c >= '0' && c <= '9':
			return 1
		case c >= 'a' && c <= 'z':
			return 2
		}
		return 0
	}
	version = strings.ToLower(version)
	for i := range len(version) {
		k := kind(version[i])
		switch {
		case k == 0:
		case i > 0 && kind(version[i-1]) == k:
			out[len(out)-1] += version[i : i+1]
		default:
			out = append(out, version[i:i+1])
		}
	}
	return out
}

// compare orders two versions by their numbers from left to right, and by single letters; ok is false where they differ in
// words, or one has a word where the other has a number.
func compare(have, want string) (order int, ok bool) {
	a, b := pieces(have), pieces(want)
	for i := range min(len(a), len(b)) {
		x, y := strings.TrimLeft(a[i], "0"), strings.TrimLeft(b[i], "0")
		number := func(s string) bool { return s[0] >= '0' && s[0] <= '9' }
		switch {
		case x == y:
		case number(a[i]) && number(b[i]):
			return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)), true
		case !number(a[i]) && !number(b[i]) && len(x) == 1 && len(y) == 1:
			return strings.Compare(x, y), true
		default:
			return 0, false
		}
	}
	return cmp.Compare(len(a), len(b)), true
}
