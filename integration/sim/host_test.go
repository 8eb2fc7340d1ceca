package sim

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// host is one machine behind its BMC. The site's mutex guards what changes.
type host struct {
	s      *site
	name   string
	number int
	addr   string

	power  conductor.Power
	media  string
	boot   conductor.BootTarget
	boots  int
	agents []*machine // what it booted, the last is running
	deaf   time.Time  // until then the BMC answers with errors
}

func newHost(s *site, number int) *host {
	return &host{s: s, name: fmt.Sprintf("n%d", number), number: number, addr: fmt.Sprintf("192.0.2.%d", 49+number), power: conductor.PowerOff}
}

// disk is the one the machine has.
func (m *machine) disk() inventory.Disk {
	d := disk
	if m.host != nil {
		d.Serial = fmt.Sprintf("S%d", m.host.number-1)
	}
	return d
}

// off ends whatever runs, at once.
func (h *host) off() {
	h.s.mu.Lock()
	h.power = conductor.PowerOff
	var m *machine
	if len(h.agents) > 0 {
		m = h.agents[len(h.agents)-1]
	}
	h.s.mu.Unlock()
	if m != nil {
		m.stop()
	}
}

// on boots the ramdisk when the medium is in and to be booted from.
func (h *host) on() error {
	s := h.s
	s.mu.Lock()
	if h.power == conductor.PowerOn {
		s.mu.Unlock()
		return nil
	}
	h.power = conductor.PowerOn
	boots := h.boot.Device == "cdrom" && h.media != ""
	token := strings.TrimPrefix(h.media, "http://192.0.2.9:6387/boot/")
	if !h.boot.Always {
		h.boot = conductor.BootTarget{}
	}
	s.mu.Unlock()
	if !boots {
		return nil
	}
	cfg, err := s.srv.c.Medium(context.Background(), token, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		return fault.New(fault.BMCError, "the BMC can't read the medium: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.power != conductor.PowerOn {
		return nil // it was cut off meanwhile
	}
	h.boots++
	id := fmt.Sprintf("%s-boot-%d", h.name, h.boots)
	m := &machine{s: s, host: h, dir: filepath.Join(s.dir, "tmpfs-"+id), addr: h.addr, boot: cfg, id: id}
	h.agents = append(h.agents, m)
	m.start()
	return nil
}

// rack is the hardware type: a board is a host's.
type rack struct{ s *site }

func (rack) Name() string { return "rack" }
func (rack) Interfaces() map[string][]string {
	return map[string][]string{"boot": {"redfish-virtual-media"}, "deploy": {"direct"}, "power": {"redfish"}}
}
func (rack) Properties() map[string]string { return nil }
func (rack) SecretKeys() []string          { return nil }
func (rack) Validate(map[string]any) error { return nil }
func (r rack) Steps() []step.Step          { return r.s.bmcSteps }
func (rack) Address(map[string]any) string { return "192.0.2.1" }
func (r rack) Open(_ context.Context, a conductor.Access) (conductor.BMC, error) {
	return board{r.s.byNode[a.Node]}, nil
}

type board struct{ h *host }

// call fails while the BMC is deaf.
func (b board) call() error {
	b.h.s.mu.Lock()
	defer b.h.s.mu.Unlock()
	if time.Now().Before(b.h.deaf) {
		return fault.New(fault.BMCUnreachable, "no answer")
	}
	return nil
}

func (b board) Facts(ctx context.Context) (conductor.Facts, error) {
	p, err := b.Power(ctx)
	return conductor.Facts{Power: p, Vendor: "V", BootMode: "uefi", VirtualMedia: true}, err
}

func (b board) Power(context.Context) (conductor.Power, error) {
	if err := b.call(); err != nil {
		return "", err
	}
	b.h.s.mu.Lock()
	defer b.h.s.mu.Unlock()
	return b.h.power, nil
}

func (b board) SetPower(_ context.Context, a conductor.PowerAction) error {
	if err := b.call(); err != nil {
		return err
	}
	if a == conductor.On {
		return b.h.on()
	}
	b.h.off()
	return nil
}

func (b board) SetBoot(_ context.Context, t conductor.BootTarget) error {
	if err := b.call(); err != nil {
		return err
	}
	b.h.s.mu.Lock()
	defer b.h.s.mu.Unlock()
	b.h.boot = t
	return nil
}

func (b board) Boot(context.Context) (conductor.BootTarget, error) {
	b.h.s.mu.Lock()
	defer b.h.s.mu.Unlock()
	return b.h.boot, nil
}

func (b board) SetMedia(_ context.Context, url string) error {
	if err := b.call(); err != nil {
		return err
	}
	b.h.s.mu.Lock()
	defer b.h.s.mu.Unlock()
	b.h.media = url
	return nil
}

// Steps are the site's; each takes twenty seconds, and its effect is in the ledger from its first moment on.
func (b board) Steps(context.Context) (out []step.Bound, err error) {
	for _, st := range b.h.s.bmcSteps {
		out = append(out, step.Bound{Step: st, Run: func(ctx context.Context, c step.Call) (step.Result, error) {
			if err := b.call(); err != nil {
				return step.Result{}, err
			}
			b.h.s.mu.Lock()
			b.h.s.executed = append(b.h.s.executed, string(c.ID))
			b.h.s.mu.Unlock()
			select {
			case <-time.After(20 * time.Second):
				return step.Result{}, nil
			case <-ctx.Done():
				return step.Result{}, ctx.Err()
			}
		}})
	}
	return out, nil
}
