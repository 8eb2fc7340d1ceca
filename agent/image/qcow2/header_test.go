package qcow2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// put writes numbers into a copy of a file.
func put(b []byte, list ...any) []byte {
	b = bytes.Clone(b)
	for i := 0; i < len(list); i += 2 {
		if _, err := binary.Encode(b[list[i].(int):], binary.BigEndian, list[i+1]); err != nil {
			panic(err)
		}
	}
	return b
}

// TestT09_F33_Header: each thing that a header may not say is refused by itself, and what is at the bounds is taken.
func TestT09_F33_Header(t *testing.T) {
	plain := file(1<<20, []uint64{8192}, []uint64{12288}, []byte("x"))
	two := put(plain, 4, uint32(2), 72, uint64(0), 96, uint64(0))
	const mib2 = 2 << 20
	large := put(append(put(plain, 20, uint32(21), 40, uint64(mib2), 48, uint64(mib2)), make([]byte, 2*mib2)...))
	for name, c := range map[string]struct {
		b    []byte
		want fault.Reason
		says string
	}{
		"version 3":             {plain, "", ""},
		"version 2":             {two, "", ""},
		"2 MiB clusters":        {large, "", ""},
		"zstd":                  {put(plain, 72, uint64(8), 104, uint8(1)), "", ""},
		"header of 104 bytes":   {put(plain, 100, uint32(104)), "", ""},
		"known extension":       {put(plain, 112, uint32(0x6803f857), 116, uint32(48)), "", ""},
		"extension behind end":  {put(plain, 120, uint32(externalName)), "", ""},
		"extension at byte 104": {put(plain, 100, uint32(104), 104, uint32(0x02000001), 108, uint32(8)), "", ""},
		"3 bytes":               {plain[:3], fault.ImageCorrupt, "in its header, after 3"},
		"version 2, 71 bytes":   {two[:71], fault.ImageCorrupt, "in its header, after 71"},
		"103 bytes":             {plain[:103], fault.ImageCorrupt, "in its header, after 103"},
		"magic":                 {put(plain, 0, uint32(0)), fault.ImageCorrupt, "does not begin"},
		"version 1":             {put(plain, 4, uint32(1)), fault.ImageFormat, "version 1"},
		"version 4":             {put(plain, 4, uint32(4)), fault.ImageFormat, "version 4"},
		"backing file's place":  {put(plain, 8, uint64(512)), fault.ImageFormat, "backing"},
		"backing file's length": {put(plain, 16, uint32(4)), fault.ImageFormat, "backing"},
		"encrypted":             {put(plain, 32, uint32(1)), fault.ImageFormat, "method 1"},
		"small clusters":        {put(plain, 20, uint32(11)), fault.ImageFormat, "2^11"},
		"large clusters":        {put(large, 20, uint32(22)), fault.ImageFormat, "2^22"},
		"no disk":               {put(plain, 24, uint64(0)), fault.ImageCorrupt, "0 bytes, expected whole"},
		"part of a sector":      {put(plain, 24, uint64(1<<20+1)), fault.ImageCorrupt, "expected whole"},
		"endless disk":          {put(plain, 24, uint64(1)<<63), fault.ImageCorrupt, "expected whole"},
		"dirty":                 {put(plain, 72, uint64(dirty)), fault.ImageFormat, "not closed"},
		"corrupt":               {put(plain, 72, uint64(corrupt)), fault.ImageFormat, "marked as corrupt"},
		"external data":         {put(plain, 72, uint64(externalData)), fault.ImageFormat, "another file"},
		"extended":              {put(plain, 72, uint64(extendedL2)), fault.ImageFormat, "extended"},
		"unknown bit":           {put(plain, 72, uint64(1)<<40), fault.ImageFormat, "bit 40"},
		"short header":          {put(plain, 100, uint32(96)), fault.ImageCorrupt, "header of 96"},
		"odd header":            {put(plain, 100, uint32(108)), fault.ImageCorrupt, "header of 108"},
		"long header":           {put(plain, 100, uint32(8192)), fault.ImageCorrupt, "header of 8192"},
		"type without its bit":  {put(plain, 104, uint8(1)), fault.ImageCorrupt, "compression type 1"},
		"bit without its type":  {put(plain, 72, uint64(8)), fault.ImageCorrupt, "compression type 0"},
		"unknown type":          {put(plain, 72, uint64(8), 104, uint8(2)), fault.ImageFormat, "compression type 2"},
		"external by name":      {put(plain, 112, uint32(externalName)), fault.ImageFormat, "another file"},
		"encryption header":     {put(two, 72, uint32(encryption)), fault.ImageFormat, "is encrypted"},
		"second extension":      {put(plain, 112, uint32(1), 116, uint32(3), 128, uint32(encryption)), fault.ImageFormat, "is encrypted"},
		"long extension":        {put(plain, 112, uint32(1), 116, uint32(4096)), fault.ImageCorrupt, "extension 0x1 of 4096"},
		"too many tables":       {put(plain, 24, uint64(maxTables)<<21+512), fault.ImageFormat, "larger clusters"},
		"few entries":           {put(plain, 36, uint32(0)), fault.ImageCorrupt, "0 entries"},
		"first table astray":    {put(plain, 40, uint64(4608)), fault.ImageCorrupt, "first table at byte 4608"},
		"table in the header":   {put(plain, 40, uint64(0)), fault.ImageCorrupt, "first table at byte 0"},
		"table at the end":      {put(plain, 40, uint64(len(plain))), fault.ImageCorrupt, "first table"},
		"table outside":         {put(plain, 40, uint64(1)<<63), fault.ImageCorrupt, "first table"},
		"counts outside":        {put(plain, 56, uint32(3)), fault.ImageCorrupt, "reference counts"},
	} {
		h, err := ReadHeader(from(c.b), int64(len(c.b)))
		switch {
		case c.want == "" && err != nil, c.want != "" && (!fault.Has(err, c.want) || !strings.Contains(err.Error(), c.says) || fault.From(err).Hint == ""):
			t.Errorf("%s: got %v, want %q and %q", name, err, c.want, c.says)
		case c.want == "" && (h.Size != 1<<20 || h.Cluster != 1<<c.b[23] || h.Version != int(c.b[7]) || h.Zstd != (c.b[104] == 1)):
			t.Errorf("%s: %+v", name, h)
		}
	}
	// The largest disk that the tables may have.
	most := put(append(put(plain, 24, uint64(maxTables)<<21, 36, uint32(maxTables)), make([]byte, maxTables*8)...))
	if h, err := ReadHeader(from(most), int64(len(most))); err != nil || h.Size != maxTables<<21 {
		t.Errorf("%+v, %v", h, err)
	}
	// A table of reference counts that a file of some GiB has room for.
	if _, err := ReadHeader(from(put(plain, 56, uint32(1<<19+1))), 1<<40); !fault.Has(err, fault.ImageCorrupt) {
		t.Errorf("endless counts: %v", err)
	}
}

// TestF31_ReadingTheTablesFails: what a server does not give ends it, wherever that is.
func TestF31_ReadingTheTablesFails(t *testing.T) {
	b, gone := file(1<<20, []uint64{8192}, []uint64{12288}, []byte("x")), errors.New("gone")
	for n := range 3 { // header, first table, table
		asked := 0
		read := func(off int64, size int) ([]byte, error) {
			if asked++; asked > n {
				return nil, gone
			}
			return from(b)(off, size)
		}
		h, err := ReadHeader(read, int64(len(b)))
		if err == nil {
			_, err = h.Load(t.Context(), read)
		}
		if !errors.Is(err, gone) || asked != n+1 {
			t.Errorf("request %d: %v after %d", n+1, err, asked)
		}
	}
}

// TestT09_F33_Entries: each thing that an entry of a table may not say is refused by itself; what is at the bounds gives these extents.
func TestT09_F33_Entries(t *testing.T) {
	const pack = uint64(1) << 62
	one := func(size uint64, entries ...uint64) []byte {
		return file(size, []uint64{8192}, entries, []byte("x"), []byte("y"))
	} // clusters at 12288 and 16384
	for name, c := range map[string]struct {
		b    []byte
		says string
	}{
		"first table's bits":    {put(one(1<<20, 12288), 4096, uint64(8192|1)), "in its first table"},
		"table astray":          {put(one(1<<20, 12288), 4096, uint64(8192+512)), "table of clusters"},
		"table outside":         {put(one(1<<20, 12288), 4096, uint64(1)<<50), "table of clusters"},
		"table used twice":      {file(4<<20, []uint64{8192, 8192}, []uint64{0}), "twice"},
		"packed and copied":     {one(1<<20, pack|1<<63|12288), "packed cluster with"},
		"packed in the header":  {one(1<<20, pack|100), "packed cluster of"},
		"packed behind the end": {one(1<<20, pack|20480), "packed cluster of"},
		"packed beyond":         {one(1<<20, pack|9<<58|12288), "packed cluster of"},
		"reserved":              {one(1<<20, 12288|2), "in a table of clusters"},
		"zeros of version 2":    {put(one(1<<20, 12288|1), 4, uint32(2), 96, uint64(0)), "in a table of clusters"},
		"cluster behind":        {one(1<<20, 20480), "has a cluster at byte 20480"},
		"cluster far behind":    {one(1<<20, 1<<55), "cluster at byte"},
		"cluster astray":        {one(1<<20, 12288+512), "its cluster at byte"},
		"twice, far apart":      {one(1<<20, 12288, 16384, 12288), "twice"},
		"zeros and no cluster":  {put(one(1<<20, 12288|1), 4096, uint64(16384|1)), "in its first table"},
		"plain into packed":     {one(1<<20, pack|2<<58|16384-600, 16384), "twice"},
		"packed in plain's end": {one(1<<20, 12288, pack|16384-100), "twice"},
		"packed twice":          {one(1<<20, pack|12388, pack|12388), "twice"},
		"packed into plain":     {one(1<<20, pack|12288+100, 12288), "twice"},
		"a packed beyond disk":  {one(4096, 12288, pack|16384), "of a disk of 4096"},
	} {
		if _, err := load(t, c.b); !fault.Has(err, fault.ImageCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
	for name, c := range map[string]struct {
		b     []byte
		want  []Extent
		zeros []Range
	}{
		"a run":           {one(16384, 12288, 16384), []Extent{{Data, 12288, 8192, 0, nil}}, []Range{{8192, 8192}}},
		"of version 2":    {put(one(16384, 12288, 16384), 4, uint32(2), 96, uint64(0)), []Extent{{Data, 12288, 8192, 0, nil}}, []Range{{8192, 8192}}},
		"no counts":       {put(one(16384, 12288, 16384), 48, uint64(16384)), []Extent{{Data, 12288, 8192, 0, nil}}, []Range{{8192, 8192}}},
		"copied nothing":  {one(8192, 1<<63, 12288), []Extent{{Data, 12288, 4096, 4096, nil}}, []Range{{0, 4096}}},
		"backwards":       {one(8192, 16384, 12288), []Extent{{Data, 12288, 4096, 4096, nil}, {Data, 16384, 4096, 0, nil}}, nil},
		"a gap":           {one(16384, 12288, 0, 16384), []Extent{{Data, 12288, 4096, 0, nil}, {Data, 16384, 4096, 8192, nil}}, []Range{{4096, 4096}, {12288, 4096}}},
		"copied":          {one(8192, 1<<63|12288), []Extent{{Data, 12288, 4096, 0, nil}}, []Range{{4096, 4096}}},
		"zeros":           {one(8192, 12289, 1), nil, []Range{{0, 8192}}},
		"cut":             {one(4096+512, 0, 12288), []Extent{{Data, 12288, 512, 4096, nil}}, []Range{{0, 4096}}},
		"packed":          {one(8192, pack|12388, pack|1<<58|16384), []Extent{{Packed, 12388, 412, 0, nil}, {Packed, 16384, 1024, 4096, nil}}, nil},
		"packed at end":   {one(4096, pack|3<<58|20000), []Extent{{Packed, 20000, 480, 0, nil}}, nil},
		"packed, largest": {one(4096, pack|8<<58|12288), []Extent{{Packed, 12288, 4608, 0, nil}}, nil},
		"shared sector":   {one(8192, pack|12288, pack|12388), []Extent{{Packed, 12288, 512, 0, nil}, {Packed, 12388, 412, 4096, nil}}, nil},
		"packed, plain":   {one(8192, pack|7<<58|12288, 16384), []Extent{{Packed, 12288, 4096, 0, nil}, {Data, 16384, 4096, 4096, nil}}, nil},
		"plain, packed":   {one(8192, 12288, pack|7<<58|16384), []Extent{{Data, 12288, 4096, 0, nil}, {Packed, 16384, 4096, 4096, nil}}, nil},
	} {
		m, err := load(t, c.b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []Extent
		for e := range m.Extents() {
			if e.Kind != Table {
				got = append(got, e)
			}
		}
		same := func(a, b Extent) bool {
			return a.Kind == b.Kind && a.Host == b.Host && a.Length == b.Length && a.Guest == b.Guest
		}
		if !slices.EqualFunc(got, c.want, same) || !slices.Equal(m.Zeros, c.zeros) {
			t.Errorf("%s: %+v and zeros %+v, want %+v and %+v", name, got, m.Zeros, c.want, c.zeros)
		}
	}
	// What is beyond the pieces that are held ends the reading of a table, and so does who gives up.
	b := one(8192, 12288)
	full := &Map{Header: Header{Version: 3, Size: 8192, Cluster: cluster, bits: 12, file: int64(len(b))}, extents: make([]extent, maxExtents)}
	if _, err := full.clusters(b[8192:12288], 0, 0); !fault.Has(err, fault.ImageFormat) {
		t.Errorf("one piece more: %v", err)
	}
	h, err := ReadHeader(from(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	given := errors.New("given up")
	ctx, enough := context.WithCancelCause(t.Context())
	enough(given)
	if _, err := h.Load(ctx, from(b)); !errors.Is(err, given) {
		t.Errorf("given up: %v", err)
	}
	// Runs are joined up to a bound, so that a length fits.
	m := &Map{}
	for i := range int64(2) {
		if err := m.add(extent{host: i * maxRun, guest: i * maxRun, n: maxRun}); err != nil || len(m.extents) != int(i)+1 {
			t.Errorf("%v, %d extents", err, len(m.extents))
		}
	}
}
