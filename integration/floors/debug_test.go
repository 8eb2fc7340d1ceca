package floors

import (
	"slices"
	"testing"
)

// TestT18_NoDebugPages: what shows a program's insides to whoever asks is in neither program. The routes and what each
// of them needs are compared with a list by TestI26_EveryRouteHasARule.
func TestT18_NoDebugPages(t *testing.T) {
	all := list(t)
	for _, program := range []string{"server", "agent"} {
		p, ok := all[ourModule+"/"+program]
		if !ok || !slices.Contains(p.Deps, "net/http") {
			t.Fatalf("the list of what %s is made of is not there", program)
		}
		for _, d := range []string{"net/http/pprof", "expvar", "golang.org/x/net/trace"} {
			if slices.Contains(p.Deps, d) {
				t.Errorf("%s reaches %s", program, d)
			}
		}
	}
}
