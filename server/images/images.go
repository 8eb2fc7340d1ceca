// Package images is the server's image store: whole-disk images in files, named and digested, served over HTTP with
// ranges. It never looks into an image beyond its first bytes, and executes nothing of it.
//
// Start at Store and Put. A file's content lies in data/SHA256; what gives it a name is names/NAME.json, written last: a
// name is there whole or not at all, and never with another's bytes.
package images

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Image is one stored image. Size and both digests (lower-case hex) are those of the file as it is served.
type Image struct {
	Name    string    `json:"name"`
	Format  string    `json:"format"`
	Size    int64     `json:"size"`
	SHA256  string    `json:"sha256"`
	SHA512  string    `json:"sha512"`
	Created time.Time `json:"created_at"`
}

// Store is the directory of images. It is safe for concurrent use.
type Store struct {
	root *os.Root
	max  int64
	now  func() time.Time
	mu   sync.RWMutex // held while names and contents are changed together
}

const (
	names = "names"
	data  = "data"
	tmp   = "tmp"
)

// Open makes the directory if need be and clears what an upload cut short left there. max bounds one image in bytes.
func Open(dir string, max int64, now func() time.Time) (_ *Store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the image store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the image store: %w", err)
	}
	s := &Store{root: root, max: max, now: now}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the image store %s: %w", dir, errors.Join(err, root.Close()))
		}
	}()
	if err := root.RemoveAll(tmp); err != nil {
		return nil, err
	}
	for _, d := range []string{names, data, tmp} {
		if err := root.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return s, s.sweep()
}

// Close closes the directory; images that are being read stay readable.
func (s *Store) Close() error { return s.root.Close() }

// The length is no part of the expression: as a repetition it costs each start of the program milliseconds.
var grammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func check(name string) error {
	if len(name) > 128 || !grammar.MatchString(name) {
		return fault.New(fault.RequestInvalid, "image name %q is not allowed", name).
			WithHint("use 1 to 128 of the characters A-Z a-z 0-9 . _ - and begin with a letter or digit")
	}
	return nil
}

// Put stores what r gives under a name, replacing what had it; whoever reads the old image goes on reading it. It
// returns request.invalid for a bad name or a broken upload, image.format for content that is of none of the formats,
// request.too_large beyond the bound and storage.unavailable when the disk does not take it. After an error nothing
// is stored.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (Image, error) {
	if err := check(name); err != nil {
		return Image{}, err
	}
	file := tmp + "/" + rand.Text()
	f, err := s.root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Image{}, disk(name, err)
	}
	defer func() { _ = s.root.Remove(file) }() // moved away if all went well; what stays is cleared at the next start
	img, err := s.receive(ctx, f, name, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return Image{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.commit(file, img); err != nil {
		return Image{}, disk(name, err)
	}
	return img, nil
}

// receive copies r to f in one pass that also makes both digests.
func (s *Store) receive(ctx context.Context, f *os.File, name string, r io.Reader) (Image, error) {
	head := make([]byte, catalog.Sniffed)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && (n == 0 || !errors.Is(err, io.ErrUnexpectedEOF)) {
		return Image{}, broken(name, int64(n), err)
	}
	head = head[:n]
	if n == 0 {
		return Image{}, fault.New(fault.ImageSize, "image %s has no bytes", name)
	}
	format := catalog.FormatByContent(head)
	if !slices.Contains(catalog.Formats, format) {
		return Image{}, fault.New(fault.ImageFormat, "image %s is %s by its first bytes", name, format)
	}
	short, long := sha256.New(), sha512.New()
	out := &sink{f: f}
	size, err := io.CopyBuffer(io.MultiWriter(out, short, long),
		io.LimitReader(&source{ctx, io.MultiReader(bytes.NewReader(head), r)}, s.max+1), make([]byte, 1<<20))
	switch {
	case out.err != nil:
		return Image{}, disk(name, out.err)
	case err != nil:
		return Image{}, broken(name, size, err)
	case size > s.max:
		return Image{}, fault.New(fault.RequestTooLarge, "image %s is larger than the %d bytes that this server stores", name, s.max)
	}
	if err := f.Sync(); err != nil {
		return Image{}, disk(name, err)
	}
	return Image{
		Name: name, Format: format, Size: size, Created: s.now().UTC(),
		SHA256: hex.EncodeToString(short.Sum(nil)), SHA512: hex.EncodeToString(long.Sum(nil)),
	}, nil
}

// commit gives the received file its place and its name.
func (s *Store) commit(file string, img Image) error {
	if err := s.root.Rename(file, data+"/"+img.SHA256); err != nil {
		return err
	}
	text, err := json.MarshalIndent(img, "", "  ")
	if err != nil {
		return err
	}
	f, err := s.root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close(), s.sync(data)); err != nil {
		return err
	}
	if err := s.root.Rename(file, names+"/"+img.Name+".json"); err != nil {
		return err
	}
	if err := s.sync(names); err != nil {
		return err
	}
	_ = s.sweep() // the image is stored; what could not be removed is at the next change, or start
	return nil
}

// sync makes a directory's entries durable.
func (s *Store) sync(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sweep removes contents that no name has any more.
func (s *Store) sweep() error {
	all, err := s.list()
	if err != nil {
		return err
	}
	contents, err := fs.ReadDir(s.root.FS(), data)
	if err != nil {
		return err
	}
	for _, c := range contents {
		if !slices.ContainsFunc(all, func(i Image) bool { return i.SHA256 == c.Name() }) {
			if err := s.root.Remove(data + "/" + c.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// List gives all images by name.
func (s *Store) List() ([]Image, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all, err := s.list()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return all, nil
}

func (s *Store) list() ([]Image, error) {
	entries, err := fs.ReadDir(s.root.FS(), names)
	if err != nil {
		return nil, err
	}
	out := make([]Image, 0, len(entries))
	for _, e := range entries {
		img, err := s.get(strings.TrimSuffix(e.Name(), ".json"))
		if err != nil {
			return nil, err
		}
		out = append(out, img)
	}
	slices.SortFunc(out, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Get describes one image, or is image.not_found.
func (s *Store) Get(name string) (Image, error) {
	if err := check(name); err != nil {
		return Image{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.get(name)
}

func (s *Store) get(name string) (img Image, err error) {
	text, err := s.root.ReadFile(names + "/" + name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return img, fault.New(fault.ImageNotFound, "there is no image %q", name)
	}
	if err == nil {
		err = json.Unmarshal(text, &img)
	}
	if err != nil {
		return img, fmt.Errorf("read what is known of image %s: %w", name, err)
	}
	return img, nil
}

// OpenImage describes an image and opens its content, which the caller closes.
func (s *Store) OpenImage(name string) (Image, *os.File, error) {
	if err := check(name); err != nil {
		return Image{}, nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	img, err := s.get(name)
	if err != nil {
		return img, nil, err
	}
	f, err := s.root.Open(data + "/" + img.SHA256)
	if err != nil {
		return img, nil, fmt.Errorf("open image %s: %w", name, err)
	}
	return img, f, nil
}

// Delete takes an image's name away, and its content unless another image has the same.
func (s *Store) Delete(name string) error {
	if err := check(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.root.Remove(names + "/" + name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.ImageNotFound, "there is no image %q", name)
	}
	if err := errors.Join(err, s.sync(names), s.sweep()); err != nil {
		return disk(name, err)
	}
	return nil
}

// source ends a copy when its context does.
type source struct {
	ctx context.Context
	r   io.Reader
}

func (s *source) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}

// sink tells a failing disk from a failing sender.
type sink struct {
	f   *os.File
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.f.Write(b)
	if err != nil {
		s.err = err
	}
	return n, err
}

func broken(name string, size int64, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(fault.RequestInvalid, "the upload of image %s broke off after %d bytes", name, size).WithHint("send it again").Because(err)
}

func disk(name string, err error) error {
	words := "the disk does not take it"
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		words = "the disk is full"
	}
	return fault.New(fault.StorageUnavailable, "image %s can't be stored: %s", name, words).
		WithHint("make room below the data directory: bessemer image list shows the images").Because(err)
}
