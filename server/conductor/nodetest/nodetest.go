// Package nodetest is a new node for the tests of the packages that decide about nodes: its snapshot, its disks and what
// may be asked of it.
package nodetest

import (
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Two disks of a machine.
var (
	Disk0 = inventory.Disk{Name: "/dev/nvme0n1", Serial: "S0", Size: 8 << 30, Class: inventory.NVMePCIe, Model: "m"}
	Disk1 = inventory.Disk{Name: "/dev/nvme1n1", Serial: "S1", Size: 9 << 30, Class: inventory.NVMePCIe, Model: "m"}
)

// Snapshot is a new node of the type redfish, named n1, with an image to write and the disks given, or else Disk0.
func Snapshot(disks ...inventory.Disk) conductor.Snapshot {
	reg, err := step.NewRegistry(catalog.With(catalog.Redfish)...)
	if err != nil {
		panic(err) // the catalog's own test finds it, too
	}
	if disks == nil {
		disks = []inventory.Disk{Disk0}
	}
	ids := 0
	return conductor.Snapshot{
		Node: conductor.Node{
			UUID: "11111111-1111-4111-8111-111111111111", Name: "n1", State: state.Enroll, Driver: "redfish",
			InstanceInfo: map[string]any{"image_source": "http://images/os.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)},
			Properties:   map[string]any{},
		},
		Registry: reg, Timeouts: conductor.DefaultTimeouts(), Accepted: &inventory.Inventory{Disks: disks}, Seen: &inventory.Inventory{Disks: disks},
		NewID:   func() string { ids++; return fmt.Sprintf("id-%d", ids) },
		NewSalt: func() []byte { return []byte("salt") },
	}
}

// Wanted is an operator's list of steps by name; "name=5" is one with a priority. Those that need arguments get some.
func Wanted(names ...string) (out []step.Wanted) {
	for _, n := range names {
		name, priority, _ := strings.Cut(n, "=")
		w := step.Wanted{Name: name}
		fmt.Sscan(priority, &w.Priority)
		if strings.HasSuffix(name, ".apply_configuration") {
			w.Args = step.Args{"settings": []any{}}
		}
		if strings.HasSuffix(name, ".wait") {
			w.Args = step.Args{"seconds": 3.0}
		}
		out = append(out, w)
	}
	return out
}

// Implementations are those of a node of a type that names some.
func Implementations(driver string, chosen map[string]string) map[string]string {
	return drivers.Resolve(drivers.Offered(driver), chosen)
}

// Verbs are the verbs of the table by the words that an operator types.
func Verbs() map[string]state.Event {
	out := map[string]state.Event{}
	for _, v := range state.Verbs {
		switch v.Event {
		case state.Wait, state.Hold, state.Fail, state.Done:
		default:
			out[v.Event.Command()] = v.Event
		}
	}
	out[state.VerbUnhold.Command()] = state.VerbUnhold // of the shape of every flow, no row of its own
	return out
}
