package emulator

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Duration is a time.Duration that JSON writes as "1.5s".
type Duration time.Duration

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Kind is what a fault does.
type Kind string

// The kinds of faults. The comment names the fields each reads, beside Match, Count and For, which all have.
const (
	Delay            Kind = "delay"             // Delay: wait before anything else
	Status           Kind = "status"            // Status, RetryAfter: answer with an error, do nothing
	HangUp           Kind = "close"             // hang up without an answer
	Body             Kind = "body"              // Value: answer 200 with this as the body
	Endless          Kind = "endless"           // answer 200 with a body that never ends
	Huge             Kind = "huge"              // Size: answer 200 with a JSON body of so many bytes
	Drip             Kind = "drip"              // Delay: send the right answer byte by byte, so long apart
	Redirect         Kind = "redirect"          // Value: answer 307 to the path below this URL
	ForeignLink      Kind = "foreign_link"      // Value: every link in a body leads below this URL
	AbsoluteLocation Kind = "absolute_location" // Value: Location headers are absolute, on this URL; "" is the BMC's own
	LiePower         Kind = "lie_power"         // Value: the PowerState told
	Ignore           Kind = "ignore"            // orders are accepted, and nothing happens
	Async            Kind = "async"             // Delay: orders become tasks that end well after it
	TaskFails        Kind = "task_fails"        // Delay: orders become tasks that fail after it
	Jam              Kind = "jam"               // Count stuck tasks (default 3) hold up the job queue until deleted
)

func kinds() []Kind {
	return []Kind{Delay, Status, HangUp, Body, Endless, Huge, Drip, Redirect, ForeignLink, AbsoluteLocation, LiePower, Ignore, Async, TaskFails, Jam}
}

// Fault makes one machine's BMC misbehave. At the shared address it concerns the paths with the machine's name; at the
// machine's own address, all.
type Fault struct {
	ID         string   `json:"id,omitempty"` // given by the emulator
	Kind       Kind     `json:"kind"`
	Match      string   `json:"match,omitempty"` // "GET /redfish/v1/Systems": method and prefix of the path, either may be missing
	Count      int      `json:"count,omitempty"` // requests it concerns; 0: all
	For        Duration `json:"for,omitempty"`   // how long it lasts; 0: until it is taken away
	Delay      Duration `json:"delay,omitempty"`
	Status     int      `json:"status,omitempty"`
	RetryAfter string   `json:"retry_after,omitempty"`
	Value      string   `json:"value,omitempty"`
	Size       int64    `json:"size,omitempty"`
}

type activeFault struct {
	Fault
	ends time.Time
}

func (f Fault) check() error {
	switch {
	case !slices.Contains(kinds(), f.Kind):
		return fmt.Errorf("fault kind %q is unknown; known are %v", f.Kind, kinds())
	case f.Kind == Status && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("fault status: status %d, a number from 400 to 599 is expected", f.Status)
	case f.Kind == Huge && f.Size <= 0:
		return errors.New("fault huge: size is missing")
	case f.Count < 0 || f.Delay < 0 || f.For < 0:
		return errors.New("fault: count, delay and for can't be negative")
	case (f.Kind == Redirect || f.Kind == ForeignLink) && f.Value == "":
		return fmt.Errorf("fault %s: value is missing, a URL is expected", f.Kind)
	}
	return nil
}

// Inject adds a fault and returns it with its id.
func (m *Machine) Inject(f Fault) (Fault, error) {
	if err := f.check(); err != nil {
		return f, err
	}
	if f.Kind == Jam {
		n := f.Count
		if n == 0 {
			n = 3
		}
		m.jam(n)
		return f, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faultCount++
	f.ID = fmt.Sprint(m.faultCount)
	a := &activeFault{Fault: f}
	if f.For > 0 {
		a.ends = m.e.cfg.Now().Add(time.Duration(f.For))
	}
	m.faults = append(m.faults, a)
	return f, nil
}

// Faults returns those that are still at work.
func (m *Machine) Faults() []Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	l := []Fault{}
	for _, f := range m.faults {
		l = append(l, f.Fault)
	}
	return l
}

// Heal takes away one fault, or all of them with id "", stuck tasks included.
func (m *Machine) Heal(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = slices.DeleteFunc(m.faults, func(f *activeFault) bool { return id == "" || f.ID == id })
	if id == "" {
		m.tasks = slices.DeleteFunc(m.tasks, func(t *task) bool { return t.stuck })
	}
}

func (m *Machine) expire() {
	now := m.e.cfg.Now()
	m.faults = slices.DeleteFunc(m.faults, func(f *activeFault) bool { return !f.ends.IsZero() && !now.Before(f.ends) })
}

func (f *activeFault) concerns(r *http.Request) bool {
	method, prefix, both := strings.Cut(f.Match, " ")
	if !both {
		if strings.HasPrefix(f.Match, "/") {
			method, prefix = "", f.Match
		}
	}
	return (method == "" || method == r.Method) && strings.HasPrefix(r.URL.Path, prefix)
}

// use finds the first fault of a kind that concerns a request, and counts it as used.
func (m *Machine) use(k Kind, r *http.Request) *Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	for i, f := range m.faults {
		if f.Kind != k || !f.concerns(r) {
			continue
		}
		used := f.Fault
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				m.faults = slices.Delete(m.faults, i, i+1)
			}
		}
		return &used
	}
	return nil
}

// disturb runs the faults that come before the service; it reports whether the request is done with.
func (m *Machine) disturb(w http.ResponseWriter, r *http.Request, status *int) bool {
	if f := m.use(Delay, r); f != nil && !pause(r, time.Duration(f.Delay)) {
		panic(http.ErrAbortHandler)
	}
	if m.use(HangUp, r) != nil {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	if f := m.use(Status, r); f != nil {
		*status = f.Status
		a := failure(f.Status, "GeneralError", fmt.Sprintf("This is the fault %s that was asked for.", f.ID))
		if f.RetryAfter != "" {
			a.header = http.Header{"Retry-After": {f.RetryAfter}}
		}
		(&service{e: m.e}).send(w, r, nil, a)
		return true
	}
	if f := m.use(Redirect, r); f != nil {
		*status = http.StatusTemporaryRedirect
		http.Redirect(w, r, strings.TrimRight(f.Value, "/")+r.URL.RequestURI(), *status)
		return true
	}
	*status = http.StatusOK
	h.Set("Content-Type", "application/json")
	if f := m.use(Body, r); f != nil {
		io.WriteString(w, f.Value)
		return true
	}
	if f := m.use(Huge, r); f != nil {
		io.WriteString(w, `{"Name":"`)
		fill(w, f.Size-int64(len(`{"Name":""}`)))
		io.WriteString(w, `"}`)
		return true
	}
	if m.use(Endless, r) != nil {
		io.WriteString(w, `{"Name":"`)
		fill(w, -1)
		return true
	}
	h.Del("Content-Type")
	*status = 0
	return false
}

// fill writes n letters, or letters until nobody reads them any more.
func fill(w io.Writer, n int64) {
	block := []byte(strings.Repeat("a", 32<<10))
	for n != 0 {
		b := block
		if n > 0 {
			b = block[:min(n, int64(len(block)))]
			n -= int64(len(b))
		}
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// pause waits, unless the client goes away or the emulator is closed first.
func pause(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// distort runs the faults that change an answer.
func (m *Machine) distort(r *http.Request, h http.Header, body object) {
	if _, has := body["PowerState"]; has && strings.Contains(r.URL.Path, "/Systems/") {
		if f := m.use(LiePower, r); f != nil {
			body["PowerState"] = f.Value
		}
	}
	if where := h.Get("Location"); where != "" {
		if f := m.use(AbsoluteLocation, r); f != nil {
			base := f.Value
			if base == "" {
				base = (&url.URL{Scheme: map[bool]string{true: "https", false: "http"}[r.TLS != nil], Host: r.Host}).String()
			}
			h.Set("Location", strings.TrimRight(base, "/")+where)
		}
	}
	if body != nil && r.Method == http.MethodGet {
		if f := m.use(ForeignLink, r); f != nil {
			relink(body, strings.TrimRight(f.Value, "/"))
		}
	}
}

func relink(v any, base string) {
	switch v := v.(type) {
	case object:
		for k, x := range v {
			if s, is := x.(string); is && (k == "@odata.id" || k == "target" || k == "TaskMonitor") {
				v[k] = base + s
			}
			relink(x, base)
		}
	case []object:
		for _, x := range v {
			relink(x, base)
		}
	}
}

// drip sends an answer slowly, where that fault is at work.
func (m *Machine) drip(w http.ResponseWriter, r *http.Request, b []byte) bool {
	f := m.use(Drip, r)
	if f == nil {
		return false
	}
	c := http.NewResponseController(w)
	for i := range b {
		if _, err := w.Write(b[i : i+1]); err != nil || c.Flush() != nil || !pause(r, time.Duration(f.Delay)) {
			break
		}
	}
	return true
}
