package image

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// maxWindow bounds the memory of the zstd decoder; what zstd makes without --long or --ultra needs 8 MiB at most.
const maxWindow = 32 << 20

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

// unpack gives the bytes to write of a zstd-compressed file, which it reads to its end.
func unpack(s *served) (io.ReadCloser, error) {
	z, err := zstd.NewReader(bufio.NewReaderSize(s, 64<<10),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, fmt.Errorf("start the zstd decoder: %w", err)
	}
	return &zstdReader{z}, nil
}

type zstdReader struct{ z *zstd.Decoder }

func (r *zstdReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fault.New(fault.ImageFormat, "the image needs more than %d MiB of memory to decompress", maxWindow>>20).
			WithHint("compress it again without --long and --ultra").Because(err)
	}
	return n, err
}

func (r *zstdReader) Close() error { r.z.Close(); return nil }
