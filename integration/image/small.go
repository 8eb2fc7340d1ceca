package image

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/mkuimage/cpio"
)

const (
	metaPackage = "linux-image-cloud-amd64"
	testos      = "github.com/bessemer-metal/bessemer/integration/image/testos"
)

// What the small system loads so that it finds its config drive on an NVMe, SCSI or virtio disk, as ISO 9660 or FAT.
var smallModules = []string{"virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_utf8"}

// Small gives the small test image: a Debian kernel and one static program, which prints on ttyS0
//
//	bessemer-test-os: booted host=HOST marker=small
//
// with the host name of the config drive, or "none", and stays. dir keeps the image and the kernel package.
func Small(ctx context.Context, dir string) (Image, error) { return SmallMarked(ctx, dir, "small") }

// SmallMarked is Small with a marker of the caller's choice, one word, to tell two images apart.
func SmallMarked(ctx context.Context, dir, marker string) (Image, error) {
	if len(strings.Fields(marker)) != 1 {
		return Image{}, fmt.Errorf("make image: the marker %q is not one word", marker)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Image{}, err
	}
	deb, err := kernelPackage(ctx, filepath.Join(dir, "packages"))
	if err != nil {
		return Image{}, err
	}
	init, err := buildInit(ctx, dir)
	if err != nil {
		return Image{}, err
	}
	cmdline := "console=ttyS0 quiet panic=10 no_timer_check marker=" + marker
	key := strings.Join([]string{"small v1", filepath.Base(deb), string(init), cmdline, strings.Join(smallModules, " ")}, "\n")
	return cached(ctx, dir, "small-"+marker, key, func(work, raw string) error {
		tree := filepath.Join(work, "kernel")
		if _, err := run(ctx, "dpkg-deb", "-x", deb, tree); err != nil {
			return err
		}
		initramfs, err := smallInitramfs(ctx, tree, init)
		if err != nil {
			return err
		}
		kernels, err := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
		if err != nil || len(kernels) != 1 {
			return fmt.Errorf("find the kernel in %s: found %q, expected one", filepath.Base(deb), kernels)
		}
		boot := filepath.Join(work, "esp")
		if err := esp(ctx, boot, kernels[0], cmdline, "NAME=\"Bessemer test OS\"\nID=bessemer-test-os\n", initramfs); err != nil {
			return err
		}
		return assemble(ctx, raw, partition{"esp", "U", boot})
	})
}

// kernelPackage gives the package file of Debian's kernel for virtual machines: the newest one in dir, or else the
// one that apt downloads.
func kernelPackage(ctx context.Context, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	have := func() string {
		found, err := filepath.Glob(filepath.Join(dir, "linux-image-*-cloud-amd64_*.deb"))
		if err != nil || len(found) == 0 {
			return ""
		}
		slices.Sort(found)
		return found[len(found)-1]
	}
	if deb := have(); deb != "" {
		return deb, nil
	}
	shown, err := run(ctx, "apt-cache", "show", "--no-all-versions", metaPackage)
	if err != nil {
		return "", fmt.Errorf("find the kernel package: %w; is this Debian, and has apt-get update been run?", err)
	}
	name, err := dependency(string(shown))
	if err != nil {
		return "", err
	}
	// apt downloads into the working directory, as the caller: its own user may not write there.
	if _, err := (program{dir: dir}).run(ctx, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name); err != nil {
		return "", fmt.Errorf("download %s: %w", name, err)
	}
	if deb := have(); deb != "" {
		return deb, nil
	}
	return "", fmt.Errorf("download %s: apt-get left no package in %s", name, dir)
}

// dependency is the kernel's own package in what apt-cache shows of the package that stands for the newest one.
func dependency(shown string) (string, error) {
	for line := range strings.Lines(shown) {
		if deps, ok := strings.CutPrefix(line, "Depends: "); ok {
			name, _, _ := strings.Cut(strings.TrimSpace(deps), " ")
			if strings.HasPrefix(name, "linux-image-") {
				return strings.TrimSuffix(name, ","), nil
			}
		}
	}
	return "", fmt.Errorf("%s depends on no kernel", metaPackage)
}

// buildInit compiles the small system's one program.
func buildInit(ctx context.Context, dir string) ([]byte, error) {
	out, err := os.CreateTemp(dir, "init")
	if err != nil {
		return nil, err
	}
	defer os.Remove(out.Name())
	if err := out.Close(); err != nil {
		return nil, err
	}
	static := program{env: []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"}}
	if _, err := static.run(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w", "-o", out.Name(), testos); err != nil {
		return nil, err
	}
	return os.ReadFile(out.Name())
}

// smallInitramfs holds the program as /init and the modules, with the order they are loaded in.
func smallInitramfs(ctx context.Context, tree string, init []byte) ([]byte, error) {
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(tree, "lib/modules"), func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []string
	var need func(name string) error
	need = func(name string) error {
		file, ok := files[name]
		if !ok || slices.Contains(order, name) {
			return nil // built in, or listed
		}
		deps, err := run(ctx, "modinfo", "-F", "depends", file)
		if err != nil {
			return err
		}
		for _, d := range strings.FieldsFunc(string(deps), func(r rune) bool { return r == ',' || r == '\n' }) {
			if err := need(strings.ReplaceAll(d, "-", "_")); err != nil {
				return err
			}
		}
		order = append(order, name)
		return nil
	}
	for _, m := range smallModules {
		if err := need(m); err != nil {
			return nil, err
		}
	}
	records := []cpio.Record{
		// Without a console the kernel gives init no standard output.
		cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.StaticFile("init", string(init), 0o755), cpio.Directory("modules", 0o755),
		cpio.StaticFile("modules/order", strings.Join(order, "\n"), 0o644),
	}
	for _, m := range order {
		b, err := os.ReadFile(files[m])
		if err != nil {
			return nil, err
		}
		records = append(records, cpio.StaticFile("modules/"+m, string(b), 0o644))
	}
	var out bytes.Buffer
	w := cpio.Newc.Writer(&out)
	for i, r := range records {
		r = cpio.MakeReproducible(r)
		r.Ino = uint64(i + 1)
		if err := w.WriteRecord(r); err != nil {
			return nil, err
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
