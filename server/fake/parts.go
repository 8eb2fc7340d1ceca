package fake

import (
	"context"
	"maps"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

var _ conductor.PartsReader = (*machine)(nil)

// Parts tells the BIOS settings that the steps have set; of firmware there is nothing to read.
func (m *machine) Parts(ctx context.Context) (conductor.Parts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := []conductor.BIOSSetting{}
	for _, name := range slices.Sorted(maps.Keys(m.bios)) {
		if value, ok := conductor.BIOSText(m.bios[name]); ok {
			all = append(all, conductor.BIOSSetting{Name: name, Value: value})
		}
	}
	return conductor.Parts{BIOS: all}, ctx.Err()
}
