// Package bubbles keeps Go's race detector alive in the bubbles of testing/synctest.
//
// A timer of a bubble that is due already when it is set, or that fell due while nobody listened, is run at once by the
// goroutine that touches it. Since Go 1.26 all of them do that with one race context, that of the bubble, and without a
// lock. On two processors at the same moment they break it, and the whole program ends with "ThreadSanitizer: CHECK
// failed: tsan_rtl.cpp:346" (golang/go issue 78156): a fault of the detector, not a race. Every package with such tests
// therefore calls Calm in its TestMain. See docs/adr/0200-bubbles-on-one-processor.md; start at Calm.
package bubbles

import "runtime"

// Calm lets the program run on one processor when it was built with -race, and does nothing otherwise. Races are found
// as before: the detector compares what is ordered before what, not what happens at the same instant, and under -race
// the scheduler takes goroutines in random order. It is called once, before the tests run.
func Calm() {
	if race {
		runtime.GOMAXPROCS(1)
	}
}
