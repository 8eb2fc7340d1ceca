package initramfs

import (
	"bytes"

	"github.com/u-root/mkuimage/cpio"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// withRegion is an initramfs with one more archive behind it: the boot region, zeros for now, as a file that only root reads. A
// machine whose firmware loads the unified kernel image over the network has no medium beside it: what it is to know travels in
// the ramdisk itself. The archive is not compressed, so that it can be overlaid while the image is served.
func withRegion(initrd []byte) ([]byte, error) {
	b := bytes.NewBuffer(initrd[:len(initrd):len(initrd)])
	b.Write(make([]byte, (4-len(initrd)%4)%4)) // where the kernel looks for the next archive
	err := archive(b, []cpio.Record{cpio.StaticFile(api.RegionFile, string(make([]byte, api.RegionSize)), 0o600)})
	return b.Bytes(), err
}
