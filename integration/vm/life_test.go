//go:build vm

package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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
	diskMB  = 1024
	pattern = "the previous tenant's secret"
	limit   = 5 * time.Minute // of one flow of one machine, without KVM on a busy computer
)

// rack is the lab of this package's scenarios.
type rack struct {
	*lab.Lab
	t     *testing.T
	dir   string
	small image.Image
}

// ground builds what the machines boot and gives a test its directory, empty: what is in it is kept until the next run, so that a
// failure can be looked into.
func ground(t *testing.T, name string) (built lab.Built, dir string) {
	t.Helper()
	built, err := lab.Build(t.Context(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(built.Dir, "vm", name)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return built, dir
}

func TestLife(t *testing.T) {
	ctx := t.Context()
	built, dir := ground(t, "life")
	small, err := image.Small(ctx, filepath.Join(built.Dir, "cache", "images"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{t: t, dir: dir, small: small}
	machines := []emulator.MachineConfig{
		{Name: "one", QEMU: &qemu.Config{CPUs: 2, MemoryMB: 1024, Disks: []qemu.Disk{
			{Path: r.disk("one-0"), SizeMB: diskMB, Serial: "ONE0"},
		}}},
		{Name: "two", QEMU: &qemu.Config{CPUs: 2, MemoryMB: 1024, Disks: []qemu.Disk{
			{Path: r.disk("two-0"), SizeMB: diskMB, Serial: "TWO0", Bus: "scsi", WWN: "5000c50015ea71aa"},
			{Path: r.disk("two-keep"), SizeMB: 64, Serial: "KEEP", Bus: "virtio"},
		}}},
	}
	r.Lab, err = lab.Start(ctx, lab.Config{
		Dir: dir, Cache: filepath.Join(built.Dir, "cache"), Bessemer: built.Bessemer, ISO: built.Ramdisk.ISO, Machines: machines, Accel: "tcg",
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

	// Each scenario starts where the one before it left the machine; one that fails ends the story.
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"TestF22_ManageWhileTheBMCIsBusy", r.manageWhileBusy},
		{"InspectTellsDisksAndCards", r.inspect},
		{"TestI05_CleaningErasesThePattern", r.cleanOne},
		{"DeployBootsTheImageWithItsConfigDrive", r.deployOne},
		{"TestI13_DeleteCleansThoughTheServerIsKilled", r.deleteOne},
		{"TestI06_TestF32_WrongDigestIsNeverBootable", r.wrongDigest},
		{"TestF31_ImageServerThatDropsHalfWay", r.droppedTransfer},
		{"TestI04_WrongRootDeviceHintIsRefused", r.wrongHint},
		{"TestI02_SkippedDiskKeepsItsData", r.keepDisk},
	} {
		if !t.Run(s.name, s.run) {
			t.Fatalf("%s failed; the scenarios after it build on it", s.name)
		}
	}
}

// disk makes a disk full of old data, as a machine that was in use has.
func (r *rack) disk(name string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name+".raw")
	size := int64(diskMB) << 20
	if strings.Contains(name, "keep") {
		size = 64 << 20
	}
	f, err := os.Create(path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		r.t.Fatal(err)
	}
	// Everywhere a partial erase would leave something: both ends, and every 16 MiB.
	for at := int64(0); at < size; at += 16 << 20 {
		if _, err := f.WriteAt(bytes.Repeat([]byte(pattern), 100), at); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := f.WriteAt([]byte(pattern), size-int64(len(pattern))); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// tell shows what a person would look at first after a failure.
func (r *rack) tell() {
	for _, f := range append([]string{r.ServerLog()}, r.consoles()...) {
		raw, err := os.ReadFile(f)
		if err != nil {
			r.t.Log(err)
			continue
		}
		r.t.Logf("the end of %s:\n%s", filepath.Base(f), raw[max(0, len(raw)-6000):])
	}
}

func (r *rack) consoles() (out []string) {
	for _, m := range r.Emulator.Machines() {
		out = append(out, m.Console())
	}
	return out
}

func (r *rack) ask(t *testing.T, node string, p api.Provision) {
	t.Helper()
	if err := r.Client.Provision(t.Context(), node, p); err != nil {
		t.Fatal(err)
	}
}

func (r *rack) until(t *testing.T, node string, want state.State) api.StepsAnswer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s, err := r.Until(ctx, node, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rack) manageWhileBusy(t *testing.T) {
	m := r.Emulator.Machine("one")
	if err := lab.Busy(m, 15*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Enroll(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	r.ask(t, "one", api.Provision{Target: "manage"})
	waited := false
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := r.Until(ctx, "one", state.Manageable, func(s api.StepsAnswer) {
		waited = waited || s.Wait != nil && strings.Contains(s.Wait.Evidence, "try ")
	}); err != nil {
		t.Fatal(err)
	}
	if !waited {
		t.Error("the wait never told that the BMC is busy")
	}
}

func (r *rack) inspect(t *testing.T) {
	r.ask(t, "one", api.Provision{Target: "inspect"})
	r.until(t, "one", state.Manageable)
	raw, err := r.Client.Inventory(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Inventory struct {
			Disks []struct {
				Serial, Class string
				Size          int64
			}
			Interfaces []struct {
				MACAddress string `json:"mac_address"`
			}
			CPU struct{ Count int }
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	i := got.Inventory
	if len(i.Disks) != 1 || i.Disks[0].Serial != "ONE0" || i.Disks[0].Size != diskMB<<20 || i.Disks[0].Class != "nvme-pcie" {
		t.Errorf("disks %+v", i.Disks)
	}
	if len(i.Interfaces) != 1 || i.Interfaces[0].MACAddress != r.Emulator.Machine("one").MACs()[0].String() {
		t.Errorf("interfaces %+v", i.Interfaces)
	}
	if i.CPU.Count != 2 {
		t.Errorf("%d processors", i.CPU.Count)
	}
	logs, err := r.Client.Logs(t.Context(), "one", client.LogQuery{})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	text, err := io.ReadAll(logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"msg":"modules"`, `"msg":"the server admits this machine"`} { // before and after the lookup
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the agent's log lacks %s:\n%s", want, text)
		}
	}
}

func (r *rack) cleanOne(t *testing.T) {
	if !holds(t, r.path("one-0"), pattern) {
		t.Fatal("the pattern was not there to begin with")
	}
	r.ask(t, "one", api.Provision{Target: "provide"})
	s := r.until(t, "one", state.Available)
	if holds(t, r.path("one-0"), pattern) {
		t.Error("old data is left on the disk")
	}
	for _, st := range s.Steps {
		if st.State != "succeeded" || st.Progress == nil || st.Progress.Percent != 100 {
			t.Errorf("step %s ended %s with progress %+v", st.Step, st.State, st.Progress)
		}
	}
	if m := r.Emulator.Machine("one"); m.Medium() != "" || m.On() {
		t.Errorf("left on: %v, with medium %q", m.On(), m.Medium())
	}
}

func (r *rack) path(name string) string { return filepath.Join(r.dir, name+".raw") }

// holds looks for a text anywhere on a disk.
func holds(t *testing.T, path, text string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	piece := make([]byte, 4<<20)
	keep := 0 // the end of the piece before, where the text may begin
	for {
		n, err := f.Read(piece[keep:])
		if bytes.Contains(piece[:keep+n], []byte(text)) {
			return true
		}
		if err == io.EOF {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		end := keep + n
		keep = min(end, len(text)-1)
		copy(piece, piece[end-keep:end])
	}
}

// target sets what is to be deployed.
func (r *rack) target(t *testing.T, node string, info map[string]any) {
	t.Helper()
	if _, err := r.Client.PatchNode(t.Context(), node, []api.PatchOp{{Op: "add", Path: "/instance_info", Value: info}}); err != nil {
		t.Fatal(err)
	}
}

// packers make each form of the small image; the last two arguments are it and the result.
var packers = map[string][]string{
	"raw.zst": {"sh", "-c", `zstd -q -1 <"$0" >"$1"`},
	"raw.gz":  {"sh", "-c", `gzip -1 <"$0" >"$1"`},
	"qcow2":   {"qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2"},
}

// upload stores the small image in a form.
func (r *rack) upload(t *testing.T, format string) api.Image {
	t.Helper()
	program := packers[format]
	path := filepath.Join(r.dir, "small."+format)
	cmd := exec.CommandContext(t.Context(), program[0], append(slices.Clone(program[1:]), r.small.Path, path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(program, " "), err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i, err := r.Client.PutImage(t.Context(), "small", bytes.NewReader(b), int64(len(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); i.SHA256 != hex.EncodeToString(sum[:]) || i.Format != format {
		t.Fatalf("the store says %s, %s; the file is %s, %x", i.Format, i.SHA256, format, sum)
	}
	return i
}

// from is the instance_info that deploys a stored image.
func from(i api.Image) map[string]any {
	return map[string]any{"image_source": i.URL, "image_disk_format": i.Format, "image_os_hash_algo": "sha256", "image_os_hash_value": i.SHA256}
}

func (r *rack) deployOne(t *testing.T) {
	i := r.upload(t, "qcow2")
	r.target(t, "one", from(i))
	m := r.Emulator.Machine("one")
	r.ask(t, "one", api.Provision{Target: "active", ConfigDrive: json.RawMessage(`{"meta_data": {"hostname": "first-one"}}`)})
	at := r.ConsoleLength(m)
	r.until(t, "one", state.Active)
	r.boots(t, m, at, "host=first-one")
}

// boots waits for the deployed system's own words.
func (r *rack) boots(t *testing.T, m *emulator.Machine, at int, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := r.Console(ctx, m, at, "bessemer-test-os: booted "+what); err != nil {
		t.Fatal(err)
	}
}

func (r *rack) deleteOne(t *testing.T) {
	r.ask(t, "one", api.Provision{Target: "deleted"})
	// As soon as a step is under way the server dies and comes back; the agent does not notice but for the silence.
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	killed := false
	s, err := r.Until(ctx, "one", state.Available, func(s api.StepsAnswer) {
		under := slices.ContainsFunc(s.Steps, func(v api.StepView) bool { return v.State == "started" || v.State == "succeeded" })
		if killed || !under {
			return
		}
		killed = true
		r.KillServer()
		if err := r.StartServer(ctx); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !killed {
		t.Error("no step was seen under way: the server was never killed")
	}
	for _, v := range s.Steps {
		if v.State != "succeeded" || v.Attempt != 1 {
			t.Errorf("step %s ended %s in attempt %d", v.Step, v.State, v.Attempt)
		}
	}
	if holds(t, r.path("one-0"), "EFI PART") || holds(t, r.path("one-0"), "first-one") {
		t.Error("the deleted instance can still be read")
	}
}

func (r *rack) wrongDigest(t *testing.T) {
	i := r.upload(t, "raw.gz")
	sum := sha256.Sum256([]byte("another file"))
	info := from(i)
	info["image_os_hash_value"] = hex.EncodeToString(sum[:])
	r.target(t, "one", info)
	r.ask(t, "one", api.Provision{Target: "active"})
	s := r.until(t, "one", state.DeployFail)
	if s.LastReason != "image.digest_mismatch" || !strings.Contains(s.LastError, i.SHA256[:12]) {
		t.Errorf("%s: %s", s.LastReason, s.LastError)
	}
	f, err := os.Open(r.path("one-0"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 1<<20)
	if _, err := io.ReadFull(f, head); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(head, make([]byte, len(head))) {
		t.Error("the first MiB is not empty: the firmware may find something to boot")
	}
	last := make([]byte, 33*512)
	if _, err := f.ReadAt(last, diskMB<<20-int64(len(last))); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(last, []byte("EFI PART")) {
		t.Error("a backup partition table is left")
	}
}

// droppedTransfer serves the image but cuts the first connection in the middle.
func (r *rack) droppedTransfer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var gets atomic.Int32
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("ETag", `"`+r.small.Zstd.SHA256+`"`)
		if req.Method == http.MethodGet && gets.Add(1) == 1 {
			w = &cutWriter{ResponseWriter: w, left: r.small.Zstd.Size / 2}
		}
		http.ServeFile(w, req, r.small.Zstd.Path)
	})}
	go srv.Serve(ln) //nolint:errcheck // ends with Close
	defer srv.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.target(t, "one", map[string]any{
		"image_source": fmt.Sprintf("http://%s:%s/small.raw.zst", lab.GuestHost, port), "image_os_hash_algo": "sha256", "image_os_hash_value": r.small.Zstd.SHA256,
	})
	m := r.Emulator.Machine("one")
	at := r.ConsoleLength(m)
	r.ask(t, "one", api.Provision{Target: "active"})
	r.until(t, "one", state.Active)
	r.boots(t, m, at, "host=")
	if gets.Load() < 2 {
		t.Errorf("%d requests: the connection was never cut", gets.Load())
	}
}

// cutWriter lets some bytes through and then breaks the connection.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		panic(http.ErrAbortHandler)
	}
	w.left -= int64(len(p))
	return w.ResponseWriter.Write(p)
}

func (r *rack) wrongHint(t *testing.T) {
	r.ask(t, "one", api.Provision{Target: "deleted"})
	r.until(t, "one", state.Available)
	i := r.upload(t, "raw.zst")
	info := from(i)
	info["root_device"] = map[string]any{"serial": "NOSUCH"}
	r.target(t, "one", info)
	err := r.Client.Provision(t.Context(), "one", api.Provision{Target: "active"})
	if err == nil || !strings.Contains(err.Error(), "ONE0") {
		t.Fatalf("want a refusal that lists the disks, got %v", err)
	}
	if n, err := r.Client.Node(t.Context(), "one"); err != nil || n.ProvisionState == nil || *n.ProvisionState != string(state.Available) {
		t.Fatalf("the node moved: %+v %v", n.ProvisionState, err)
	}
}

func (r *rack) keepDisk(t *testing.T) {
	m := r.Emulator.Machine("two")
	keep := map[string]any{"skip_block_devices": []any{map[string]any{"serial": "KEEP"}}}
	if _, err := r.Enroll(t.Context(), m, keep); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(r.path("two-keep"))
	if err != nil {
		t.Fatal(err)
	}
	r.ask(t, "two", api.Provision{Target: "manage"})
	r.until(t, "two", state.Manageable)
	r.ask(t, "two", api.Provision{Target: "provide"})
	r.until(t, "two", state.Available)
	if holds(t, r.path("two-0"), pattern) {
		t.Error("the disk to be erased still holds old data")
	}
	i := r.upload(t, "raw.zst")
	r.target(t, "two", from(i))
	at := r.ConsoleLength(m)
	r.ask(t, "two", api.Provision{Target: "active"})
	r.until(t, "two", state.Active)
	r.boots(t, m, at, "host=")
	after, err := os.ReadFile(r.path("two-keep"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the disk to be kept was written to")
	}
}
