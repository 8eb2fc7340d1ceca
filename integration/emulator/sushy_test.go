package emulator_test

import (
	"bytes"
	_ "embed"
	"os/exec"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/emulator"
)

//go:embed testdata/sushy_client.py
var sushyClient []byte

// An independent client judges: the Redfish library of OpenStack Ironic, as Debian packages it.
func TestSushyIsSatisfied(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's own, which sees Debian's packages
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import sushy").CombinedOutput(); err != nil {
		t.Fatalf("python3-sushy is not installed; `make setup` installs it: %v\n%s", err, out)
	}
	e := start(t, emulator.Config{}, emulator.MachineConfig{Name: "node-1", Listen: "127.0.0.1:0", UUID: "9d3f1f0e-64d8-4a55-a7a1-0d9a4f2b7c11", MACs: []string{"52:54:00:00:00:01"}},
		emulator.MachineConfig{Name: "node-2"})
	m := e.Machine("node-1")
	cmd := exec.CommandContext(t.Context(), python, "-", m.URL(), m.SystemPath(), imageServer(t).URL+"/cd.iso")
	cmd.Stdin = bytes.NewReader(sushyClient)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sushy: %v\n%s", err, out)
	}
	if n := strings.Count(string(out), "ok "); n < 30 {
		t.Errorf("only %d checks were made:\n%s", n, out)
	}
}
