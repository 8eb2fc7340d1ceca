package erase_test

import (
	"fmt"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk/erase"
)

func TestPlacesCoverWhatTheyPromise(t *testing.T) {
	for _, size := range []int64{erase.SmallDisk, erase.SmallDisk + 512, 1 << 30, 1<<40 + 4096} {
		var seed [32]byte
		seed[0] = 7
		w, read := erase.Places(size, 512, seed, false)
		if len(w) != 2*erase.Sections+2 || w[0].Off != 0 || w[len(w)-1].Off+w[len(w)-1].N != size {
			t.Fatalf("%d bytes: %d places from %+v to %+v", size, len(w), w[0], w[len(w)-1])
		}
		var sum int64
		for i, p := range w {
			sum += p.N
			if p.Off%512 != 0 || p.N%512 != 0 || p.N <= 0 || p.Off+p.N > size {
				t.Fatalf("%d bytes: place %+v", size, p)
			}
			if i > 1 && i < len(w)-1 && p.Off < w[i-1].Off+w[i-1].N {
				t.Fatalf("%d bytes: %+v overlaps %+v", size, p, w[i-1])
			}
		}
		if sum < size/10 || sum > size/4 || size > 1<<30 && sum > size/9 {
			t.Errorf("%d bytes: %d are read", size, sum)
		}
		for _, p := range read {
			if p.N > erase.Chunk {
				t.Fatalf("piece of %d bytes", p.N)
			}
		}
		seed[0] = 8
		if other, _ := erase.Places(size, 512, seed, false); fmt.Sprint(w) == fmt.Sprint(other) {
			t.Error("another seed chooses the same places")
		}
	}
	if w, _ := erase.Places(1<<30, 512, [32]byte{}, true); len(w) != 1 || w[0].N != 1<<30 {
		t.Errorf("full: %+v", w)
	}
}
