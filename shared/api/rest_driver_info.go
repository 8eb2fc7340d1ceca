package api

import (
	"slices"
	"strings"
)

// Masked stands in answers wherever a secret is kept but not shown.
const Masked = "******"

var secretWords = []string{"password", "passwd", "passphrase", "token", "secret", "credential", "auth_key", "priv_key",
	"private_key", "api_key", "apikey", "community"}

// SecretWords are what SecretName looks for.
func SecretWords() []string { return slices.Clone(secretWords) }

// SecretName tells whether a key sounds like a secret: its value is neither shown nor taken from a command line.
func SecretName(key string) bool {
	key = strings.ToLower(key)
	for _, w := range secretWords {
		if strings.Contains(key, w) {
			return true
		}
	}
	return false
}

// BMCOf is where a node's driver_info says its BMC is, in a form to compare: two nodes with the same one are the same
// machine. "" when it does not say.
func BMCOf(driverInfo map[string]any) string {
	for _, key := range []string{"redfish_address", "ipmi_address"} {
		a, _ := driverInfo[key].(string)
		if a == "" || a == Masked {
			continue
		}
		if _, rest, ok := strings.Cut(a, "://"); ok {
			a = rest
		}
		system, _ := driverInfo["redfish_system_id"].(string)
		return strings.ToLower(strings.TrimRight(a, "/")) + system
	}
	return ""
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// Pointer is the path of a PatchOp (RFC 6901 section 3).
func Pointer(keys ...string) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString("/" + escape.Replace(k))
	}
	return b.String()
}
