// Package bmc is what a server's management controller knows and does, without the words it is asked in: power, boot
// override, BIOS settings, virtual CD, job queue, and the faults it was told to have. Behind it stands a QEMU machine or
// a fake one, which only has a power state and runs a test's own code when it boots.
//
// It knows nothing of Redfish; package emulator puts that in front. Start reading at Machine.
package bmc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bessemer-metal/bessemer/integration/faults"
	"github.com/bessemer-metal/bessemer/integration/medium"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// Config is one machine; with QEMU nil it is a fake one. The JSON names are those of the emulator's configuration file.
type Config struct {
	Name         string          `json:"name"`
	UUID         string          `json:"uuid,omitempty"`          // default: made from the name
	Serial       string          `json:"serial,omitempty"`        // default: made from the name
	Manufacturer string          `json:"manufacturer,omitempty"`  // default Bessemer
	Model        string          `json:"model,omitempty"`         // default Emulated
	MACs         []string        `json:"macs,omitempty"`          // default: one, made from the name; [] is none
	Listen       string          `json:"listen,omitempty"`        // an address where this machine alone is served
	Username     string          `json:"username,omitempty"`      // default: the emulator's
	Password     string          `json:"password,omitempty"`      // default: the emulator's
	ManagerReset faults.Duration `json:"manager_reset,omitempty"` // how long the BMC is away when it restarts, default 3s
	SecondCD     bool            `json:"second_cd,omitempty"`     // a fake machine has another virtual CD drive, Cd2
	Fake         *Parts          `json:"fake,omitempty"`          // what a fake machine is made of; default: 4 processors, 8 GiB, a drive of 64 GiB
	QEMU         *qemu.Config    `json:"qemu,omitempty"`

	// OnBoot runs for every boot of a fake machine, in a goroutine of its own that Close waits for; ctx ends with that
	// boot. It stands for what the machine would run.
	OnBoot func(ctx context.Context, b FakeBoot) `json:"-"`

	// OnAct is told of each act that the BMC accepted, before anything of it is done, one after the other in the order in
	// which they are done. It must not call the machine.
	OnAct func(Act) `json:"-"`
}

const defaultManagerReset = 3 * time.Second

func (c *Config) complete() {
	sum := sha256.Sum256([]byte(c.Name))
	if c.UUID == "" {
		sum[6], sum[8] = sum[6]&0x0f|0x40, sum[8]&0x3f|0x80
		c.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	}
	if c.Serial == "" {
		c.Serial = fmt.Sprintf("EM%X", sum[16:20])
	}
	if c.MACs == nil {
		c.MACs = []string{fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[20], sum[21], sum[22])}
	}
	if c.Manufacturer == "" {
		c.Manufacturer = "Bessemer"
	}
	if c.Model == "" {
		c.Model = "Emulated"
	}
	if c.Fake == nil {
		c.Fake = made()
	}
	if c.Fake.RAID != nil {
		f, r := *c.Fake, *c.Fake.RAID
		r.complete()
		c.Fake, f.RAID = &f, &r
	}
	if c.ManagerReset == 0 {
		c.ManagerReset = faults.Duration(defaultManagerReset)
	}
}

// Env is what all machines of an emulator share.
type Env struct {
	Context context.Context // everything ends with it
	Now     func() time.Time
	Log     *slog.Logger
	Media   *http.Client  // what virtual media are fetched with
	Host    *qemu.Host    // for QEMU machines
	Dir     string        // of a QEMU machine; must exist
	Tasks   *atomic.Int64 // the last task's number: machines share a task service
}

// backend is what stands behind a BMC. qemu.Machine documents the methods.
type backend interface {
	Start(ctx context.Context, cause string) error
	Stop(cause string)
	Reset(ctx context.Context, cause string) error
	PressPower(ctx context.Context, again bool) error
	NMI(ctx context.Context) error
	Arm(ctx context.Context, due bool) error
	Insert(ctx context.Context, image medium.Image) error
	Eject(ctx context.Context) error
	Close() error
}

// PowerEvent is one change of a machine's power: on, off, or a reset, which is on while on.
type PowerEvent struct {
	Time  time.Time `json:"time"`
	On    bool      `json:"on"`
	Cause string    `json:"cause"` // "redfish ForceOff", "guest-shutdown", "reset: guest-reset", …
}

// Override is the boot source a client asked for.
type Override struct {
	Enabled string // Disabled, Once, Continuous
	Target  qemu.Target
	URI     string
}

func (o Override) on() bool { return o.Enabled != "Disabled" && o.Target != qemu.Default }

// NoOverride leaves the boot order to the firmware.
func NoOverride() Override { return Override{Enabled: "Disabled", Target: qemu.Default} }

// Machine is one machine and its BMC. All methods may be called at any time, from anywhere.
type Machine struct {
	env     Env
	cfg     Config
	macs    []net.HardwareAddr
	faults  *faults.Set
	backend backend
	real    *qemu.Machine  // nil for a fake one
	wg      sync.WaitGroup // of tasks
	busy    sync.Mutex     // held while a client's order is carried out, so that they come one after the other

	mu        sync.Mutex // guards what follows; never held while calling the backend
	url       string
	state     state
	away      time.Time // the BMC is restarting until then
	stopImage context.CancelFunc
	image     *medium.Remote
	tasks     []*task
	power     []PowerEvent
	requests  []Request
	counts    map[string]int
	restarts  int           // of the BMC
	clock     time.Duration // the BMC's clock against the true one
	extras    extras
	arrays    arrays
}

// New makes a machine that is off. Close must be called.
func New(env Env, cfg Config) (*Machine, error) {
	cfg.complete()
	m := &Machine{env: env, cfg: cfg, faults: faults.NewSet(env.Now), counts: map[string]int{}}
	m.state = state{boot: NoOverride(), bios: defaults(), firmware: firmware()}
	for _, s := range cfg.MACs {
		mac, err := net.ParseMAC(s)
		if err != nil {
			return nil, err
		}
		m.macs = append(m.macs, mac)
	}
	if r := m.cfg.Fake.RAID; r != nil {
		for _, v := range r.Volumes {
			if err := m.check(&v); err != nil {
				return nil, err
			}
			m.put(&v)
		}
	}
	hooks := qemu.Hooks{NextBoot: m.nextBoot, Power: m.powered, Progress: m.progressed}
	if cfg.QEMU == nil {
		m.backend = &fake{machine: m, hooks: hooks, end: func() {}}
		return m, nil
	}
	q := *cfg.QEMU
	q.Disks = slices.Clone(q.Disks)
	q.Dir, q.UUID, q.Serial, q.Maker, q.ProductN, q.NICs = env.Dir, cfg.UUID, cfg.Serial, cfg.Manufacturer, cfg.Model, m.macs
	var err error
	if m.real, err = qemu.New(env.Host, q, hooks, env.Log.With("machine", cfg.Name)); err != nil {
		return nil, err
	}
	m.backend = m.real
	return m, nil
}

// Name of the machine; also its id in Redfish.
func (m *Machine) Name() string { return m.cfg.Name }

// Config of the machine, with what was left out filled in.
func (m *Machine) Config() Config { return m.cfg }

// MACs of the machine's cards.
func (m *Machine) MACs() []net.HardwareAddr { return m.macs }

// Fake reports whether there is no QEMU behind it.
func (m *Machine) Fake() bool { return m.real == nil }

// Announce tells the machine where its BMC is served.
func (m *Machine) Announce(url string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.url = url
}

// URL is where the machine's BMC is served; "" without a listener.
func (m *Machine) URL() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.url
}

// SystemPath is the machine's place in Redfish.
func (m *Machine) SystemPath() string { return "/redfish/v1/Systems/" + m.cfg.Name }

// Console is the file with the machine's serial output; "" for a fake one.
func (m *Machine) Console() string {
	if m.real == nil {
		return ""
	}
	return m.real.Console()
}

// On reports whether the machine has power, whatever its BMC says.
func (m *Machine) On() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.on
}

// PowerLog is every change of power so far: an empty one proves that the machine was never on.
func (m *Machine) PowerLog() []PowerEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.power)
}

// AttachDisk gives a QEMU machine that is off a further disk.
func (m *Machine) AttachDisk(d qemu.Disk) error {
	if m.real == nil {
		return errors.New("attach a disk: a fake machine has none")
	}
	return m.real.AddDisk(d)
}

// SwapDisks puts two disks of a QEMU machine that is off into each other's slots.
func (m *Machine) SwapDisks(i, j int) error {
	if m.real == nil {
		return errors.New("swap disks: a fake machine has none")
	}
	return m.real.SwapDisks(i, j)
}

// Do carries out an order of a client, when those before it are done.
func (m *Machine) Do(order func() error) error {
	m.busy.Lock()
	defer m.busy.Unlock()
	return order()
}

// Restart takes the BMC away for a while: it forgets its tasks, and the machine runs on.
func (m *Machine) Restart(ctx context.Context) {
	m.did(ctx, ActResetBMC, "")
	m.cancelTasks()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away, m.tasks = m.env.Now().Add(time.Duration(m.cfg.ManagerReset)), nil
	m.restarts++
}

// Restarts is how often the BMC was restarted.
func (m *Machine) Restarts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restarts
}

// Clock is the time that the BMC believes it is.
func (m *Machine) Clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.env.Now().Add(m.clock)
}

// SetClock sets the BMC's clock. It keeps going wrong or right over a restart.
func (m *Machine) SetClock(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = t.Sub(m.env.Now())
}

// Away reports whether the BMC is restarting, so that nobody answers.
func (m *Machine) Away() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.env.Now().Before(m.away)
}

// Close cuts the power and waits for what the machine started.
func (m *Machine) Close() error {
	m.cancelTasks()
	err := m.Do(func() error { return errors.Join(m.Eject(context.Background()), m.backend.Close()) })
	m.wg.Wait()
	return err
}
