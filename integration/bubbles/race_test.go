//go:build race

package bubbles

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// A race is still found on one processor, between goroutines that take turns: the test runs itself again with one.
func TestRacesAreFoundOnOneProcessor(t *testing.T) {
	if os.Getenv("BUBBLE_RACE") != "" {
		synctest.Test(t, func(t *testing.T) {
			var wg sync.WaitGroup
			n := 0
			for range 2 {
				wg.Go(func() { n++ })
			}
			wg.Wait()
		})
		return
	}
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Fatalf("the tests run on %d processors", got)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "BUBBLE_RACE=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "DATA RACE") {
		t.Errorf("a race was not found: %v\n%s", err, out)
	}
}
