package nodewire

import (
	"strconv"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// checkProperties refuses sizes that schedulers could not count with: cpus, memory_mb and local_gb are whole numbers from
// 0 on, as numbers or as text. Anything else in the map is the operator's own.
func checkProperties(p map[string]any) error {
	for _, name := range []string{"cpus", "local_gb", "memory_mb"} {
		ok := true
		switch v := p[name].(type) {
		case nil:
		case float64:
			ok = v >= 0 && v == float64(int64(v))
		case string:
			_, err := strconv.ParseUint(v, 10, 63)
			ok = err == nil
		default:
			ok = false
		}
		if !ok {
			return fault.New(fault.RequestInvalid, "properties.%s is %v, expected a whole number from 0 on", name, p[name])
		}
	}
	return nil
}
