package rest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
)

// A node below another is a change of both: who names a parent has to have the right to set that field of it too. A node
// that is only leased is its owner's to put others below, and a hidden one is not there.
func TestI26_AParentNodeIsJudgedAsTheNode(t *testing.T) {
	for parent, want := range map[string]int{"lent": 200, "both": 200, "leased": 403, "foreign": 400, "free": 400, "absent": 400} {
		for _, byName := range []bool{true, false} {
			s := tenants(t, access.Grant{Role: admin, Project: "blue"})
			id := parent
			if at := s.at(parent); at >= 0 && !byName {
				id = string(s.nodes[at].UUID)
			}
			before := fmt.Sprint(s.nodes)
			for _, op := range []string{"add", "replace"} {
				a := s.do("PATCH", "/v1/nodes/own", `[{"op": "`+op+`", "path": "/parent_node", "value": "`+id+`"}]`)
				if a.Code != want {
					t.Errorf("%s %s as the parent: %d, expected %d: %s", op, id, a.Code, want, a.Body)
				}
			}
			if want != 200 && fmt.Sprint(s.nodes) != before {
				t.Errorf("%s was refused as the parent and something changed", id)
			} else if want == 200 && s.nodes[0].Parent != s.nodes[s.at(parent)].UUID {
				t.Errorf("the parent is %q, expected the UUID of %s: its name may be another's when it is looked up", s.nodes[0].Parent, parent)
			}
			made := len(s.nodes)
			a := s.do("POST", "/v1/nodes", `{"driver": "redfish", "parent_node": "`+id+`"}`)
			if ok := want == 200; ok != (a.Code == 201) || !ok && (a.Code != want || len(s.nodes) != made) {
				t.Errorf("a new node below %s: %d, %d made: %s", id, a.Code, len(s.nodes)-made, a.Body)
			}
		}
	}
	all := tenants(t, access.Grant{Role: operator})
	all.want(all.do("PATCH", "/v1/nodes/own", `[{"op": "add", "path": "/parent_node", "value": "foreign"}]`), 200)
}

// Which chassis there are is told to no project: one is found by the nodes in it that the caller sees.
func TestI26_AHiddenChassisFiltersAsAMissingOne(t *testing.T) {
	s := tenants(t, access.Grant{Role: observer, Project: "blue"})
	mine, foreign, none := owners[0].port, owners[4].port, "00000000-0000-4000-9000-0000000000ff"
	s.nodes[2].Chassis, s.nodes[4].Chassis = mine, foreign
	path := func(id string) string { return "/v1/nodes?chassis_uuid=" + id }
	if a := s.want(s.do("GET", path(mine), ""), 200); len(a.body["nodes"].([]any)) != 1 {
		t.Errorf("the nodes of a chassis with a leased one: %s", a.Body)
	}
	hidden, missing := s.do("GET", path(foreign), ""), s.do("GET", path(none), "")
	if hidden.Code != 404 || missing.Code != 404 || strings.ReplaceAll(hidden.fault(), foreign, none) != missing.fault() {
		t.Errorf("a hidden chassis says %d %q, a missing one %d %q", hidden.Code, hidden.fault(), missing.Code, missing.fault())
	}
	all := tenants(t, access.Grant{Role: observer})
	all.want(all.do("GET", path(foreign), ""), 200)
	all.want(all.do("GET", path(none), ""), 404)
}
