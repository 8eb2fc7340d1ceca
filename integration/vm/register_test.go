//go:build vm

package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/integration/qemu"
	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// TestRegisterTakesAllToAvailable: one command takes 3 QEMU machines and 50 simulated ones from a file to available, by
// an inspection and a cleaning of each, with one view. Then a file with a machine whose BMC has another password: it
// fails and makes the exit code, and those after it get there all the same (requirement 144).
func TestRegisterTakesAllToAvailable(t *testing.T) {
	const simulated, later = 50, 3
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	built, dir := ground(t, "register")
	short, err := os.MkdirTemp("", "register") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	socket := filepath.Join(short, "play", "machines")
	f, err := fleet.New(fleet.Options{Socket: socket, Nodes: simulated + later, Prefix: "sim-", StepTime: 200 * time.Millisecond, Host: "127.0.0.1", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	machines := []emulator.MachineConfig{{Name: "locked"}}
	names := []string{"vm-0", "vm-1", "vm-2"}
	for _, name := range names {
		machines = append(machines, emulator.MachineConfig{Name: name, QEMU: &qemu.Config{CPUs: 1, MemoryMB: 512, Disks: []qemu.Disk{
			{Path: filepath.Join(dir, name+".raw"), SizeMB: 64, Serial: name},
		}}})
	}
	l, err := lab.Start(t.Context(), lab.Config{
		Dir: dir, Cache: filepath.Join(built.Dir, "cache"), Bessemer: built.Bessemer, ISO: built.Ramdisk.ISO, Machines: machines, Accel: "tcg",
		Args: []string{"--fake-machines", socket},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{Lab: l, t: t, dir: dir}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			r.tell()
		}
	})

	var all strings.Builder
	all.WriteString("nodes:\n")
	for _, name := range names {
		all.WriteString(r.entry(name, lab.Password))
	}
	for i := range simulated {
		names = append(names, simulate(&all, i))
	}
	said := r.register(t, cli.OK, all.String())
	if !strings.HasPrefix(said, "for each node: manage, inspect, provide\n53 nodes: ") {
		t.Errorf("the view begins with %.200s", said)
	}
	r.available(t, said, names)
	for _, name := range names {
		if _, err := l.Client.Inventory(t.Context(), name); err != nil {
			t.Errorf("%s was not inspected: %v", name, err)
		}
	}
	if s := f.Summary(); s.Repeated > 0 || s.Executed != 2*simulated {
		t.Errorf("the simulated machines ran %d steps, %d of them twice", s.Executed, s.Repeated)
	}

	all.Reset()
	all.WriteString("nodes:\n" + r.entry("locked", "another"))
	names = nil
	for i := range later {
		names = append(names, simulate(&all, simulated+i))
	}
	said = r.register(t, cli.Failed, all.String())
	r.available(t, said, names)
	if !strings.Contains(said, "node locked: ") || strings.Contains(said, "locked  available\n") {
		t.Errorf("what is said of the machine that can't be managed:\n%s", said)
	}
	if n, err := l.Client.Node(t.Context(), "locked"); err != nil || n.ProvisionState == nil || *n.ProvisionState != string(state.Enroll) {
		t.Errorf("it is %v, %v", n.ProvisionState, err)
	}
}

// entry is an emulated machine in a file of nodes.
func (r *rack) entry(name, password string) string {
	m := r.Emulator.Machine(name)
	out := fmt.Sprintf("- name: %s\n  driver: redfish\n  driver_info: {redfish_address: %q, redfish_system_id: %q, redfish_username: %s, redfish_password: %s}\n  ports: [",
		name, m.URL(), m.SystemPath(), lab.Username, password)
	for i, mac := range m.MACs() {
		out += strings.Repeat(", ", min(i, 1)) + fmt.Sprintf("%q", mac.String())
	}
	return out + "]\n"
}

// simulate adds a machine of the fleet to a file of nodes, and gives its name.
func simulate(to *strings.Builder, number int) string {
	name := fmt.Sprintf("sim-%d", number)
	fmt.Fprintf(to, "- {name: %s, uuid: %s, driver: fake-hardware, deploy_interface: direct, inspect_interface: agent, ports: [%q]}\n", name, fleet.NodeID("sim-", number), fleet.MAC(number))
	return name
}

// register runs the command on a file with this text; the result is all that it says.
func (r *rack) register(t *testing.T, want int, text string) string {
	t.Helper()
	file := filepath.Join(r.dir, "nodes.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(r.dir, "..", "..", "bessemer"), "register", "--inspect", "--provide", "-f", file, "--watch", "--yes")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BESSEMER_") }), "BESSEMER_SERVER="+r.URL, "HOME="+r.dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	_ = cmd.Run() // how it ended is looked at below
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("it ends with %d, expected %d:\n%s", code, want, said.String())
	}
	return said.String()
}

// available looks whether the one view told of each that it was erased and is available, once, and whether it is.
func (r *rack) available(t *testing.T, said string, names []string) {
	t.Helper()
	for _, name := range names {
		n, err := r.Client.Node(t.Context(), name)
		if err != nil || n.ProvisionState == nil || *n.ProvisionState != string(state.Available) {
			t.Errorf("%s is %v, %v", name, n.ProvisionState, err)
		}
		for _, line := range []string{"  deploy.erase_devices succeeded in ", "  available\n"} {
			if n := strings.Count(said, " "+name+line); n != 1 {
				t.Errorf("the view tells %d times of %s%q:\n%s", n, name, line, said)
			}
		}
	}
}
