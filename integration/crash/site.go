// Package crash kills the real programs and looks at what they leave. A Site is a built server, emulated BMCs, fake
// machines whose power-on starts an agent process, and operators who ask for work without end; the tests kill what
// they like, and Check judges by the database and by the devices' own ledger. It needs no root and no network but
// loopback.
//
// Start at Site (this file), then Check (check.go), the pure judge; machine.go is what boots, operator.go who asks,
// network.go what stands between agents and server.
package crash

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media/mediatest"
	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Config is what a site is made of.
type Config struct {
	Dir    string // for all it writes; must exist
	Server string // the program, built with the tag failpoint
	Agent  string // the crash agent, the same
	Nodes  int
	Work   time.Duration // of a step on one disk
	Rand   *rand.Rand
	Clean  string // the step out of band of each clean by hand, "bios.factory_reset"; "": by turns
	Mutant string // a mistake that the agents have
	// Fake is what machine i is made of for its BMC; nil, or one that gives nil, is the usual.
	Fake func(i int) *bmc.Parts
}

// Site is a server with its machines. Its methods are for one goroutine, unless they say otherwise.
type Site struct {
	cfg      Config
	addr     string // of the server, a loopback address of its own
	ledger   *ledger.File
	emulator *emulator.Emulator
	machines []*machine
	network  *network
	images   *images
	server   *process
	http     *http.Client
	log      *os.File // of server and agents

	mu       sync.Mutex // guards what follows
	lost     error      // why a BMC's line is not in the ledger
	promises Promises
	marks    []string // for the agents to die at, the next first
	died     []string // marks at which agents died
	passed   map[string]bool
	earlier  Earlier
}

const (
	// Not a server's own ports: one of the same computer's that listens on all addresses would have them here as well.
	apiPort, agentPort, bootPort, bootTLSPort, imagesPort, networkPort = ":26385", ":26386", ":26387", ":26388", ":26389", ":27386"

	password = "password" // of the BMCs, whose user is admin
	ready    = time.Minute
	away     = 300 * time.Millisecond // of a BMC that restarts
)

// Open makes the machines and starts the server; operators are set to work by Work. Close ends everything.
func Open(ctx context.Context, cfg Config) (*Site, error) {
	s := &Site{cfg: cfg, passed: map[string]bool{}, earlier: Earlier{Steps: map[step.ID]conductor.StepRecord{}, Requests: map[string]conductor.NodeID{}}, promises: Promises{Tallies: map[string]int{}}}
	// Nobody else on this computer uses 127/8 beyond the first addresses: ports need not be searched for.
	block := cfg.Rand.Uint32()
	address := func(i int) string { return fmt.Sprintf("127.%d.%d.%d", 16+block%200, block>>8%250, 1+i) }
	s.addr = address(0)
	s.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2, DisableKeepAlives: false}}
	err := func() (err error) {
		if s.log, err = os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		if s.ledger, err = ledger.Open(s.ledgerFile()); err != nil {
			return err
		}
		if err = os.WriteFile(filepath.Join(cfg.Dir, "base.iso"), baseISO(), 0o600); err != nil {
			return err
		}
		if err = os.WriteFile(filepath.Join(cfg.Dir, "bessemer.efi"), mediatest.Program(nil, api.RegionSize), 0o600); err != nil {
			return err
		}
		if s.emulator, err = emulator.New(emulator.Config{Dir: cfg.Dir, Username: "admin", Password: password}); err != nil {
			return err
		}
		if s.network, err = openNetwork(s.addr); err != nil {
			return err
		}
		if s.images, err = openImages(s.addr); err != nil {
			return err
		}
		for i := range cfg.Nodes {
			m := &machine{site: s, name: fmt.Sprintf("m%03d", i+1), addr: address(1 + i)}
			made := emulator.MachineConfig{Name: m.name, Listen: m.addr + ":8000", OnBoot: m.boot, OnAct: m.act, ManagerReset: emulator.Duration(away)}
			if cfg.Fake != nil {
				made.Fake = cfg.Fake(i)
			}
			board, err := s.emulator.Add(made)
			if err != nil {
				return err
			}
			m.board = board
			s.machines = append(s.machines, m)
		}
		if err := s.Start(ctx, ""); err != nil {
			return err
		}
		trusted, err := os.ReadFile(filepath.Join(cfg.Dir, "data", "boot.crt"))
		if err != nil {
			return err
		}
		block, _ := pem.Decode(trusted)
		for _, m := range s.machines {
			m.board.Trust(string(trusted), block.Bytes)
			if err := s.enroll(ctx, m); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// LogFile is what server and agents say.
func (s *Site) LogFile() string      { return filepath.Join(s.cfg.Dir, "log") }
func (s *Site) ledgerFile() string   { return filepath.Join(s.cfg.Dir, "ledger") }
func (s *Site) passedFile() string   { return filepath.Join(s.cfg.Dir, "passed") }
func (s *Site) databaseFile() string { return filepath.Join(s.cfg.Dir, "data", "bessemer.db") }
func (s *Site) api() string          { return "http://" + s.addr + apiPort }

// URL is the address of the API.
func (s *Site) URL() string { return s.api() }

// BMC is how a server reaches the BMC of machine i: a redfish node's driver_info.
func (s *Site) BMC(i int) map[string]any {
	board := s.machines[i].board
	return map[string]any{"redfish_address": board.URL(), "redfish_system_id": board.SystemPath(), "redfish_username": "admin", "redfish_password": password}
}

// Volumes are the RAID volumes of machine i.
func (s *Site) Volumes(i int) []bmc.Volume { return s.machines[i].board.Volumes() }

// Acts are the values of all acts of a name that the BMC of machine i did.
func (s *Site) Acts(i int, name string) (out []string, err error) {
	lines, err := ledger.Read(s.ledgerFile())
	for _, l := range lines {
		if l.Kind == ledger.Act && l.Machine == s.machines[i].name && l.Name == name {
			out = append(out, l.Value)
		}
	}
	return out, err
}

// Start starts the server, which dies by itself at a mark ("store.commit.before:3") unless that is empty. It returns
// when the API answers, or when the server is dead. The one before it must be dead.
func (s *Site) Start(ctx context.Context, mark string) error {
	if s.server != nil && s.server.alive() {
		return errors.New("the server before still runs")
	}
	if err := s.ledger.Append(ledger.Line{Kind: ledger.Serve, At: time.Now()}); err != nil {
		return err
	}
	args := []string{
		"serve", "--data-dir", filepath.Join(s.cfg.Dir, "data"), "--listen", s.addr + apiPort, "--agent-listen", s.addr + agentPort,
		"--boot-listen", s.addr + bootPort, "--advertise-agent", s.network.address(), "--base-iso", filepath.Join(s.cfg.Dir, "base.iso"),
		"--boot-tls-listen", s.addr + bootTLSPort,
		"--allow-origin", "127.0.0.0/8", "--any-boot-source", "--log-level", "debug",
	}
	p, err := start(s.cfg.Server, args, []string{"HOME=" + s.cfg.Dir, "FAILPOINT=" + mark, "FAILPOINT_LOG=" + s.passedFile()}, s.log)
	if err != nil {
		return err
	}
	s.server = p
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	for {
		if _, err := s.ask(ctx, http.MethodGet, "/v1", nil, nil); err == nil {
			return nil
		}
		select {
		case <-p.ended:
			if !p.killed() {
				return fmt.Errorf("the server ended by itself: %v", p.err)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer within %s", ready)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Died waits until the server is dead, and kills it after limit: byItself tells which.
func (s *Site) Died(limit time.Duration) (byItself bool, err error) {
	select {
	case <-s.server.ended:
		if !s.server.killed() {
			return true, fmt.Errorf("the server ended by itself: %v", s.server.err)
		}
		return true, nil
	case <-time.After(limit):
		s.server.kill()
		return false, nil
	}
}

// Close ends everything; what was written stays.
func (s *Site) Close() error {
	var errs []error
	if s.emulator != nil {
		errs = append(errs, s.emulator.Close()) // cuts all power
	}
	if s.server != nil {
		s.server.kill()
	}
	if s.network != nil {
		errs = append(errs, s.network.close())
	}
	if s.images != nil {
		errs = append(errs, s.images.close())
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	s.http.CloseIdleConnections()
	return errors.Join(errs...)
}

// Check judges what is there now; atRest says that no operator's work is under way.
func (s *Site) Check(ctx context.Context, atRest bool) ([]Violation, error) {
	e := Evidence{Rest: atRest}
	s.mu.Lock()
	err := s.lost
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if e.Before, err = ledger.Read(s.ledgerFile()); err != nil {
		return nil, err
	}
	e.Promises = s.promised()
	if e.Stored, err = ReadDatabase(ctx, s.databaseFile()); err != nil {
		return nil, err
	}
	if e.After, err = ledger.Read(s.ledgerFile()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Earlier = s.earlier
	broken := Check(e)
	for _, r := range e.Stored.Steps {
		s.earlier.Steps[r.ID] = r
	}
	for _, h := range e.Stored.History {
		s.earlier.Requests[h.Request] = h.Node
	}
	return broken, nil
}

// Passed gives every mark that server and agents have passed.
func (s *Site) Passed() (map[string]bool, error) {
	text, err := os.ReadFile(s.passedFile())
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		out[strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "!")] = true
	}
	return out, nil
}

func (s *Site) enroll(ctx context.Context, m *machine) error {
	i := slices.Index(s.machines, m)
	boot := "redfish-virtual-media"
	if i%3 == 2 {
		boot = "redfish-https"
	}
	_, err := s.ask(ctx, http.MethodPost, "/v1/nodes", map[string]any{
		"name": m.name, "driver": "redfish", "boot_interface": boot, "properties": map[string]any{"root_device": map[string]any{"serial": m.name + "-A"}},
		"driver_info": s.BMC(i),
	}, nil)
	return err
}

// baseISO is the smallest medium that a server takes for a base: a volume descriptor, the record, and an empty region.
func baseISO() []byte {
	const sector, at = 2048, 20 * 2048
	b := make([]byte, at+api.RegionSize)
	pvd := b[16*sector:]
	pvd[0] = 1
	copy(pvd[1:], "CD001")
	sectors := len(b) / sector
	pvd[80], pvd[81] = byte(sectors), byte(sectors>>8)
	copy(b[api.RegionRecordAt:], api.RegionRecord(at, api.RegionSize))
	return b
}
