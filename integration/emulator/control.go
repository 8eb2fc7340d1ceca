package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// Request is one line of a machine's request log, which keeps the last thousand.
type Request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Status int       `json:"status"` // 0: no answer
}

const keptRequests = 1000

func (m *Machine) logRequest(r *http.Request, status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[r.Method+" "+r.URL.Path]++
	m.requests = append(m.requests, Request{m.e.cfg.Now(), r.Method, r.URL.Path, status})
	if over := len(m.requests) - keptRequests; over > 0 {
		m.requests = append(m.requests[:0], m.requests[over:]...)
	}
}

// Requests returns the last requests, oldest first, and how many there were of each method and path.
func (m *Machine) Requests() ([]Request, map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := make(map[string]int, len(m.counts))
	for k, n := range m.counts {
		counts[k] = n
	}
	return append([]Request(nil), m.requests...), counts
}

// State is what the control API tells of a machine: the truth, whatever its BMC says.
type State struct {
	Name           string         `json:"name"`
	URL            string         `json:"url"` // of its BMC
	SystemPath     string         `json:"system_path"`
	UUID           string         `json:"uuid"`
	Serial         string         `json:"serial"`
	MACs           []string       `json:"macs"`
	Fake           bool           `json:"fake"`
	On             bool           `json:"on"`
	Progress       qemu.Progress  `json:"progress,omitempty"`
	Detail         string         `json:"detail,omitempty"`
	Override       string         `json:"override"` // "Once Cd", "Disabled"
	Medium         string         `json:"medium,omitempty"`
	MediumRequests int64          `json:"medium_requests,omitempty"` // made to the medium's server
	BIOS           map[string]any `json:"bios"`
	Console        string         `json:"console,omitempty"`        // file
	ConsoleSocket  string         `json:"console_socket,omitempty"` // while on
}

// State of the machine now.
func (m *Machine) State() State {
	s := State{Name: m.Name(), URL: m.URL(), SystemPath: m.SystemPath(), UUID: m.cfg.UUID, Serial: m.cfg.Serial, Fake: m.real == nil, Console: m.Console(), BIOS: map[string]any{}}
	for _, mac := range m.macs {
		s.MACs = append(s.MACs, mac.String())
	}
	if m.real != nil {
		s.ConsoleSocket = m.real.Socket()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.On, s.Progress, s.Detail, s.Override = m.on, m.progress, m.detail, m.boot.Enabled
	if m.boot.Enabled != "Disabled" {
		s.Override += " " + string(m.boot.Target)
	}
	if m.image != nil {
		s.Medium, s.MediumRequests = m.image.URL(), m.image.Requests()
	}
	for k, v := range m.bios {
		s.BIOS[k] = v
	}
	return s
}

// ControlHandler serves the control API. It asks for no password: give it to loopback only.
func (e *Emulator) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
	}
	refuse := func(w http.ResponseWriter, status int, err error) {
		answer(w, status, map[string]string{"error": err.Error()})
	}
	on := func(pattern string, do func(http.ResponseWriter, *http.Request, *Machine)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			m := e.Machine(r.PathValue("m"))
			if m == nil {
				refuse(w, http.StatusNotFound, fmt.Errorf("no machine %q", r.PathValue("m")))
				return
			}
			do(w, r, m)
		})
	}
	read := func(w http.ResponseWriter, r *http.Request, v any) bool {
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("body: %w", err))
			return false
		}
		return true
	}
	mux.HandleFunc("GET /control/v1/machines", func(w http.ResponseWriter, r *http.Request) {
		l := []State{}
		for _, m := range e.Machines() {
			l = append(l, m.State())
		}
		answer(w, http.StatusOK, l)
	})
	mux.HandleFunc("POST /control/v1/machines", func(w http.ResponseWriter, r *http.Request) {
		var c MachineConfig
		if !read(w, r, &c) {
			return
		}
		m, err := e.Add(c)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		answer(w, http.StatusCreated, m.State())
	})
	on("GET /control/v1/machines/{m}", func(w http.ResponseWriter, r *http.Request, m *Machine) { answer(w, http.StatusOK, m.State()) })
	on("GET /control/v1/machines/{m}/power-log", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		answer(w, http.StatusOK, append([]PowerEvent{}, m.PowerLog()...))
	})
	on("GET /control/v1/machines/{m}/requests", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		last, counts := m.Requests()
		answer(w, http.StatusOK, map[string]any{"last": last, "counts": counts})
	})
	on("POST /control/v1/machines/{m}/disks", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		var d qemu.Disk
		if !read(w, r, &d) {
			return
		}
		if err := m.AttachDisk(d); err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		answer(w, http.StatusOK, m.State())
	})
	on("GET /control/v1/machines/{m}/faults", func(w http.ResponseWriter, r *http.Request, m *Machine) { answer(w, http.StatusOK, m.Faults()) })
	on("POST /control/v1/machines/{m}/faults", func(w http.ResponseWriter, r *http.Request, m *Machine) {
		var f Fault
		if !read(w, r, &f) {
			return
		}
		f, err := m.Inject(f)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		answer(w, http.StatusCreated, f)
	})
	heal := func(w http.ResponseWriter, r *http.Request, m *Machine) {
		m.Heal(r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	}
	on("DELETE /control/v1/machines/{m}/faults", heal)
	on("DELETE /control/v1/machines/{m}/faults/{id}", heal)
	return mux
}

// Control is a client of the control API, for programs that run beside the emulator.
type Control struct {
	URL    string // of the control listener
	Client *http.Client
}

// Machines tells of all machines.
func (c Control) Machines(ctx context.Context) (l []State, err error) {
	return l, c.do(ctx, http.MethodGet, "", nil, &l)
}

// Machine tells of one.
func (c Control) Machine(ctx context.Context, name string) (s State, err error) {
	return s, c.do(ctx, http.MethodGet, "/"+url.PathEscape(name), nil, &s)
}

// PowerLog returns a machine's changes of power.
func (c Control) PowerLog(ctx context.Context, name string) (l []PowerEvent, err error) {
	return l, c.do(ctx, http.MethodGet, "/"+url.PathEscape(name)+"/power-log", nil, &l)
}

// Inject adds a fault and returns it with its id.
func (c Control) Inject(ctx context.Context, name string, f Fault) (made Fault, err error) {
	return made, c.do(ctx, http.MethodPost, "/"+url.PathEscape(name)+"/faults", f, &made)
}

// Heal takes away all faults of a machine.
func (c Control) Heal(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/"+url.PathEscape(name)+"/faults", nil, nil)
}

// AttachDisk gives a machine that is off a further disk.
func (c Control) AttachDisk(ctx context.Context, name string, d qemu.Disk) error {
	return c.do(ctx, http.MethodPost, "/"+url.PathEscape(name)+"/disks", d, nil)
}

func (c Control) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("emulator control: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+"/control/v1/machines"+path, body)
	if err != nil {
		return fmt.Errorf("emulator control: %w", err)
	}
	res, err := c.Client.Do(req)
	if err != nil {
		return fmt.Errorf("emulator control: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		var e struct{ Error string }
		if json.NewDecoder(res.Body).Decode(&e) != nil {
			e.Error = res.Status
		}
		return fmt.Errorf("emulator control: %s %s: %s", method, path, e.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("emulator control: %s %s: %w", method, path, err)
	}
	return nil
}
