//go:build vm

package vm

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/integration/qemu"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// TestAnISORunsOnAMachineWithoutADisk: the deploy interface ramdisk boots an operator's ISO, at each start anew (requirement
// 49). The ISO is a ramdisk that tells what it read from its own medium, which no other has.
func TestAnISORunsOnAMachineWithoutADisk(t *testing.T) {
	built, dir := ground(t, "iso")
	image, err := os.ReadFile(built.Ramdisk.ISO)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "live.iso"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(image); err != nil {
		t.Fatal(err)
	}
	at, _, err := api.FindRegion(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(region(t, nil), at); err != nil {
		t.Fatal(err)
	}
	images := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer images.Close()

	l, err := lab.Start(t.Context(), lab.Config{
		Dir: filepath.Join(dir, "lab"), Cache: filepath.Join(built.Dir, "cache"), Bessemer: built.Bessemer, ISO: built.Ramdisk.ISO, Accel: "tcg",
		Machines: []emulator.MachineConfig{{Name: "one", QEMU: &qemu.Config{CPUs: 2, MemoryMB: 512}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{Lab: l, t: t, dir: dir}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			r.tell()
		}
	})
	m := l.Emulator.Machine("one")
	if _, err := l.Enroll(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Client.PatchNode(t.Context(), "one", []api.PatchOp{
		{Op: "add", Path: "/automated_clean", Value: false}, {Op: "add", Path: "/deploy_interface", Value: "ramdisk"},
		{Op: "add", Path: "/instance_info/boot_iso", Value: images.URL + "/live.iso"},
	}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		target string
		ends   state.State
	}{{"manage", state.Manageable}, {"provide", state.Available}, {"active", state.Active}} {
		r.ask(t, "one", api.Provision{Target: v.target})
		r.until(t, "one", v.ends)
	}
	r.says(t, m, "boot medium sr0: server https://10.0.2.2:1, node "+node, 1)
	if err := l.Client.SetPower(t.Context(), "one", api.PowerTarget{Target: "rebooting"}); err != nil {
		t.Fatal(err)
	}
	r.says(t, m, "boot medium sr0: server https://10.0.2.2:1, node "+node, 2)
	r.ask(t, "one", api.Provision{Target: "deleted"})
	r.until(t, "one", state.Available)
	if m.On() || m.Medium() != "" {
		t.Errorf("the deletion leaves the machine on (%v), with %q in its drive", m.On(), m.Medium())
	}
}

// says waits until the machine's console has said text so often.
func (r *rack) says(t *testing.T, m *emulator.Machine, text string, times int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		said, err := os.ReadFile(m.Console())
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if strings.Count(string(said), text) >= times {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the machine has not said %q %d times", text, times)
		}
	}
}
