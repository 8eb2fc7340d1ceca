package qcow2

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what a packed cluster may ask of memory: no cluster is larger than 2 MiB.
const maxWindow = 8 << 20

// Unpacker unpacks clusters, one at a time. Close ends it.
type Unpacker struct {
	in   bytes.Reader
	flat io.ReadCloser
	zstd *zstd.Decoder
}

// Unpacker makes one for clusters of the file.
func (h Header) Unpacker() (*Unpacker, error) {
	u := &Unpacker{}
	if !h.Zstd {
		u.flat = flate.NewReader(&u.in)
		return u, nil
	}
	var err error
	u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	return u, err
}

// Unpack fills a cluster from what is packed in b, behind which other bytes may follow.
func (u *Unpacker) Unpack(cluster, b []byte) error {
	u.in.Reset(b)
	var from io.Reader = u.flat
	if u.zstd != nil {
		if err := u.zstd.Reset(&u.in); err != nil {
			return broken("has a packed cluster that can't be unpacked: %v", err)
		}
		from = u.zstd
	} else if err := u.flat.(flate.Resetter).Reset(&u.in, nil); err != nil {
		return broken("has a packed cluster that can't be unpacked: %v", err)
	}
	if n, err := io.ReadFull(from, cluster); err != nil {
		return broken("has a packed cluster that can't be unpacked: %d of %d bytes, then: %v", n, len(cluster), err)
	}
	return nil
}

// Close lets its memory go.
func (u *Unpacker) Close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}
