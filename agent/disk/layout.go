package disk

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unicode/utf16"

	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// ConfigLabel names the partition or file system in which cloud-init looks for a config drive.
const ConfigLabel = "config-2"

// Of a config drive.
const (
	ConfigDriveMax = 64 << 20
	mebibyte       = 1 << 20
)

// MendTable checks that the disk carries a partition table with at least one partition and, for a GPT, moves its
// backup copy to the end of the disk, so that all of it can be used. Faults: image.format, image.corrupt, disk.io.
func (d *Disk) MendTable() (content.Table, error) {
	t, err := content.ReadTable(d.Read, d.Bytes, d.Align)
	var damaged *content.DamagedError
	switch {
	case errors.Is(err, content.ErrNoTable):
		return t, fault.New(fault.ImageFormat, "what was written to %s has no partition table (for sectors of %d bytes)", d, d.Align).
			WithHint("use a whole-disk image that was made for this sector size")
	case errors.As(err, &damaged):
		return t, fault.New(fault.ImageCorrupt, "what was written to %s has a %v", d, damaged).Because(err)
	case err != nil:
		return t, d.Failure("read the partition table of", 0, err)
	case t.Backup:
		return t, fault.New(fault.ImageCorrupt, "what was written to %s has a damaged primary partition table", d)
	case len(t.Partitions) == 0:
		return t, fault.New(fault.ImageFormat, "what was written to %s has a partition table without partitions", d).
			WithHint("use a whole-disk image")
	}
	if t.Kind == "gpt" {
		if err := d.rewriteGPT(nil); err != nil {
			return t, err
		}
		if t, err = content.ReadTable(d.Read, d.Bytes, d.Align); err != nil {
			return t, fault.New(fault.ImageReadBack, "the partition table of %s can't be read back: %v", d, err).Because(err)
		}
	}
	return t, nil
}

// rewriteGPT writes both copies of the GPT anew with the backup at the disk's end, after change had a look at the
// entries. It leaves all else as it was: ids, attributes, boot code. The backup goes first and each copy's entries
// before its header, so that one valid copy is there at any moment.
func (d *Disk) rewriteGPT(change func(entries []byte, width int, lastUsable int64) error) error {
	s := int64(d.Align)
	le := binary.LittleEndian
	h, err := d.Read(s, d.Align)
	if err != nil {
		return d.Failure("read", s, err)
	}
	count, width := int64(le.Uint32(h[80:])), int(le.Uint32(h[84:]))
	at := int64(le.Uint64(h[72:])) * s
	entries, err := d.Read(at, int(count)*width)
	if err != nil {
		return d.Failure("read", at, err)
	}
	span := (count*int64(width) + s - 1) / s // sectors of entries
	last := d.Bytes/s - 1
	usable := last - span - 1
	for i := range int(count) {
		if e := entries[i*width:]; !bytes.Equal(e[:16], make([]byte, 16)) && int64(le.Uint64(e[40:])) > usable {
			return fault.New(fault.DiskTooSmall, "partition %d of %s leaves no room for the backup partition table at the disk's end", i+1, d)
		}
	}
	if change != nil {
		if err := change(entries, width, (usable+1)*s); err != nil {
			return err
		}
	}
	old := int64(le.Uint64(h[32:]))
	seal := func(mine, other, table int64) []byte {
		c := bytes.Clone(h)
		le.PutUint64(c[24:], uint64(mine))
		le.PutUint64(c[32:], uint64(other))
		le.PutUint64(c[48:], uint64(usable))
		le.PutUint64(c[72:], uint64(table))
		le.PutUint32(c[88:], crc32.ChecksumIEEE(entries))
		clear(c[16:20])
		le.PutUint32(c[16:], crc32.ChecksumIEEE(c[:le.Uint32(c[12:])]))
		return c
	}
	for _, w := range []struct {
		b   []byte
		off int64
	}{
		{entries, (last - span) * s}, {seal(last, 1, last-span), last * s},
		{entries, at}, {seal(1, last, at/s), s},
	} {
		if err := d.Write(w.b, w.off); err != nil {
			return err
		}
		if err := d.Failure("flush", w.off, d.Sync()); err != nil {
			return err
		}
	}
	if err := d.protectiveMBR(last); err != nil {
		return err
	}
	return d.forgetBackup(old, last)
}

// protectiveMBR makes the one entry of a protective MBR cover the disk; any other MBR is left as it is.
func (d *Disk) protectiveMBR(last int64) error {
	b, err := d.Read(0, 512)
	if err != nil {
		return d.Failure("read", 0, err)
	}
	if b[450] != 0xee || !bytes.Equal(b[462:510], make([]byte, 48)) {
		return nil
	}
	binary.LittleEndian.PutUint32(b[458:], uint32(min(last, 0xffffffff)))
	return d.Write(b, 0)
}

// forgetBackup removes the header of a backup table that stood where the image ended.
func (d *Disk) forgetBackup(old, last int64) error {
	s := int64(d.Align)
	if old <= 1 || old >= last {
		return nil
	}
	t, err := content.ReadTable(d.Read, d.Bytes, d.Align)
	if err != nil {
		return d.Failure("read back the partition table of", 0, err)
	}
	for _, p := range t.Partitions {
		if old*s >= p.Start && old*s < p.Start+p.Size {
			return nil
		}
	}
	b, err := d.Read(old*s, len(content.GPTMagic))
	if err != nil || !bytes.Equal(b, content.GPTMagic) {
		return d.Failure("read", old*s, err)
	}
	return d.Blank(old*s, s)
}

// CheckConfigDrive refuses what can't be a config drive: more than 64 MiB, or neither ISO 9660 nor FAT.
func CheckConfigDrive(b []byte) error {
	iso := len(b) > 32<<10+6 && string(b[32<<10+1:32<<10+6]) == "CD001"
	fat := len(b) >= 512 && b[510] == 0x55 && b[511] == 0xaa && (bytes.HasPrefix(b[54:], []byte("FAT")) || bytes.HasPrefix(b[82:], []byte("FAT")))
	switch {
	case len(b) == 0:
		return fault.New(fault.ConfigDrive, "the config drive is empty")
	case len(b) > ConfigDriveMax:
		return fault.New(fault.ConfigDrive, "the config drive has %d bytes, at most %d are allowed", len(b), ConfigDriveMax)
	case !iso && !fat:
		return fault.New(fault.ConfigDrive, "the config drive is neither an ISO 9660 nor a FAT file system")
	}
	return nil
}

// PutConfigDrive writes a config drive into the partition that is labelled for it or, if there is none that holds it,
// into a new one at the end of the disk, and reads it back. where is for people. Faults: configdrive.invalid,
// disk.too_small, image.read_back, disk.io.
func (d *Disk) PutConfigDrive(b []byte) (where string, err error) {
	if err := CheckConfigDrive(b); err != nil {
		return "", err
	}
	t, err := content.ReadTable(d.Read, d.Bytes, d.Align)
	if err != nil {
		return "", d.Failure("read the partition table of", 0, err)
	}
	p, found, err := d.configPartition(t, int64(len(b)))
	if err != nil {
		return "", err
	}
	if !found {
		if p, err = d.addConfigPartition(t); err != nil {
			return "", err
		}
	}
	// Whole sectors, the last filled up with zeros; the rest of the partition is cleared.
	full := make([]byte, (len(b)+d.Align-1)/d.Align*d.Align)
	copy(full, b)
	if err := d.Write(full, p.Start); err != nil {
		return "", err
	}
	if rest := p.Size - int64(len(full)); rest > 0 {
		if err := d.Clear(p.Start+int64(len(full)), rest); err != nil {
			return "", err
		}
	}
	if err := d.Failure("flush", p.Start, d.Sync()); err != nil {
		return "", err
	}
	got, err := d.Read(p.Start, len(b))
	if err != nil {
		return "", d.Failure("read back", p.Start, err)
	}
	if !bytes.Equal(got, b) {
		return "", fault.New(fault.ImageReadBack, "the config drive on %s reads back differently from what was written", d)
	}
	return fmt.Sprintf("partition %d", p.Index), nil
}

// configPartition finds the partition made for a config drive: by its name in the table, else by the label of the file
// system in it.
func (d *Disk) configPartition(t content.Table, n int64) (content.Part, bool, error) {
	for _, p := range t.Partitions {
		if p.Size < n {
			continue
		}
		if p.Name == ConfigLabel {
			return p, true, nil
		}
		for _, off := range []int64{32<<10 + 40, 43, 71} { // ISO 9660 volume, FAT12 and 16, FAT32
			if off+int64(len(ConfigLabel)) > p.Size {
				continue
			}
			label, err := d.Read(p.Start+off, len(ConfigLabel))
			if err != nil {
				return content.Part{}, false, d.Failure("read", p.Start+off, err)
			}
			if bytes.EqualFold(label, []byte(ConfigLabel)) {
				return p, true, nil
			}
		}
	}
	return content.Part{}, false, nil
}

// addConfigPartition makes a partition of 64 MiB at the end of the disk.
func (d *Disk) addConfigPartition(t content.Table) (content.Part, error) {
	var end int64
	for _, p := range t.Partitions {
		end = max(end, p.Start+p.Size)
	}
	limit := d.Bytes
	if t.Kind == "gpt" {
		limit = t.LastUsable
	} else {
		limit = min(limit, int64(0xffffffff)*int64(d.Align))
	}
	p := content.Part{Size: ConfigDriveMax, Start: (limit - ConfigDriveMax) / mebibyte * mebibyte, Name: ConfigLabel, GUID: content.LinuxData, Type: 0x83}
	if p.Start < end {
		return p, fault.New(fault.DiskTooSmall, "the image leaves %s at the end of %s, a config drive needs %s",
			inventory.Bytes(max(0, limit-end)), d, inventory.Bytes(ConfigDriveMax+mebibyte)).
			WithHint("use an image with a partition named %s, or a larger disk", ConfigLabel)
	}
	if t.Kind == "gpt" {
		return p, d.rewriteGPT(func(entries []byte, width int, _ int64) error { return addTo(&p, entries, width, int64(d.Align)) })
	}
	b, err := d.Read(0, 512)
	if err != nil {
		return p, d.Failure("read", 0, err)
	}
	for i := range 4 {
		e := b[446+16*i:][:16]
		if e[4] != 0 {
			continue
		}
		p.Index = i + 1
		copy(e, []byte{0, 0xfe, 0xff, 0xff, p.Type, 0xfe, 0xff, 0xff})
		binary.LittleEndian.PutUint32(e[8:], uint32(p.Start/int64(d.Align)))
		binary.LittleEndian.PutUint32(e[12:], uint32(p.Size/int64(d.Align)))
		return p, d.Write(b, 0)
	}
	return p, noSlot(d.String())
}

// addTo puts the partition into the first free entry of a GPT.
func addTo(p *content.Part, entries []byte, width int, sector int64) error {
	for i := 0; i+width <= len(entries); i += width {
		e := entries[i : i+width]
		if !bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		clear(e)
		copy(e, p.GUID[:])
		rand.Read(e[16:32])
		e[23] = e[23]&0x0f | 0x40 // a random GUID says so: version 4
		e[24] = e[24]&0x3f | 0x80
		binary.LittleEndian.PutUint64(e[32:], uint64(p.Start/sector))
		binary.LittleEndian.PutUint64(e[40:], uint64((p.Start+p.Size)/sector-1))
		for j, c := range utf16.Encode([]rune(p.Name)) {
			binary.LittleEndian.PutUint16(e[56+2*j:], c)
		}
		p.Index = i/width + 1
		return nil
	}
	return noSlot("the image")
}

func noSlot(where string) error {
	return fault.New(fault.ConfigDrive, "the partition table of %s has no free entry for a config drive", where).
		WithHint("use an image with a partition named %s", ConfigLabel)
}
