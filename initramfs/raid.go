package initramfs

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/u-root/mkuimage/cpio"
)

// raidBundle is the bundle of drivers without which mdadm is of no use.
const raidBundle = "storage"

// raidPackages are mdadm's, and those of all that it is linked to. There is no such program in Go, and a static one is in
// no distribution.
var raidPackages = []string{"mdadm", "libc6", "libudev1"}

// raidLicences of raidPackages, for the bill of materials.
var raidLicences = map[string]string{"mdadm": "GPL-2.0-or-later", "libc6": "LGPL-2.1-or-later", "libudev1": "LGPL-2.1-or-later"}

// raid fetches the packages of the layer; none when the ramdisk has no drivers for it.
func (o Options) raid(ctx context.Context) ([]pkg, error) {
	if !slices.Contains(o.Bundles, raidBundle) {
		return nil, nil
	}
	var out []pkg
	for _, name := range raidPackages {
		p, err := o.fetch(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// mdadm is the layer with the program that builds arrays of software RAID.
func (o Options) mdadm(ctx context.Context, pkgs []pkg) (layer, error) {
	return o.cached(ctx, "raid", keyOf("raid", "v1", digestOf(pkgs)), shipped, func() ([]cpio.Record, error) {
		var program []byte
		libraries := map[string][]byte{}
		for _, p := range pkgs {
			err := p.walk(ctx, func(name string, _ int64, r io.Reader) (err error) {
				base := path.Base(name)
				switch {
				case strings.HasSuffix(name, "sbin/mdadm"):
					program, err = io.ReadAll(r)
				case strings.Contains(base, ".so."):
					libraries[base], err = io.ReadAll(r)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		return linked("sbin/mdadm", program, libraries)
	})
}

// linked is a program with the libraries that it needs, of those given by their files' names, where it looks for them.
func linked(name string, program []byte, libraries map[string][]byte) ([]cpio.Record, error) {
	records := []cpio.Record{cpio.StaticFile(name, string(program), 0o755)}
	done := map[string]bool{}
	var take func(file []byte, of string) error
	add := func(want, at, of string) error {
		if done[want] {
			return nil
		}
		done[want] = true
		for file, data := range libraries {
			if file == want || strings.HasPrefix(file, want+".") {
				records = append(records, cpio.StaticFile(at, string(data), 0o755))
				return take(data, want)
			}
		}
		return fmt.Errorf("%s needs %s, which none of the packages has", of, want)
	}
	take = func(file []byte, of string) error {
		f, err := elf.NewFile(bytes.NewReader(file))
		if err != nil {
			return fmt.Errorf("read %s: %w", of, err)
		}
		if s := f.Section(".interp"); s != nil {
			b, err := s.Data()
			if err != nil {
				return fmt.Errorf("read %s: %w", of, err)
			}
			loader := strings.TrimRight(string(b), "\x00")
			if err := add(path.Base(loader), strings.TrimPrefix(loader, "/"), of); err != nil {
				return err
			}
		}
		needed, err := f.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("read %s: %w", of, err)
		}
		for _, want := range needed {
			if err := add(want, "lib/x86_64-linux-gnu/"+want, of); err != nil { // the loader's own place: no cache of it is needed
				return err
			}
		}
		return nil
	}
	return records, take(program, name)
}
