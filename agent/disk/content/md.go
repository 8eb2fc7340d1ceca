package content

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// MD is a superblock of Linux software RAID, format 1.0 to 1.2, as it stands on one member.
type MD struct {
	UUID    [16]byte
	Name    string // "os"; without the name of a host before it
	Level   int    // 0, 1, 5, 6, 10; others are of no use here
	Layout  uint32
	Chunk   int64 // bytes; 0 for a level without chunks
	Members int   // that the array has when it is whole
	Role    int   // which of them this is; beyond Members: a spare, or one that was thrown out
	Used    int64 // bytes that the array uses of each member
	Data    int64 // bytes of data that this member holds
	Events  uint64
}

// MDMember is a superblock and where it stands on a disk.
type MDMember struct {
	MD
	At Span
}

// maxMembers of an array: what format 1 can have.
const maxMembers = 1920

// ID is the array's UUID in the form that the kernel gives it.
func (m MD) ID() string { return uuidText(m.UUID) }

func uuidText(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// MDMembers finds the superblocks on a disk and on each of its partitions, as Probe does.
func MDMembers(read Reader, parts []Span, size int64, sector int) ([]MDMember, error) {
	_, all, err := spans(read, parts, size, sector)
	if err != nil {
		return nil, err
	}
	var out []MDMember
	for _, s := range all {
		if s.Start >= size {
			continue
		}
		s.Size = min(s.Size, size-s.Start)
		m, err := readMD(within(read, s), s.Size)
		if err != nil {
			return nil, fmt.Errorf("probe %s: %w", s.Name, err)
		}
		if m != nil {
			out = append(out, MDMember{*m, s})
		}
	}
	return out, nil
}

// Size is the array's size when it is whole, as the kernel makes it (drivers/md: raid0.c, raid1.c, raid10.c, raid5.c),
// given the superblocks of all its members.
func Size(members []MDMember) (int64, error) {
	if len(members) == 0 {
		return 0, errors.New("an array without members")
	}
	m := members[0]
	whole := func(n int64) int64 { return n / m.Chunk * m.Chunk }
	if m.Level != 1 && (m.Chunk < 4096 || m.Chunk > 1<<30) {
		return 0, fmt.Errorf("level %d with chunks of %d bytes", m.Level, m.Chunk)
	}
	switch n := int64(m.Members); m.Level {
	case 0:
		var sum int64
		for _, x := range members {
			sum += whole(x.Data)
		}
		return sum, nil
	case 1:
		return m.Used, nil
	case 5:
		return whole(m.Used) * (n - 1), nil
	case 6:
		return whole(m.Used) * (n - 2), nil
	case 10:
		near, far := int64(m.Layout&0xff), int64(m.Layout>>8&0xff)
		if near == 0 || far == 0 {
			return 0, fmt.Errorf("level 10 with the layout %#x", m.Layout)
		}
		return m.Used / m.Chunk / far * n / near * m.Chunk, nil
	}
	return 0, fmt.Errorf("level %d is not known", m.Level)
}

// readMD reads a superblock; nil when there is none, or one that can't be an array's.
func readMD(at Reader, size int64) (*MD, error) {
	sectors := size >> 9
	for _, off := range []int64{0, 4096, ((sectors - 16) &^ 7) << 9} {
		b, err := at(off, 256)
		if err != nil {
			return nil, err
		}
		le := binary.LittleEndian
		if le.Uint32(b) != mdMagic || le.Uint32(b[4:]) != 1 || int64(le.Uint64(b[144:]))<<9 != off { // it names its own place
			continue
		}
		m := &MD{
			UUID: [16]byte(b[16:32]), Level: int(int32(le.Uint32(b[72:]))), Layout: le.Uint32(b[76:]), Used: int64(le.Uint64(b[80:])) << 9,
			Chunk: int64(le.Uint32(b[88:])) << 9, Members: int(le.Uint32(b[92:])), Data: int64(le.Uint64(b[136:])) << 9, Events: le.Uint64(b[200:]),
		}
		text, _, _ := bytes.Cut(b[32:64], []byte{0})
		m.Name = printable(string(text))
		if _, own, ok := strings.Cut(m.Name, ":"); ok {
			m.Name = own
		}
		if m.Members < 1 || m.Members > maxMembers || m.Used < 0 || m.Used > size || m.Data < 0 || m.Data > size {
			continue
		}
		number, most := int64(le.Uint32(b[160:])), int64(le.Uint32(b[220:]))
		m.Role = maxMembers + 1
		if number < most && most <= maxMembers {
			role, err := at(off+256+2*number, 2)
			if err != nil {
				return nil, err
			}
			m.Role = int(le.Uint16(role))
		}
		return m, nil
	}
	return nil, nil
}

const mdMagic = 0xa92b4efc

// ArrayKind is Member.Kind of a part of an array of software RAID.
const ArrayKind = "RAID array"

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' || c == '/' {
			return -1
		}
		return c
	}, s)
}

// probeMD finds superblocks of Linux software RAID: formats 1.0 to 1.2 and 0.90 in both byte orders. It takes one that
// is damaged for one, too: what it stands on is protected by it.
func probeMD(at Reader, size int64) (kind, group string, shared bool, err error) {
	sectors := size >> 9
	for _, off := range []int64{0, 4096, ((sectors - 16) &^ 7) << 9} {
		b, err := at(off, 64)
		if err != nil {
			return "", "", false, err
		}
		if binary.LittleEndian.Uint32(b) == mdMagic && binary.LittleEndian.Uint32(b[4:]) == 1 {
			return ArrayKind, hex.EncodeToString(b[16:32]), false, nil
		}
	}
	b, err := at(size&^65535-65536, 64)
	if err != nil {
		return "", "", false, err
	}
	if binary.LittleEndian.Uint32(b) == mdMagic || binary.BigEndian.Uint32(b) == mdMagic {
		return ArrayKind, hex.EncodeToString(append(bytes.Clone(b[20:24]), b[52:64]...)), false, nil
	}
	return "", "", false, nil
}
