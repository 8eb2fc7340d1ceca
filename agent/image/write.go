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
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/meter"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Spec is what to write.
type Spec struct {
	URL       string
	Format    string // "raw" or "raw.zst"; "" goes by the URL's ending
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
	SHA256      string             `json:"written_sha256"` // of the bytes written, made in the same pass
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
	out.Format = s.Format
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
	track.Method("write-" + s.Format)
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
		name := strings.ToLower(redact(s.URL))
		switch {
		case strings.HasSuffix(name, ".zst"), strings.HasSuffix(name, ".zstd"):
			s.Format = "raw.zst"
		case strings.HasSuffix(name, ".qcow2"), strings.HasSuffix(name, ".gz"), strings.HasSuffix(name, ".xz"), strings.HasSuffix(name, ".vmdk"):
			return fault.New(fault.ImageFormat, "%s is, by its name, neither raw nor zstd-compressed raw", redact(s.URL))
		default:
			s.Format = "raw"
		}
	}
	if s.Format != "raw" && s.Format != "raw.zst" {
		return fault.New(fault.ImageFormat, "format %q is not known", s.Format)
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
	src, err := open(ctx, w.Client, s.URL, w.Log)
	if err != nil {
		return err
	}
	defer src.Close()
	defer func() { out.Resumed += src.Resumed }()
	if s.Format == "raw" && src.size > to.Bytes {
		return tooSmall(src.size, to)
	}
	if src.size == 0 {
		return fault.New(fault.ImageSize, "%s is empty", out.Source)
	}
	track.Total(max(0, src.size))
	if err := to.Confirm(); err != nil {
		return err
	}
	track.Stage("clear")
	out.begun = true
	if err := to.ClearTables(); err != nil {
		return err
	}
	track.Stage("write")
	p, body, sum, err := prepare(s, src, to, track)
	if err != nil {
		return err
	}
	err = p.run(ctx, stop, body)
	got := sum()
	out.Served = src.off
	if err != nil {
		return w.explain(err, src, out)
	}
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

// prepare joins source, decoder and hashes. sum waits for the digest of the file as served; it is called once, after
// the pipeline's run. A raw file is served as it is written, so that one pass makes both digests.
func prepare(s Spec, src io.Reader, to *disk.Disk, track *meter.Track) (p *pipeline, body io.ReadCloser, sum func() []byte, err error) {
	h, err := newHash(s.Algorithm)
	if err != nil {
		return nil, nil, nil, err
	}
	if s.Format == "raw" {
		body = io.NopCloser(&counted{src, track})
		if s.Algorithm == "sha256" {
			p = newPipeline(to)
			return p, body, func() []byte { return p.sums[0].Sum(nil) }, nil
		}
		return newPipeline(to, h), body, func() []byte { return h.Sum(nil) }, nil
	}
	file := newServed(&counted{src, track}, h)
	if body, err = unpack(file); err != nil {
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
	return fault.New(fault.ImageCorrupt, "%s can't be decoded: %v", out.Source, err).Because(err)
}

func mustHex(s string) []byte { b, _ := hex.DecodeString(s); return b } // checked by Spec.check

func tooSmall(size int64, to *disk.Disk) error {
	return fault.New(fault.DiskTooSmall, "the image has %d bytes (%s), %s has %d", size, inventory.Bytes(size), to, to.Bytes)
}
