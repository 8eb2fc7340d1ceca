package rest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// stepsBelow asks for a step on the nodes below a node.
func (s *server) stepsBelow(path, verb, more string) answer {
	s.Helper()
	return s.do("PUT", path+"/states/provision", `{"target": "`+verb+`", "`+verb+`_steps": [{"interface": "power", "step": "reboot"`+more+`}]}`)
}

// TestStepsOnChildNodes checks the form of what an entry says of the nodes below the node, with clean and service alike, and how much
// there may be of it (I25).
func TestStepsOnChildNodes(t *testing.T) {
	const below, absent = "00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-0000000000ff"
	for verb, at := range map[string]state.State{"clean": state.Manageable, "service": state.Active} {
		s := newServer(t)
		path := s.enrolled()
		s.want(s.do("POST", "/v1/nodes", `{"uuid": "`+below+`", "driver": "redfish", "parent_node": "n1"}`), 201)
		s.nodes[0].State = at
		for more, want := range map[string]*step.Children{
			``:                                  nil,
			`, "order": 3`:                      nil,
			`, "order": "3"`:                    nil,
			`, "execute_on_child_nodes": false`: nil,
			`, "execute_on_child_nodes": false, "limit_child_node_execution": ["x"]`:                                              nil,
			`, "execute_on_child_nodes": true`:                                                                                    {All: true},
			`, "execute_on_child_nodes": true, "limit_child_node_execution": []`:                                                  {All: true},
			`, "execute_on_child_nodes": true, "limit_child_node_execution": ["` + strings.ToUpper(below) + `", "` + below + `"]`: {Only: []string{below}},
		} {
			s.provision = nil
			s.want(s.stepsBelow(path, verb, more), 202)
			wanted := s.provision[0].CleanSteps
			if verb == "service" {
				wanted = s.provision[0].ServiceSteps
			}
			got, _ := json.Marshal(wanted[0].Children)
			if expected, _ := json.Marshal(want); string(got) != string(expected) || wanted[0].Name != "power.reboot" {
				t.Errorf("%s %s: %s on %s, expected %s", verb, more, wanted[0].Name, got, expected)
			}
		}
		for more, status := range map[string]int{
			`, "execute_on_child_nodes": "true"`: 400, `, "execute_on_child_nodes": null`: 400, `, "execute_on_child_nodes": ["` + below + `"]`: 400,
			`, "limit_child_node_execution": "` + below + `"`: 400, `, "execute_on_child_nodes": true, "limit_child_node_execution": ["n1"]`: 400,
			`, "execute_on_child_nodes": true, "limit_child_node_execution": [5]`:                                                             400,
			`, "execute_on_child_nodes": true, "limit_child_node_execution": ["` + absent + `"]`:                                              404,
			`, "execute_on_child_nodes": true, "limit_child_node_execution": ["` + below + strings.Repeat(`", "`+below, serve.MaxPage) + `"]`: 400,
			`}` + strings.Repeat(`, {"interface": "power", "step": "reboot"}`, serve.MaxPage) + `, {"interface": "power", "step": "reboot"`:   400,
		} {
			s.provision = nil
			if s.want(s.stepsBelow(path, verb, more), status); len(s.provision) != 0 {
				t.Errorf("%s %s is carried out", verb, more)
			}
		}
	}
	s := newServer(t)
	s.enrolled()
	s.nodes[0].State = state.Available
	s.want(s.do("PUT", first+"/states/provision", `{"target": "active", "deploy_steps": [{"interface": "power", "step": "reboot", "args": {}, "priority": 5, "execute_on_child_nodes": true}]}`), 400)
}

// TestI26_APlanOnChildNodesNeedsThemToBeSeen: who may read a plan may read it of what he may not ask for, for nodes that he may see.
func TestI26_APlanOnChildNodesNeedsThemToBeSeen(t *testing.T) {
	for name, status := range map[string]int{"lent": 200, "leased": 200, "foreign": 404, "free": 404} {
		for _, limit := range []bool{true, false} {
			s := tenants(t, access.Grant{Role: observer, Project: "blue"})
			child := s.byName(name)
			child.Parent = s.nodes[0].UUID
			entry := `{"interface": "power", "step": "reboot", "execute_on_child_nodes": true`
			if limit {
				entry += `, "limit_child_node_execution": ["` + string(child.UUID) + `"]`
			}
			s.want(s.do("GET", "/v1/nodes/own/plan?target=clean&steps="+url.QueryEscape("["+entry+"}]"), ""), status)
		}
	}
}

// TestI26_OfStepsOnChildNodesThoseAreShownThatMayBeSeen: an administrator asked for them on all nodes below, and on some by name.
func TestI26_OfStepsOnChildNodesThoseAreShownThatMayBeSeen(t *testing.T) {
	for project, names := range map[string][]string{"blue": {"lent", "leased"}, "": {"lent", "leased", "foreign", "free"}} {
		s := tenants(t, access.Grant{Role: observer, Project: project})
		var all []string
		var stored []any // as it comes from the store
		for _, name := range []string{"lent", "leased", "foreign", "free"} {
			all, stored = append(all, string(s.byName(name).UUID)), append(stored, string(s.byName(name).UUID))
		}
		var shown []string
		for _, name := range names {
			shown = append(shown, string(s.byName(name).UUID))
		}
		s.nodes[0].State = state.CleanWait
		reboot := step.Step{Name: "power.reboot", Where: step.Server}
		s.records = []conductor.StepRecord{{Step: reboot, State: conductor.StepStarted, Children: &step.Children{Only: all},
			Result: &step.Result{Data: map[string]any{step.ChildrenDone: stored, step.ChildFailed: all, "nodes_else": stored[0]}}}}
		data := s.want(s.do("GET", "/v1/nodes/own/steps", ""), 200).body["steps"].([]any)[0].(map[string]any)["result"].(map[string]any)["data"].(map[string]any)
		if want := fmt.Sprint(shown); fmt.Sprint(data[step.ChildrenDone]) != want || fmt.Sprint(data[step.ChildFailed]) != want || data["nodes_else"] != all[0] {
			t.Errorf("%q is shown %v, expected %s", project, data, want)
		}
		running := s.want(s.do("GET", "/v1/nodes/own", ""), 200).body["clean_step"].(map[string]any)
		if fmt.Sprint(running["limit_child_node_execution"]) != fmt.Sprint(shown) {
			t.Errorf("%q is shown %v", project, running)
		}
	}
}

// byName is one of the tenants' nodes.
func (s *server) byName(name string) *conductor.Node {
	s.Helper()
	i := slices.IndexFunc(s.nodes, func(n conductor.Node) bool { return n.Name == name })
	return &s.nodes[i]
}

// TestI26_StepsOnChildNodesNeedTheVerbsRightThere asks for a step on nodes that are others', by name and by being below.
func TestI26_StepsOnChildNodesNeedTheVerbsRightThere(t *testing.T) {
	id := func(name string) string {
		return "00000000-0000-4000-8000-00000000000" + string(rune('1'+slices.IndexFunc(owners, func(o struct {
			node, port, owner, lessee string
			standing                  access.Standing
		}) bool {
			return o.node == name
		})))
	}
	for name, status := range map[string]int{"lent": 202, "both": 202, "leased": 403, "foreign": 404, "free": 404} {
		for _, limit := range []bool{true, false} {
			s := tenants(t, access.Grant{Role: operator, Project: "blue"})
			s.nodes[0].State = state.Manageable
			for i := range s.nodes {
				if string(s.nodes[i].UUID) == id(name) {
					s.nodes[i].Parent = s.nodes[0].UUID
				}
			}
			more := `, "execute_on_child_nodes": true`
			if limit {
				more += `, "limit_child_node_execution": ["` + id(name) + `"]`
			}
			s.want(s.stepsBelow("/v1/nodes/own", "clean", more), status)
			if status != 202 {
				if len(s.provision) != 0 {
					t.Errorf("%s: carried out", name)
				}
				continue
			}
			// One that comes to be below the node later is not meant.
			if on := s.provision[0].CleanSteps[0].Children; on.All || !slices.Equal(on.Only, []string{id(name)}) {
				t.Errorf("%s: on %+v", name, on)
			}
		}
	}
	s := tenants(t, access.Grant{Role: operator, Project: "blue"})
	s.nodes[0].State = state.Manageable
	s.want(s.stepsBelow("/v1/nodes/own", "clean", `, "execute_on_child_nodes": true`), 202)
	if on := s.provision[0].CleanSteps[0].Children; on.All || len(on.Only) != 0 {
		t.Errorf("without nodes below: on %+v", on)
	}
}
