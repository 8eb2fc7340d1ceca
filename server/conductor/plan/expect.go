package plan

import (
	"time"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What a plan expects to take, where this node has not shown it yet. The figures are for people to plan their day with:
// deadlines are the steps' own.
const (
	bootTime = 2 * time.Minute // firmware, ramdisk, lookup
	quick    = time.Minute     // a step that only moves metadata
)

// pace is how many bytes a second a class of disk writes, on the slow side.
func pace(d inventory.Disk) int64 {
	switch {
	case d.Rotational:
		return 150e6
	case d.Class == inventory.NVMePCIe:
		return 1500e6
	case d.Class == inventory.SATA, d.Class == inventory.SAS:
		return 400e6
	}
	return 100e6
}

// expect tells how long the plan takes: as long as the same step took on this node, else an estimate, else nothing.
func (b *builder) expect() {
	b.BootTime = bootTime
	if took := b.in.Took[""]; took > 0 {
		b.BootTime = took
	}
	b.Expect = time.Duration(b.Boots) * b.BootTime
	for i := range b.Items {
		it := &b.Items[i]
		it.Expect, it.Basis = b.in.Took[it.Step.Name], "measured"
		if it.Expect <= 0 {
			it.Expect, it.Basis = estimate(*it), "estimate"
		}
		if it.Expect <= 0 {
			it.Basis = ""
			b.Unknown++
		}
		b.Expect += it.Expect
	}
}

// estimate is how long a step of ours takes when nothing was measured; 0 when that can't be told.
func estimate(it Item) time.Duration {
	switch it.Step.Name {
	case catalog.EraseStep: // all disks at once, as if each were overwritten
		var slowest time.Duration
		for _, d := range it.Disks {
			slowest = max(slowest, time.Duration(float64(d.Size)/float64(pace(d))*float64(time.Second)))
		}
		if it.Args.Text("verify") == "full" {
			return 2 * slowest
		}
		return slowest * 11 / 10
	case "deploy.erase_devices_metadata":
		return quick
	}
	if it.Step.Where == step.Server {
		switch it.Step.Short() {
		case "wait":
			return time.Duration(it.Args.Int("seconds")) * time.Second
		case "power_on", "power_off", "reboot":
			return quick / 2
		}
	}
	return 0
}
