package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/u-root/mkuimage/cpio"
)

// layer is a finished layer: its file and what it took.
type layer struct {
	Layer
	file string
}

// Levels of compression: what ships, and what the edit loop waits for.
const (
	shipped = "-19"
	light   = "-3"
)

// cached gives the layer of this key, made by fill unless it is there. The key must cover every input of fill.
func (o Options) cached(ctx context.Context, name, key, level string, fill func() ([]cpio.Record, error)) (layer, error) {
	h := sha256.Sum256([]byte(key + "\x00" + level))
	file := filepath.Join(o.Cache, "layers", name+"-"+hex.EncodeToString(h[:8])+".cpio.zst")
	if fi, err := os.Stat(file); err == nil {
		raw, err := rawSize(file)
		if err == nil {
			return layer{Layer{name, raw, fi.Size(), true}, file}, nil
		}
	}
	records, err := fill()
	if err != nil {
		return layer{}, fmt.Errorf("make layer %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := archive(&b, records); err != nil {
		return layer{}, fmt.Errorf("make layer %s: %w", name, err)
	}
	return o.store(ctx, name, file, level, b.Bytes())
}

func (o Options) store(ctx context.Context, name, file, level string, raw []byte) (layer, error) {
	err := write(file, func(f *os.File) error {
		// One thread: the bytes do not depend on the number of processors.
		cmd := exec.CommandContext(ctx, "zstd", "--single-thread", "-q", "-c", level, fmt.Sprintf("--stream-size=%d", len(raw)))
		cmd.Stdin, cmd.Stdout = bytes.NewReader(raw), f
		var told bytes.Buffer
		cmd.Stderr = &told
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("zstd: %w: %s", err, strings.TrimSpace(told.String()))
		}
		return nil
	})
	if err != nil {
		return layer{}, fmt.Errorf("make layer %s: %w", name, err)
	}
	if err := os.WriteFile(file+".raw", fmt.Append(nil, len(raw)), 0o644); err != nil {
		return layer{}, fmt.Errorf("make layer %s: %w", name, err)
	}
	fi, err := os.Stat(file)
	if err != nil {
		return layer{}, fmt.Errorf("make layer %s: %w", name, err)
	}
	return layer{Layer{name, int64(len(raw)), fi.Size(), false}, file}, nil
}

func rawSize(file string) (n int64, err error) {
	b, err := os.ReadFile(file + ".raw")
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(string(b), &n)
	return n, err
}

// extra compresses an archive that somebody else made.
func (o Options) extra(ctx context.Context, file string) (layer, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return layer{}, fmt.Errorf("extra layer: %w", err)
	}
	if r, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(raw))); err != nil || len(r) == 0 {
		return layer{}, fmt.Errorf("extra layer %s is no uncompressed newc cpio archive (%v)", file, err)
	}
	name := "extra-" + strings.TrimSuffix(filepath.Base(file), ".cpio")
	h := sha256.Sum256(raw)
	out := filepath.Join(o.Cache, "layers", name+"-"+hex.EncodeToString(h[:8])+".cpio.zst")
	return o.store(ctx, name, out, shipped, raw)
}

// archive writes records as a newc archive with the folders they need, each name once, in the order of names.
func archive(w io.Writer, records []cpio.Record) error {
	byName := map[string]cpio.Record{}
	for _, r := range records {
		r = cpio.MakeReproducible(r)
		for dir := path.Dir(r.Name); dir != "."; dir = path.Dir(dir) {
			if _, ok := byName[dir]; !ok {
				byName[dir] = cpio.MakeReproducible(cpio.Directory(dir, 0o755))
			}
		}
		byName[r.Name] = r
	}
	names := make([]string, 0, len(byName))
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names) // a folder comes before what is in it
	rw := cpio.Newc.Writer(w)
	for i, n := range names {
		r := byName[n]
		r.Ino = uint64(i + 1)
		if err := rw.WriteRecord(r); err != nil {
			return fmt.Errorf("archive %s: %w", n, err)
		}
	}
	return cpio.WriteTrailer(rw)
}

// concatenate writes the layers one behind the other. Each is padded to four bytes: the kernel looks for the next
// archive there.
func concatenate(out string, layers []layer) error {
	return write(out, func(f *os.File) error {
		for _, l := range layers {
			b, err := os.ReadFile(l.file)
			if err != nil {
				return err
			}
			if n := len(b) % 4; n != 0 {
				b = append(b, make([]byte, 4-n)...)
			}
			if _, err := f.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// write makes a file whole or not at all.
func write(file string, fill func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// lock waits until this process alone works in the cache.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	return func() { f.Close() }, nil
}

// replace copies a file.
func replace(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return write(to, func(f *os.File) error { _, err := f.Write(b); return err })
}

// need names every program that is not installed, with the Debian package that has it.
func need(programs ...string) error {
	in := map[string]string{"dpkg-deb": "dpkg", "depmod": "kmod", "zstd": "zstd", "go": "golang-go", "apt-get": "apt", "apt-cache": "apt"}
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", p, in[p]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("build ramdisk: not installed: %s", strings.Join(missing, ", "))
	}
	return nil
}

// run runs a program and gives its output; an error carries the last of what it told.
func run(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(told.String())
		if len(text) > 2000 {
			text = "… " + text[len(text)-2000:]
		}
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text)
	}
	return out.Bytes(), nil
}
