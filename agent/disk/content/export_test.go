package content

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
