package emulator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/integration/medium"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// backend is what stands behind a BMC: a QEMU machine or a fake one. qemu.Machine documents the methods.
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

// override is the boot source a client asked for, in Redfish's words.
type override struct {
	Enabled string // Disabled, Once, Continuous
	Target  qemu.Target
	URI     string
}

// Machine is one machine and its BMC.
type Machine struct {
	e       *Emulator
	cfg     MachineConfig
	macs    []net.HardwareAddr
	url     string
	handler http.Handler
	backend backend
	real    *qemu.Machine // nil for a fake one
	busy    sync.Mutex    // held while a client's order is carried out, so that they come one after the other

	mu         sync.Mutex // guards what follows; never held while calling the backend
	on         bool
	progress   qemu.Progress
	detail     string
	lastReset  time.Time
	boot       override
	bios       map[string]any
	biosNext   map[string]any // what the next boot changes
	biosTime   time.Time      // of the last change
	secureBoot bool
	secureNext bool
	assetTag   string
	led        bool
	image      *medium.Remote
	stopImage  context.CancelFunc
	tasks      []*task
	faults     []*activeFault
	faultCount int
	away       time.Time // the manager is restarting until then
	power      []PowerEvent
	requests   []Request
	counts     map[string]int
}

func newState(e *Emulator, cfg MachineConfig) (*Machine, error) {
	sum := sha256.Sum256([]byte(cfg.Name))
	if cfg.UUID == "" {
		sum[6], sum[8] = sum[6]&0x0f|0x40, sum[8]&0x3f|0x80
		cfg.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	}
	if cfg.Serial == "" {
		cfg.Serial = fmt.Sprintf("EM%X", sum[16:20])
	}
	if cfg.MACs == nil {
		cfg.MACs = []string{fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[20], sum[21], sum[22])}
	}
	if cfg.Manufacturer == "" {
		cfg.Manufacturer = "Bessemer"
	}
	if cfg.Model == "" {
		cfg.Model = "Emulated"
	}
	if cfg.Username == "" && cfg.Password == "" {
		cfg.Username, cfg.Password = e.cfg.Username, e.cfg.Password
	}
	m := &Machine{e: e, cfg: cfg, boot: override{Enabled: "Disabled", Target: qemu.Default}, bios: biosDefaults(), counts: map[string]int{}}
	for _, s := range cfg.MACs {
		mac, err := net.ParseMAC(s)
		if err != nil {
			return nil, err
		}
		m.macs = append(m.macs, mac)
	}
	m.handler = newService(e, m)
	if cfg.QEMU == nil {
		m.backend = newFake(cfg, m.hooks(), e)
	}
	return m, nil
}

// Name of the machine; also its id in Redfish.
func (m *Machine) Name() string { return m.cfg.Name }

// URL is the address of the machine's own BMC, or of the shared service where it has none.
func (m *Machine) URL() string {
	if m.url != "" {
		return m.url
	}
	return m.e.url
}

// SystemPath is the machine's place in Redfish.
func (m *Machine) SystemPath() string { return "/redfish/v1/Systems/" + m.cfg.Name }

// Handler serves this machine alone; it needs no listener.
func (m *Machine) Handler() http.Handler { return m.handler }

// MACs of the machine's cards.
func (m *Machine) MACs() []net.HardwareAddr { return m.macs }

// PowerLog is every change of power so far: an empty one proves that the machine was never on.
func (m *Machine) PowerLog() []PowerEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]PowerEvent(nil), m.power...)
}

// On reports whether the machine has power, whatever its BMC says.
func (m *Machine) On() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on
}

// Medium is the URL of the virtual CD, or "".
func (m *Machine) Medium() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.image == nil {
		return ""
	}
	return m.image.URL()
}

// Console is the file with the machine's serial output; "" for a fake one.
func (m *Machine) Console() string {
	if m.real == nil {
		return ""
	}
	return m.real.Console()
}

// AttachDisk gives a QEMU machine that is off a further disk.
func (m *Machine) AttachDisk(d qemu.Disk) error {
	if m.real == nil {
		return errors.New("attach a disk: a fake machine has none")
	}
	return m.real.AddDisk(d)
}

func (m *Machine) hooks() qemu.Hooks {
	return qemu.Hooks{NextBoot: m.nextBoot, Power: m.powered, Progress: func(p qemu.Progress, detail string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.on {
			m.progress, m.detail = p, detail
		}
	}}
}

// nextBoot is the firmware's question at every start: here settings take effect and a one-time override is used up.
func (m *Machine) nextBoot() qemu.Boot {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := qemu.Boot{Target: qemu.Default}
	if m.boot.Enabled != "Disabled" {
		b.Target, b.URI = m.boot.Target, m.boot.URI
	}
	if m.boot.Enabled == "Once" {
		m.boot = override{Enabled: "Disabled", Target: qemu.Default}
	}
	if !m.jammed() {
		if m.biosNext != nil {
			maps.Copy(m.bios, m.biosNext)
			m.biosNext, m.biosTime = nil, m.e.cfg.Now()
			m.finishTasks(biosTask)
		}
		m.secureBoot = m.secureNext
	}
	b.Due = m.due()
	return b
}

// due reports whether the next boot is to be asked for.
func (m *Machine) due() bool {
	return m.boot.Enabled != "Disabled" || m.biosNext != nil || m.secureBoot != m.secureNext
}

func (m *Machine) powered(on bool, cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.e.cfg.Now()
	m.on, m.detail = on, ""
	m.progress = ""
	if on {
		m.progress, m.lastReset = qemu.PoweredOn, now
	}
	m.power = append(m.power, PowerEvent{now, on, cause})
	m.e.log.Info("power", "machine", m.cfg.Name, "on", on, "cause", cause)
}

// rearm tells the machine whether a reset has to be a fresh start; called after a change of what is due.
func (m *Machine) rearm(ctx context.Context) error {
	m.mu.Lock()
	due := m.due()
	m.mu.Unlock()
	return m.backend.Arm(ctx, due)
}

// The reset types a system takes.
func resetTypes() []string {
	return []string{"On", "ForceOn", "ForceOff", "GracefulShutdown", "ForceRestart", "GracefulRestart", "PowerCycle", "PushPowerButton", "Nmi"}
}

// reset carries out one of resetTypes.
func (m *Machine) reset(ctx context.Context, kind string) error {
	cause := "redfish " + kind
	on := m.On()
	switch kind {
	case "On", "ForceOn":
		return m.backend.Start(ctx, cause)
	case "ForceOff":
		m.backend.Stop(cause)
	case "GracefulShutdown":
		return m.backend.PressPower(ctx, false)
	case "PushPowerButton":
		if !on {
			return m.backend.Start(ctx, cause)
		}
		return m.backend.PressPower(ctx, false)
	case "GracefulRestart":
		return m.backend.PressPower(ctx, true)
	case "ForceRestart":
		return m.backend.Reset(ctx, cause)
	case "PowerCycle":
		m.backend.Stop(cause)
		return m.backend.Start(ctx, cause)
	case "Nmi":
		return m.backend.NMI(ctx)
	}
	return nil
}

// insert fetches the beginning of a medium and puts it into the drive, in place of the one that is there.
func (m *Machine) insert(ctx context.Context, url string) error {
	life, stop := context.WithCancel(m.e.ctx)
	image, err := medium.Open(life, m.e.media, url)
	if err != nil {
		stop()
		return badImage{err}
	}
	if err := errors.Join(m.eject(ctx), m.backend.Insert(ctx, image)); err != nil {
		stop()
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.image, m.stopImage = image, stop
	return nil
}

// badImage is the medium's fault, not the machine's.
type badImage struct{ error }

func (m *Machine) eject(ctx context.Context) error {
	m.mu.Lock()
	stop := m.stopImage
	m.image, m.stopImage = nil, nil
	m.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop() // first, so that no read holds the ejection up
	return m.backend.Eject(ctx)
}

func (m *Machine) close() error {
	m.busy.Lock()
	defer m.busy.Unlock()
	m.cancelTasks()
	return errors.Join(m.eject(context.Background()), m.backend.Close())
}
