package qcow2

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

const cluster = 4096

// file makes a small file of version 3 with clusters of 4 KiB: header, first table, and the tables and clusters given from 8192 on.
func file(size uint64, l1 []uint64, rest ...any) []byte {
	b := make([]byte, 2*cluster)
	copy(b, "QFI\xfb")
	for at, v := range map[int]any{4: uint32(3), 20: uint32(12), 24: size, 36: uint32(len(l1)), 40: uint64(cluster), 48: uint64(cluster * 2), 96: uint32(4), 100: uint32(112)} {
		if _, err := binary.Encode(b[at:], binary.BigEndian, v); err != nil {
			panic(err)
		}
	}
	for i, e := range l1 {
		binary.BigEndian.PutUint64(b[cluster+8*i:], e)
	}
	for _, r := range rest {
		at := len(b)
		b = append(b, make([]byte, cluster)...)
		switch r := r.(type) {
		case []uint64:
			for i, e := range r {
				binary.BigEndian.PutUint64(b[at+8*i:], e)
			}
		case []byte:
			copy(b[at:], r)
		}
	}
	return b
}

func from(b []byte) Reader {
	return func(off int64, n int) ([]byte, error) { return bytes.Clone(b[off : off+int64(n)]), nil }
}

func load(t testing.TB, b []byte) (*Map, error) {
	h, err := ReadHeader(from(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	return h.Load(t.Context(), from(b))
}

// covers fails unless clusters and zeros cover the disk, each byte once, and no byte of the file is used twice.
func covers(t testing.TB, m *Map, length int64) {
	t.Helper()
	used := map[int64]bool{}
	end, before := int64(0), Extent{}
	for e := range m.Extents() {
		if e.Length <= 0 || e.Host < 0 || e.Host+e.Length > length {
			t.Fatalf("%+v in a file of %d bytes", e, length)
		}
		if shared := end - e.Host; shared > 0 && (e.Kind != Packed || before.Kind != Packed || shared >= 512 || e.Host <= before.Host) {
			t.Fatalf("%+v after %+v", e, before)
		}
		end, before = e.Host+e.Length, e
		n := e.Length
		if e.Kind == Table {
			continue
		}
		if e.Kind == Packed {
			n = min(m.Cluster, m.Size-e.Guest)
		}
		for at := e.Guest; at < e.Guest+n; at += m.Cluster {
			if used[at] || at%m.Cluster != 0 || at >= m.Size {
				t.Fatalf("%+v: the disk's byte %d is given twice or is none", e, at)
			}
			used[at] = true
		}
	}
	total := int64(0)
	for _, z := range m.Zeros {
		total += z.Length
		if z.Length <= 0 || z.Off%m.Cluster != 0 || z.Off < 0 || z.Off+z.Length > m.Size || used[z.Off] || used[(z.Off+z.Length-1)&^(m.Cluster-1)] {
			t.Fatalf("zeros %+v", z)
		}
	}
	for at := range used {
		total += min(m.Cluster, m.Size-at)
	}
	if total != m.Size {
		t.Fatalf("%d bytes of the disk are told of, expected %d", total, m.Size)
	}
}

func TestT09_F33_Map(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want fault.Reason
		says string
	}{
		"empty disk":        {file(1<<20, []uint64{0}), "", ""},
		"one cluster":       {file(1<<20, []uint64{8192}, []uint64{12288}, []byte("x")), "", ""},
		"a run":             {file(1<<20, []uint64{8192}, []uint64{0, 12288, 16384, 20480}, []byte("x"), []byte("y"), []byte("z")), "", ""},
		"backwards":         {file(1<<20, []uint64{8192}, []uint64{20480, 16384, 12288}, []byte("x"), []byte("y"), []byte("z")), "", ""},
		"zeros with place":  {file(1<<20, []uint64{8192}, []uint64{12289, 16384}, []byte("x"), []byte("y")), "", ""},
		"last is cut":       {file(4096+512, []uint64{8192}, []uint64{0, 12288}, []byte("x")), "", ""},
		"two share sector":  {file(1<<20, []uint64{8192}, []uint64{1<<62 | 12288, 1<<62 | 12388}, []byte("x")), "", ""},
		"not a sector":      {file(1<<20, []uint64{8192}, []uint64{1<<62 | 1<<58 | 12288, 1<<62 | 12388}, []byte("x")), fault.ImageCorrupt, "twice"},
		"the same":          {file(1<<20, []uint64{8192}, []uint64{1<<62 | 12288, 1<<62 | 12288}, []byte("x")), fault.ImageCorrupt, "twice"},
		"packed and plain":  {file(1<<20, []uint64{8192}, []uint64{1<<62 | 12288, 12288}, []byte("x")), fault.ImageCorrupt, "twice"},
		"beyond the disk":   {file(4096, []uint64{8192}, []uint64{0, 12288}, []byte("x")), fault.ImageCorrupt, "of a disk of 4096"},
		"ends in it":        {file(1<<20, []uint64{8192}, []uint64{12288}, []byte("x"))[:12388], fault.ImageCorrupt, "ends in the cluster"},
		"packed at the end": {file(1<<20, []uint64{8192}, []uint64{1<<62 | 16384}, []byte("x")), fault.ImageCorrupt, "packed cluster of"},
		"packed to no end":  {file(1<<20, []uint64{8192}, []uint64{1<<62 | 9<<58 | 12288}, []byte("x"), []byte("y"), []byte("z")), fault.ImageCorrupt, "packed cluster of 5120"},
		"packed is copied":  {file(1<<20, []uint64{8192}, []uint64{1<<63 | 1<<62 | 12288}, []byte("x")), fault.ImageCorrupt, "packed cluster with"},
		"old with zeros":    {put32(file(1<<20, []uint64{8192}, []uint64{1}), 4, 2), fault.ImageCorrupt, "reserved"},
		"old":               {put32(file(1<<20, []uint64{8192}, []uint64{0, 12288}, []byte("x")), 4, 2), "", ""},
		"odd header":        {put32(file(1<<20, []uint64{0}), 100, 109), fault.ImageCorrupt, "header of 109"},
		"a name of nobody":  {put32(file(1<<20, []uint64{0}), 16, 5), fault.ImageFormat, "backing"},
		"place not whole":   {file(1<<20, []uint64{8192 + 512}, []uint64{12288}, []byte("x")), fault.ImageCorrupt, "table of clusters"},
		"table cut off":     {file(1<<20, []uint64{12288}, []uint64{0}, []byte("x"))[:15000], fault.ImageCorrupt, "table of clusters"},
		"last goes on":      {file(8192, []uint64{8192}, []uint64{12288, 16384}, []byte("x"), []byte("y")), "", ""},
		"shares too much":   {file(1<<20, []uint64{8192}, []uint64{1<<62 | 1<<58 | 12288, 1<<62 | 12288 + 512}, []byte("x")), fault.ImageCorrupt, "twice"},
		"the same bytes":    {file(1<<20, []uint64{8192}, []uint64{1<<62 | 12388, 1<<62 | 12388}, []byte("x")), fault.ImageCorrupt, "twice"},
		"counts in a use":   {put32(file(1<<20, []uint64{8192}, []uint64{12288}, []byte("x")), 56, 1), fault.ImageCorrupt, "twice"},
	} {
		m, err := load(t, c.b)
		switch {
		case c.want != "":
			if !fault.Has(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %v, want %s and %q", name, err, c.want, c.says)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		default:
			covers(t, m, int64(len(c.b)))
		}
	}
}

func put32(b []byte, at int, v uint32) []byte {
	binary.BigEndian.PutUint32(b[at:], v)
	return b
}

// TestT09_F33_ManyPieces: a file of more pieces than are held is refused, and what is held is bounded.
func TestT09_F33_ManyPieces(t *testing.T) {
	m := &Map{}
	for i := range int64(maxExtents) {
		if err := m.add(extent{host: i * 2 * cluster, guest: i * cluster, n: cluster}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.add(extent{host: 1 << 50, guest: 1 << 50, n: cluster}); !fault.Has(err, fault.ImageFormat) {
		t.Errorf("got %v", err)
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	if size := cap(m.extents) * 24; size > 64<<20 {
		t.Errorf("%d bytes are held", size)
	}
}

// TestT09_F33_LongRanges: what is kept of a range has 32 bits for its length.
func TestT09_F33_LongRanges(t *testing.T) {
	m := &Map{}
	for at := int64(0); at < 8<<30; at += maxRun / 2 {
		if err := m.add(extent{host: at, guest: at, n: maxRun / 2}); err != nil {
			t.Fatal(err)
		}
	}
	total := int64(0)
	for e := range m.Extents() {
		total += e.Length
	}
	if total != 8<<30 {
		t.Errorf("%d bytes are kept, expected %d", total, int64(8<<30))
	}
	b := put32(file(1<<20, []uint64{0}), 56, 1<<20) // 4 GiB of reference counts
	if _, err := ReadHeader(from(b), 1<<40); !fault.Has(err, fault.ImageCorrupt) || !strings.Contains(err.Error(), "table of reference counts of") {
		t.Errorf("got %v", err)
	}
}

func TestT09_F33_Unpack(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, 6)
	if err != nil {
		t.Fatal(err)
	}
	bomb := make([]byte, 16<<20)
	if _, err := w.Write(bomb); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, zstd := range []bool{false, true} {
		u, err := (Header{Zstd: zstd}).Unpacker()
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		into := bytes.Repeat([]byte{1}, cluster)
		if err := u.Unpack(into, packed.Bytes()); zstd != (err != nil) || err == nil && !bytes.Equal(into, make([]byte, cluster)) {
			t.Errorf("zstd %v: a cluster of a bomb: %v", zstd, err)
		}
		for _, b := range [][]byte{nil, {1}, []byte("rubbish that is long enough to be looked at")} {
			if err := u.Unpack(into, b); !fault.Has(err, fault.ImageCorrupt) {
				t.Errorf("zstd %v, %q: %v", zstd, b, err)
			}
		}
	}
}

// FuzzZ6_QCOW2: whatever a file says, its map is refused or covers the disk exactly, out of bytes of the file.
func FuzzZ6_QCOW2(f *testing.F) {
	f.Add(file(1<<20, []uint64{8192}, []uint64{0, 12288, 16384, 20481}, []byte("x"), []byte("y"), []byte("z")), uint16(40), uint64(4096))
	f.Add(file(4096+512, []uint64{8192}, []uint64{1<<62 | 12288, 1<<62 | 12388}, []byte("x")), uint16(8200), uint64(1)<<62|12488)
	f.Add(file(4<<20, []uint64{8192, 12288}, []uint64{0, 16384}, []uint64{20480}, []byte("x"), []byte("y")), uint16(4104), uint64(8192))
	random := make([]byte, 5*cluster)
	rand.NewChaCha8([32]byte{1}).Read(random)
	f.Add(random, uint16(0), uint64(0x514649fb00000003))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, v uint64) {
		if int(at)+8 <= len(b) {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint64(b[at:], v)
		}
		h, err := ReadHeader(from(b), int64(len(b)))
		if err != nil || h.Size > 64<<20 { // the agent compares with the disk here
			if err != nil && !fault.Has(err, fault.ImageFormat) && !fault.Has(err, fault.ImageCorrupt) {
				t.Fatal(err)
			}
			return
		}
		m, err := h.Load(t.Context(), from(b))
		if err != nil {
			if !fault.Has(err, fault.ImageFormat) && !fault.Has(err, fault.ImageCorrupt) {
				t.Fatal(err)
			}
			return
		}
		covers(t, m, int64(len(b)))
		u, err := m.Unpacker()
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		into := make([]byte, m.Cluster)
		for e := range m.Extents() {
			if e.Kind == Packed {
				_ = u.Unpack(into, b[e.Host:e.Host+e.Length])
			}
		}
	})
}
