package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// machine is one simulated machine with its BMC.
type machine struct {
	fleet   *Fleet
	number  int
	node    api.NodeID
	address netip.Addr

	mu      sync.Mutex
	state   fake.State
	boots   int
	end     func() // stops what runs in it, and waits until it has stopped
	arrived func() // of the agent that runs
	ended   time.Time
	client  *beating // of a quiet agent
}

// handler is what the server's fake BMCs ask (server/fake, play.go).
func (f *Fleet) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+fake.PlayPath+"{node}", func(w http.ResponseWriter, r *http.Request) {
		if m := f.find(w, r); m != nil {
			m.answer(w)
		}
	})
	mux.HandleFunc("POST "+fake.PlayPath+"{node}", func(w http.ResponseWriter, r *http.Request) {
		m := f.find(w, r)
		if m == nil {
			return
		}
		var a fake.Act
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&a); err != nil {
			http.Error(w, "the act can't be read", http.StatusBadRequest)
			return
		}
		m.act(a)
		m.answer(w)
	})
	return mux
}

// find gives the machine that a request names. One that this fleet does not have is off and stays so.
func (f *Fleet) find(w http.ResponseWriter, r *http.Request) *machine {
	m := f.byNode[api.NodeID(r.PathValue("node"))]
	if m == nil {
		http.Error(w, "no such machine", http.StatusNotFound)
	}
	return m
}

func (m *machine) answer(w http.ResponseWriter) {
	m.mu.Lock()
	s := m.state
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(s); err != nil {
		m.fleet.Log.Debug("answer of a BMC", "err", err)
	}
}

func (m *machine) act(a fake.Act) {
	m.mu.Lock()
	if a.Media != nil {
		m.state.Media = *a.Media
	}
	if a.Boot != "" {
		m.state.Boot = a.Boot
	}
	m.mu.Unlock()
	switch a.Power {
	case conductor.On:
		m.on()
	case conductor.ForceOff, conductor.GracefulShutdown:
		m.off()
	}
}

// on boots the medium when it is in and to be booted from, once.
func (m *machine) on() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Power == conductor.PowerOn || m.fleet.run.Err() != nil {
		return
	}
	m.state.Power = conductor.PowerOn
	if m.state.Boot != "cdrom" || m.state.Media == "" {
		return
	}
	m.state.Boot = ""
	m.boots++
	ctx, cancel := context.WithCancel(m.fleet.run)
	var wg sync.WaitGroup
	media, boot := m.state.Media, fmt.Sprintf("%s-%d", m.node, m.boots)
	wg.Go(func() { m.ramdisk(ctx, media, boot) })
	m.end = func() { cancel(); wg.Wait() }
}

// off ends whatever runs, at once: when it returns, nothing runs.
func (m *machine) off() {
	m.mu.Lock()
	end := m.end
	m.end = nil
	m.mu.Unlock()
	if end != nil {
		end()
	}
	m.mu.Lock()
	m.state.Power = conductor.PowerOff
	m.ended, m.client = time.Time{}, nil
	m.mu.Unlock()
}

// ramdisk is one boot: the BMC reads the medium, then the agent runs until the machine is off.
func (m *machine) ramdisk(ctx context.Context, media, boot string) {
	config, err := api.ReadBootConfig(&remote{ctx, m.fleet.media, media})
	if err != nil {
		if ctx.Err() == nil {
			m.fleet.figures.failed("boot medium", err)
			m.fleet.Log.Warn("a machine's medium can't be read", "machine", m.number, "err", err)
		}
		return
	}
	m.fleet.mu.Lock()
	m.fleet.booted++
	m.fleet.mu.Unlock()
	at, err := m.fleet.intended(ctx, m.number)
	if err == nil {
		err = m.agent(ctx, config, boot, at)
	}
	if err != nil && ctx.Err() == nil {
		m.fleet.figures.failed("agent", err)
		m.fleet.Log.Warn("an agent ended", "machine", m.number, "err", err)
	}
}

// remote reads a medium by ranges, as BMCs do.
type remote struct {
	ctx  context.Context
	http *http.Client
	url  string
}

func (r *remote) ReadAt(p []byte, off int64) (int, error) {
	q, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("read the medium: %w", err)
	}
	q.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1))
	a, err := r.http.Do(q)
	if err != nil {
		// The address is a secret of this boot.
		return 0, fmt.Errorf("read the medium: %s", strings.ReplaceAll(err.Error(), r.url, "its address"))
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("read the medium: the server answers %s", a.Status)
	}
	return io.ReadFull(a.Body, p)
}
