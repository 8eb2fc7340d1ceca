//go:build vm

package emulator_test

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stmcginnis/gofish"
	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/integration/efitest"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// A real machine, all by Redfish: it boots from a CD that only the BMC can reach (HTTPS with a private authority), and
// without one it finds nothing to boot, which is not called a boot.
func TestQEMUMachineBootsFromVirtualMedia(t *testing.T) {
	cd := efitest.ISO(t, efitest.Program("THIS IS THE CD", nil, efitest.Halt))
	images := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, cd) }))
	defer images.Close()
	e := start(t, emulator.Config{Accelerator: cmp.Or(os.Getenv("BESSEMER_ACCEL"), "tcg"), Transport: images.Client().Transport, Log: slog.New(slog.NewTextHandler(t.Output(), nil))},
		emulator.MachineConfig{Name: "vm", MACs: []string{}, Listen: "127.0.0.1:0", QEMU: &qemu.Config{MemoryMB: 256}})
	m := e.Machine("vm")
	c := connect(t, m.URL(), true)

	until := func(what string, ok func(s *schemas.ComputerSystem) bool) {
		t.Helper()
		deadline, poll := time.After(3*time.Minute), time.NewTicker(200*time.Millisecond)
		defer poll.Stop()
		for {
			s := system(t, c, "vm")
			if ok(s) {
				return
			}
			select {
			case <-poll.C:
			case <-deadline:
				t.Fatalf("no %s in time: power %s, progress %s, state %+v", what, s.PowerState, s.BootProgress.LastState, m.State())
			}
		}
	}
	progress := func(want schemas.BootProgressTypes) func(*schemas.ComputerSystem) bool {
		return func(s *schemas.ComputerSystem) bool { return s.BootProgress.LastState == want }
	}
	insert(t, c, images.URL+"/cd.iso")
	if err := system(t, c, "vm").SetBoot(&schemas.Boot{BootSourceOverrideEnabled: schemas.OnceBootSourceOverrideEnabled, BootSourceOverrideTarget: schemas.CdBootSource}); err != nil {
		t.Fatal(err)
	}
	if _, err := system(t, c, "vm").Reset(schemas.OnResetType); err != nil {
		t.Fatal(err)
	}
	until("boot from the CD", progress(schemas.OSBootStartedBootProgressTypes))
	until("output of the CD's program", func(*schemas.ComputerSystem) bool {
		b, err := os.ReadFile(m.Console())
		return err == nil && strings.Contains(string(b), "THIS IS THE CD")
	})
	if s := m.State(); s.Override != "Disabled" || s.Detail != "Virtual CD" || s.MediumRequests < 2 {
		t.Errorf("after the boot: %+v", s)
	}
	media, err := cdDrive(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := media.EjectMedia(); err != nil {
		t.Fatal(err)
	}
	if _, err := system(t, c, "vm").Reset(schemas.ForceRestartResetType); err != nil {
		t.Fatal(err)
	}
	until("end of the search for something to boot", progress(schemas.OEMBootProgressTypes))
	if _, err := system(t, c, "vm").Reset(schemas.ForceOffResetType); err != nil {
		t.Fatal(err)
	}
	if s := system(t, c, "vm"); s.PowerState != schemas.OffPowerState || m.On() {
		t.Errorf("after ForceOff: %s", s.PowerState)
	}
	var causes []string
	for _, p := range m.PowerLog() {
		causes = append(causes, p.Cause)
	}
	if got, want := strings.Join(causes, ", "), "redfish On, reset: host-qmp-system-reset, redfish ForceOff"; got != want {
		t.Errorf("power log: %s, want %s", got, want)
	}
}

func cdDrive(c *gofish.APIClient) (*schemas.VirtualMedia, error) {
	return schemas.GetVirtualMedia(c, "/redfish/v1/Managers/vm/VirtualMedia/Cd")
}

func insert(t *testing.T, c *gofish.APIClient, url string) {
	t.Helper()
	media, err := cdDrive(c)
	if err == nil {
		_, err = media.InsertMedia(&schemas.VirtualMediaInsertMediaParameters{Image: url})
	}
	if err != nil {
		t.Fatal(err)
	}
}
