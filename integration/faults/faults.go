// Package faults makes an HTTP service misbehave on request, as BMCs do by themselves: slow, wrong, lying, gone. A Set
// holds the faults of one BMC; the service asks it at three places: before it answers (Disturb), when the answer is made
// (Distort) and when it is sent (Drip). What a fault means to an order, such as that it is ignored, the service does itself.
// Start reading at Kind.
package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
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
	HangUp           Kind = "hang_up"           // hang up without an answer
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
	Jam              Kind = "jam"               // Count stuck tasks (default 3) hold up the job queue until deleted; Value "stubborn": until the BMC restarts
	CutAfter         Kind = "cut_after"         // the order is carried out, then the connection ends without an answer
	Twice            Kind = "twice"             // the order is carried out twice
	Restart          Kind = "restart"           // the BMC restarts instead of answering: sessions, tasks and the medium are forgotten
	Edit             Kind = "edit"              // Value: a JSON merge patch (RFC 7396) that is laid over each object read
	Waits            Kind = "waits"             // the task of a firmware update stays Pending until the machine's next start
	Clock            Kind = "clock"             // Delay: the BMC's clock is so far ahead, until it is set
)

func kinds() []Kind {
	return []Kind{Delay, Status, HangUp, Body, Endless, Huge, Drip, Redirect, ForeignLink, AbsoluteLocation, LiePower, Ignore, Async, TaskFails, Jam, CutAfter, Twice, Restart, Edit, Waits, Clock}
}

// Fault makes one machine's BMC misbehave. At the shared address it concerns the paths with the machine's name; at the
// machine's own address, all.
type Fault struct {
	ID         string   `json:"id,omitempty"` // given by the emulator
	Kind       Kind     `json:"kind"`
	Match      string   `json:"match,omitempty"` // "GET /redfish/v1/Systems": method and prefix of the path, either may be missing
	Skip       int      `json:"skip,omitempty"`  // requests that it lets pass before the first that it concerns
	Count      int      `json:"count,omitempty"` // requests it concerns; 0: all
	For        Duration `json:"for,omitzero"`    // how long it lasts; 0: until it is taken away
	Delay      Duration `json:"delay,omitzero"`
	Status     int      `json:"status,omitempty"`
	RetryAfter string   `json:"retry_after,omitempty"`
	Value      string   `json:"value,omitempty"`
	Size       int64    `json:"size,omitempty"`
}

type active struct {
	Fault
	ends time.Time
}

// Set is the faults of one BMC. Its methods may be called from anywhere.
type Set struct {
	now func() time.Time

	mu   sync.Mutex
	list []*active
	made int
}

// NewSet is a set with nothing in it.
func NewSet(now func() time.Time) *Set { return &Set{now: now} }

// Check says what is wrong with a fault.
func (f Fault) Check() error {
	switch {
	case !slices.Contains(kinds(), f.Kind):
		return fmt.Errorf("fault kind %q is unknown; known are %v", f.Kind, kinds())
	case f.Kind == Status && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("fault status: status %d, a number from 400 to 599 is expected", f.Status)
	case f.Kind == Huge && f.Size <= 0:
		return errors.New("fault huge: size is missing")
	case f.Count < 0 || f.Skip < 0 || f.Delay < 0 && f.Kind != Clock || f.For < 0:
		return errors.New("fault: skip, count, delay and for can't be negative")
	case f.Kind == Edit && json.Unmarshal([]byte(f.Value), new(map[string]any)) != nil:
		return errors.New("fault edit: value is no JSON object")
	case f.Kind == Jam && f.Value != "" && f.Value != "stubborn":
		return fmt.Errorf("fault jam: value is %q, expected stubborn or nothing", f.Value)
	case (f.Kind == Redirect || f.Kind == ForeignLink) && f.Value == "":
		return fmt.Errorf("fault %s: value is missing, a URL is expected", f.Kind)
	}
	return nil
}

// Add puts a fault to work and returns it with its id.
func (s *Set) Add(f Fault) (Fault, error) {
	if err := f.Check(); err != nil {
		return f, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	f.ID = fmt.Sprint(s.made)
	a := &active{Fault: f}
	if f.For > 0 {
		a.ends = s.now().Add(time.Duration(f.For))
	}
	s.list = append(s.list, a)
	return f, nil
}

// List returns those that are still at work.
func (s *Set) List() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	l := []Fault{}
	for _, f := range s.list {
		l = append(l, f.Fault)
	}
	return l
}

// Remove takes away one fault, or all of them with id "".
func (s *Set) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(f *active) bool { return id == "" || f.ID == id })
}

func (s *Set) expire() {
	now := s.now()
	s.list = slices.DeleteFunc(s.list, func(f *active) bool { return !f.ends.IsZero() && !now.Before(f.ends) })
}

func (f *active) concerns(r *http.Request) bool {
	method, prefix, both := strings.Cut(f.Match, " ")
	if !both && strings.HasPrefix(f.Match, "/") {
		method, prefix = "", f.Match
	}
	return (method == "" || method == r.Method) && strings.HasPrefix(r.URL.Path, prefix)
}

// Use finds the first fault of a kind that concerns a request, and counts it as used; nil: there is none.
func (s *Set) Use(k Kind, r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	for i, f := range s.list {
		if f.Kind != k || !f.concerns(r) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		used := f.Fault
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				s.list = slices.Delete(s.list, i, i+1)
			}
		}
		return &used
	}
	return nil
}

// Refusal writes the service's form of an error.
type Refusal func(w http.ResponseWriter, r *http.Request, status int, message string)

// Disturb runs the faults that come before the service. It returns the status that was answered; 0 leaves the request to
// the service.
func (s *Set) Disturb(w http.ResponseWriter, r *http.Request, refuse Refusal) (status int) {
	if f := s.Use(Delay, r); f != nil && !pause(r, time.Duration(f.Delay)) {
		panic(http.ErrAbortHandler)
	}
	if s.Use(HangUp, r) != nil {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	if f := s.Use(Status, r); f != nil {
		if f.RetryAfter != "" {
			h.Set("Retry-After", f.RetryAfter)
		}
		refuse(w, r, f.Status, fmt.Sprintf("This is the fault %s that was asked for.", f.ID))
		return f.Status
	}
	if f := s.Use(Redirect, r); f != nil {
		http.Redirect(w, r, strings.TrimRight(f.Value, "/")+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		return http.StatusTemporaryRedirect
	}
	h.Set("Content-Type", "application/json")
	if f := s.Use(Body, r); f != nil {
		io.WriteString(w, f.Value)
		return http.StatusOK
	}
	if f := s.Use(Huge, r); f != nil {
		io.WriteString(w, `{"Name":"`)
		fill(w, f.Size-int64(len(`{"Name":""}`)))
		io.WriteString(w, `"}`)
		return http.StatusOK
	}
	if s.Use(Endless, r) != nil {
		io.WriteString(w, `{"Name":"`)
		fill(w, -1)
		return http.StatusOK
	}
	h.Del("Content-Type")
	return 0
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

// Distort runs the faults that change an answer before it is sent.
func (s *Set) Distort(r *http.Request, h http.Header, body map[string]any) {
	if _, has := body["PowerState"]; has && strings.Contains(r.URL.Path, "/Systems/") {
		if f := s.Use(LiePower, r); f != nil {
			body["PowerState"] = f.Value
		}
	}
	if body != nil && r.Method == http.MethodGet {
		if f := s.Use(Edit, r); f != nil {
			var patch map[string]any
			if json.Unmarshal([]byte(f.Value), &patch) == nil {
				merge(body, patch)
			}
		}
	}
	if where := h.Get("Location"); where != "" {
		if f := s.Use(AbsoluteLocation, r); f != nil {
			base := f.Value
			if base == "" {
				base = (&url.URL{Scheme: map[bool]string{true: "https", false: "http"}[r.TLS != nil], Host: r.Host}).String()
			}
			h.Set("Location", strings.TrimRight(base, "/")+where)
		}
	}
	if body != nil && r.Method == http.MethodGet {
		if f := s.Use(ForeignLink, r); f != nil {
			relink(body, strings.TrimRight(f.Value, "/"))
		}
	}
}

// merge is RFC 7396: null takes a member away, an object is merged, anything else takes the member's place.
func merge(into, patch map[string]any) {
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(into, k)
		case map[string]any:
			old, is := into[k].(map[string]any)
			if !is {
				old = map[string]any{}
			}
			old = maps.Clone(old)
			merge(old, v)
			into[k] = old
		default:
			into[k] = v
		}
	}
}

func relink(v any, base string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if path, is := x.(string); is && (k == "@odata.id" || k == "target" || k == "TaskMonitor") {
				v[k] = base + path
			}
			relink(x, base)
		}
	case []map[string]any:
		for _, x := range v {
			relink(x, base)
		}
	}
}

// Drip sends an answer slowly; it reports whether that fault is at work and the answer is sent.
func (s *Set) Drip(w http.ResponseWriter, r *http.Request, b []byte) bool {
	f := s.Use(Drip, r)
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
