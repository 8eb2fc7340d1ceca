//go:build vm

package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// build builds the server with its cuts; the source tree stays as it is.
func (m serverMutant) build(t *testing.T, name string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	texts := map[string][]byte{}
	for _, c := range m.cuts {
		texts[c.file] = c.from(t, root, texts[c.file])
	}
	for file, text := range texts {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(copied, text, 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, file)] = copied
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file, out := filepath.Join(dir, "overlay.json"), filepath.Join(root, "build", "crash", "bessemer-"+name)
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "build", "-trimpath", "-tags", "failpoint", "-overlay", file, "-o", out, "./server")
	c.Dir = root
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	return out
}

// TestI08_ServerMutantsAreCaught: a server that gives out a started step again is found at the first kill at which that
// shows, and the server as it is passes the same kill. What the harness did not find in the one it would not find in the
// other.
func TestI08_ServerMutantsAreCaught(t *testing.T) {
	t.Parallel()
	for name, m := range serverMutants {
		for _, sound := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/guarded=%v", name, sound), func(t *testing.T) {
				t.Parallel()
				s, o := site(t, func(c *Config) {
					c.Nodes, c.Mutant = 1, m.agent
					if !sound {
						c.Server = m.build(t, name)
					}
				})
				defer o.Stop()
				again := m.crash(t, s)
				if sound {
					until(t, "the work to go on", func() bool { return again() })
					pause(time.Second) // in which a second start would come
					s.check(t, false)
					return
				}
				var broken []Violation
				until(t, "a mistake found", func() bool {
					var err error
					if broken, err = s.Check(t.Context(), false); err != nil {
						t.Fatal(err)
					}
					return len(broken) > 0
				})
				t.Log("found: ", broken)
				if !slices.ContainsFunc(broken, func(v Violation) bool { return v.Invariant == "I8" }) {
					t.Error("it was not seen that a step ran twice")
				}
			})
		}
	}
}

// crash lets the server or an agent die at the mark and the next one begin. The answer tells whether that one has come
// to where it would do the step again.
func (m serverMutant) crash(t *testing.T, s *Site) func() bool {
	t.Helper()
	if m.agent != "" {
		s.ArmAgents(m.mark)
		until(t, "an agent dead at "+m.mark, func() bool { return len(s.AgentsDied()) > 0 })
		return func() bool {
			stored, err := ReadDatabase(t.Context(), s.databaseFile())
			if err != nil {
				t.Fatal(err)
			}
			// The process that died was ready before it started the step.
			b := stored.Nodes[0].Boot
			return b != nil && slices.ContainsFunc(stored.Steps, func(r conductor.StepRecord) bool {
				return r.Generation == b.Generation && !r.Started.IsZero() && b.Ready.After(r.Started)
			})
		}
	}
	s.server.kill()
	if err := s.Start(t.Context(), m.mark); err != nil {
		t.Fatal(err)
	}
	if byItself, err := s.Died(3 * time.Minute); err != nil || !byItself {
		t.Fatalf("no work came by the mark %s: %v", m.mark, err)
	}
	acts := len(s.deeds(t))
	if err := s.Start(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	return func() bool { return len(s.deeds(t)) > acts }
}

// deeds are the lines of what BMCs did that is judged.
func (s *Site) deeds(t *testing.T) []ledger.Line {
	t.Helper()
	return slices.DeleteFunc(s.lines(t), func(l ledger.Line) bool { return l.Kind != ledger.Act || !judged(l.Name) })
}
