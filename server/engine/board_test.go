package engine_test

import (
	"context"
	"sync"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// board is a machine with a BMC: it boots from a medium when told to, and remembers what was done to it.
type board struct {
	telling // what it is made of (read_test.go)

	mu     sync.Mutex
	power  conductor.Power
	media  string
	boot   conductor.BootTarget
	acts   []string
	err    error // what every call answers
	booted chan string
	halt   func() // what comes in the middle of each act
	hang   bool   // out-of-band steps never end by themselves
	refuse bool   // the medium can't be fetched, as the BMC says in its own words
	asked  string
	slow   chan struct{}                                                   // not nil: setting the boot disk takes until it is closed
	uuid   string                                                          // what Facts says
	meant  conductor.Identity                                              // of the last who opened it
	held   func() error                                                    // conductor.Access.Held of whoever opened it last
	within func(held func() error) error                                   // what a step does instead of one act
	runs   func(ctx context.Context, c step.Call, held func() error) error // likewise, for as long as ctx lets it
	look   func(context.Context)                                           // what comes before each look at the power
	health conductor.Health                                                // what its driver knows of it
	before []string                                                        // the power that steps which restart it were told it had
	keeps  bool                                                            // an override for one boot stays when that has begun
	stuck  bool                                                            // power acts are taken and change nothing
}

func (b *board) call(act string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	if act != "" {
		b.acts = append(b.acts, act)
	}
	if halt := b.halt; halt != nil && act != "" {
		b.mu.Unlock()
		halt()
		b.mu.Lock()
	}
	return nil
}

// answer makes every later call fail with err; nil ends that.
func (b *board) answer(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *board) Facts(context.Context) (conductor.Facts, error) {
	p, err := b.Power(context.Background())
	return conductor.Facts{Power: p, Vendor: "V", BootMode: "uefi", VirtualMedia: true, UUID: b.uuid}, err
}
func (b *board) Power(ctx context.Context) (conductor.Power, error) {
	b.mu.Lock()
	look := b.look
	b.mu.Unlock()
	if look != nil {
		look(ctx)
	}
	if err := b.call(""); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.power, nil
}
func (b *board) SetPower(_ context.Context, a conductor.PowerAction) error {
	if err := b.call(string(a)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stuck {
		return nil
	}
	b.power = conductor.PowerOff
	if a == conductor.On {
		b.power = conductor.PowerOn
		if b.boot.Device == "cdrom" && b.media != "" {
			b.booted <- b.media
		}
		if b.boot.Device == "uefihttp" {
			b.booted <- b.boot.URL
		}
		if !b.boot.Always && !b.keeps {
			b.boot = conductor.BootTarget{}
		}
	}
	return nil
}
func (b *board) SetBoot(_ context.Context, t conductor.BootTarget) error {
	if err := b.call("boot " + t.Device); err != nil {
		return err
	}
	if b.refuse && t.URL != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked = t.URL
		return fault.New(fault.BMCBusy, "can't boot from %s", t.URL)
	}
	if b.slow != nil && t.Device == "disk" {
		<-b.slow
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.boot = t
	return nil
}
func (b *board) Boot(context.Context) (conductor.BootTarget, error) { return b.boot, b.call("") }
func (b *board) SetMedia(_ context.Context, url string) error {
	act := "insert"
	if url == "" {
		act = "eject"
	} else if b.refuse {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked = url
		return fault.New(fault.BMCBusy, "can't fetch %s", url)
	}
	if err := b.call(act); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.media = url
	return nil
}
func (b *board) Steps(context.Context) ([]step.Bound, error) {
	var out []step.Bound
	for _, s := range catalog.Redfish {
		out = append(out, step.Bound{Step: s, Run: func(ctx context.Context, c step.Call) (step.Result, error) {
			if s.Reboot {
				b.restarts(c.Power)
			}
			if b.hang {
				<-ctx.Done()
				return step.Result{}, ctx.Err()
			}
			b.mu.Lock()
			within, runs, held := b.within, b.runs, b.held
			b.mu.Unlock()
			if runs != nil {
				return step.Result{}, runs(ctx, c, held)
			}
			if within != nil {
				return step.Result{}, within(held)
			}
			return step.Result{}, b.call("step " + s.Name)
		}})
	}
	return out, nil
}

// rack is the hardware type of these tests: one board a node.
type rack struct{ board *board }

func (rack) Name() string { return "rack" }
func (rack) Interfaces() map[string][]string {
	return map[string][]string{"boot": {"redfish-virtual-media", "redfish-https"}, "deploy": {"direct", "ramdisk"}, "power": {"redfish"}, "inspect": {"agent", "redfish"}}
}
func (rack) Properties() map[string]string { return nil }
func (rack) SecretKeys() []string          { return []string{"password"} }
func (rack) Validate(map[string]any) error { return nil }
func (rack) Steps() []step.Step            { return catalog.Redfish }
func (rack) Address(map[string]any) string { return "192.0.2.1" }
func (r rack) Health(map[string]any) conductor.Health {
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	return r.board.health
}
func (r rack) Open(_ context.Context, a conductor.Access) (conductor.BMC, error) {
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	r.board.meant, r.board.held = a.Machine, a.Held
	return r.board, nil
}
