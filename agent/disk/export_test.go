package disk

import "github.com/bessemer-metal/bessemer/agent/block"

// What tests in their own package need of the inside.

// Probe runs the probes and tells what they saw.
func Probe(read func(off int64, n int) ([]byte, error), info block.Disk, size int64, sector int) (shared, members int, err error) {
	f, err := probe(read, info, size, sector)
	return len(f.shared), len(f.members), err
}

// Siblings are the other disks on the same controller, by kernel name.
func Siblings(d *Disk) []string { return d.siblings }

// FindLoaderIn looks for a boot loader in a FAT file system.
func FindLoaderIn(read func(off int64, n int) ([]byte, error), size int64, arch string) (string, error) {
	return findLoader(read, size, arch)
}

// Endless makes the first directory of a FAT12 file system follow itself and lists it.
func Endless(b []byte, read func(off int64, n int) ([]byte, error), size int64) error {
	f, err := openFAT(read, size)
	if err != nil {
		return err
	}
	root, err := f.list(0)
	if err != nil {
		return err
	}
	for _, e := range root {
		if !e.dir {
			continue
		}
		c := int64(e.cluster)
		at := f.table + c*12/8
		if c%2 == 1 {
			b[at], b[at+1] = b[at]&0x0f|byte(c<<4), byte(c>>4)
		} else {
			b[at], b[at+1] = byte(c), b[at+1]&0xf0|byte(c>>8)
		}
		_, err = f.list(e.cluster)
		return err
	}
	return errNoFAT
}

// Span is a place that is read back.
type Span struct{ Off, N int64 }

// Places chooses what is read back, and Pieces in what pieces.
func Places(size int64, align int, seed [32]byte, full bool) (windows, read []Span) {
	w := places(size, align, seed, full)
	for _, p := range w {
		windows = append(windows, Span{p.off, p.n})
	}
	for _, p := range pieces(w) {
		read = append(read, Span{p.off, p.n})
	}
	return windows, read
}

// Of the sampling.
const (
	SmallDisk = smallDisk
	Sections  = sections
	Chunk     = chunk
	Piece     = piece
)
