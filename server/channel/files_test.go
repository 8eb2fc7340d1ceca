package channel

import (
	"math"
	"testing"
)

// TestT06_ConnectionsLeaveFiles: however few files the process may open, agents' connections never take all of them.
func TestT06_ConnectionsLeaveFiles(t *testing.T) {
	for files, want := range map[uint64]int{4: 3, 256: 192, 1024: 768, 4096: 3072, 20_000: 18_976, 32768: 31744, 40_000: 32768, math.MaxUint64: 32768} {
		if got := connsFor(files); got != want {
			t.Errorf("with %d files %d connections, expected %d", files, got, want)
		}
	}
	if have, conns := files(), DefaultLimits().Conns; have == 0 || uint64(conns) >= have {
		t.Errorf("the default is %d connections in a process with %d files", conns, have)
	}
}
