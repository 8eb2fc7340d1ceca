package image

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// maxWindow bounds the memory of the zstd decoder; what zstd makes without --long or --ultra needs 8 MiB at most. maxDictionary
// bounds that of the xz decoder: 64 MiB is what xz -9 asks for. gzip has a window of 32 KiB.
const (
	maxWindow     = 32 << 20
	maxDictionary = 64 << 20
)

// served is a file as its URL serves it; what is read through it is hashed by a goroutine of its own.
type served struct {
	src    io.Reader
	hashed chan []byte
	free   chan []byte
	done   chan struct{}
}

const (
	servedBuffer = 256 << 10
	servedDepth  = 16
)

// newServed starts the hashing; close ends it.
func newServed(src io.Reader, h hash.Hash) *served {
	s := &served{src: src, hashed: make(chan []byte, servedDepth), free: make(chan []byte, servedDepth), done: make(chan struct{})}
	for range servedDepth {
		s.free <- make([]byte, servedBuffer)
	}
	go func() {
		defer close(s.done)
		for b := range s.hashed {
			h.Write(b)
			s.free <- b[:cap(b)]
		}
	}()
	return s
}

// Read reads on and sends a copy to be hashed.
func (s *served) Read(p []byte) (int, error) {
	n, err := s.src.Read(p[:min(len(p), servedBuffer)])
	if n > 0 {
		b := <-s.free
		s.hashed <- b[:copy(b, p[:n])]
	}
	return n, err
}

// close waits until all that was read is hashed. Nothing may be read afterwards.
func (s *served) close() {
	close(s.hashed)
	<-s.done
}

// unpack gives the bytes to write of a compressed file, which it reads to its end: several members of gzip, frames of zstd and
// streams of xz follow each other, and anything else after the end is an error.
func unpack(format string, s *served) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(s, 64<<10)
	switch format {
	case catalog.RawZstd:
		z, err := zstd.NewReader(in,
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, fmt.Errorf("start the zstd decoder: %w", err)
		}
		return &zstdReader{z}, nil
	case catalog.RawGzip:
		return gzip.NewReader(in)
	case catalog.RawXZ:
		z, err := xz.NewReader(in, maxDictionary)
		return &xzReader{z}, tooMuch(err)
	}
	return nil, fmt.Errorf("no decoder for %q", format)
}

type xzReader struct{ z *xz.Reader }

func (r *xzReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	return n, tooMuch(err)
}

func (r *xzReader) Close() error { return nil }

// tooMuch tells the operator of a file whose decoder would need more memory than it gets.
func tooMuch(err error) error {
	switch {
	case errors.Is(err, xz.ErrMemlimit):
		return fault.New(fault.ImageFormat, "the image needs more than %d MiB of memory to decompress", maxDictionary>>20).
			WithHint("compress it again with xz -9 or less").Because(err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fault.New(fault.ImageFormat, "the image needs more than %d MiB of memory to decompress", maxWindow>>20).
			WithHint("compress it again without --long and --ultra").Because(err)
	}
	return err
}

type zstdReader struct{ z *zstd.Decoder }

func (r *zstdReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	return n, tooMuch(err)
}

func (r *zstdReader) Close() error { r.z.Close(); return nil }
