package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/integration/medium"
	"github.com/bessemer-metal/bessemer/integration/ovmf"
)

// Hooks are what a machine asks and tells its BMC. They are called with the machine busy: they must not call it back.
type Hooks struct {
	// NextBoot says what the boot that begins now starts from, and takes note that it begins.
	NextBoot func() Boot
	// Power tells of every change: on, off, or a reset (on while on), and by what.
	Power func(on bool, cause string)
	// Progress tells how far a boot has come.
	Progress func(p Progress, detail string)
}

// Machine is one emulated server. All methods may be called at any time, from anywhere.
type Machine struct {
	host  *Host
	cfg   Config
	hooks Hooks
	log   *slog.Logger
	run   string // directory of the sockets: their paths must be short
	wg    sync.WaitGroup

	mu     sync.Mutex // held while something is done to the machine
	proc   *process   // nil while off
	stop   func()     // ends the watching of proc's console
	armed  bool
	again  bool // power on when the guest has shut down
	closed bool
	export *medium.Export
	images int // counts media, for the names of their sockets
}

const commandTimeout = 20 * time.Second

// New prepares a machine that is off. Close must be called.
func New(host *Host, cfg Config, hooks Hooks, log *slog.Logger) (*Machine, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	m := &Machine{host: host, cfg: cfg, hooks: hooks, log: log, run: cfg.Dir}
	if len(cfg.Dir) > 80 { // a socket's path has at most 107 bytes
		dir, err := os.MkdirTemp("", "emu")
		if err != nil {
			return nil, fmt.Errorf("directory for sockets: %w", err)
		}
		m.run = dir
	}
	if err := copyOnce(m.vars(), cfg.Vars); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Machine) vars() string { return filepath.Join(m.cfg.Dir, "vars.fd") }

// Console is the file with everything the serial port ever said.
func (m *Machine) Console() string { return filepath.Join(m.cfg.Dir, "serial.log") }

// Socket is the serial port itself while the machine is on: a unix socket for one client at a time.
func (m *Machine) Socket() string { return filepath.Join(m.run, "serial.sock") }

// Start powers the machine on; one that is on stays as it is.
func (m *Machine) Start(ctx context.Context, cause string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc != nil {
		return nil
	}
	return m.start(ctx, cause)
}

func (m *Machine) start(ctx context.Context, cause string) error {
	if m.closed {
		return errors.New("the machine is being taken away")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	s, err := ovmf.Open(m.vars())
	if err != nil {
		return err
	}
	boot := m.hooks.NextBoot()
	m.armed = boot.Due
	if err := m.cfg.prepare(s, boot); err != nil {
		m.log.Warn("boot override is not possible; the firmware's own order applies", "target", boot.Target, "err", err)
	}
	if err := s.Save(m.vars()); err != nil {
		return err
	}
	args := append(m.cfg.args(m.host.Accelerator(ctx), m.vars()), "-S",
		"-chardev", fmt.Sprintf("socket,id=serial,path=%s,server=on,wait=off,logfile=%s,logappend=on", quote(m.Socket()), quote(m.Console())),
		"-serial", "chardev:serial")
	at := int64(0)
	if i, err := os.Stat(m.Console()); err == nil {
		at = i.Size()
	}
	watch := &watcher{report: m.hooks.Progress}
	var p *process
	p, err = launch(ctx, &m.wg, m.host.binary, args, func(name string, data json.RawMessage) {
		if name == "RESET" {
			m.hooks.Power(true, "reset: "+reason(data))
		}
	})
	if err != nil {
		return err
	}
	err = m.apply(ctx, p)
	if err == nil {
		err = p.qmp.run(ctx, "cont", nil)
	}
	if err != nil {
		p.kill()
		return fmt.Errorf("start the machine: %w", err)
	}
	m.proc = p
	follower, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.wg.Go(func() {
		if err := follow(follower, m.Console(), at, watch.write); err != nil {
			m.log.Warn("console is no longer followed", "err", err)
		}
	})
	m.wg.Go(func() { m.wait(p) })
	m.hooks.Power(true, cause)
	return nil
}

// apply brings a new process to the machine's state: medium, and what a guest's reboot does.
func (m *Machine) apply(ctx context.Context, p *process) error {
	if m.export != nil {
		if err := m.load(ctx, p); err != nil {
			return err
		}
	}
	if m.armed {
		return p.qmp.run(ctx, "set-action", map[string]any{"reboot": "shutdown"})
	}
	return nil
}

func reason(data json.RawMessage) string {
	var d struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(data, &d) != nil {
		return "unknown"
	}
	return d.Reason
}

// wait stays with one process: its guest may end it at any time.
func (m *Machine) wait(p *process) {
	<-p.exited
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc != p {
		return // we ended it ourselves
	}
	m.stop()
	m.proc = nil
	cause := p.ending()
	if cause == "guest-reset" || m.again { // a reset with something due, or a restart asked for
		m.again = false
		err := m.start(context.Background(), "reset: "+cause)
		if err == nil {
			return
		}
		m.log.Error("machine did not come back from a reset", "err", err)
		cause = err.Error()
	}
	m.hooks.Power(false, cause)
}

// Stop cuts the power; the machine is off when it returns.
func (m *Machine) Stop(cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut(cause)
}

func (m *Machine) cut(cause string) {
	if m.proc == nil {
		return
	}
	m.proc.kill()
	m.stop()
	m.proc, m.again = nil, false
	m.hooks.Power(false, cause)
}

// Reset restarts the machine at once; one that is off stays off.
func (m *Machine) Reset(ctx context.Context, cause string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil {
		return nil
	}
	if !m.armed {
		return m.command(ctx, "system_reset", nil)
	}
	m.proc.kill()
	m.stop()
	m.proc, m.again = nil, false
	if err := m.start(ctx, cause); err != nil {
		m.hooks.Power(false, err.Error())
		return err
	}
	return nil
}

// PressPower asks the guest to shut down; with again the machine is powered on when it has. The guest may not care.
func (m *Machine) PressPower(ctx context.Context, again bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again = again && m.proc != nil
	return m.command(ctx, "system_powerdown", nil)
}

// NMI sends a non-maskable interrupt.
func (m *Machine) NMI(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.command(ctx, "inject-nmi", nil)
}

// Arm says whether something is due at the next reset, so that a guest's reboot must be a fresh start.
func (m *Machine) Arm(ctx context.Context, due bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = due
	action := "reset"
	if due {
		action = "shutdown"
	}
	return m.command(ctx, "set-action", map[string]any{"reboot": action})
}

// command runs on a machine that is on, and is nothing on one that is off.
func (m *Machine) command(ctx context.Context, name string, arguments map[string]any) error {
	if m.proc == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	err := m.proc.qmp.run(ctx, name, arguments)
	if errors.Is(err, errGone) {
		return nil // it went off meanwhile, which wait tells
	}
	return err
}

// Insert puts a medium into the virtual CD drive, in place of the one that is there.
func (m *Machine) Insert(ctx context.Context, image medium.Image) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.eject(ctx); err != nil {
		return err
	}
	m.images++
	if err := os.Remove(m.cdSocket()); err != nil && !errors.Is(err, os.ErrNotExist) { // of an emulator that was killed
		return fmt.Errorf("insert medium: %w", err)
	}
	ln, err := net.Listen("unix", m.cdSocket())
	if err != nil {
		return fmt.Errorf("insert medium: %w", err)
	}
	m.export = medium.NewExport(ln, image, m.log)
	if m.proc == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	if err := m.load(ctx, m.proc); err != nil && !errors.Is(err, errGone) {
		return errors.Join(err, m.eject(ctx))
	}
	return nil
}

func (m *Machine) cdSocket() string { return filepath.Join(m.run, fmt.Sprintf("cd%d.sock", m.images)) }

func (m *Machine) load(ctx context.Context, p *process) error {
	return p.qmp.run(ctx, "blockdev-change-medium", map[string]any{
		"id": cdID, "filename": "nbd+unix:///?socket=" + m.cdSocket(), "format": "raw", "read-only-mode": "read-only", "force": true,
	})
}

// Eject takes the medium out, whatever the guest does with it.
func (m *Machine) Eject(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.eject(ctx)
}

func (m *Machine) eject(ctx context.Context) error {
	if m.export == nil {
		return nil
	}
	err := m.command(ctx, "eject", map[string]any{"id": cdID, "force": true})
	m.export.Close()
	m.export = nil
	return err
}

// Config is the machine's, with what was left out filled in and the disks that were attached.
func (m *Machine) Config() Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cfg
	c.Disks = slices.Clone(c.Disks)
	return c
}

// AddDisk attaches a further disk; the machine must be off.
func (m *Machine) AddDisk(d Disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc != nil {
		return errors.New("attach a disk: the machine is on; power it off first")
	}
	if len(m.cfg.Disks) == maxDisks {
		return fmt.Errorf("attach a disk: %d disks is the most a machine has", maxDisks)
	}
	if err := d.complete(len(m.cfg.Disks)); err != nil {
		return fmt.Errorf("attach a disk: %w", err)
	}
	m.cfg.Disks = append(m.cfg.Disks, d)
	return nil
}

// SwapDisks puts two disks into each other's slots; the machine must be off. What had no WWN takes that of its slot.
func (m *Machine) SwapDisks(i, j int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc != nil {
		return errors.New("swap disks: the machine is on; power it off first")
	}
	if n := len(m.cfg.Disks); min(i, j) < 0 || max(i, j) >= n {
		return fmt.Errorf("swap disks %d and %d: the machine has %d, counted from 0", i, j, n)
	}
	m.cfg.Disks = slices.Clone(m.cfg.Disks)
	m.cfg.Disks[i], m.cfg.Disks[j] = m.cfg.Disks[j], m.cfg.Disks[i]
	return nil
}

// Close cuts the power and waits for everything the machine started.
func (m *Machine) Close() error {
	m.mu.Lock()
	m.closed = true
	m.cut("emulator closed")
	err := m.eject(context.Background())
	m.mu.Unlock()
	m.wg.Wait()
	if m.run != m.cfg.Dir {
		err = errors.Join(err, os.RemoveAll(m.run))
	}
	return err
}

// copyOnce makes the NVRAM of a machine that has none yet.
func copyOnce(to, from string) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("NVRAM: %w", err)
	}
	in, err := os.Open(from)
	if err != nil {
		return errors.Join(fmt.Errorf("firmware: %w", err), out.Close(), os.Remove(to))
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
