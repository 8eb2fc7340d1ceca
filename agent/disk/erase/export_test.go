package erase

// What tests in their own package need of the inside.

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
