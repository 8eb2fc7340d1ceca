// Package emulator is a Redfish service over emulated machines: real ones in QEMU, and fake ones that only have a power
// state and run a test's own code when they boot. One process serves any number of them, each as a system, a manager and
// a chassis of one service, and, where asked for, as a BMC with an address of its own. Faults can be put into every
// machine's BMC over a control API.
//
// It judges no client: what real BMCs do wrong it does on request only. docs/reference/emulator.md is its manual.
// Start reading at New and at the table of routes in service.go.
package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/login"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// Config is one emulator. The JSON names are those of the configuration file.
type Config struct {
	Dir            string          `json:"dir"`                       // state of the QEMU machines; made if missing
	Listen         string          `json:"listen,omitempty"`          // Redfish, all machines; "" opens no listener
	Control        string          `json:"control,omitempty"`         // control API, loopback only; "" opens none
	TLS            bool            `json:"tls,omitempty"`             // self-signed
	Username       string          `json:"username,omitempty"`        // default admin
	Password       string          `json:"password,omitempty"`        // default password
	SessionTimeout Duration        `json:"session_timeout,omitempty"` // of an idle session, default 30m
	Accelerator    string          `json:"accelerator,omitempty"`     // auto (default), tcg, kvm
	Cache          string          `json:"cache,omitempty"`           // directory that remembers the KVM probe
	Machines       []MachineConfig `json:"machines,omitempty"`

	Log       *slog.Logger      `json:"-"` // default: none
	Now       func() time.Time  `json:"-"` // default: the wall clock
	Transport http.RoundTripper `json:"-"` // what virtual media are fetched with; default: own connections
}

// Emulator is a running service. All methods may be called at any time.
type Emulator struct {
	cfg      Config
	log      *slog.Logger
	media    *http.Client
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	sessions *login.Sessions
	shared   http.Handler
	tls      *tls.Config
	url      string
	control  string
	tasks    atomic.Int64 // the last task's number

	mu       sync.Mutex
	host     *qemu.Host // nil until a QEMU machine is added
	machines map[string]*Machine
	servers  []*http.Server
	closed   bool
}

const mediaTimeout = 20 * time.Second // of one request for a part of a medium

// New starts the service with the machines of the configuration. Close ends it.
func New(cfg Config) (*Emulator, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Username == "" && cfg.Password == "" {
		cfg.Username, cfg.Password = "admin", "password"
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = Duration(30 * time.Minute)
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 2, IdleConnTimeout: mediaTimeout, TLSHandshakeTimeout: mediaTimeout}
	}
	e := &Emulator{cfg: cfg, log: cfg.Log, machines: map[string]*Machine{}, media: &http.Client{Transport: cfg.Transport, Timeout: mediaTimeout}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.sessions = login.NewSessions(cfg.Now, time.Duration(cfg.SessionTimeout))
	e.shared = newService(e, nil)
	if err := e.open(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Emulator) open() error {
	var err error
	if e.cfg.TLS {
		if e.tls, err = login.SelfSigned(e.cfg.Now()); err != nil {
			return err
		}
	}
	if e.cfg.Listen != "" {
		if e.url, err = e.listen(e.cfg.Listen, e.shared, e.tls); err != nil {
			return fmt.Errorf("redfish listener: %w", err)
		}
	}
	if e.cfg.Control != "" {
		host, _, err := net.SplitHostPort(e.cfg.Control)
		if err != nil {
			return fmt.Errorf("control listener: %w", err)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("control listener %s: a loopback address is expected, since the control API asks for no password", e.cfg.Control)
		}
		if e.control, err = e.listen(e.cfg.Control, e.ControlHandler(), nil); err != nil {
			return fmt.Errorf("control listener: %w", err)
		}
	}
	for _, m := range e.cfg.Machines {
		if _, err := e.Add(m); err != nil {
			return err
		}
	}
	return nil
}

// listen serves h until Close and returns its URL.
func (e *Emulator) listen(address string, h http.Handler, t *tls.Config) (string, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	scheme := "http://"
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return e.ctx }}
	url := ln.Addr().String()
	if t != nil {
		scheme, ln = "https://", tls.NewListener(ln, t)
	}
	e.mu.Lock()
	e.servers = append(e.servers, s)
	e.mu.Unlock()
	e.wg.Go(func() {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			e.log.Error("listener ended", "address", url, "err", err)
		}
	})
	return scheme + url, nil
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Add brings in a machine, powered off.
func (e *Emulator) Add(cfg MachineConfig) (*Machine, error) {
	if !goodName.MatchString(cfg.Name) {
		return nil, fmt.Errorf("machine name %q: letters, digits, dot, dash and underscore are expected, at most 64", cfg.Name)
	}
	m, err := e.newMachine(cfg)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", cfg.Name, err)
	}
	e.mu.Lock()
	_, exists := e.machines[cfg.Name]
	if exists || e.closed {
		e.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("machine %s exists already, or the emulator is closed", cfg.Name), m.Close())
	}
	e.machines[cfg.Name] = m
	e.mu.Unlock()
	url := e.url
	if cfg.Listen != "" {
		if url, err = e.listen(cfg.Listen, e.HandlerOf(m), e.tls); err != nil {
			e.mu.Lock()
			delete(e.machines, cfg.Name)
			e.mu.Unlock()
			return nil, errors.Join(fmt.Errorf("machine %s: %w", cfg.Name, err), m.Close())
		}
	}
	m.Announce(url)
	return m, nil
}

func (e *Emulator) newMachine(cfg MachineConfig) (*Machine, error) {
	if cfg.Username == "" && cfg.Password == "" {
		cfg.Username, cfg.Password = e.cfg.Username, e.cfg.Password
	}
	env := bmc.Env{Context: e.ctx, Now: e.cfg.Now, Log: e.log, Media: e.media, Tasks: &e.tasks}
	if cfg.QEMU == nil {
		return bmc.New(env, cfg)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host == nil {
		host, err := qemu.NewHost(e.cfg.Accelerator, e.cfg.Cache, e.log)
		if err != nil {
			return nil, err
		}
		e.host = host
	}
	e.host.Accelerator(e.ctx) // now, rather than while somebody waits for a power-on
	env.Host, env.Dir = e.host, filepath.Join(e.cfg.Dir, cfg.Name)
	if err := os.MkdirAll(env.Dir, 0o700); err != nil {
		return nil, err
	}
	return bmc.New(env, cfg)
}

// Machine returns a machine by name, or nil.
func (e *Emulator) Machine(name string) *Machine {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.machines[name]
}

// Machines returns all machines, by name.
func (e *Emulator) Machines() []*Machine {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*Machine, 0, len(e.machines))
	for _, m := range e.machines {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *Machine) int { return strings.Compare(a.Name(), b.Name()) })
	return all
}

// Accelerator is what QEMU machines run with, "kvm" or "tcg"; "" while there are none.
func (e *Emulator) Accelerator() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host == nil {
		return ""
	}
	return e.host.Accelerator(e.ctx)
}

// URL is where the shared service answers; "" without Listen.
func (e *Emulator) URL() string { return e.url }

// ControlURL is where the control API answers; "" without Control.
func (e *Emulator) ControlURL() string { return e.control }

// Handler serves all machines; it needs no listener.
func (e *Emulator) Handler() http.Handler { return e.shared }

// HandlerOf serves one machine, as at an address of its own; it needs no listener.
func (e *Emulator) HandlerOf(m *Machine) http.Handler { return newService(e, m) }

// Close powers everything off and waits until nothing of the emulator is left.
func (e *Emulator) Close() error {
	e.mu.Lock()
	e.closed = true
	servers := e.servers
	e.mu.Unlock()
	e.cancel()
	var all []error
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, s := range servers { // their requests ended with the context
		if s.Shutdown(grace) != nil {
			all = append(all, s.Close())
		}
	}
	for _, m := range e.Machines() {
		all = append(all, m.Close())
	}
	e.wg.Wait()
	e.media.CloseIdleConnections()
	return errors.Join(all...)
}
