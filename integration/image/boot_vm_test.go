//go:build vm

package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// cache is shared with the demo, which deploys the same images.
const cache = "../../build/cache/images"

// serial collects what a machine says, and tells when it said something.
type serial struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	said chan struct{}
}

func (s *serial) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had := strings.Contains(s.text.String(), s.want)
	s.text.Write(b)
	if !had && strings.Contains(s.text.String(), s.want) {
		close(s.said)
	}
	return len(b), nil
}

func (s *serial) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.text.String() }

// boots starts a UEFI machine with the disk as its only one, and waits until its serial line says want.
func boots(t *testing.T, disk, want string, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	vars := filepath.Join(t.TempDir(), "vars.fd")
	copyFile(t, "/usr/share/OVMF/OVMF_VARS_4M.fd", vars)
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi",
		"-smp", "2", "-m", "512", "-nodefaults", "-display", "none", "-serial", "stdio",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,unit=1,format=raw,file="+vars,
		"-drive", "if=none,id=d0,format=raw,cache=unsafe,file="+disk, "-device", "nvme,drive=d0,serial=S1,bootindex=0")
	console := &serial{want: want, said: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = console, console
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-console.said:
		t.Logf("%q after %s", want, time.Since(start).Round(100*time.Millisecond))
		cancel()
		<-ended
	case err := <-ended:
		t.Fatalf("the machine ended (%v) before it said %q; it said:\n%s", err, want, console)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}

// withConfigDrive copies the image to a larger disk and adds a config drive made by xorriso as its last partition.
func withConfigDrive(t *testing.T, img Image, metadata string) string {
	t.Helper()
	dir := t.TempDir()
	files := filepath.Join(dir, "files", "openstack", "latest")
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "meta_data.json"), []byte(metadata), 0o644); err != nil {
		t.Fatal(err)
	}
	iso, disk := filepath.Join(dir, "config.iso"), filepath.Join(dir, "disk")
	if _, err := run(t.Context(), "xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "config-2", "-o", iso, filepath.Join(dir, "files")); err != nil {
		t.Fatal(err)
	}
	copyFile(t, img.Path, disk)
	start := (img.Size + 8*mib) / mib * mib
	if err := os.Truncate(disk, start+64*mib); err != nil {
		t.Fatal(err)
	}
	table := fmt.Sprintf("start=%d, size=8192, name=config-2\n", start/512)
	if _, err := (program{stdin: strings.NewReader(table)}).run(t.Context(), "sfdisk", "--quiet", "--append", disk); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	drive, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(drive, start); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestDebianBoots(t *testing.T) {
	img, err := Debian(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("raw %d MB, zstd %d MB", img.Size/1e6, img.Zstd.Size/1e6)
	boots(t, withConfigDrive(t, img, `{"uuid": "1", "hostname": "node-7", "name": "x"}`), "node-7 login:", 5*time.Minute)
}

func TestSmallBoots(t *testing.T) {
	start := time.Now()
	img, err := SmallMarked(t.Context(), cache, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("raw %d MB, zstd %d MB, made in %s", img.Size/1e6, img.Zstd.Size/1e6, time.Since(start).Round(100*time.Millisecond))
	boots(t, withConfigDrive(t, img, `{"hostname": "node-8"}`), "bessemer-test-os: booted host=node-8 marker=test", 5*time.Minute)
}

func TestSmallBootsWithoutConfigDrive(t *testing.T) {
	img, err := Small(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	copyFile(t, img.Path, disk)
	boots(t, disk, "bessemer-test-os: booted host=none marker=small", 5*time.Minute)
}
