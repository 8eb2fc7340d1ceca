package bmc

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/integration/faults"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

const (
	keptRequests = 1000
	stuckTasks   = 3 // of the fault jam, unless it says how many
)

// Request is one line of a machine's request log, which keeps the last thousand.
type Request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Status int       `json:"status"` // 0: no answer
}

// Note enters a request into the log.
func (m *Machine) Note(r *http.Request, status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[r.Method+" "+r.URL.Path]++
	m.requests = append(m.requests, Request{m.env.Now(), r.Method, r.URL.Path, status})
	if over := len(m.requests) - keptRequests; over > 0 {
		m.requests = slices.Delete(m.requests, 0, over)
	}
}

// Requests returns the last requests, oldest first, and how many there were of each method and path.
func (m *Machine) Requests() ([]Request, map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests), maps.Clone(m.counts)
}

// Trouble is the faults of the BMC, for the service that has them.
func (m *Machine) Trouble() *faults.Set { return m.faults }

// Inject makes the BMC misbehave and returns the fault with its id. A jam and a wrong clock
// have none: they are what they left.
func (m *Machine) Inject(f faults.Fault) (faults.Fault, error) {
	if f.Kind != faults.Jam && f.Kind != faults.Clock {
		return m.faults.Add(f)
	}
	if err := f.Check(); err != nil {
		return f, err
	}
	if f.Kind == faults.Clock {
		m.SetClock(m.env.Now().Add(time.Duration(f.Delay)))
		return f, nil
	}
	if f.Count == 0 {
		f.Count = stuckTasks
	}
	m.jam(f.Count, f.Value == "stubborn")
	return f, nil
}

// Faults returns those that are still at work.
func (m *Machine) Faults() []faults.Fault { return m.faults.List() }

// Heal takes away one fault, or all of them with id "", stuck tasks included.
func (m *Machine) Heal(id string) {
	m.faults.Remove(id)
	if id != "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks = slices.DeleteFunc(m.tasks, func(t *task) bool { return t.stuck })
}

// State is what the control API tells of a machine: the truth, whatever its BMC says.
type State struct {
	Name           string         `json:"name"`
	BMCResets      int            `json:"bmc_resets"` // how often the BMC was restarted
	URL            string         `json:"url"`        // of its BMC
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
	v := m.View()
	s := State{
		Name: m.Name(), BMCResets: m.Restarts(), URL: m.URL(), SystemPath: m.SystemPath(), UUID: m.cfg.UUID, Serial: m.cfg.Serial, MACs: []string{}, Fake: m.Fake(),
		On: v.On, Progress: v.Progress, Detail: v.Detail, Override: v.Boot.Enabled, Medium: v.Medium, MediumRequests: v.MediumRequests, BIOS: v.BIOS, Console: m.Console(),
	}
	if v.Boot.on() {
		s.Override += " " + string(v.Boot.Target)
	}
	for _, mac := range m.macs {
		s.MACs = append(s.MACs, mac.String())
	}
	if m.real != nil {
		s.ConsoleSocket = m.real.Socket()
	}
	return s
}
