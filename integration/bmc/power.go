package bmc

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/bessemer-metal/bessemer/integration/medium"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// state is what a machine's settings and readings are.
type state struct {
	on                     bool
	progress               qemu.Progress
	detail                 string
	lastReset              time.Time
	boot                   Override
	source                 qemu.Target       // what the last boot started from
	bios, biosNext         map[string]any    // in force; what the next boot changes
	firmware, firmwareNext map[string]string // likewise: versions by component
	biosTime               time.Time         // when settings took effect last
	secureBoot, secureNext bool
	assetTag               string
	led                    bool
}

// View is a machine as it is now.
type View struct {
	On                     bool
	Progress               qemu.Progress
	Detail                 string
	LastReset              time.Time // zero: never
	Boot                   Override
	BIOS, BIOSNext         map[string]any // in force, and as they will be after the next reset
	BIOSTime               time.Time      // zero: never changed
	SecureBoot, SecureNext bool
	AssetTag               string
	LED                    bool
	Medium                 string // URL, or ""
	MediumRequests         int64  // made to its server
}

// View returns the state as it is, whatever faults the BMC has.
func (m *Machine) View() View {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	v := View{On: s.on, Progress: s.progress, Detail: s.detail, LastReset: s.lastReset, Boot: s.boot, BIOS: maps.Clone(s.bios), BIOSNext: maps.Clone(s.bios),
		BIOSTime: s.biosTime, SecureBoot: s.secureBoot, SecureNext: s.secureNext, AssetTag: s.assetTag, LED: s.led}
	maps.Copy(v.BIOSNext, s.biosNext)
	if m.image != nil {
		v.Medium, v.MediumRequests = m.image.URL(), m.image.Requests()
	}
	return v
}

// Medium is the URL of the virtual CD, or "".
func (m *Machine) Medium() string { return m.View().Medium }

// nextBoot is the firmware's question at every start: here settings take effect and a one-time override is used up.
func (m *Machine) nextBoot() qemu.Boot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.state
	b := qemu.Boot{Target: qemu.Default}
	if s.boot.on() {
		b.Target, b.URI = s.boot.Target, s.boot.URI
	}
	if s.boot.Enabled == "Once" {
		s.boot = NoOverride()
	}
	s.source = b.Target
	if !m.jammed() {
		if s.biosNext != nil {
			m.did(context.Background(), ActApplyBIOS, Settings(s.biosNext))
			maps.Copy(s.bios, s.biosNext)
			s.biosNext, s.biosTime = nil, m.env.Now()
			m.finishTasks(biosTask)
		}
		m.installs()
		s.secureBoot = s.secureNext
		m.applyVolumes()
	}
	for _, c := range m.extras.trust {
		b.Trust = append(b.Trust, c.DER)
	}
	b.Due = s.due()
	return b
}

// due reports whether the next boot is to be asked for.
func (s *state) due() bool {
	return s.boot.on() || s.biosNext != nil || s.firmwareNext != nil || s.secureBoot != s.secureNext
}

func (m *Machine) powered(on bool, cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, s := m.env.Now(), &m.state
	if on {
		m.did(context.Background(), ActPowerOn, string(s.source))
	} else {
		m.did(context.Background(), ActPowerOff, "")
	}
	s.on, s.progress, s.detail = on, "", ""
	if on {
		s.progress, s.lastReset = qemu.PoweredOn, now
	}
	m.power = append(m.power, PowerEvent{now, on, cause})
	m.env.Log.Info("power", "machine", m.cfg.Name, "on", on, "cause", cause)
}

func (m *Machine) progressed(p qemu.Progress, detail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.on {
		m.state.progress, m.state.detail = p, detail
	}
}

// set changes the state, and tells the machine whether a reset has to be a fresh start now.
func (m *Machine) set(ctx context.Context, change func(*state)) error {
	m.mu.Lock()
	change(&m.state)
	due := m.state.due()
	m.mu.Unlock()
	return m.backend.Arm(ctx, due)
}

// SetBoot sets where the coming boots start from.
func (m *Machine) SetBoot(ctx context.Context, o Override) error {
	if !o.on() {
		o = NoOverride()
	}
	return m.set(ctx, func(s *state) { s.boot = o })
}

// SetSecureBoot takes effect at the next boot.
func (m *Machine) SetSecureBoot(ctx context.Context, on bool) error {
	return m.set(ctx, func(s *state) { s.secureNext = on })
}

// Label sets what people know the machine by; nil leaves it.
func (m *Machine) Label(assetTag *string, led *bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if assetTag != nil {
		m.state.assetTag = *assetTag
	}
	if led != nil {
		m.state.led = *led
	}
}

// Resets are the kinds that Reset knows.
func Resets() []string {
	return []string{"On", "ForceOn", "ForceOff", "GracefulShutdown", "ForceRestart", "GracefulRestart", "PowerCycle", "PushPowerButton", "Nmi"}
}

// ErrOff refuses what only a machine that is on can do.
var ErrOff = errors.New("the machine is off")

// Reset carries out one of Resets. It returns ErrOff where the machine would have to be on.
func (m *Machine) Reset(ctx context.Context, kind string) error {
	cause := "redfish " + kind
	on := m.On()
	switch kind {
	case "On", "ForceOn":
		return m.backend.Start(ctx, cause)
	case "ForceOff":
		m.backend.Stop(cause)
		return nil
	case "PushPowerButton":
		if !on {
			return m.backend.Start(ctx, cause)
		}
	}
	if !on {
		return ErrOff
	}
	switch kind {
	case "ForceRestart":
		return m.backend.Reset(ctx, cause)
	case "PowerCycle":
		m.backend.Stop(cause)
		return m.backend.Start(ctx, cause)
	case "Nmi":
		m.mu.Lock()
		m.extras.nmis++
		m.mu.Unlock()
		return m.backend.NMI(ctx)
	default:
		return m.backend.PressPower(ctx, kind == "GracefulRestart")
	}
}

// BadImage is an error that is the medium's, or its server's.
type BadImage struct{ Cause error }

func (b BadImage) Error() string { return b.Cause.Error() }

// Unwrap gives the cause.
func (b BadImage) Unwrap() error { return b.Cause }

// Insert fetches the beginning of a medium and puts it into the drive, in place of the one that is there. A medium that
// can't be read is refused with BadImage, and the old one stays.
func (m *Machine) Insert(ctx context.Context, url string) error {
	life, stop := context.WithCancel(m.env.Context)
	image, err := medium.Open(life, m.env.Media, url)
	if err != nil {
		stop()
		return BadImage{err}
	}
	if err := errors.Join(m.Eject(ctx), m.backend.Insert(ctx, image)); err != nil {
		stop()
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.image, m.stopImage = image, stop
	return nil
}

// Eject takes the medium out, if there is one.
func (m *Machine) Eject(ctx context.Context) error {
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
