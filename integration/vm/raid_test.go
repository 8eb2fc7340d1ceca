//go:build vm

package vm

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/image"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/integration/qemu"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const (
	raidMB      = 3 << 10
	mirrorOfTwo = `{"logical_disks": [{"raid_level": "1", "size_gb": 1, "controller": "software", "volume_name": "os", "is_root_volume": true},
		{"raid_level": "0", "size_gb": "MAX", "controller": "software", "volume_name": "data"}]}`
)

// TestSoftwareRAID builds an array of two disks with the kernel's own md and the ramdisk's mdadm, finds it again at the next
// boot, deploys an image onto it, which starts from either disk, and removes it.
func TestSoftwareRAID(t *testing.T) {
	ctx := t.Context()
	built, dir := ground(t, "raid")
	small, err := image.Small(ctx, filepath.Join(built.Dir, "cache", "images"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{t: t, dir: dir, small: small}
	var disks []qemu.Disk
	for _, name := range []string{"raid-0", "raid-1"} {
		disks = append(disks, qemu.Disk{Path: r.disk(name), SizeMB: raidMB, Serial: strings.ToUpper(name)})
		if err := os.Truncate(r.path(name), raidMB<<20); err != nil {
			t.Fatal(err)
		}
	}
	r.Lab, err = lab.Start(ctx, lab.Config{
		Dir: dir, Cache: filepath.Join(built.Dir, "cache"), Bessemer: built.Bessemer, ISO: built.Ramdisk.ISO, Accel: "tcg",
		Machines: []emulator.MachineConfig{{Name: "raid", QEMU: &qemu.Config{CPUs: 2, MemoryMB: 1024, Disks: disks}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			r.tell()
		}
	})
	if _, err := r.Enroll(ctx, r.Emulator.Machine("raid"), nil); err != nil {
		t.Fatal(err)
	}
	r.ask(t, "raid", api.Provision{Target: "manage"})
	r.until(t, "raid", state.Manageable)
	if _, err := r.Client.PatchNode(ctx, "raid", []api.PatchOp{{Op: "add", Path: "/raid_interface", Value: "agent"}}); err != nil {
		t.Fatal(err)
	}
	var target map[string]any
	if err := json.Unmarshal([]byte(mirrorOfTwo), &target); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Client.Send(ctx, http.MethodPut, client.Path("nodes", "raid", "states", "raid"), nil, target); err != nil {
		t.Fatal(err)
	}

	r.raid(t, "delete_configuration", "create_configuration") // as Metal3 does
	n, err := r.Client.Node(ctx, "raid")
	if err != nil {
		t.Fatal(err)
	}
	list, _ := n.RAIDConfig["logical_disks"].([]any)
	if len(list) != 2 || list[1].(map[string]any)["raid_level"] != "0" {
		t.Fatalf("raid_config is %v", n.RAIDConfig)
	}
	volume := list[0].(map[string]any)
	uuid, _ := volume["uuid"].(string)
	if volume["raid_level"] != "1" || volume["volume_name"] != "os" || volume["is_root_volume"] != true || uuid == "" || len(volume["physical_disks"].([]any)) != 2 {
		t.Errorf("raid_config is %v", n.RAIDConfig)
	}

	r.ask(t, "raid", api.Provision{Target: "inspect"}) // another boot: what is found there stands on the disks
	r.until(t, "raid", state.Manageable)
	arrays := r.arrays(t)
	if i := slices.IndexFunc(arrays, func(a found) bool { return a.Serial == uuid }); i < 0 || arrays[i].Name != "/dev/md/os" ||
		float64(arrays[i].Size) != volume["size_bytes"] || len(arrays[i].Members) != 2 || len(arrays) != 3 {
		t.Errorf("the inspection found %+v, expected %s, data and the mirror of the EFI system partition", arrays, uuid)
	}

	if _, err := r.Client.PatchNode(ctx, "raid", []api.PatchOp{{Op: "add", Path: "/automated_clean", Value: false}}); err != nil {
		t.Fatal(err)
	}
	r.ask(t, "raid", api.Provision{Target: "provide"})
	r.until(t, "raid", state.Available)
	r.target(t, "raid", from(r.upload(t, "qcow2")))
	m := r.Emulator.Machine("raid")
	at := r.ConsoleLength(m)
	r.ask(t, "raid", api.Provision{Target: "active"})
	r.until(t, "raid", state.Active)
	r.boots(t, m, at, "host=")

	r.power(t, "power off", false)
	if err := os.Truncate(r.path("raid-0"), 0); err != nil { // the first disk is lost: what is in its place is blank
		t.Fatal(err)
	}
	if err := os.Truncate(r.path("raid-0"), raidMB<<20); err != nil {
		t.Fatal(err)
	}
	at = r.ConsoleLength(m)
	r.power(t, "power on", true)
	r.boots(t, m, at, "host=")

	r.ask(t, "raid", api.Provision{Target: "deleted"})
	r.until(t, "raid", state.Available)
	r.ask(t, "raid", api.Provision{Target: "manage"})
	r.until(t, "raid", state.Manageable)
	r.raid(t, "delete_configuration")
	if n, err = r.Client.Node(ctx, "raid"); err != nil || len(n.RAIDConfig["logical_disks"].([]any)) != 0 {
		t.Errorf("after the deletion: %v, %v", n.RAIDConfig, err)
	}
	for _, name := range []string{"raid-0", "raid-1"} {
		head := make([]byte, 1<<20)
		f, err := os.Open(r.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(f, head); err != nil || slices.ContainsFunc(head, func(b byte) bool { return b != 0 }) {
			t.Errorf("%s still has a partition table, %v", name, err)
		}
		f.Close()
	}
}

// power switches the machine, and waits until it is so.
func (r *rack) power(t *testing.T, target string, on bool) {
	t.Helper()
	if err := r.Client.SetPower(t.Context(), "raid", api.PowerTarget{Target: target}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for r.Emulator.Machine("raid").On() != on {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the machine never came to %s", target)
		}
	}
}

// raid cleans the machine with steps of the RAID interface.
func (r *rack) raid(t *testing.T, steps ...string) {
	t.Helper()
	p := api.Provision{Target: "clean"}
	for _, s := range steps {
		p.CleanSteps = append(p.CleanSteps, api.WantedStep{Interface: "raid", Step: s, Args: map[string]any{}})
	}
	r.ask(t, "raid", p)
	r.until(t, "raid", state.Manageable)
}

// found is an array of an inventory.
type found struct {
	Name, Serial, Class string
	Size                int64
	Members             []any
}

func (r *rack) arrays(t *testing.T) (out []found) {
	t.Helper()
	raw, err := r.Client.Inventory(t.Context(), "raid")
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Inventory struct{ Disks []found } }
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	for _, d := range got.Inventory.Disks {
		if d.Class == "md" {
			out = append(out, d)
		}
	}
	return out
}
