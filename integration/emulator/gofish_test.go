package emulator_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stmcginnis/gofish"
	"github.com/stmcginnis/gofish/schemas"
	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

// start brings up an emulator with listeners on loopback.
func start(t *testing.T, cfg emulator.Config, machines ...emulator.MachineConfig) *emulator.Emulator {
	t.Helper()
	cfg.Dir, cfg.Listen, cfg.Control, cfg.Machines = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", machines
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// imageServer serves a small CD image at /cd.iso.
func imageServer(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/cd.iso" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "cd.iso", time.Time{}, strings.NewReader(strings.Repeat("medium ", 100_000)))
	}))
	t.Cleanup(s.Close)
	return s
}

func connect(t *testing.T, url string, basic bool) *gofish.APIClient {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	c, err := gofish.Connect(gofish.ClientConfig{Endpoint: url, Username: "admin", Password: "password", BasicAuth: basic, HTTPClient: client, NoModifyTransport: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func system(t *testing.T, c *gofish.APIClient, name string) *schemas.ComputerSystem {
	t.Helper()
	s, err := schemas.GetComputerSystem(c, "/redfish/v1/Systems/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The whole way of a deployment, as gofish goes it: medium in, boot once from CD, power on, medium out.
func TestGofishBootsFromVirtualMedia(t *testing.T) {
	booted := make(chan emulator.FakeBoot, 4)
	e := start(t, emulator.Config{}, emulator.MachineConfig{Name: "node-1", Serial: "S1", MACs: []string{"52:54:00:00:00:01", "52:54:00:00:00:02"},
		OnBoot: func(ctx context.Context, b emulator.FakeBoot) { booted <- b }})
	c := connect(t, e.URL(), false)
	images := imageServer(t)

	s := system(t, c, "node-1")
	if s.PowerState != schemas.OffPowerState || s.SerialNumber != "S1" || s.BootProgress.LastState != "None" {
		t.Errorf("system: %s %s %s", s.PowerState, s.SerialNumber, s.BootProgress.LastState)
	}
	cards, err := s.EthernetInterfaces()
	var macs []string
	for _, card := range cards {
		macs = append(macs, card.MACAddress)
	}
	slices.Sort(macs) // gofish gives members in any order
	if want := []string{"52:54:00:00:00:01", "52:54:00:00:00:02"}; err != nil || !slices.Equal(macs, want) {
		t.Errorf("cards: %v, %v", macs, err)
	}
	managers, err := c.Service.Managers()
	if err != nil || len(managers) != 1 {
		t.Fatalf("managers: %v, %v", managers, err)
	}
	media, err := managers[0].VirtualMedia()
	media = slices.DeleteFunc(media, func(v *schemas.VirtualMedia) bool { return v.ID != "Cd" })
	if err != nil || len(media) != 1 {
		t.Fatalf("virtual CDs: %v, %v", media, err)
	}
	if _, err := media[0].InsertMedia(&schemas.VirtualMediaInsertMediaParameters{Image: images.URL + "/absent.iso"}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a medium that is not there: %v, want the server's status passed on", err)
	}
	if _, err := media[0].InsertMedia(&schemas.VirtualMediaInsertMediaParameters{Image: images.URL + "/cd.iso"}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetBoot(&schemas.Boot{BootSourceOverrideEnabled: schemas.OnceBootSourceOverrideEnabled, BootSourceOverrideTarget: schemas.CdBootSource}); err != nil {
		t.Fatal(err)
	}
	if _, err := system(t, c, "node-1").Reset(schemas.OnResetType); err != nil {
		t.Fatal(err)
	}
	b := <-booted
	if b.Source.Target != qemu.CD || b.Medium != images.URL+"/cd.iso" {
		t.Errorf("booted from %s, medium %q", b.Source.Target, b.Medium)
	}
	head := make([]byte, 6)
	if _, err := b.Image.ReadAt(head, 7); err != nil || string(head) != "medium" {
		t.Errorf("medium read as %q, %v", head, err)
	}
	b.Report(qemu.Loader, "Virtual CD")
	s = system(t, c, "node-1")
	if s.PowerState != schemas.OnPowerState || s.BootProgress.LastState != "OSBootStarted" || s.Boot.BootSourceOverrideEnabled != "Disabled" {
		t.Errorf("after the boot: %s, %s, override %s", s.PowerState, s.BootProgress.LastState, s.Boot.BootSourceOverrideEnabled)
	}
	b.Reset() // the guest reboots: the override was for once
	if b := <-booted; b.Source.Target != qemu.Default {
		t.Errorf("second boot from %s", b.Source.Target)
	}
	if _, err := media[0].EjectMedia(); err != nil {
		t.Fatal(err)
	}
	if m := e.Machine("node-1").Medium(); m != "" {
		t.Errorf("still in the drive: %s", m)
	}
	if _, err := s.Reset(schemas.ForceOffResetType); err != nil {
		t.Fatal(err)
	}
	var causes []string
	for _, p := range e.Machine("node-1").PowerLog() {
		causes = append(causes, p.Cause)
	}
	if got, want := strings.Join(causes, ", "), "redfish On, reset: guest-reset, redfish ForceOff"; got != want {
		t.Errorf("power log: %s, want %s", got, want)
	}
	c.Logout()
}
