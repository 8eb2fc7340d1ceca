package crash

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/integration/qemu"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// machine is one fake machine: when it boots from the virtual CD, or what its firmware loads over HTTPS, it runs an agent process
// until it has no power.
type machine struct {
	site  *Site
	name  string
	addr  string // of its BMC, and of what it boots
	board *emulator.Machine

	power sync.Mutex // held by a boot until nothing of it is left

	mu    sync.Mutex // guards what follows
	boots int
	agent *process // nil: none runs
}

// boot is what the machine runs. ctx ends with its power.
func (m *machine) boot(ctx context.Context, b bmc.FakeBoot) {
	m.power.Lock()
	defer m.power.Unlock()
	read := func() (api.BootConfig, error) { return api.ReadBootConfig(b.Image) }
	switch {
	case b.Source.Target == qemu.UEFIHTTP:
		read = func() (api.BootConfig, error) { return m.load(ctx, b.Source) }
	case b.Source.Target != qemu.CD || b.Image == nil:
		return // the disk: nothing of interest runs
	}
	if err := m.ramdisk(ctx, read); err != nil && ctx.Err() == nil {
		fmt.Fprintf(m.site.log, "machine %s: %v\n", m.name, err)
	}
}

// act has the BMC keep the ledger.
func (m *machine) act(a bmc.Act) {
	err := m.site.ledger.Append(ledger.Line{Kind: ledger.Act, Machine: m.name, Name: a.Name, Value: a.Value, Session: a.Session})
	if err == nil {
		return
	}
	m.site.mu.Lock()
	defer m.site.mu.Unlock()
	m.site.lost = err
}

// load is what firmware does: it asks for the length and then for the whole, of who shows a certificate that it trusts. What it
// got is the ramdisk, which carries its configuration.
func (m *machine) load(ctx context.Context, b qemu.Boot) (c api.BootConfig, err error) {
	roots := x509.NewCertPool()
	for _, der := range b.Trust {
		if cert, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(cert)
		}
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(m.addr)}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var body []byte
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		r, err := http.NewRequestWithContext(ctx, method, b.URI, nil)
		if err != nil {
			return c, err
		}
		answer, err := client.Do(r)
		if err != nil {
			return c, err
		}
		body, err = io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			return c, err
		}
		if answer.StatusCode != http.StatusOK {
			return c, fmt.Errorf("the server answers %s", answer.Status)
		}
	}
	at, n, err := media.FindRegion(bytes.NewReader(body))
	if err != nil {
		return c, err
	}
	return api.DecodeBootConfig(body[at : at+n])
}

// ramdisk is one boot; read gives its configuration.
func (m *machine) ramdisk(ctx context.Context, read func() (api.BootConfig, error)) error {
	config, err := persist(ctx, read)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.boots++
	id := fmt.Sprintf("%s-boot-%d", m.name, m.boots)
	m.mu.Unlock()
	// What a ramdisk keeps in memory: it is gone with the boot.
	dir := filepath.Join(m.site.cfg.Dir, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory of the test's
	region, err := api.EncodeBootConfig(config, api.RegionSize)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "region")
	if err := os.WriteFile(file, region, 0o600); err != nil {
		return err
	}
	if err := m.site.ledger.Append(ledger.Line{Kind: ledger.Boot, Machine: m.name}); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := m.run(ctx, dir, file, id); err != nil {
			return err
		}
	}
	return m.site.ledger.Append(ledger.Line{Kind: ledger.Off, Machine: m.name})
}

// run runs one agent process to its end: by a mark, by the harness, or because the power goes. In the boot's next turn
// it is started again, as the ramdisk's init does.
func (m *machine) run(ctx context.Context, dir, region, id string) error {
	args := []string{
		"--dir", dir, "--region", region, "--ledger", m.site.ledgerFile(), "--machine", m.name, "--source", m.addr,
		"--boot", id, "--work", m.site.cfg.Work.String(), "--mutant", m.site.cfg.Mutant,
	}
	mark := m.site.nextMark()
	p, err := start(m.site.cfg.Agent, args, []string{"FAILPOINT=" + mark, "FAILPOINT_LOG=" + m.site.passedFile()}, m.site.log)
	if err != nil {
		return err
	}
	m.set(p)
	defer m.set(nil)
	select {
	case <-ctx.Done():
		p.kill()
		m.site.unused(mark)
		return nil
	case <-p.ended:
	}
	switch {
	case !p.killed():
		return fmt.Errorf("the agent ended by itself: %v", p.err)
	case mark != "":
		m.site.used(mark)
	}
	return m.site.ledger.Append(ledger.Line{Kind: ledger.Kill, Machine: m.name})
}

func (m *machine) set(p *process) {
	m.mu.Lock()
	m.agent = p
	m.mu.Unlock()
}

// killAgent kills the machine's agent if one runs.
func (m *machine) killAgent() bool {
	m.mu.Lock()
	p := m.agent
	m.mu.Unlock()
	if p == nil {
		return false
	}
	p.kill()
	return true
}

// persist reads the boot configuration as a firmware reads: while its server is away it tries again.
func persist(ctx context.Context, read func() (api.BootConfig, error)) (api.BootConfig, error) {
	for {
		c, err := read()
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return c, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ArmAgents gives the agents that are started from now on a mark each to die at. It may be called at any time.
func (s *Site) ArmAgents(marks ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = append(s.marks, marks...)
}

// AgentsDied gives the marks at which agents have died so far. It may be called at any time.
func (s *Site) AgentsDied() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.died...)
}

func (s *Site) nextMark() (mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.marks) > 0 {
		mark, s.marks = s.marks[0], s.marks[1:]
	}
	return mark
}

// unused puts a mark back that its agent did not come by.
func (s *Site) unused(mark string) {
	if mark != "" {
		s.ArmAgents(mark)
	}
}

func (s *Site) used(mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.died = append(s.died, mark)
}

// KillAgents kills up to n agents that run now, chosen by chance, and tells how many.
func (s *Site) KillAgents(n int) (killed int) {
	for _, i := range s.cfg.Rand.Perm(len(s.machines)) {
		if killed < n && s.machines[i].killAgent() {
			killed++
		}
	}
	return killed
}
