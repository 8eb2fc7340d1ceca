package decide

import (
	"maps"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// read begins an inspection through the BMC: it asks what the machine is made of, and does nothing to the machine. An agent
// that is up stays up. A restart of the server asks again; what is asked changes nothing.
func (d *decider) read() {
	d.n.Flow.Phase = conductor.PhaseRead
	d.wait("bmc", "the BMC to tell what the machine is made of", d.s.Timeouts.BMC+2*d.s.Timeouts.Power, fault.BMCUnreachable)
	d.effect(conductor.Effect{Kind: conductor.EffectInspect})
}

// found ends it. What the BMC told is kept and shown; no disk is decided about by it (I4, I5).
func (d *decider) found(e conductor.EffectDone) {
	switch {
	case e.Fault != nil:
		d.fail(e.Fault)
		return
	case e.Found == nil:
		d.fail(fault.New(fault.BMCIncomplete, "the BMC tells nothing of the machine"))
		return
	}
	inv := e.Found.Inventory
	is, err := conductor.Recognise(*d.n, conductor.IdentityOf(inv.SystemVendor.UUID, inv.SystemVendor.SerialNumber))
	if err != nil {
		d.fail(fault.From(err))
		return
	}
	properties := described(d.n.Properties, inv)
	var lacks []string
	for _, key := range []string{"cpu_arch", "memory_mb"} {
		if properties[key] == nil {
			lacks = append(lacks, key)
		}
	}
	if len(lacks) > 0 {
		text := ""
		if len(inv.Problems) > 0 {
			text = "; " + strings.Join(inv.Problems, "; ")
		}
		d.fail(fault.New(fault.BMCIncomplete, "the BMC does not tell %s, and properties have none%s", strings.Join(lacks, " and "), text))
		return
	}
	d.n.Machine, d.n.Properties, d.Found = is, properties, e.Found
	d.complete()
}

// leastDisk is the size of the smallest disk that Ironic takes for one an operating system goes onto.
const leastDisk = 4 << 30

// described are the properties with what the BMC told put in; what it did not tell stays as it is. local_gb is Ironic's: of
// the smallest disk that will do, less one for what partitions take. A boot mode that the record names stays; and no mode but
// UEFI is put there, since a deployment would then ask for one that this server does not boot.
func described(properties map[string]any, inv inventory.Inventory) map[string]any {
	out := maps.Clone(properties)
	if out == nil {
		out = map[string]any{}
	}
	if inv.CPU.Architecture != "" {
		out["cpu_arch"] = inv.CPU.Architecture
	}
	if inv.CPU.Count > 0 {
		out["cpus"] = inv.CPU.Count
	}
	if inv.Memory.PhysicalMB > 0 {
		out["memory_mb"] = inv.Memory.PhysicalMB
	}
	least := int64(0)
	for _, disk := range inv.Disks {
		if disk.Size >= leastDisk && (least == 0 || disk.Size < least) {
			least = disk.Size
		}
	}
	if least > 0 {
		out["local_gb"] = least>>30 - 1
	}
	if mode := inv.Boot.CurrentBootMode; mode == "uefi" {
		out["capabilities"] = fit.WithBootMode(out["capabilities"], mode)
	}
	return out
}
