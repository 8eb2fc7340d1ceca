//go:build vm

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/emulator"
)

// TestTwoLabsAndARestart: each lab's server listens on ports of its own, and after a kill on the same ones again.
func TestTwoLabsAndARestart(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	program, err := BuildServer(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	iso := filepath.Join(t.TempDir(), "base.iso")
	if err := os.WriteFile(iso, make([]byte, 2048), 0o600); err != nil {
		t.Fatal(err)
	}
	var labs []*Lab
	for range 2 {
		l, err := Start(t.Context(), Config{Dir: t.TempDir(), Bessemer: program, ISO: iso, Machines: []emulator.MachineConfig{{Name: "m1"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		labs = append(labs, l)
		if strings.Contains(l.Command(), ":0 ") {
			t.Errorf("a port that the system chose is not known: %s", l.Command())
		}
	}
	one, two := labs[0], labs[1]
	if one.URL == two.URL || one.Images == two.Images {
		t.Errorf("two labs at %s and %s, images at %s and %s", one.URL, two.URL, one.Images, two.Images)
	}
	if _, err := one.Enroll(t.Context(), one.Emulator.Machine("m1"), nil); err != nil {
		t.Fatal(err)
	}
	command := one.Command()
	one.KillServer()
	if err := one.StartServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes, err := one.Client.Nodes(t.Context(), nil)
	if err != nil || len(nodes) != 1 || one.Command() != command {
		t.Errorf("after the restart %d nodes, %v; %s", len(nodes), err, one.Command())
	}
}
