package initramfs

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	stubPackage = "systemd-boot-efi"
	stubFile    = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
)

// pkg is a Debian package in the cache.
type pkg struct {
	name, version, path, digest string
}

// kernelPackages fetches the kernel that the distribution's metapackage of the flavour names. Debian has image and
// modules in one package; Ubuntu (flavour "generic") has the modules in two further ones.
func (o Options) kernelPackages(ctx context.Context) ([]pkg, error) {
	image, err := o.imagePackage(ctx)
	if err != nil {
		return nil, err
	}
	out := []pkg{image}
	if o.Flavour == ubuntuFlavour {
		for _, prefix := range []string{"linux-modules-", "linux-modules-extra-"} {
			p, err := o.fetch(ctx, prefix+image.release())
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
	}
	return out, nil
}

const ubuntuFlavour = "generic"

// hostFlavour is the kernel flavour that the build machine's archive has.
func hostFlavour() string {
	b, err := os.ReadFile("/etc/os-release")
	if err == nil && slices.Contains(strings.Split(string(b), "\n"), "ID=ubuntu") {
		return ubuntuFlavour
	}
	return "amd64"
}

func (o Options) imagePackage(ctx context.Context) (pkg, error) {
	pattern := "linux-image-[0-9]*-" + o.Flavour
	if !o.Refresh {
		if p, ok, err := o.have(ctx, pattern); ok || err != nil {
			return p, err
		}
	}
	meta := "linux-image-" + o.Flavour
	if err := need("apt-cache"); err != nil {
		return pkg{}, err
	}
	shown, err := run(ctx, "", "apt-cache", "show", "--no-all-versions", meta)
	if err != nil {
		return pkg{}, fmt.Errorf("find the kernel package %s: %w; is this Debian or Ubuntu, and has apt-get update been run?", meta, err)
	}
	for line := range strings.Lines(string(shown)) {
		deps, ok := strings.CutPrefix(line, "Depends:")
		if !ok {
			continue
		}
		for _, dep := range strings.Split(deps, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(dep), " ")
			if ok, _ := filepath.Match(pattern, name); ok {
				return o.fetch(ctx, name)
			}
		}
	}
	return pkg{}, fmt.Errorf("find the kernel package: %s depends on no %s", meta, pattern)
}

// fetch gives a package from the cache or, with apt's signature checks, from the archive.
func (o Options) fetch(ctx context.Context, name string) (pkg, error) {
	if !o.Refresh {
		if p, ok, err := o.have(ctx, name); ok || err != nil {
			return p, err
		}
	}
	if err := need("apt-get"); err != nil {
		return pkg{}, err
	}
	o.Log.Info("download", "package", name)
	dir := filepath.Join(o.Cache, "packages")
	// The download runs as the caller: apt's own user can't write to the cache.
	if _, err := run(ctx, dir, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name); err != nil {
		return pkg{}, fmt.Errorf("download %s: %w", name, err)
	}
	p, ok, err := o.have(ctx, name)
	if err == nil && !ok {
		err = fmt.Errorf("download %s: apt-get left no package", name)
	}
	return p, err
}

// have finds the newest package of a name pattern in the cache.
func (o Options) have(ctx context.Context, pattern string) (pkg, bool, error) {
	files, err := filepath.Glob(filepath.Join(o.Cache, "packages", pattern+"_*.deb"))
	if err != nil || len(files) == 0 {
		return pkg{}, false, err
	}
	newest, err := latest(ctx, files)
	if err != nil {
		return pkg{}, false, err
	}
	p := pkg{path: newest}
	f, err := os.Open(newest)
	if err != nil {
		return pkg{}, false, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return pkg{}, false, err
	}
	p.digest = hex.EncodeToString(h.Sum(nil))
	shown, err := run(ctx, "", "dpkg-deb", "--show", "--showformat=${Package} ${Version}", newest)
	if err != nil {
		return pkg{}, false, fmt.Errorf("%w; delete the file if it is damaged", err)
	}
	p.name, p.version, _ = strings.Cut(string(shown), " ")
	return p, true, nil
}

// latest orders package files by version as dpkg does.
func latest(ctx context.Context, files []string) (string, error) {
	best := files[0]
	for _, f := range files[1:] {
		var exit *exec.ExitError
		err := exec.CommandContext(ctx, "dpkg", "--compare-versions", fileVersion(f), "gt", fileVersion(best)).Run()
		switch {
		case err == nil:
			best = f
		case !errors.As(err, &exit):
			return "", err
		}
	}
	return best, nil
}

// fileVersion is the version in a package file's name, with what precedes it of the kernel's own: 6.1.0-56-amd64
// before 6.1.0-9-amd64 is told apart by its package version all the same.
func fileVersion(f string) string {
	parts := strings.Split(filepath.Base(f), "_")
	if len(parts) < 2 {
		return ""
	}
	return strings.ReplaceAll(parts[1], "%3a", ":")
}

// walk hands every regular file of the package to fn, with the name it installs to.
func (p pkg) walk(ctx context.Context, fn func(name string, mode int64, r io.Reader) error) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", p.path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var told bytes.Buffer
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpack %s: %w", p.path, err)
	}
	werr := func() error {
		t := tar.NewReader(out)
		for {
			h, err := t.Next()
			if errors.Is(err, io.EOF) {
				_, err = io.Copy(io.Discard, out)
				return err
			}
			if err != nil {
				return err
			}
			if h.Typeflag != tar.TypeReg {
				continue
			}
			name := filepath.Clean("/" + h.Name)[1:]
			// Merged /usr: newer packages install below usr what older ones install at the top.
			if rest, ok := strings.CutPrefix(name, "usr/lib/modules/"); ok {
				name = "lib/modules/" + rest
			}
			if err := fn(name, h.Mode, t); err != nil {
				return err
			}
		}
	}()
	if werr != nil {
		cmd.Process.Kill()
	}
	if err := cmd.Wait(); err != nil && werr == nil {
		werr = fmt.Errorf("%w: %s", err, strings.TrimSpace(told.String()))
	}
	if werr != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(p.path), werr)
	}
	return nil
}

// file reads one file of the package.
func (p pkg) file(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := p.walk(ctx, func(n string, _ int64, r io.Reader) (err error) {
		if n == name {
			data, err = io.ReadAll(r)
		}
		return err
	})
	if err == nil && data == nil {
		err = fmt.Errorf("package %s %s has no %s", p.name, p.version, name)
	}
	return data, err
}

// release is the kernel release of an image package.
func (p pkg) release() string { return strings.TrimPrefix(p.name, "linux-image-") }

// kernel is unpacked kernel packages: their image and, below tree/lib/modules/release, all their modules.
type kernel struct {
	o       Options
	digest  string // of all packages
	release string
	image   string
	tree    string
}

// kernel unpacks the packages into the cache, unless they are there.
func (o Options) kernel(ctx context.Context, pkgs []pkg) (kernel, error) {
	k := kernel{o: o, release: pkgs[0].release(), digest: digestOf(pkgs)}
	dir := filepath.Join(o.Cache, "kernel-"+k.release+"-"+k.digest[:16])
	k.image, k.tree = filepath.Join(dir, "vmlinuz"), dir
	if _, err := os.Stat(filepath.Join(dir, "lib/modules", k.release, "modules.dep")); err == nil {
		return k, nil
	}
	o.Log.Info("unpack", "kernel", k.release)
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return k, err
	}
	for _, p := range pkgs {
		if err := p.unpack(ctx, tmp, k.release); err != nil {
			return k, err
		}
	}
	if _, err := os.Stat(filepath.Join(tmp, "vmlinuz")); err != nil {
		return k, fmt.Errorf("package %s holds no kernel image: %w", pkgs[0].name, err)
	}
	if _, err := run(ctx, "", "depmod", "-b", tmp, k.release); err != nil {
		return k, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return k, err
	}
	return k, os.Rename(tmp, dir)
}

// unpack writes kernel image and modules of the package below dir.
func (p pkg) unpack(ctx context.Context, dir, release string) error {
	return p.walk(ctx, func(name string, _ int64, r io.Reader) error {
		switch {
		case strings.HasPrefix(name, "boot/vmlinuz-"):
			name = "vmlinuz"
		case !strings.HasPrefix(name, "lib/modules/"+release+"/"):
			return nil
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	})
}

// digestOf is one package's own digest, or one over those of several.
func digestOf(pkgs []pkg) string {
	if len(pkgs) == 1 {
		return pkgs[0].digest
	}
	h := sha256.New()
	for _, p := range pkgs {
		io.WriteString(h, p.digest)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// keyOf joins what a layer depends on.
func keyOf(parts ...string) string { return strings.Join(slices.Clone(parts), "\x00") }
