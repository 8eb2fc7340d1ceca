package shape

import (
	"regexp"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Ident checks what names an object: request.invalid for what no name or UUID has.
func Ident(s string) (string, error) {
	if !IsName(s) {
		return "", fault.New(fault.RequestInvalid, "Expected a logical name or UUID, received %q.", s)
	}
	return s, nil
}

// Items are the parts of a list with commas between them, as Ironic reads one: in lower case, each once, and none that is empty.
func Items(list string) []string {
	var out []string
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.ToLower(strings.TrimSpace(item)); item != "" && !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

// Shards are those that a list names: as they are written, and in lower case, which is all that Ironic looks for. It is never nil.
func Shards(list string) []string {
	out := append([]string{}, Items(list)...)
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

// IsName tells whether a text may be a name. A UUID is one too.
func IsName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~", r) {
			return false
		}
	}
	return true
}

// hostName is what a node may be called before version 1.10.
var hostName = regexp.MustCompile(`(?i)^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9_-]{0,62}[a-z0-9])*\.?$`)

// NodeName refuses a name that a version does not have: before 1.10 they are those of hosts.
func NodeName(s string, v api.Version) error {
	if v < 10 && !hostName.MatchString(s) {
		return fault.New(fault.RequestInvalid, "%q is no name of a host, and other names are there from version 1.10 on; %s was asked for", s, v)
	}
	return nil
}

// IsUUID tells whether a text is a UUID, in capital letters or not.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		switch i {
		case 8, 13, 18, 23:
			if r != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdefABCDEF", r) {
				return false
			}
		}
	}
	return true
}

// WantUUID refuses a value that is no UUID (request.invalid); name is what it was given as.
func WantUUID(name, v string) error {
	if !IsUUID(v) {
		return fault.New(fault.RequestInvalid, "%s: expected a UUID, received %q", name, v)
	}
	return nil
}

var standardTraits = []string{"CUSTOM_", "COMPUTE_", "HW_", "MISC_", "OWNER_", "STORAGE_"}

// CheckTrait goes by the prefix for standard names, as there is no list of them here.
func CheckTrait(t string) error {
	ok := len(t) <= 255 && slices.ContainsFunc(standardTraits, func(p string) bool { return strings.HasPrefix(t, p) && len(t) > len(p) })
	for _, r := range t {
		ok = ok && (r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	}
	if !ok {
		return fault.New(fault.RequestInvalid, "%q is no trait: a custom one is CUSTOM_ and capital letters, digits and _, at most 255 characters", t)
	}
	return nil
}
