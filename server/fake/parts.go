package fake

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

var _ conductor.PartsReader = (*machine)(nil)

// Parts tells the BIOS settings that the steps have set; of firmware there is nothing to read.
func (m *machine) Parts(ctx context.Context) (conductor.Parts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := []conductor.BIOSSetting{}
	for _, name := range slices.Sorted(maps.Keys(m.bios)) {
		if value, ok := asText(m.bios[name]); ok {
			all = append(all, conductor.BIOSSetting{Name: name, Value: value})
		}
	}
	return conductor.Parts{BIOS: all}, ctx.Err()
}

// asText writes a value as it is kept of any BMC: True and False for booleans, null for none. Lists and objects are no
// settings.
func asText(v any) (text *string, ok bool) {
	out := ""
	switch t := v.(type) {
	case nil:
		return nil, true
	case string:
		out = t
	case bool:
		out = map[bool]string{true: "True", false: "False"}[t]
	case float64:
		out = strconv.FormatFloat(t, 'f', -1, 64)
	default:
		return nil, false
	}
	return &out, true
}
