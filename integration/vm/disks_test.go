//go:build vm

package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/image"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/integration/qemu"
	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// pair is the lab of a machine with two disks: /dev/nvme0n1, serial ROOT, and /dev/nvme1n1, serial DATA.
type pair struct {
	*rack
	m     *emulator.Machine
	later image.Image // another image, to tell a deployment from the next
	lines int         // how much of the console was read
}

const pairMB = 256

// TestTwoDisks: a machine that runs an instance on one disk and has a config drive of a former tenant on the other is taken
// over from an Ironic, cleaned by its metadata alone, deployed, and rebuilt after its disks have changed their slots.
func TestTwoDisks(t *testing.T) {
	ctx := t.Context()
	built, dir := ground(t, "pair")
	p := &pair{rack: &rack{t: t, dir: dir}}
	var err error
	if p.small, err = image.Small(ctx, filepath.Join(built.Dir, "cache", "images")); err != nil {
		t.Fatal(err)
	}
	if p.later, err = image.SmallMarked(ctx, filepath.Join(built.Dir, "cache", "images"), "later"); err != nil {
		t.Fatal(err)
	}
	p.instance(t)
	p.stale(t)
	p.Lab, err = lab.Start(ctx, lab.Config{
		Dir: p.dir, Cache: filepath.Join(built.Dir, "cache"), Bessemer: built.Bessemer, ISO: built.Ramdisk.ISO, Accel: "tcg",
		Machines: []emulator.MachineConfig{{Name: "pair", QEMU: &qemu.Config{CPUs: 2, MemoryMB: 512, Disks: []qemu.Disk{
			{Path: p.path("root"), Serial: "ROOT", WWN: "525400aa00000001"}, {Path: p.path("data"), Serial: "DATA", WWN: "525400aa00000002"},
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			p.tell()
		}
	})
	p.m = p.Emulator.Machine("pair")
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"TestI01_AnImportedInstanceIsNotWritten", p.imported},
		{"AStaleConfigDriveIsGoneAfterMetadataAlone", p.metadata},
		{"TestI04_TheRootDiskStaysThoughTheSlotsChange", p.swapped},
	} {
		if !t.Run(s.name, s.run) {
			t.Fatalf("%s failed; the scenarios after it build on it", s.name)
		}
	}
}

// instance puts the small image onto the root disk, as somebody else's deployment left it.
func (p *pair) instance(t *testing.T) {
	t.Helper()
	in, err := os.Open(p.small.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(p.path("root"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Truncate(pairMB << 20); err != nil {
		t.Fatal(err)
	}
}

// stale makes the data disk one that has served a former tenant: its last partition is a config drive, as cloud-init looks for.
func (p *pair) stale(t *testing.T) {
	t.Helper()
	files := filepath.Join(p.dir, "drive", "openstack", "latest")
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "meta_data.json"), []byte(`{"hostname": "stale"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	iso := filepath.Join(p.dir, "drive.iso")
	if out, err := exec.CommandContext(t.Context(), "xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "config-2", "-o", iso, filepath.Join(p.dir, "drive")).CombinedOutput(); err != nil {
		t.Fatalf("xorriso: %v\n%s", err, out)
	}
	if err := os.WriteFile(p.path("data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(p.path("data"), pairMB<<20); err != nil {
		t.Fatal(err)
	}
	const start = 180 << 20
	sfdisk := exec.CommandContext(t.Context(), "sfdisk", "--quiet", p.path("data"))
	sfdisk.Stdin = strings.NewReader(fmt.Sprintf("label: gpt\nstart=2048, size=%d\nstart=%d, size=131072, name=config-2\n", 64<<20/512, start/512))
	if out, err := sfdisk.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	drive, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(p.path("data"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(drive, start); err != nil {
		t.Fatal(err)
	}
}

// sum is the digest of everything on a disk.
func (p *pair) sum(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(p.path(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// bessemer runs the command to its end.
func (p *pair) bessemer(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(p.dir, "..", "..", "bessemer"), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BESSEMER_") }), "BESSEMER_SERVER="+p.URL, "HOME="+p.dir)
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != cli.OK {
		t.Fatalf("bessemer %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return string(said)
}

// on reads on until the instance has booted with these words.
func (p *pair) on(t *testing.T, what string) {
	t.Helper()
	p.boots(t, p.m, p.lines, what)
	p.lines = p.ConsoleLength(p.m)
}

// imported: the import makes the node active by adopt, it can be switched and boots what it booted before, and not a byte of
// either disk has changed (requirement 43). It boots as "stale": that is the bug of requirement 134.
func (p *pair) imported(t *testing.T) {
	root, data := p.sum(t, "root"), p.sum(t, "data")
	secrets := filepath.Join(p.dir, "secrets.yaml")
	if err := os.WriteFile(secrets, []byte("pair: {redfish_password: "+lab.Password+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const id = "aaaaaaaa-0000-4000-8000-000000000001"
	lists := map[string]any{
		"/v1": map[string]any{"id": "v1", "version": map[string]any{"id": "v1", "min_version": "1.1", "version": "1.82"}},
		"/v1/nodes": map[string]any{"nodes": []any{map[string]any{"uuid": id, "name": "pair", "driver": "redfish", "provision_state": "active",
			"driver_info": map[string]any{"redfish_address": p.m.URL(), "redfish_system_id": p.m.SystemPath(), "redfish_username": lab.Username, "redfish_password": "******"},
			"properties":  map[string]any{"cpu_arch": "x86_64"}, "extra": map[string]any{}, "instance_uuid": "aaaaaaaa-0000-4000-8000-00000000000a",
			"instance_info": map[string]any{"image_source": "http://192.0.2.1/old.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("ab", 32)}}}},
		"/v1/ports":   map[string]any{"ports": []any{map[string]any{"uuid": "aaaaaaaa-0000-4000-8000-000000000002", "node_uuid": id, "address": p.m.MACs()[0].String(), "pxe_enabled": true}}},
		"/v1/chassis": map[string]any{"chassis": []any{}}, "/v1/drivers": map[string]any{"drivers": []any{}},
	}
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, there := lists[r.URL.Path]
		if r.Method != http.MethodGet {
			t.Errorf("the old server is asked to %s %s", r.Method, r.URL.Path)
		}
		if !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // the client tells
	}))
	defer old.Close()
	p.bessemer(t, "import", "--from", "ironic", old.URL, "--secrets", secrets, "--apply", "--yes")
	p.until(t, "pair", state.Active)
	if log := p.m.PowerLog(); len(log) > 0 {
		t.Errorf("the import switched the machine: %v", log)
	}
	p.bessemer(t, "node", "power", "on", "pair", "--watch")
	p.on(t, "host=stale marker=small")
	p.bessemer(t, "node", "power", "reboot", "pair", "--watch")
	p.on(t, "host=stale marker=small")
	p.bessemer(t, "node", "power", "off", "pair", "--watch")
	if r, d := p.sum(t, "root"), p.sum(t, "data"); r != root || d != data {
		t.Errorf("written was: the root disk %v, the other %v", r != root, d != data)
	}
}

// metadata: a cleaning by metadata alone removes the config drive from the disk that gets no image, so that the next instance
// without one finds none: the bug that TripleO had (requirement 134). The data between may stay.
func (p *pair) metadata(t *testing.T) {
	if _, err := p.Client.PatchNode(t.Context(), "pair", []api.PatchOp{
		{Op: "add", Path: "/automated_clean", Value: false}, {Op: "add", Path: "/properties/root_device", Value: map[string]any{"name": "/dev/nvme0n1"}},
	}); err != nil {
		t.Fatal(err)
	}
	p.bessemer(t, "node", "undeploy", "pair", "--watch", "--yes")
	p.bessemer(t, "node", "manage", "pair", "--watch")
	if !holds(t, p.path("data"), "config-2") {
		t.Fatal("the config drive was gone before the cleaning")
	}
	p.bessemer(t, "node", "clean", "pair", "--step", "deploy.erase_devices_metadata", "--watch", "--yes")
	for _, left := range []string{"config-2", "stale", "EFI PART", "CD001"} {
		if holds(t, p.path("data"), left) {
			t.Errorf("%q is still on the data disk", left)
		}
	}
	p.bessemer(t, "node", "provide", "pair", "--watch", "--yes")
	p.target(t, "pair", p.stored(t, "first", p.small))
	p.lines = p.ConsoleLength(p.m)
	p.ask(t, "pair", api.Provision{Target: "active"})
	p.until(t, "pair", state.Active)
	p.on(t, "host=none marker=small")
}

// stored uploads an image and is the instance_info that deploys it.
func (p *pair) stored(t *testing.T, name string, i image.Image) map[string]any {
	t.Helper()
	f, err := os.Open(i.Zstd.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stored, err := p.Client.PutImage(t.Context(), name, f, i.Zstd.Size, nil)
	if err != nil {
		t.Fatal(err)
	}
	return from(stored)
}

// swapped: the disks change their slots, so that /dev/nvme0n1, as the hints say, is the data disk now. A rebuild writes the
// disk that was deployed, and no byte of the other (requirement 135).
func (p *pair) swapped(t *testing.T) {
	p.bessemer(t, "node", "power", "off", "pair", "--watch")
	if err := p.m.SwapDisks(0, 1); err != nil {
		t.Fatal(err)
	}
	root, data := p.sum(t, "root"), p.sum(t, "data")
	p.target(t, "pair", p.stored(t, "later", p.later))
	p.lines = p.ConsoleLength(p.m)
	p.ask(t, "pair", api.Provision{Target: "rebuild"})
	steps := p.until(t, "pair", state.Active)
	p.on(t, "host=none marker=later")
	if now := p.sum(t, "data"); now != data {
		t.Error("the data disk, which the kernel calls /dev/nvme0n1 now, was written")
	}
	if p.sum(t, "root") == root {
		t.Error("the root disk was not written")
	}
	if n := len(steps.Steps); n != 1 {
		t.Errorf("%d steps", n)
	}
}
