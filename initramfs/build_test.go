package initramfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/mkuimage/cpio"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestArchiveIsTheSameWhateverTheOrder(t *testing.T) {
	records := []cpio.Record{
		cpio.StaticFile("lib/modules/6.1/kernel/a.ko", "a", 0o644),
		cpio.Symlink("sbin/modprobe", "/init"),
		cpio.StaticFile("init", "#!", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
	}
	var one, two bytes.Buffer
	if err := archive(&one, records); err != nil {
		t.Fatal(err)
	}
	back := slices.Clone(records)
	slices.Reverse(back)
	for i := range back {
		back[i].MTime, back[i].UID, back[i].Ino = 12345, 1000, 77
	}
	if err := archive(&two, back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("order, owner or time of the files shows in the archive")
	}
	got, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(one.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	inodes := map[uint64]bool{}
	for _, r := range got {
		names = append(names, r.Name)
		inodes[r.Ino] = true
	}
	// The kernel makes no folder by itself: each comes before what lies in it.
	want := []string{"dev", "dev/console", "init", "lib", "lib/modules", "lib/modules/6.1", "lib/modules/6.1/kernel", "lib/modules/6.1/kernel/a.ko", "sbin", "sbin/modprobe"}
	if !slices.Equal(names, want) {
		t.Errorf("archive holds %v, expected %v", names, want)
	}
	if len(inodes) != len(want) {
		t.Error("two files share an inode: the kernel may take them for hard links")
	}
}

// What firmware loads over the network carries its boot's configuration in the ramdisk: the region is found in the finished program,
// whatever the initramfs before it is like, and is a file that only root reads.
func TestTheRamdiskCarriesARegion(t *testing.T) {
	stub := make([]byte, 0x600)
	copy(stub, "MZ")
	stub[0x3c] = 0x40
	copy(stub[0x40:], "PE\x00\x00\x64\x86\x01\x00") // x86-64, one section
	stub[0x40+4+16] = 240
	opt := 0x40 + 4 + 20
	copy(stub[opt:], "\x0b\x02")
	stub[opt+33], stub[opt+37], stub[opt+61], stub[opt+108] = 0x10, 0x02, 0x04, 16 // alignments, size of the headers, directories
	text := opt + 240
	copy(stub[text:], ".text")
	stub[text+8], stub[text+13], stub[text+17], stub[text+21] = 0x10, 0x10, 0x02, 0x04
	for _, n := range []int{0, 1, 2, 3, 4, 5000, 3 << 20} {
		initrd := bytes.Repeat([]byte(api.RegionFile+"\x00"), n/13+1)[:n] // it may hold the name without being the region
		got, err := withRegion(bytes.Clone(initrd))
		if err != nil {
			t.Fatal(err)
		}
		var uki bytes.Buffer
		if err := media.UKI(&uki, stub, []media.Section{{Name: ".linux", Data: []byte("kernel")}, {Name: ".initrd", Data: got}}); err != nil {
			t.Fatal(err)
		}
		off, length, err := media.FindRegion(bytes.NewReader(uki.Bytes()))
		if err != nil {
			t.Fatalf("behind %d bytes: %v", n, err)
		}
		program := uki.Bytes()
		if length != api.RegionSize || len(bytes.TrimRight(program[off:off+length], "\x00")) != 0 {
			t.Errorf("behind %d bytes: a region of %d at %d, expected %d zeros", n, length, off, api.RegionSize)
		}
		copy(program[off:], "configuration")
		at := bytes.Index(program, got[:n+110]) // up to the archive's first header
		files, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(program[at+(n+3)/4*4 : at+len(got)])))
		if err != nil || len(files) != 1 {
			t.Fatalf("behind %d bytes: %d files, %v", n, len(files), err)
		}
		data := make([]byte, files[0].FileSize)
		if _, err := files[0].ReadAt(data, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if files[0].Name != api.RegionFile || files[0].Mode&0o777 != 0o600 || !bytes.HasPrefix(data, []byte("configuration")) {
			t.Errorf("behind %d bytes: %s, mode %o, %.20q", n, files[0].Name, files[0].Mode, data)
		}
	}
	var none *api.NoRegionError
	var bare bytes.Buffer
	if err := media.UKI(&bare, stub, []media.Section{{Name: ".initrd", Data: bytes.Repeat([]byte("x"), 200_000)}}); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"no region": bare.Bytes(), "no program": []byte("hello"), "nothing": nil} {
		if _, _, err := media.FindRegion(bytes.NewReader(b)); !errors.As(err, &none) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// modulesTree is a kernel's tables as depmod writes them.
func modulesTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep": "kernel/fs/xfs.ko: kernel/lib/libcrc32c.ko\nkernel/lib/libcrc32c.ko:\nkernel/crypto/crc32c_generic.ko:\n" +
			"kernel/crypto/crc32c-intel.ko.xz:\nkernel/drivers/mlx5.ko: kernel/lib/mlxfw.ko kernel/lib/tls.ko\nkernel/lib/mlxfw.ko:\nkernel/lib/tls.ko:\nkernel/other.ko:\n",
		"modules.softdep": "softdep libcrc32c pre: crypto-crc32c\nsoftdep mlxfw post: xfs\n",
		"modules.alias":   "alias crypto-crc32c crc32c_generic\nalias crypto-crc32c crc32c_intel\nalias pci:v*d* other\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestClosure(t *testing.T) {
	for want, names := range map[string][]string{
		"kernel/crypto/crc32c-intel.ko.xz kernel/crypto/crc32c_generic.ko kernel/fs/xfs.ko kernel/lib/libcrc32c.ko": {"xfs", "not-there"},
		"kernel/crypto/crc32c-intel.ko.xz": {"crc32c_intel", "crc32c-intel"},
		"kernel/crypto/crc32c-intel.ko.xz kernel/crypto/crc32c_generic.ko kernel/drivers/mlx5.ko kernel/fs/xfs.ko kernel/lib/libcrc32c.ko kernel/lib/mlxfw.ko kernel/lib/tls.ko": {"mlx5"},
		"": {"nothing"},
	} {
		got, err := closure(modulesTree(t), names)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%v needs %v (%v), expected %s", names, got, err, want)
		}
	}
	if _, err := closure(t.TempDir(), []string{"xfs"}); err == nil {
		t.Error("a kernel without tables was accepted")
	}
}

func TestBundlesNameEachModuleOnce(t *testing.T) {
	seen := map[string]string{}
	for _, b := range Bundles {
		if b.Doc == "" || len(b.Modules) == 0 {
			t.Errorf("bundle %s says nothing or holds nothing", b.Name)
		}
		for _, m := range b.Modules {
			if seen[moduleName(m)] != "" {
				t.Errorf("%s is in %s and %s", m, seen[moduleName(m)], b.Name)
			}
			seen[moduleName(m)] = b.Name
		}
	}
}

// The list of commands and the imports that let them be found must be one.
func TestRescueCommandsAreImported(t *testing.T) {
	b, err := os.ReadFile("rescue_commands.go")
	if err != nil {
		t.Fatal(err)
	}
	var imported []string
	for l := range strings.Lines(string(b)) {
		if _, cmd, ok := strings.Cut(strings.Trim(strings.TrimSpace(l), `"`), "/cmds/core/"); ok {
			imported = append(imported, cmd)
		}
	}
	if !slices.Equal(imported, rescue) {
		t.Errorf("imported %v, listed %v", imported, rescue)
	}
}

func TestLayers(t *testing.T) {
	if err := need("zstd"); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	o, err := Options{Out: t.TempDir(), Source: ".."}.defaults()
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	fill := func() ([]cpio.Record, error) {
		made++
		return []cpio.Record{cpio.StaticFile("init", strings.Repeat("x", 1000), 0o755)}, nil
	}
	first, err := o.cached(ctx, "agent", "key", light, fill)
	if err != nil || first.Cached {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := o.cached(ctx, "agent", "key", light, fill)
	if err != nil || !again.Cached || again.Raw != first.Raw || again.Size != first.Size || made != 1 {
		t.Errorf("second time %+v, %v, made %d times", again, err, made)
	}
	if other, err := o.cached(ctx, "agent", "key2", light, fill); err != nil || other.Cached || made != 2 {
		t.Errorf("another key: %+v, %v, made %d times", other, err, made)
	}

	extra := filepath.Join(o.Out, "vendor.cpio")
	if err := write(extra, func(f *os.File) error {
		return archive(f, []cpio.Record{cpio.StaticFile("usr/sbin/tool", "v", 0o755)})
	}); err != nil {
		t.Fatal(err)
	}
	vendor, err := o.extra(ctx, extra)
	if err != nil || vendor.Name != "extra-vendor" {
		t.Fatalf("%+v, %v", vendor, err)
	}
	out := filepath.Join(o.Out, "initramfs.zst")
	if err := concatenate(out, []layer{first, vendor}); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(out)
	if err != nil || fi.Size()%4 != 0 || fi.Size() < first.Size+vendor.Size {
		t.Errorf("%v bytes, %v", fi.Size(), err)
	}
	if err := os.WriteFile(extra, []byte("no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := o.extra(ctx, extra); err == nil {
		t.Error("an extra layer that is no archive was accepted")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := (Options{Source: "."}).defaults(); err == nil {
		t.Error("no output folder was accepted")
	}
	k := kernel{o: Options{Bundles: []string{"disk", "nonsense"}}}
	if _, err := k.modules(context.Background()); err == nil || !strings.Contains(err.Error(), `"nonsense"`) || !strings.Contains(err.Error(), "virtual") {
		t.Errorf("an unknown bundle: %v", err)
	}
	if err := need("surely-not-installed"); err == nil || !strings.Contains(err.Error(), "surely-not-installed") {
		t.Errorf("a missing program: %v", err)
	}
}

func TestI22_NoSecretOnTheCommandLine(t *testing.T) {
	for _, w := range cmdline {
		for _, bad := range []string{"secret", "token", "password", "://"} {
			if strings.Contains(strings.ToLower(w), bad) {
				t.Errorf("%q is on the kernel command line", w)
			}
		}
	}
}

// Newer distributions compress each module; the layer holds them plain.
func TestModulesAreUnpacked(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	file := filepath.Join(dir, "a.ko")
	if err := os.WriteFile(file, []byte("module"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range [][2]string{{"zstd", ".zst"}, {"xz", ".xz"}, {"gzip", ".gz"}} {
		packed, err := run(ctx, "", p[0], "-c", file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+p[1], packed, 0o644); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "a.ko"+p[1])
		if err := plain(ctx, file+p[1], to); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(uncompressed(to)); err != nil || string(got) != "module" {
			t.Errorf("%s: %q, %v", p[1], got, err)
		}
	}
	to := filepath.Join(t.TempDir(), "a.ko")
	if err := plain(ctx, file, to); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != "module" {
		t.Errorf("plain: %q, %v", got, err)
	}
}

// A program built with -trimpath does not know where the toolchain is: the one in PATH is asked.
func TestRescueIsBuiltByTheToolchainInPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\n[ \"$*\" = 'env GOROOT' ] && echo /the/toolchain\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	env, err := Options{Source: dir}.environ(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if env.GOROOT != "/the/toolchain" {
		t.Errorf("the toolchain is taken from %q", env.GOROOT)
	}
}
