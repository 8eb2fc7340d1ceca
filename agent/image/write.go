// Package image puts an image on a disk: fetch, check, unpack and write in one pass, in bounded memory, so that the disk
// can't be booted before every check has passed; then the config drive and the firmware's boot entry. It chooses no
// disk and checks none: it writes to what a guard handed out. Start at Writer.Write.
package image

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/meter"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Spec is what to write.
type Spec struct {
	URL       string
	Format    string // one of catalog.Formats; "" goes by the URL's ending, or else by the file's first bytes
	Algorithm string // "sha256" or "sha512"
	Digest    string // hex, of the file as the URL serves it
	// ConfigDrive gives the config drive's file system image; nil when the node has none.
	ConfigDrive func(context.Context) ([]byte, error)
	// Boot puts the image's boot loader where firmware finds it, and tells where; nil: firmware can read the disk itself.
	Boot func(context.Context) ([]disk.BootPlace, error)
}

// Written is what became of it; it is kept with the step (safety.md I6).
type Written struct {
	Device      string             `json:"device"`
	ID          inventory.DeviceID `json:"id"`
	Source      string             `json:"source"` // the URL without credentials
	Format      string             `json:"format"`
	Algorithm   string             `json:"digest_algorithm"`
	Digest      string             `json:"digest"` // met by the file as served
	Served      int64              `json:"served_bytes"`
	Bytes       int64              `json:"written_bytes"`
	SHA256      string             `json:"written_sha256"` // of the bytes written, made in the same pass; of qcow2: docs/adr/0316-qcow2.md
	Zeroed      int64              `json:"zeroed_bytes"`   // of those, cleared rather than written
	ReadBack    int64              `json:"read_back_bytes"`
	Resumed     int                `json:"resumed,omitempty"`   // transfers that broke off and went on
	Restarted   int                `json:"restarted,omitempty"` // and that had to start again
	Seconds     float64            `json:"seconds"`
	Table       string             `json:"partition_table"`
	Partitions  int                `json:"partitions"`
	ConfigDrive string             `json:"config_drive,omitempty"` // where it was put
	Loader      string             `json:"boot_loader,omitempty"`

	begun bool // something was written
}

// Firmware is the machine's boot manager: system.Firmware, or a fake.
type Firmware interface {
	SetBootEntry(label string, p system.Partition, loader string) error
}

// Writer writes images.
type Writer struct {
	Client *http.Client // see NewClient
	// Firmware opens the boot manager; a boot.entry fault says that the machine was not booted by UEFI.
	Firmware func() (Firmware, error)
	Now      func() time.Time
	Log      *slog.Logger
}

const maxRestarts = 3

// Write puts the image on the disk. Until the digest is met and the data is flushed and read back in part, neither
// partition table nor boot sector is on the disk; if anything fails before, the disk holds none (safety.md I6, F32).
// When ctx ends it stops within seconds and returns ctx's error in a step.Stopped, which says what the disk holds. A
// later attempt begins from zero (docs/adr/0022-resume.md).
//
// Faults: request.invalid, image.*, disk.too_small, disk.io, disk.identity_changed, configdrive.invalid, boot.entry.
func (w *Writer) Write(ctx context.Context, s Spec, to *disk.Disk, report func(step.Progress)) (Written, error) {
	began := w.Now()
	out := Written{Device: to.String(), ID: to.ID, Source: redact(s.URL), Algorithm: s.Algorithm}
	if err := s.check(); err != nil {
		return out, err
	}
	firmware, err := w.Firmware() // a machine that could not be made to boot is not written at all
	if err != nil {
		return out, err
	}
	var drive []byte
	if s.ConfigDrive != nil {
		if drive, err = s.ConfigDrive(ctx); err != nil {
			return out, err
		}
		if err := disk.CheckConfigDrive(drive); err != nil {
			return out, err
		}
	}
	progress := meter.New(report, w.Now)
	defer progress.Tick()()
	track := progress.Track(to.String(), 0)
	track.Stage("fetch")
	for {
		err := w.transfer(ctx, s, to, track, &out)
		if !errors.Is(err, errRestart) {
			if err != nil {
				return out, stopped(ctx, to, &out, err)
			}
			break
		}
		if out.Restarted++; out.Restarted > maxRestarts {
			return out, fault.New(fault.ImageTruncated, "the transfer of %s broke off %d times and the server can't go on where it stopped", out.Source, out.Restarted)
		}
		w.Log.Warn("image transfer starts again", "source", out.Source)
		track.Restart()
	}
	track.Stage("partitions")
	if err := w.finish(ctx, s, to, drive, firmware, &out); err != nil {
		return out, err
	}
	out.Seconds = w.Now().Sub(began).Seconds()
	track.Stage("done")
	return out, nil
}

// stopped says what the disk holds when err comes of the context's end; any other error passes unchanged.
func stopped(ctx context.Context, to *disk.Disk, out *Written, err error) error {
	if ctx.Err() == nil || fault.From(err).Reason != fault.InternalError {
		return err
	}
	left := "it was not touched"
	if out.begun {
		left = fmt.Sprintf("some of its data is overwritten with %s of the image file, the rest holds what it held; it has no boot sector and no partition table and can't be booted",
			inventory.Bytes(out.Served))
	}
	return &step.Stopped{Left: fmt.Sprintf("%s (%s): %s", to.Info.Name, to, left), Err: context.Cause(ctx)}
}

// check fills in the format and refuses a spec that can't be met, before anything is fetched.
func (s *Spec) check() error {
	if s.Format == "" {
		s.Format = catalog.FormatByName(s.URL)
	}
	if s.Format != "" && !slices.Contains(catalog.Formats, s.Format) {
		return fault.New(fault.ImageFormat, "%s is to be %.40q", redact(s.URL), s.Format)
	}
	h, err := newHash(s.Algorithm)
	if err != nil {
		return err
	}
	s.Digest = strings.ToLower(strings.TrimSpace(s.Digest))
	if b, err := hex.DecodeString(s.Digest); err != nil || len(b) != h.Size() {
		return fault.New(fault.RequestInvalid, "%q is no %s digest: expected %d hex digits", s.Digest, s.Algorithm, 2*h.Size()).
			WithHint("set image_os_hash_value to the digest of the file the URL serves")
	}
	return nil
}

func newHash(algorithm string) (hash.Hash, error) {
	switch algorithm {
	case "sha256":
		return sha256.New(), nil
	case "sha512":
		return sha512.New(), nil
	}
	return nil, fault.New(fault.RequestInvalid, "digest algorithm %q is not known", algorithm).WithHint("use sha256 or sha512")
}

// transfer makes one pass: it leaves the disk complete and bootable, or with neither table nor boot sector.
func (w *Writer) transfer(ctx context.Context, s Spec, to *disk.Disk, track *meter.Track, out *Written) (err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	src, err := open(ctx, w.Client, s.URL, "", w.Log)
	if err != nil {
		return err
	}
	defer src.Close()
	defer func() { out.Resumed += src.Resumed }()
	head, err := peek(src, catalog.Sniffed)
	if err != nil {
		return err
	}
	if out.Format, err = s.content(head.first); err != nil {
		return err
	}
	track.Method("write-" + out.Format)
	if out.Format == catalog.QCOW2 {
		return w.qcow2(ctx, stop, s, src, to, track, out)
	}
	if out.Format == catalog.Raw && src.size > to.Bytes {
		return tooSmall(src.size, to)
	}
	track.Total(max(0, src.size))
	p, body, sum, err := prepare(s.Algorithm, out.Format, head, to, track)
	if err != nil {
		return w.explain(err, src, out)
	}
	if body, err = w.begin(body, to, track, out); err == nil {
		err = p.run(ctx, stop, body, chunk, p.feed)
	}
	got := sum()
	out.Served = src.off
	if err != nil {
		return w.explain(err, src, out)
	}
	return w.conclude(ctx, s, p, got, to, track, out)
}

// conclude compares the digest, reads back, and only then makes the disk bootable.
func (w *Writer) conclude(ctx context.Context, s Spec, p *pipeline, got []byte, to *disk.Disk, track *meter.Track, out *Written) (err error) {
	if subtle.ConstantTimeCompare(got, mustHex(s.Digest)) != 1 {
		return fault.New(fault.ImageDigest, "%s has the %s digest %x, expected %s (%d bytes served); %s was left without partition table and boot sector",
			out.Source, s.Algorithm, got, s.Digest, out.Served, to)
	}
	out.Digest = s.Digest
	out.Bytes, out.Zeroed, out.SHA256 = p.size, p.zeroed.Load(), hex.EncodeToString(p.sums[0].Sum(nil))
	track.Stage("verify")
	if out.ReadBack, err = p.readBack(ctx); err != nil {
		return err
	}
	return p.complete()
}

// content tells the format of a file that begins with head. What is not as asked for is refused before anything is written.
func (s *Spec) content(head []byte) (string, error) {
	found := catalog.FormatByContent(head)
	switch {
	case len(head) == 0:
		return "", fault.New(fault.ImageSize, "%s is empty", redact(s.URL))
	case s.Format != "" && found != s.Format:
		return "", fault.New(fault.ImageFormat, "%s is to be %s, and is %s by its first bytes", redact(s.URL), s.Format, found).
			WithHint("set image_disk_format to what the URL serves")
	case !slices.Contains(catalog.Formats, found):
		return "", fault.New(fault.ImageFormat, "%s is %s by its first bytes", redact(s.URL), found)
	}
	return found, nil
}

// begin looks at the first bytes to be written and makes the disk unbootable. It closes body when it fails.
func (w *Writer) begin(body io.ReadCloser, to *disk.Disk, track *meter.Track, out *Written) (_ io.ReadCloser, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, body.Close())
		}
	}()
	inner, err := peek(body, catalog.Sniffed)
	if err != nil {
		return nil, err
	}
	if found := catalog.FormatByContent(inner.first); found != catalog.Raw {
		return nil, fault.New(fault.ImageFormat, "%s is %s, and what is packed in it is no raw disk but %s", out.Source, out.Format, found).
			WithHint("serve the %s file itself, or a raw disk", found)
	}
	if err := unbootable(to, track, out); err != nil {
		return nil, err
	}
	track.Stage("write")
	return inner, nil
}

// unbootable makes sure that the disk is still the one, and clears what could be booted of it.
func unbootable(to *disk.Disk, track *meter.Track, out *Written) error {
	if err := to.Confirm(); err != nil {
		return err
	}
	track.Stage("clear")
	out.begun = true
	return to.ClearTables()
}

// peeked gives what was read from the start of src, and then the rest.
type peeked struct {
	first []byte
	rest  []byte // of first, not given yet
	src   io.Reader
}

// peek reads the first n bytes, or all where there are fewer.
func peek(src io.Reader, n int) (*peeked, error) {
	first := make([]byte, n)
	n, err := fill(src, first)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return &peeked{first: first[:n], rest: first[:n], src: src}, nil
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.rest) > 0 {
		n := copy(b, p.rest)
		p.rest = p.rest[n:]
		return n, nil
	}
	return p.src.Read(b)
}

func (p *peeked) Close() error {
	if c, ok := p.src.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// prepare joins source, decoder and hashes. sum waits for the digest of the file as served; it is called once, when nothing
// reads body any more. A raw file is served as it is written, so that one pass makes both digests.
func prepare(algorithm, format string, src io.Reader, to *disk.Disk, track *meter.Track) (p *pipeline, body io.ReadCloser, sum func() []byte, err error) {
	h, err := newHash(algorithm)
	if err != nil {
		return nil, nil, nil, err
	}
	if format == catalog.Raw {
		body = io.NopCloser(&counted{src, track})
		if algorithm == "sha256" {
			p = newPipeline(to)
			return p, body, func() []byte { return p.sums[0].Sum(nil) }, nil
		}
		return newPipeline(to, h), body, func() []byte { return h.Sum(nil) }, nil
	}
	file := newServed(&counted{src, track}, h)
	if body, err = unpack(format, file); err != nil {
		file.close()
		return nil, nil, nil, err
	}
	return newPipeline(to), body, func() []byte { file.close(); return h.Sum(nil) }, nil
}

// counted reports what is read.
type counted struct {
	src   io.Reader
	track *meter.Track
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.track.Add(int64(n))
	return n, err
}

// explain turns what ended a pass into what an operator can act on.
func (w *Writer) explain(err error, src *stream, out *Written) error {
	switch {
	case errors.Is(err, errRestart):
		return errRestart
	case fault.From(err).Reason != fault.InternalError, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.ImageCorrupt, "%s ends in the middle of its compressed data, after %d bytes", out.Source, src.off).Because(err)
	}
	return fault.New(fault.ImageCorrupt, "%s can't be decoded as %s, near byte %d: %v", out.Source, out.Format, src.off, err).Because(err)
}

func mustHex(s string) []byte { b, _ := hex.DecodeString(s); return b } // checked by Spec.check

func tooSmall(size int64, to *disk.Disk) error {
	return fault.New(fault.DiskTooSmall, "the image has %d bytes (%s), %s has %d", size, inventory.Bytes(size), to, to.Bytes)
}
