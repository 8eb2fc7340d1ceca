package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// answer is an error answer of the API.
type answer struct {
	status int
	text   string
}

func (a *answer) Error() string { return fmt.Sprintf("status %d: %s", a.status, a.text) }

// ask makes one request of an operator. The request's id comes back once the server has answered well; an error is an
// *answer, or means that none came.
func (s *Site) ask(ctx context.Context, method, path string, body, into any) (request string, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.api()+path, bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(api.HeaderVersion, "1.81")
	resp, err := s.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode >= 300 {
		return "", &answer{resp.StatusCode, string(text)}
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			return "", err
		}
	}
	return resp.Header.Get(api.HeaderRequest), nil
}

// promised copies what the server has confirmed so far.
func (s *Site) promised() Promises {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Promises{Verbs: slices.Clone(s.promises.Verbs), Tallies: maps.Clone(s.promises.Tallies)}
}

// Operators are people at work, one for each node, who drive it round and round: deploy, delete, clean by hand, provide,
// now and then with an abort, and out of every failure by the verbs that are there.
type Operators struct {
	site   *Site
	cancel context.CancelFunc
	wg     sync.WaitGroup
	rest   chan struct{} // closed: each brings its node to rest and ends

	mu     sync.Mutex
	rounds map[string]int    // deployments that came to their end
	last   map[string]string // what each node was last seen as
}

// Work sets the operators to work. Rest or Stop ends it.
func (s *Site) Work(ctx context.Context) *Operators {
	ctx, cancel := context.WithCancel(ctx)
	o := &Operators{site: s, cancel: cancel, rest: make(chan struct{}), rounds: map[string]int{}, last: map[string]string{}}
	for i, m := range s.machines {
		p := &operator{Operators: o, ctx: ctx, node: m.name, byHand: (i + 2) % 3, cleans: i}
		o.wg.Go(p.work)
	}
	return o
}

// Rest lets every operator bring the node to a stable state, and waits for that. What is not at rest within limit is
// the error.
func (o *Operators) Rest(limit time.Duration) error {
	close(o.rest)
	done := make(chan struct{})
	go func() { o.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(limit):
		o.Stop()
		o.mu.Lock()
		defer o.mu.Unlock()
		var open []string
		for n, at := range o.last {
			if !strings.HasPrefix(at, "at rest") {
				open = append(open, n+": "+at)
			}
		}
		slices.Sort(open)
		return fmt.Errorf("not at rest after %s: %s", limit, strings.Join(open, "; "))
	}
}

// Stop sends the operators home.
func (o *Operators) Stop() {
	o.cancel()
	o.wg.Wait()
}

// Rounds is how many deployments have come to their end.
func (o *Operators) Rounds() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.rounds {
		n += r
	}
	return n
}

// operator drives one node.
type operator struct {
	*Operators
	ctx    context.Context
	node   string
	turn   int  // counts the times it left available, by turns to be deployed and to be cleaned by hand
	byHand int  // cleans by hand to come
	cleans int  // counts those with steps out of band
	abort  bool // the clean at work is to be aborted
	aborts int  // counts the cleans that were to be aborted, by turns as soon as may be and while the ramdisk is at a step
	tally  int
}

// node is what an operator looks at.
type node struct {
	State       state.State `json:"provision_state"`
	Maintenance bool        `json:"maintenance"`
	CleanStep   struct {
		Step      string `json:"step"`
		Interface string `json:"interface"` // "deploy": the ramdisk is at it
	} `json:"clean_step"` // at work; none is {}
	LastError string `json:"last_error"`
}

const look = 100 * time.Millisecond // between looks at a node

func (p *operator) work() {
	t := time.NewTicker(look)
	defer t.Stop()
	for p.ctx.Err() == nil {
		var n node
		_, err := p.site.ask(p.ctx, http.MethodGet, "/v1/nodes/"+p.node, nil, &n)
		switch {
		case err != nil:
		case p.resting(n):
			return
		default:
			p.see(fmt.Sprintf("%s (%s)", n.State, n.LastError))
			err = p.act(n)
		}
		// A refusal is a race with the server's own work, or the server is away: the next look tells.
		if a, ok := err.(*answer); ok && a.status != http.StatusConflict && a.status != http.StatusServiceUnavailable {
			p.see(fmt.Sprintf("%s, and the server says %v", n.State, a))
			fmt.Fprintf(p.site.log, "operator of %s: %s, and the server says %v\n", p.node, n.State, a)
		}
		select {
		case <-p.ctx.Done():
		case <-t.C:
		}
	}
}

func (p *operator) see(what string) {
	p.mu.Lock()
	p.last[p.node] = what
	p.mu.Unlock()
}

// resting tells whether the operators are to end and the node is where it may stay.
func (p *operator) resting(n node) bool {
	select {
	case <-p.rest:
	default:
		return false
	}
	if n.State != state.Available && n.State != state.Active {
		return false
	}
	p.see("at rest: " + string(n.State))
	return true
}

// act asks for what leads on from a state.
func (p *operator) act(n node) error {
	if _, busy := state.FlowOf(n.State); n.Maintenance && !busy {
		_, err := p.site.ask(p.ctx, http.MethodDelete, "/v1/nodes/"+p.node+"/maintenance", nil, nil)
		return err
	}
	switch n.State {
	case state.Enroll, state.CleanFail:
		return p.verb("manage", nil)
	case state.Manageable:
		if p.byHand == 0 {
			return p.verb("provide", nil)
		}
		err := p.verb("clean", map[string]any{"clean_steps": p.cleaning()})
		if err == nil {
			if p.abort = p.byHand == 1; p.abort {
				p.aborts++
			}
			p.byHand--
		}
		return err
	case state.Available:
		if p.turn%2 == 0 {
			err := p.deploy()
			if err == nil {
				p.turn++
			}
			return err
		}
		err := p.verb("manage", nil)
		if err == nil {
			p.turn++
			p.byHand = 2
		}
		return err
	case state.Active:
		err := p.verb("deleted", nil)
		if err == nil {
			p.mu.Lock()
			p.rounds[p.node]++
			p.mu.Unlock()
		}
		return err
	case state.DeployFail, state.Error:
		return p.verb("deleted", nil)
	case state.CleanWait:
		if !p.abort || closed(p.rest) || p.aborts%2 == 1 && n.CleanStep.Interface != "deploy" {
			return nil
		}
		err := p.verb("abort", nil)
		if err == nil {
			p.abort = false
		}
		return err
	}
	return nil
}

// cleaning is a clean by hand: something out of band, each time another, and a step of the ramdisk's. The clean that is
// to be aborted comes to its ramdisk at once.
func (p *operator) cleaning() []map[string]any {
	management, erase := map[string]any{"interface": "management", "step": "clear_job_queue"}, map[string]any{"interface": "deploy", "step": "erase_devices_metadata"}
	if p.byHand == 1 {
		return []map[string]any{management, erase, {"interface": "deploy", "step": "erase_devices"}}
	}
	p.cleans++
	name := p.site.cfg.Clean
	if name == "" {
		name = outOfBandSteps[p.cleans%len(outOfBandSteps)]
	}
	kind, act, _ := strings.Cut(name, ".")
	first := map[string]any{"interface": kind, "step": act}
	// The value is given to no other step: by it the BMC's line is this step's.
	switch mine := fmt.Sprintf("%s-%d", p.node, p.cleans); name {
	case "bios.apply_configuration":
		first["args"] = map[string]any{"settings": []map[string]any{{"name": "ServerLabel", "value": mine}}}
		return []map[string]any{management, first, erase}
	case updateStep:
		first["args"] = map[string]any{"settings": []map[string]any{{"component": "bios", "url": p.site.Images() + "/bios/" + mine}}}
	}
	return []map[string]any{first, erase}
}

// outOfBandSteps are what cleans by hand do by turns before the ramdisk's.
var outOfBandSteps = []string{"management.reset_bmc", "bios.apply_configuration", "bios.factory_reset", updateStep}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// verb asks for one and keeps what the server promised.
func (p *operator) verb(target string, more map[string]any) error {
	body := map[string]any{"target": target}
	maps.Copy(body, more)
	request, err := p.site.ask(p.ctx, http.MethodPut, "/v1/nodes/"+p.node+"/states/provision", body, nil)
	if err != nil {
		return err
	}
	p.site.mu.Lock()
	defer p.site.mu.Unlock()
	p.site.promises.Verbs = append(p.site.promises.Verbs, Promise{p.node, target, request})
	return nil
}

// deploy says what to deploy, counting, and then asks for it.
func (p *operator) deploy() error {
	p.tally++
	_, err := p.site.ask(p.ctx, http.MethodPatch, "/v1/nodes/"+p.node, []map[string]any{
		{"op": "add", "path": "/extra/tally", "value": p.tally},
		{"op": "add", "path": "/instance_info", "value": map[string]any{
			"image_source": p.site.api() + "/os.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64),
		}},
	}, nil)
	if err != nil {
		return err
	}
	p.site.mu.Lock()
	p.site.promises.Tallies[p.node] = p.tally
	p.site.mu.Unlock()
	return p.verb("active", map[string]any{"configdrive": map[string]any{"user_data": "x"}})
}
