package wire

import (
	"encoding/json"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
)

// Clean is parts.Words for a message: what was cut off shows.
func Clean(s string, most int) string {
	short := parts.Words(s, most)
	if parts.Words(s, most+1) != short {
		return short + "…"
	}
	return short
}

// Join lists words for a message.
func Join[T ~string](all []T) string {
	out, err := json.Marshal(all)
	if err != nil {
		return ""
	}
	return Clean(string(out), 300)
}

// OrNone is one word of a BMC for a message.
func OrNone[T ~string](s T) string {
	if s == "" {
		return "nothing"
	}
	return Clean(string(s), 60)
}
