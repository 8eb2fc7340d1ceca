// Package image makes the operating system images that the demo and the virtual machine tests deploy: Debian is a
// real one made by mmdebstrap, Small one made in seconds, which says on the serial line that it booted and under
// which host name. Both are whole-disk images for UEFI machines: GPT, an EFI system partition with a unified kernel
// image in the removable path, and, for Debian, a root file system. Neither holds a config drive partition: making
// one is the deploying side's work. No loop device and no mount is needed.
//
// It never downloads but through apt and mmdebstrap. Start at Image, Debian and Small.
package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// File is one form of an image.
type File struct {
	Path   string // absolute
	Size   int64  // bytes
	SHA256 string // hex, of the file as it is
}

// Image is a whole-disk image: raw, and the same compressed with zstd.
type Image struct {
	File
	Zstd File
}

// cached gives the image of this name and key from dir, or lets fill write its raw form and keeps that. One process
// builds at a time; a build that fails leaves nothing behind.
func cached(ctx context.Context, dir, name, key string, fill func(work, raw string) error) (img Image, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return Image{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Image{}, err
	}
	unlock, err := lock(filepath.Join(dir, name+".lock"))
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	sum := sha256.Sum256([]byte(key))
	base := filepath.Join(dir, name+"-"+hex.EncodeToString(sum[:8]))
	if b, err := os.ReadFile(base + ".json"); err == nil && json.Unmarshal(b, &img) == nil && img.there() {
		return img, nil
	}
	work, err := os.MkdirTemp(dir, name+"-work")
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	raw := filepath.Join(work, "raw")
	if err := fill(work, raw); err != nil {
		return Image{}, fmt.Errorf("make image %s: %w", name, err)
	}
	if _, err := run(ctx, "zstd", "-q", "-3", "-T0", raw, "-o", raw+".zst"); err != nil {
		return Image{}, fmt.Errorf("make image %s: %w", name, err)
	}
	for _, f := range []struct {
		from, to string
		into     *File
	}{{raw, base + ".raw", &img.File}, {raw + ".zst", base + ".raw.zst", &img.Zstd}} {
		if err := os.Rename(f.from, f.to); err != nil {
			return Image{}, err
		}
		if *f.into, err = describe(f.to); err != nil {
			return Image{}, err
		}
	}
	b, err := json.MarshalIndent(img, "", "  ")
	if err != nil {
		return Image{}, err
	}
	return img, os.WriteFile(base+".json", b, 0o644)
}

// there tells whether both files are where and as long as they were.
func (i Image) there() bool {
	for _, f := range []File{i.File, i.Zstd} {
		if s, err := os.Stat(f.Path); err != nil || s.Size() != f.Size {
			return false
		}
	}
	return true
}

func describe(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{Path: path, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// lock waits until no other process holds the file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// program is one to run: where, with what environment besides ours, and with what on its standard input.
type program struct {
	dir   string
	env   []string
	stdin io.Reader
}

// run starts a program and gives what it printed; the error has the last of what it complained about.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return program{}.run(ctx, name, args...)
}

func (p program) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var told bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stderr = p.dir, p.stdin, &told
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), p.env...)
	out, err := cmd.Output()
	if err != nil {
		text := strings.TrimSpace(told.String())
		return out, fmt.Errorf("%s: %w: %s", name, err, text[max(0, len(text)-2000):])
	}
	return out, nil
}
