package nodes

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Describe puts what an inspection found into the node's properties. What it does not know stays as it is, and so does a boot mode
// that is named; no mode but UEFI is put there, which this server boots.
func Describe(n *conductor.Node, inv inventory.Inventory) {
	if n.Properties == nil {
		n.Properties = map[string]any{}
	}
	if inv.CPU.Architecture != "" {
		n.Properties["cpu_arch"] = inv.CPU.Architecture
	}
	if inv.CPU.Count > 0 {
		n.Properties["cpus"] = inv.CPU.Count
	}
	if inv.Memory.PhysicalMB > 0 {
		n.Properties["memory_mb"] = inv.Memory.PhysicalMB
	}
	if mode := inv.Boot.CurrentBootMode; mode == "uefi" {
		n.Properties["capabilities"] = fit.WithBootMode(n.Properties["capabilities"], mode)
	}
	if root, err := disks.Root(*n, inv); err == nil {
		n.Properties["local_gb"] = root.Size >> 30
	}
}
