package image_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/image/qcow2"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// TestI06_QCOW2HoldsBackBothEnds: an image as large as its disk has both partition tables where firmware finds them. Neither is there
// while the digest is not met.
func TestI06_QCOW2HoldsBackBothEnds(t *testing.T) {
	img := holes(t)
	for name, args := range map[string][]string{
		"plain": nil, "packed": {"-c"}, "out of order": {"-c", "-W", "-m", "8"}, "large clusters": {"-o", "cluster_size=2M"}, "small ones": {"-o", "cluster_size=4096"},
	} {
		file := qcow(t, img, args...)
		b := newBench(t, int64(len(img)), serve(append(bytes.Clone(file), 0)))
		b.old()
		if _, err := b.write(b.spec("/a.qcow2", file)); !fault.Has(err, fault.ImageDigest) {
			t.Errorf("%s: got %v", name, err)
		}
		b.notBootable()
		b = newBench(t, int64(len(img)), serve(file))
		b.old()
		if _, err := b.write(b.spec("/a.qcow2", file)); err != nil || !bytes.Equal(b.dev.Bytes(t, 0, len(img)), img) {
			t.Errorf("%s: the disk is not the image: %v", name, err)
		}
	}
}

// TestI06_ClearingThatLiesUnderQCOW2: a disk that says it cleared what the file has nothing for, and did not, is found by reading back.
func TestI06_ClearingThatLiesUnderQCOW2(t *testing.T) {
	img := holes(t)
	rand.NewChaCha8([32]byte{5}).Read(img[22*mib : len(img)-33*512]) // no zeros are cleared of what the file has
	file := qcow(t, img)
	b := newBench(t, 32*mib, serve(file))
	b.old()
	b.dev.Lies = true
	if _, err := b.write(b.spec("/a.qcow2", file)); !fault.Has(err, fault.ImageReadBack) {
		t.Errorf("got %v", err)
	}
	b.notBootable()
}

// TestI06_QCOW2SumOfWhatWasWritten makes written_sha256 as docs/adr/0316-qcow2.md tells it, out of the raw image.
func TestI06_QCOW2SumOfWhatWasWritten(t *testing.T) {
	img := disktest.Bootable(t, 24*mib+512)
	copy(img[len(img)-40<<10:], bytes.Repeat([]byte("packs"), 1000))
	for _, args := range [][]string{nil, {"-c"}, {"-c", "-o", "compression_type=zstd,cluster_size=4096"}, {"-o", "cluster_size=2M"}} {
		file := qcow(t, img, args...)
		part := func(off int64, n int) ([]byte, error) { return file[off : off+int64(n)], nil }
		h, err := qcow2.ReadHeader(part, int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := h.Load(t.Context(), part)
		if err != nil {
			t.Fatal(err)
		}
		want := sha256.New()
		for e := range m.Extents() {
			n := e.Length
			switch e.Kind {
			case qcow2.Table:
				continue
			case qcow2.Packed:
				n = m.Cluster
			}
			for at := e.Guest; at < min(e.Guest+n, m.Size); at += m.Cluster {
				want.Write(binary.BigEndian.AppendUint64(nil, uint64(at)))
				want.Write(img[at:min(at+m.Cluster, m.Size)])
			}
		}
		want.Write(binary.BigEndian.AppendUint64(nil, uint64(len(img))))
		b := newBench(t, 32*mib, serve(file))
		if w, err := b.write(b.spec("/a.qcow2", file)); err != nil || w.SHA256 != hex.EncodeToString(want.Sum(nil)) {
			t.Errorf("%v: %s, expected %x (%v)", args, w.SHA256, want.Sum(nil), err)
		}
	}
}

// TestF34_QCOW2PartsThatLie: whatever differs between what the map was made of and the stream is found, wherever it is.
func TestF34_QCOW2PartsThatLie(t *testing.T) {
	img := holes(t)
	file := qcow(t, img)
	l1 := int(be64(file, 40))
	for name, lie := range map[string][]byte{
		"in the header":        put(file, 60, uint32(1)),
		"behind the header":    put(file, 4000, uint8(1)),
		"in the first table":   put(file, l1, be64(file, l1)^1<<63),
		"in a table":           put(file, entry(file, 3), be64(file, entry(file, 3))^1<<63),
		"at the table's end":   put(file, table(file)+65536-8, uint64(1)),
		"the size of the disk": put(file, 24, uint64(len(img)+65536)),
	} {
		b := newBench(t, 32*mib, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				serve(lie)(w, r)
			} else {
				serve(file)(w, r)
			}
		})
		b.old()
		if _, err := b.write(b.spec("/a.qcow2", file)); !fault.Has(err, fault.ImageDigest) || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("%s: got %v", name, err)
		}
		b.notBootable()
	}
}

// TestF31_QCOW2Parts: a part that ends early goes on where it stopped, one that goes on too far is cut, and one of another place is none.
func TestF31_QCOW2Parts(t *testing.T) {
	img := holes(t)
	file := qcow(t, img)
	for name, c := range map[string]struct {
		part   func(n int64, from, until int, w http.ResponseWriter) bool // true: it has answered
		resume int
		want   fault.Reason
	}{
		"ends early": {func(n int64, from, until int, w http.ResponseWriter) bool {
			if n == 2 {
				w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(until-1)+"/"+strconv.Itoa(len(file)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(file[from : until-3])
			}
			return n == 2
		}, 1, ""},
		"goes on": {func(_ int64, from, until int, w http.ResponseWriter) bool {
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(file)-1)+"/"+strconv.Itoa(len(file)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(file[from:])
			return true
		}, 0, ""},
		"another place": {func(_ int64, from, until int, w http.ResponseWriter) bool {
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from+512)+"-"+strconv.Itoa(until-1)+"/"+strconv.Itoa(len(file)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(file[from:until])
			return true
		}, 0, fault.ImageTruncated},
		"of a longer file": {func(_ int64, from, until int, w http.ResponseWriter) bool {
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(until-1)+"/"+strconv.Itoa(len(file)+1))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(file[from:until])
			return true
		}, 0, fault.ImageTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			b := newBench(t, 32*mib, func(w http.ResponseWriter, r *http.Request) {
				span, ranged := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
				first, last, _ := strings.Cut(span, "-")
				from, _ := strconv.Atoi(first)
				until, _ := strconv.Atoi(last)
				w.Header().Set("ETag", `"v1"`)
				if !ranged || !c.part(n.Add(1), from, until+1, w) {
					serve(file)(w, r)
				}
			})
			b.old()
			before := b.dev.Writes.Load()
			w, err := b.write(b.spec("/a.qcow2", file))
			switch {
			case c.want != "":
				if !fault.Has(err, c.want) || b.dev.Writes.Load() != before {
					t.Errorf("got %v, want %s and nothing written", err, c.want)
				}
			case err != nil || w.Resumed != c.resume:
				t.Errorf("resumed %d times, want %d: %v", w.Resumed, c.resume, err)
			default:
				b.same(img)
			}
		})
	}
}

// TestF31_QCOW2PublishedAnew: the file is replaced between its tables and the stream. The new one is read from its start, and the digest
// is of it or not.
func TestF31_QCOW2PublishedAnew(t *testing.T) {
	img := holes(t)
	file, other := qcow(t, holes(t), "-o", "cluster_size=4096"), qcow(t, img)
	var streams atomic.Int64
	b := newBench(t, 32*mib, func(w http.ResponseWriter, r *http.Request) {
		n := streams.Load()
		if r.Header.Get("Range") == "" {
			n = streams.Add(1)
		}
		if n == 1 {
			serve(file)(w, r)
			return
		}
		w.Header().Set("ETag", `"v2"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(other))
	})
	b.old()
	w, err := b.write(b.spec("/a.qcow2", other))
	if err != nil || w.Restarted != 1 {
		t.Fatalf("started again %d times: %v", w.Restarted, err)
	}
	b.same(img)
}
