//go:build vm

package qemu

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/integration/efitest"
	"github.com/bessemer-metal/bessemer/integration/ovmf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bmc records what a machine tells, and answers its questions.
type bmc struct {
	t        *testing.T
	mu       sync.Mutex
	boots    []Boot // still to come; Default after them
	power    []string
	progress []string
	changed  chan struct{}
}

func (b *bmc) hooks() Hooks {
	note := func(list *[]string, s string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Log(s)
		*list = append(*list, s)
		close(b.changed)
		b.changed = make(chan struct{})
	}
	return Hooks{
		NextBoot: func() Boot {
			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.boots) == 0 {
				return Boot{Target: Default}
			}
			next := b.boots[0]
			b.boots = b.boots[1:]
			return next
		},
		Power:    func(on bool, cause string) { note(&b.power, fmt.Sprintf("on=%v %s", on, cause)) },
		Progress: func(p Progress, detail string) { note(&b.progress, fmt.Sprintf("%s: %s", p, detail)) },
	}
}

// until waits for a state of affairs, with patience.
func (b *bmc) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(3 * time.Minute) // a loaded machine is slow; an idle one needs seconds
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		b.mu.Lock()
		changed := b.changed
		done := ok()
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-poll.C: // the console's file tells nobody
		case <-deadline:
			b.t.Fatalf("no %s in time; power %q, progress %q", what, b.power, b.progress)
		}
	}
}

func (b *bmc) lastPower(want string) func() bool {
	return func() bool { return len(b.power) > 0 && strings.HasPrefix(b.power[len(b.power)-1], want) }
}

type file struct{ *os.File }

func (f file) Size() int64 {
	i, err := f.Stat()
	if err != nil {
		return 0
	}
	return i.Size()
}

func open(t *testing.T, path string) file {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return file{f}
}

func newMachine(t *testing.T, cfg Config) (*Machine, *bmc) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	host, err := NewHost(cmp.Or(os.Getenv("BESSEMER_ACCEL"), "tcg"), "", log)
	if err != nil {
		t.Fatal(err)
	}
	b := &bmc{t: t, changed: make(chan struct{})}
	cfg.Dir, cfg.UUID, cfg.Serial = t.TempDir(), "9d3f1f0e-64d8-4a55-a7a1-0d9a4f2b7c11", "SN1"
	m, err := New(host, cfg, b.hooks(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, b
}

func console(t *testing.T, m *Machine) string {
	b, err := os.ReadFile(m.Console())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The life that every deployment has: boot from CD once, an entry for the disk is written, a warm reset boots the disk,
// and the entry is still there when the machine is powered on again.
func TestBootEntriesOfTheGuestSurvive(t *testing.T) {
	disk := efitest.Disk(t, efitest.Program("THIS IS THE DISK", nil, efitest.Shutdown))
	cd := efitest.ISO(t, efitest.Program("THIS IS THE CD", []efitest.Variable{
		{Name: "Boot0042", Data: efitest.BootOption("Installed", efitest.PartitionPath())}, {Name: "BootOrder", Data: []byte{0x42, 0}},
	}, efitest.WarmReset))
	mac, _ := net.ParseMAC("52:54:00:00:00:01")
	m, b := newMachine(t, Config{MemoryMB: 256, NICs: []net.HardwareAddr{mac}, Disks: []Disk{{Path: disk, WWN: "5254000011112222"}}})
	ctx := context.Background()

	b.boots = []Boot{{Target: CD}}
	if err := m.Insert(ctx, open(t, cd)); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	b.until("power off by the guest", b.lastPower("on=false guest-shutdown"))
	if got, want := strings.Join(b.power, ", "), "on=true test, on=true reset: guest-reset, on=false guest-shutdown"; got != want {
		t.Errorf("power: got %q, want %q", got, want)
	}
	if s := console(t, m); !strings.Contains(s, "THIS IS THE CD") || !strings.Contains(s, "THIS IS THE DISK") {
		t.Errorf("console: %s", s)
	}
	for round := range 2 { // the medium is still in the drive: the guest's order decides
		if err := m.Start(ctx, "again"); err != nil {
			t.Fatal(err)
		}
		b.until("power off by the guest", b.lastPower("on=false guest-shutdown"))
		if n := strings.Count(console(t, m), "THIS IS THE DISK"); n != 2+round {
			t.Fatalf("power cycle %d: the disk booted %d times", round, n)
		}
	}
	if n := strings.Count(console(t, m), "THIS IS THE CD"); n != 1 {
		t.Errorf("the CD booted %d times, once was ordered", n)
	}
	s, err := ovmf.Open(m.vars())
	if err != nil {
		t.Fatal(err)
	}
	options, err := s.BootOptions()
	if err != nil || len(options) == 0 || options[0].Description != "Installed" {
		t.Errorf("boot order: %v, %v", options, err)
	}
}

// With an override armed, a guest's own reboot starts from it, as does a reset by the BMC; a medium can be changed
// while the machine runs.
func TestOverrideAtReset(t *testing.T) {
	disk := efitest.Disk(t, efitest.Program("THIS IS THE DISK", nil, efitest.WarmReset))
	first, second := efitest.ISO(t, efitest.Program("FIRST CD", nil, efitest.Halt)), efitest.ISO(t, efitest.Program("SECOND CD", nil, efitest.Halt))
	for _, bus := range []string{"nvme", "scsi", "virtio"} {
		t.Run(bus, func(t *testing.T) {
			m, b := newMachine(t, Config{MemoryMB: 256, Disks: []Disk{{Path: disk, Bus: bus}}})
			ctx := context.Background()
			b.boots = []Boot{{Target: Disk0, Due: true}, {Target: CD, Due: true}, {Target: CD}}
			if err := m.Insert(ctx, open(t, first)); err != nil {
				t.Fatal(err)
			}
			if err := m.Arm(ctx, true); err != nil {
				t.Fatal(err)
			}
			if err := m.Start(ctx, "test"); err != nil {
				t.Fatal(err)
			}
			b.until("boot of the first CD", func() bool { return strings.Contains(console(t, m), "FIRST CD") })
			if !strings.Contains(console(t, m), "THIS IS THE DISK") {
				t.Errorf("the disk was ordered first; console: %s", console(t, m))
			}
			if bus != "nvme" {
				return
			}
			if err := m.Insert(ctx, open(t, second)); err != nil {
				t.Fatal(err)
			}
			if err := m.Reset(ctx, "redfish ForceRestart"); err != nil {
				t.Fatal(err)
			}
			b.until("boot of the second CD", func() bool { return strings.Contains(console(t, m), "SECOND CD") })
			m.Stop("redfish ForceOff")
			if got := b.power[len(b.power)-1]; got != "on=false redfish ForceOff" {
				t.Errorf("last change of power: %s", got)
			}
		})
	}
}

// The firmware fetches what it boots over the network: by TFTP as DHCP says, and over HTTP from the address given.
func TestNetworkBoot(t *testing.T) {
	program := efitest.Program("THIS CAME BY THE NETWORK", nil, efitest.Shutdown)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "boot.efi"), program, 0o600); err != nil {
		t.Fatal(err)
	}
	files := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer files.Close()
	_, port, _ := net.SplitHostPort(files.Listener.Addr().String())
	for _, boot := range []Boot{{Target: PXE}, {Target: UEFIHTTP, URI: "http://10.0.2.2:" + port + "/boot.efi"}} {
		t.Run(string(boot.Target), func(t *testing.T) {
			mac, _ := net.ParseMAC("52:54:00:00:00:01")
			m, b := newMachine(t, Config{MemoryMB: 256, NICs: []net.HardwareAddr{mac}, TFTP: dir, BootFile: "boot.efi"})
			b.boots = []Boot{boot}
			if err := m.Start(context.Background(), "test"); err != nil {
				t.Fatal(err)
			}
			b.until("power off by the program", b.lastPower("on=false guest-shutdown"))
			if s := console(t, m); !strings.Contains(s, "THIS CAME BY THE NETWORK") {
				t.Errorf("console: %s", s)
			}
		})
	}
}
