package rest_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// verbTable is the table of Ironic's verbs, written down by hand and apart from the code: the verb, the version that
// brought it, and the states it leads from, with the version from which it does where that is a later one.
const verbTable = `
manage    4    enroll, available, clean failed, inspect failed, adopt failed
provide   4    manageable
inspect   6    manageable, inspect failed
active    1    available, deploy failed
deploy    73   available, deploy failed
rebuild   1    active, deploy failed, error
deleted   1    active, wait call-back, deploy failed, error, rescue, rescue wait, rescue failed, unrescue failed, service wait, service failed
undeploy  73   active, wait call-back, deploy failed, error, rescue, rescue wait, rescue failed, unrescue failed, service wait, service failed
clean     15   manageable
adopt     17   manageable, adopt failed
rescue    38   active, rescue, rescue failed, unrescue failed, service failed
unrescue  38   rescue, rescue failed, unrescue failed
abort     13   clean wait, clean hold, deploy hold, inspect wait 41, rescue wait 38, wait call-back 110, service wait 87, service hold 87, service failed 87
unhold    85   clean hold, deploy hold, service hold
service   87   active, service hold, service failed
`

// workerStates are those in which the server itself holds the node.
var workerStates = []string{"verifying", "deploying", "cleaning", "deleting", "inspecting", "adopting", "rescuing", "unrescuing", "servicing"}

type verbLine struct {
	target string
	since  int
	from   map[string]int // state to version
}

func verbLines(t *testing.T) (out []verbLine) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(verbTable)) {
		l := verbLine{from: map[string]int{}}
		words := strings.Fields(line)
		l.target = words[0]
		if _, err := fmt.Sscan(words[1], &l.since); err != nil {
			t.Fatal(err)
		}
		for _, s := range strings.Split(strings.Join(words[2:], " "), ", ") {
			since := l.since
			if i := strings.LastIndex(s, " "); i > 0 {
				if n := 0; func() bool { _, err := fmt.Sscan(s[i+1:], &n); return err == nil }() {
					s, since = s[:i], n
				}
			}
			if !slices.Contains(state.All(), state.State(s)) {
				t.Fatalf("%s leads from %q, which is no state", l.target, s)
			}
			l.from[s] = since
		}
		out = append(out, l)
	}
	return out
}

// deciding is a backend on which verbs are decided as they really are, and nothing comes of them.
type deciding struct{ *backend }

func (d deciding) Provision(ctx context.Context, who conductor.Caller, ident string, p conductor.Provision) error {
	n, err := d.Node(ctx, ident)
	if err != nil {
		return err
	}
	ids := 0
	s := conductor.Snapshot{Node: n, Registry: d.Catalog(""), Timeouts: conductor.DefaultTimeouts(),
		NewID: func() string { ids++; return fmt.Sprint(ids) }, NewSalt: func() []byte { return []byte("salt") }}
	d.provision = append(d.provision, p)
	return decide.Decide(s, conductor.VerbAsked{Caller: who, Ask: p}, now).Refuse
}

// placed puts the node into a state with the work that goes with it.
func (b *backend) placed(at state.State) *conductor.Node {
	n := &b.nodes[0]
	*n = conductor.Node{UUID: n.UUID, Name: n.Name, Driver: n.Driver, State: at, Created: now, StateSince: now, DriverInfo: map[string]any{}, Properties: map[string]any{}, Extra: map[string]any{},
		InstanceInfo: map[string]any{"image_source": "http://images/os.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)}}
	if f, busy := state.FlowOf(at); busy {
		n.Flow = &conductor.Flow{Run: "run", Flow: f.Flow, Phase: conductor.PhaseAgent, Started: now, Booted: true,
			Wait: &conductor.Wait{For: "it", Owner: "agent", Since: now, Deadline: now.Add(time.Hour), Reason: fault.FlowSilent}}
		n.Generation, n.Boot = 1, &conductor.Boot{Generation: 1, Level: api.A1, Redeemed: now}
	}
	return n
}

// bodyOf is a right body for a verb.
func bodyOf(target string) string {
	switch target {
	case "clean":
		return `{"target": "clean", "clean_steps": [{"interface": "management", "step": "reset_bmc"}]}`
	case "service":
		return `{"target": "service", "service_steps": [{"interface": "management", "step": "reset_bmc", "order": 1}]}`
	case "rescue":
		return `{"target": "rescue", "rescue_password": "canary-rescue"}`
	}
	return `{"target": "` + target + `"}`
}

func newDeciding(t *testing.T) *server {
	s := newServer(t)
	s.handler = rest.New(rest.Config{Backend: deciding{s.backend}, Images: s.images, Auth: login.None{}, Hostname: "lab", Started: now, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	s.enrolled()
	return s
}

// TestVerbsByStateAndVersion asks for every verb in every state in every version that changes anything.
func TestVerbsByStateAndVersion(t *testing.T) {
	s := newDeciding(t)
	cases := 0
	for _, l := range verbLines(t) {
		for _, at := range state.All() {
			since, legal := l.from[string(at)]
			for _, v := range []int{1, l.since - 1, l.since, since - 1, since, int(api.MaxVersion)} {
				if v < 1 {
					continue
				}
				want := 202
				switch {
				case v < l.since:
					want = 406
				case !legal && slices.Contains(workerStates, string(at)):
					want = 409
				case !legal:
					want = 400
				case v < since:
					want = 406
				}
				cases++
				s.placed(at)
				a := s.do("PUT", first+"/states/provision", bodyOf(l.target), fmt.Sprintf("%s: 1.%d", api.HeaderVersion, v))
				if a.Code != want {
					t.Errorf("%s in %q in version 1.%d: %d, the table says %d: %s", l.target, at, v, a.Code, want, a.fault())
				}
				if want == 202 && a.Header().Get("Location") != "http://127.0.0.1:6385"+first+"/states" {
					t.Errorf("%s in %q: Location %q", l.target, at, a.Header().Get("Location"))
				}
				if want != 202 && a.fault() == "" {
					t.Errorf("%s in %q: no text", l.target, at)
				}
			}
		}
	}
	if cases < 1800 {
		t.Errorf("only %d cases", cases)
	}
	if a := s.do("PUT", "/v1/nodes/nobody/states/provision", `{"target": "manage"}`); a.Code != 404 {
		t.Errorf("no such node: %d", a.Code)
	}
	if strings.Contains(s.log.String(), "canary-rescue") {
		t.Error("I22: the log holds a rescue's password")
	}
}

// TestVerbsByFlag: what an operator's flags keep from a node.
func TestVerbsByFlag(t *testing.T) {
	s := newDeciding(t)
	flags := map[string]func(*conductor.Node){
		"maintenance": func(n *conductor.Node) { n.Maintenance = true },
		"protected":   func(n *conductor.Node) { n.Protected = true },
		"retired":     func(n *conductor.Node) { n.Retired = true },
	}
	want := map[string]map[string]int{
		"maintenance": {"active": 400, "deploy": 400, "rebuild": 400, "clean": 400, "service": 400, "rescue": 400, "unrescue": 400},
		"protected":   {"deleted": 403, "undeploy": 403, "rebuild": 403},
		"retired":     {"provide": 400},
	}
	for flag, set := range flags {
		for _, l := range verbLines(t) {
			for at := range l.from {
				status := want[flag][l.target]
				if status == 0 {
					status = 202
				}
				if flag == "maintenance" && l.target == "abort" && at == "service failed" {
					status = 409
				}
				set(s.placed(state.State(at)))
				if a := s.do("PUT", first+"/states/provision", bodyOf(l.target)); a.Code != status {
					t.Errorf("%s of a node that is %q and has %s: %d, expected %d: %s", l.target, at, flag, a.Code, status, a.fault())
				}
			}
		}
	}
	// Upstream tells of maintenance before it looks at the state.
	s.placed(state.Enroll).Maintenance = true
	if a := s.do("PUT", first+"/states/provision", bodyOf("active")); a.Code != 400 || !strings.Contains(a.fault(), "maintenance") {
		t.Errorf("active in enroll, in maintenance: %d %s", a.Code, a.fault())
	}
}

// TestVerbsArguments: each argument goes with its verbs, in its versions, and the state is looked at before it.
func TestVerbsArguments(t *testing.T) {
	s := newDeciding(t)
	const reset = `[{"interface": "management", "step": "reset_bmc"}]`
	for _, c := range []struct {
		at     state.State
		body   string
		v      int
		status int
	}{
		{"active", `{"target": "service"}`, 110, 400},
		{"active", `{"target": "service", "service_steps": []}`, 110, 400},
		{"active", `{"target": "service", "service_steps": ` + reset + `}`, 87, 202},
		{"active", `{"target": "service", "service_steps": ` + reset + `, "disable_ramdisk": true}`, 107, 406},
		{"active", `{"target": "service", "service_steps": ` + reset + `, "disable_ramdisk": true}`, 108, 202},
		{"active", `{"target": "service", "service_steps": [{"interface": "management"}]}`, 110, 400},
		{"active", `{"target": "service", "service_steps": [{"interface": "storage", "step": "x"}]}`, 110, 400},
		{"active", `{"target": "service", "service_steps": [{"interface": "network", "step": "x"}]}`, 110, 202}, // found by the worker
		{"active", `{"target": "service", "service_steps": [{"interface": "bios", "step": "x", "order": -1}]}`, 110, 400},
		{"active", `{"target": "service", "service_steps": [{"interface": "bios", "step": "x", "priority": 1}]}`, 110, 400},
		{"active", `{"target": "service", "service_steps": ` + reset + `, "clean_steps": ` + reset + `}`, 110, 400},
		{"active", `{"target": "rescue"}`, 110, 400},
		{"active", `{"target": "rescue", "rescue_password": " \t"}`, 110, 400},
		{"active", `{"target": "rescue", "rescue_password": 7}`, 110, 400},
		{"active", `{"target": "rescue", "rescue_password": "canary-rescue", "disable_ramdisk": true}`, 110, 400},
		{"active", `{"target": "rebuild", "rescue_password": "canary-rescue"}`, 110, 400},
		{"active", `{"target": "deleted", "service_steps": ` + reset + `}`, 110, 400},
		{"manageable", `{"target": "adopt", "configdrive": "x"}`, 110, 400},
		{"manageable", `{"target": "clean", "clean_steps": ` + reset + `, "disable_ramdisk": true}`, 69, 406},
		{"manageable", `{"target": "clean", "clean_steps": [{"interface": "bios", "step": "apply_configuration", "args": {"settings": [{"name": "AdminPassword", "value": "canary"}]}}]}`, 69, 400},
		{"manageable", `{"target": "clean", "clean_steps": ` + reset + `, "runbook": "r"}`, 91, 406},
		{"manageable", `{"target": "provide", "disable_ramdisk": true}`, 110, 400},
		{"cleaning", `{"target": "rescue"}`, 110, 409}, // not for the password's sake
		{"enroll", `{"target": "service"}`, 110, 400},
		{"active", `{"target": "reboot"}`, 110, 400},
		{"active", `{"target": 3}`, 110, 400},
	} {
		s.placed(c.at)
		a := s.do("PUT", first+"/states/provision", c.body, fmt.Sprintf("%s: 1.%d", api.HeaderVersion, c.v))
		if a.Code != c.status {
			t.Errorf("%s in %s, 1.%d: %d, expected %d: %s", c.body, c.at, c.v, a.Code, c.status, a.fault())
		}
		if strings.Contains(a.Body.String(), "canary") {
			t.Errorf("I22: %s answers %s", c.body, a.Body)
		}
	}
	s.backend.provision = nil
	s.placed("active")
	s.want(s.do("PUT", first+"/states/provision", `{"target": "service", "service_steps": [{"interface": "bios", "step": "factory_reset"}, {"interface": "management", "step": "reset_bmc"}], "disable_ramdisk": "true"}`), 202)
	if p := s.backend.provision[0]; len(p.ServiceSteps) != 2 || p.ServiceSteps[0].Name != "bios.factory_reset" || p.ServiceSteps[1].Name != "management.reset_bmc" || !p.NoRamdisk {
		t.Errorf("asked for %+v", p)
	}
}

func TestServiceStepIsShown(t *testing.T) {
	s := newDeciding(t)
	s.placed(state.ServiceWait)
	r, _ := s.Catalog("").Get("management.reset_bmc")
	s.records = []conductor.StepRecord{{ID: "x", Run: "run", Step: r, State: conductor.StepStarted}}
	if got, _ := s.do("GET", first, "").body["service_step"].(map[string]any); got["interface"] != "management" || got["step"] != "reset_bmc" {
		t.Errorf("service_step is %v", got)
	}
	s.placed(state.Active)
	if got, _ := s.do("GET", first, "").body["service_step"].(map[string]any); len(got) != 0 {
		t.Errorf("service_step of an active node is %v", got)
	}
}

func TestOutOfServiceStandsBesideTheVerbs(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.want(s.do("PUT", first+"/states/out_of_service", `{"reason": "smoke"}`), 202)
	s.want(s.do("PUT", first+"/states/out_of_service", ``), 202)
	s.want(s.do("PUT", first+"/states/out_of_service", `{"reason": 1}`), 400)
	s.want(s.do("PUT", first+"/states/provision", `{"target": "out_of_service"}`), 400)
	if !slices.Contains(s.treated, "noauth out of service: smoke") {
		t.Errorf("asked for %q", s.treated)
	}
}

// ready puts the node into a state that the verb leads from.
func (s *server) ready(target string) {
	s.Helper()
	for _, l := range verbLines(s.T) {
		for at := range l.from {
			if l.target == target {
				s.nodes[0].State = state.State(at)
				return
			}
		}
	}
}

// targetOf is the verb that a body asks for.
func targetOf(body string) string {
	_, rest, _ := strings.Cut(body, `"target": "`)
	target, _, _ := strings.Cut(rest, `"`)
	return target
}

// TestRunbooks: its steps in its order, for a node that is approved by a trait of the runbook's name.
func TestRunbooks(t *testing.T) {
	s := newDeciding(t)
	s.want(s.do("POST", "/v1/runbooks", `{"name": "CUSTOM_RB", "disable_ramdisk": true, "steps": [{"interface": "bios", "step": "factory_reset", "order": 2, "args": {}},
		{"interface": "management", "step": "reset_bmc", "order": 1, "args": {}}]}`), 201)
	for _, c := range []struct {
		at      state.State
		body    string
		version string
		traits  []string
		status  int
	}{
		{"active", `{"target": "service", "runbook": "CUSTOM_RB"}`, "1.110", []string{"CUSTOM_RB"}, 202},
		{"manageable", `{"target": "clean", "runbook": "CUSTOM_RB"}`, "1.92", []string{"CUSTOM_A", "CUSTOM_RB"}, 202},
		{"active", `{"target": "service", "runbook": "CUSTOM_RB"}`, "1.91", []string{"CUSTOM_RB"}, 406},
		{"active", `{"target": "service", "runbook": "CUSTOM_RB"}`, "1.110", nil, 400},
		{"active", `{"target": "service", "runbook": "CUSTOM_OTHER"}`, "1.110", []string{"CUSTOM_RB"}, 404},
		{"active", `{"target": "service", "runbook": "", "service_steps": [{"interface": "management", "step": "reset_bmc"}, {"interface": "bios", "step": "factory_reset"}]}`, "1.87", nil, 202},
		{"active", `{"target": "service", "runbook": ""}`, "1.110", []string{"CUSTOM_RB"}, 400},
		{"enroll", `{"target": "manage", "runbook": ""}`, "1.4", nil, 202},
		{"active", `{"target": "service", "runbook": 7}`, "1.110", []string{"CUSTOM_RB"}, 400},
		{"active", `{"target": "service", "runbook": "CUSTOM_RB", "service_steps": [{"interface": "management", "step": "reset_bmc"}]}`, "1.110", []string{"CUSTOM_RB"}, 400},
		{"manageable", `{"target": "provide", "runbook": "CUSTOM_RB"}`, "1.110", []string{"CUSTOM_RB"}, 400},
	} {
		s.backend.provision = nil
		s.placed(c.at).Traits = c.traits
		a := s.do("PUT", first+"/states/provision", c.body, api.HeaderVersion+": "+c.version)
		if a.Code != c.status {
			t.Errorf("%s in %s, %s, traits %v: %d, expected %d: %s", c.body, c.at, c.version, c.traits, a.Code, c.status, a.fault())
			continue
		}
		if c.status != 202 {
			continue
		}
		p := s.backend.provision[0]
		steps := append(p.CleanSteps, p.ServiceSteps...)
		if strings.Contains(c.body, `"runbook": ""`) { // as good as none
			if want := strings.Count(c.body, "interface"); len(steps) != want || p.NoRamdisk {
				t.Errorf("%s: asked for %+v, expected %d steps", c.body, p, want)
			}
			continue
		}
		if len(steps) != 2 || steps[0].Name != "management.reset_bmc" || steps[1].Name != "bios.factory_reset" || !p.NoRamdisk {
			t.Errorf("%s: asked for %+v", c.body, p)
		}
	}
}

// What is owed to a machine is shown with the node, and so is the refusal that follows from it (I8).
func TestI8_WhatIsOwedToAMachineIsShown(t *testing.T) {
	s := newDeciding(t)
	s.placed(state.Manageable)
	s.nodes[0].Owed = &conductor.Owed{Since: s.nodes[0].Created, Run: "r", Tries: 2, Reason: fault.BMCUnreachable, Cause: "no route"}
	got := s.do("GET", first, "").body["driver_internal_info"].(map[string]any)
	if text, _ := got["owed"].(string); !strings.Contains(text, "no route") || !strings.Contains(text, "powered off") {
		t.Errorf("driver_internal_info is %v", got)
	}
	answer := s.want(s.do("PUT", first+"/states/provision", `{"target": "adopt"}`), 409)
	if text := fmt.Sprint(answer.body["error_message"]); !strings.Contains(text, string(fault.NodeNotOff)) || !strings.Contains(text, "bessemer node confirm") {
		t.Errorf("refused with %s", text)
	}
}
