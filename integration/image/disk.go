package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bessemer-metal/bessemer/initramfs/media"
)

const (
	mib = 1 << 20
	// stub starts the parts of a unified kernel image (Debian package systemd-boot-efi).
	stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
)

// partition is one partition of a disk image: its bytes stand in a file, whose length is a multiple of 1 MiB.
type partition struct {
	name, kind, file string // kind as sfdisk knows it: "U" is an EFI system partition
}

// assemble writes the partitions one behind the other, from 1 MiB on, into a disk image with a GPT.
func assemble(ctx context.Context, raw string, parts ...partition) (err error) {
	disk, err := os.Create(raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	table := strings.Builder{}
	table.WriteString("label: gpt\n")
	at := int64(mib)
	for _, p := range parts {
		n, err := copyAt(disk, at, p.file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&table, "start=%d, size=%d, type=%s, name=%s\n", at/512, n/512, p.kind, p.name)
		at += n
	}
	if err := disk.Truncate(at + mib); err != nil { // the second copy of the table
		return err
	}
	_, err = program{stdin: strings.NewReader(table.String())}.run(ctx, "sfdisk", "--quiet", raw)
	return err
}

// copyAt copies a file into the disk and gives its length; runs of zeros stay holes.
func copyAt(disk *os.File, at int64, file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, mib)
	for n := int64(0); ; n += mib {
		if _, err := io.ReadFull(f, buf); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		if allZero(buf) {
			continue
		}
		if _, err := disk.WriteAt(buf, at+n); err != nil {
			return 0, err
		}
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// esp writes an EFI system partition whose default program starts the kernel with this command line, without and
// with an initramfs (nil).
func esp(ctx context.Context, file, kernel, cmdline, release string, initramfs []byte) error {
	program, err := os.ReadFile(stub)
	if err != nil {
		return fmt.Errorf("%w (Debian package systemd-boot-efi)", err)
	}
	linux, err := os.ReadFile(kernel)
	if err != nil {
		return err
	}
	sections := []media.Section{{Name: ".osrel", Data: []byte(release)}, {Name: ".cmdline", Data: []byte(cmdline)}, {Name: ".linux", Data: linux}}
	if initramfs != nil {
		sections = append(sections, media.Section{Name: ".initrd", Data: initramfs})
	}
	uki := filepath.Join(filepath.Dir(file), "uki.efi")
	out, err := os.Create(uki)
	if err != nil {
		return err
	}
	if err := errors.Join(media.UKI(out, program, sections), out.Close()); err != nil {
		return err
	}
	info, err := os.Stat(uki)
	if err != nil {
		return err
	}
	if err := blank(file, info.Size()+2*mib); err != nil { // room for the tables of FAT
		return err
	}
	for _, args := range [][]string{
		{"mformat", "-i", file, "-v", "ESP", "::"},
		{"mmd", "-i", file, "::/EFI", "::/EFI/BOOT"},
		{"mcopy", "-i", file, uki, "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		if _, err := run(ctx, args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// blank makes a file of at least size bytes, a multiple of 1 MiB, all holes.
func blank(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate((size+mib-1)/mib*mib), f.Close())
}
