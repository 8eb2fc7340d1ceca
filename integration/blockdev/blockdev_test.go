//go:build vm

// Package blockdev runs the agent's block device calls against the kernel's own: loop devices over files. It needs
// root, as the agent has it.
package blockdev

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/system"
)

const size = 16 << 20

// loop makes a loop device over a file of 16 MiB.
func loop(t *testing.T) (path, kernel string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loop devices need root")
	}
	f := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(f, bytes.Repeat([]byte{0xa5}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", f).Output()
	if err != nil {
		t.Skipf("no loop device to be had: %v", err)
	}
	path = strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", path).Run() })
	return path, filepath.Base(path)
}

func open(t *testing.T, path string, f system.BlockFlags) *system.Block {
	t.Helper()
	b, err := system.OpenBlock(path, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestCallsOfALoopDevice(t *testing.T) {
	path, kernel := loop(t)
	b := open(t, path, system.BlockFlags{Write: true, Exclusive: true, Direct: true})
	if n, err := b.Size(); n != size || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	if l, p, err := b.Sectors(); l != 512 || p < 512 || err != nil {
		t.Errorf("sectors %d, %d, %v", l, p, err)
	}
	if ro, err := b.ReadOnly(); ro || err != nil {
		t.Errorf("read-only %v, %v", ro, err)
	}
	major, minor, err := b.Number()
	if err != nil {
		t.Fatal(err)
	}
	d, err := block.New(os.DirFS("/")).ByNumber(fmt.Sprintf("%d:%d", major, minor))
	if err != nil || d.Kernel != kernel || d.Disk.Size != size {
		t.Errorf("by number %+v, %v", d, err)
	}
	buf := disk.Buffer(1 << 20)
	copy(buf, "new")
	if _, err := b.WriteAt(buf, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 1<<20)
	for name, fn := range map[string]func(off, n int64) error{"punch": b.PunchHole, "zero": b.ZeroOut} {
		if err := fn(4<<20, 1<<20); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := b.ReadAt(buf, 4<<20); err != nil || !bytes.Equal(buf, zero) {
			t.Errorf("%s: data is left, %v", name, err)
		}
	}
	if _, err := b.ReadAt(buf, size-512); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read beyond the end: %v", err)
	}
	if err := b.Discard(8<<20, 1<<20); err != nil && !errors.Is(err, system.ErrUnsupported) {
		t.Errorf("discard: %v", err)
	}
	if _, err := b.NVMeNamespace(); !errors.Is(err, system.ErrUnsupported) {
		t.Errorf("NVMe on a loop device: %v", err)
	}
	if _, err := b.Reserved(); !errors.Is(err, system.ErrUnsupported) {
		t.Errorf("SCSI on a loop device: %v", err)
	}
}

func TestI02_MountedDeviceCannotBeHeld(t *testing.T) {
	path, _ := loop(t)
	if out, err := exec.CommandContext(t.Context(), "mke2fs", "-q", "-t", "ext4", path).CombinedOutput(); err != nil {
		t.Skipf("mke2fs: %v %s", err, out)
	}
	dir := t.TempDir()
	if err := syscall.Mount(path, dir, "ext4", 0, ""); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	if b, err := system.OpenBlock(path, system.BlockFlags{Write: true, Exclusive: true}); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a mounted device was opened exclusively: %v, %v", b, err)
	}
}

func TestI02_TwoHolders(t *testing.T) {
	path, _ := loop(t)
	open(t, path, system.BlockFlags{Write: true, Exclusive: true})
	if _, err := system.OpenBlock(path, system.BlockFlags{Write: true, Exclusive: true}); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("held twice: %v", err)
	}
}

func TestFilesAreNoDevices(t *testing.T) {
	f := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(f, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := system.OpenBlock(f, system.BlockFlags{}); err == nil {
		t.Error("a plain file was opened as a block device")
	}
}
