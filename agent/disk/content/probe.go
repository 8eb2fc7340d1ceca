package content

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Found is what the probes see on a disk and on each of its partitions.
type Found struct {
	Shared  []string // signatures of storage that several machines use at once: "VMFS on partition 3"
	Members []Member // parts of volumes that may reach over several disks
}

// Member is a part of a volume over several disks. Group is the same on all its disks; "" means it could not be told.
type Member struct {
	Kind, Group, Where string
}

func (m Member) String() string { return m.Kind + " " + m.Group }

// Span is a disk or a partition.
type Span struct {
	Name        string
	Start, Size int64 // bytes
}

// Probe looks for signatures on the whole disk and on every partition that the kernel (parts) or the disk's own table
// knows. An unreadable place is an error: a failed probe counts as protected (safety.md I2).
func Probe(read Reader, parts []Span, size int64, sector int) (Found, error) {
	var out Found
	t, all, err := spans(read, parts, size, sector)
	if err != nil {
		return out, err
	}
	for _, p := range t.Partitions {
		if what := sharedType(p); what != "" {
			out.Shared = append(out.Shared, fmt.Sprintf("%s (type of partition %d)", what, p.Index))
		}
	}
	for _, s := range all {
		if err := out.look(read, s, size); err != nil {
			return out, fmt.Errorf("probe %s: %w", s.Name, err)
		}
	}
	return out, nil
}

// spans are the disk and every partition that the kernel (parts) or the disk's own table knows.
func spans(read Reader, parts []Span, size int64, sector int) (Table, []Span, error) {
	all := append([]Span{{"the disk", 0, size}}, parts...)
	t, err := ReadTable(read, size, sector)
	var damaged *DamagedError
	switch {
	case errors.Is(err, ErrNoTable), errors.As(err, &damaged): // the kernel's list stands alone
	case err != nil:
		return t, nil, fmt.Errorf("read the partition table: %w", err)
	}
	for _, p := range t.Partitions {
		if !slices.ContainsFunc(all, func(s Span) bool { return s.Start == p.Start && s.Size == p.Size }) {
			all = append(all, Span{fmt.Sprintf("partition %d", p.Index), p.Start, p.Size})
		}
	}
	return t, all, nil
}

// within reads a span as if it were a device; zeros stand for what lies outside.
func within(read Reader, s Span) Reader {
	return func(off int64, n int) ([]byte, error) {
		if off < 0 || off+int64(n) > s.Size {
			return make([]byte, n), nil
		}
		return read(s.Start+off, n)
	}
}

var (
	gpfsType = GUID("37AFFC90-EF7D-4E96-91C3-2D7AE055B174")
	vmfsType = GUID("AA31E02A-400F-11DB-9590-000C2911D1B8")
)

// sharedType recognises partition types of cluster file systems. Some tools wrote GUIDs in the order of their text, so
// both orders count.
func sharedType(p Part) string {
	switch {
	case p.GUID == gpfsType, p.GUID == mixed(gpfsType):
		return "GPFS"
	case p.GUID == vmfsType, p.GUID == mixed(vmfsType), p.Type == 0xfb:
		return "VMFS"
	}
	return ""
}

// magic is a signature at a fixed place.
type magic struct {
	what string
	at   int64
	want []byte
}

var sharedMagics = []magic{
	{"VMFS", 1 << 20, []byte{0x0d, 0xd0, 0x01, 0xc0}},
	{"VMFS", 2 << 20, []byte{0x5e, 0xf1, 0xab, 0x2f}},
	{"GFS2", 64 << 10, []byte{0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1}},
	{"OCFS2", 2 * 512, []byte("OCFSV2")},
	{"OCFS2", 2 * 1024, []byte("OCFSV2")},
	{"OCFS2", 2 * 2048, []byte("OCFSV2")},
	{"OCFS2", 2 * 4096, []byte("OCFSV2")},
	{"sanlock lease", 0, []byte{0x10, 0x20, 0x21, 0x12}},
}

func (f *Found) look(read Reader, s Span, disk int64) error {
	// Kernel and table may both be wrong about a span's end; nothing beyond the disk is there to be read.
	if s.Start >= disk {
		return nil
	}
	s.Size = min(s.Size, disk-s.Start)
	at := within(read, s)
	for _, m := range sharedMagics {
		b, err := at(m.at, len(m.want))
		if err != nil {
			return err
		}
		if bytes.Equal(b, m.want) {
			f.Shared = append(f.Shared, m.what+" on "+s.Name)
		}
	}
	for _, p := range []func(Reader, int64) (kind, group string, shared bool, err error){probeMD, probeLVM, probeBtrfs} {
		kind, group, shared, err := p(at, s.Size)
		if err != nil {
			return err
		}
		if shared {
			f.Shared = append(f.Shared, "LVM volume group shared by several machines on "+s.Name)
		}
		if kind != "" {
			f.Members = append(f.Members, Member{kind, group, s.Name})
		}
	}
	return nil
}

var (
	vgID       = regexp.MustCompile(`(?s)^[A-Za-z0-9+_.-]+ \{\s*id = "([A-Za-z0-9-]{38})"`)
	vgLockType = regexp.MustCompile(`lock_type = "(sanlock|dlm)"|status = \[[^\]]*"CLUSTERED"`)
)

// probeLVM finds an LVM physical volume and the volume group it belongs to.
func probeLVM(at Reader, size int64) (kind, group string, shared bool, err error) {
	head, err := at(0, 4*512)
	if err != nil {
		return "", "", false, err
	}
	le := binary.LittleEndian
	for i := range 4 {
		label := head[i*512:][:512]
		if !bytes.Equal(label[:8], []byte("LABELONE")) || !bytes.Equal(label[24:32], []byte("LVM2 001")) {
			continue
		}
		h := int(le.Uint32(label[20:]))
		if h < 32 || h > 512-40 {
			return "LVM volume group", "", false, nil
		}
		areas, ends := label[h+40:], 0 // offset and size pairs: data areas, a zero pair, metadata areas, a zero pair
		for ; len(areas) >= 16 && ends < 2; areas = areas[16:] {
			off, n := le.Uint64(areas), le.Uint64(areas[8:])
			switch {
			case off == 0:
				ends++
			case ends == 1 && off < uint64(size) && n > 0:
				group, shared, err := volumeGroup(at, int64(off), size)
				if err != nil || group != "" {
					return "LVM volume group", group, shared, err
				}
			}
		}
		return "LVM volume group", "", false, nil
	}
	return "", "", false, nil
}

func volumeGroup(at Reader, area, size int64) (id string, shared bool, err error) {
	h, err := at(area, 512)
	if err != nil {
		return "", false, err
	}
	if !bytes.Equal(h[4:20], []byte(" LVM2 x[5A%r0N*>")) {
		return "", false, nil
	}
	off, n := binary.LittleEndian.Uint64(h[40:]), binary.LittleEndian.Uint64(h[48:])
	if off == 0 || n == 0 || off > uint64(size) {
		return "", false, nil
	}
	text, err := at(area+int64(off), int(min(n, 256<<10)))
	if err != nil {
		return "", false, err
	}
	if m := vgID.FindSubmatch(text); m != nil {
		return string(m[1]), vgLockType.Match(text), nil
	}
	return "", false, nil
}

// probeBtrfs finds a btrfs that reaches over several devices.
func probeBtrfs(at Reader, _ int64) (kind, group string, shared bool, err error) {
	b, err := at(64<<10, 512)
	if err != nil {
		return "", "", false, err
	}
	if !bytes.Equal(b[0x40:0x48], []byte("_BHRfS_M")) || binary.LittleEndian.Uint64(b[0x88:]) < 2 {
		return "", "", false, nil
	}
	return "btrfs", hex.EncodeToString(b[0x20:0x30]), false, nil
}
