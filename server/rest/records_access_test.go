package rest_test

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// What a project's user makes is the project's, and names nothing that the project does not see.
func TestI26_WhatAProjectMakesIsItsOwn(t *testing.T) {
	const steps = `"steps": [{"interface": "bios", "step": "s", "order": 1}]`
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"allocations", `{"resource_class": "g"}`, 201}, {"allocations", `{"resource_class": "g", "owner": "blue"}`, 201},
		{"allocations", `{"resource_class": "g", "owner": "red"}`, 403}, {"allocations", `{"resource_class": "g", "candidate_nodes": ["leased", "own"]}`, 201},
		{"allocations", `{"resource_class": "g", "candidate_nodes": ["foreign"]}`, 400}, {"allocations", `{"resource_class": "g", "candidate_nodes": ["absent"]}`, 400},
		{"allocations", `{"node": "own"}`, 201}, {"allocations", `{"node": "foreign"}`, 400}, {"allocations", `{"node": "leased"}`, 403},
		{"runbooks", `{"name": "CUSTOM_R", ` + steps + `}`, 201}, {"runbooks", `{"name": "CUSTOM_R", "public": true, ` + steps + `}`, 403},
		{"runbooks", `{"name": "CUSTOM_R", "owner": "red", ` + steps + `}`, 403},
	} {
		s := tenants(t, access.Grant{Role: admin, Project: "blue"})
		before := len(s.beside)
		a := s.want(s.do("POST", "/v1/"+c.path, c.body), c.status)
		if c.status != 201 {
			if len(s.beside) != before {
				t.Errorf("%s was made", c.body)
			}
			continue
		}
		if owner, _ := s.beside[before].(interface{ OwnedBy() (string, bool) }).OwnedBy(); owner != "blue" || a.body["owner"] != "blue" {
			t.Errorf("%s is of %q", c.body, owner)
		}
	}
	s := tenants(t, access.Grant{Role: admin, Project: "blue"})
	own := "/v1/runbooks/" + owners[0].port
	s.want(s.do("PATCH", own, `[{"op": "add", "path": "/owner", "value": "red"}]`), 403)
	s.want(s.do("PATCH", own, `[{"op": "add", "path": "/public", "value": true}]`), 403)
	s.want(s.do("PATCH", own, `[{"op": "add", "path": "/disable_ramdisk", "value": true}]`), 200)
}

// A list, a filter and a sub-resource tell nothing of what the caller may not see.
func TestI26_ListsOfRecordsShowTheCallersOwn(t *testing.T) {
	s := tenants(t, access.Grant{Role: observer, Project: "blue"})
	for path, n := range map[string]int{"ports": 4, "portgroups": 4, "allocations": 3, "runbooks": 3, "volume/connectors": 4, "volume/targets": 4} {
		a := s.want(s.do("GET", "/v1/"+path, ""), 200)
		if got := len(a.body[path[strings.LastIndex(path, "/")+1:]].([]any)); got != n {
			t.Errorf("%s shows %d, expected %d", path, got, n)
		}
	}
	foreign := owners[4].port
	for _, path := range []string{"/v1/ports?portgroup=", "/v1/ports?node=", "/v1/portgroups?node="} {
		what := foreign
		if !strings.HasSuffix(path, "portgroup=") {
			what = "foreign"
		}
		hidden, missing := s.do("GET", path+what, ""), s.do("GET", path+"absent", "")
		if hidden.Code != 404 || strings.ReplaceAll(hidden.fault(), what, "absent") != missing.fault() {
			t.Errorf("%s: a hidden object says %q, a missing one %q", path, hidden.fault(), missing.fault())
		}
	}
	if s.want(s.do("GET", "/v1/nodes/own/children", ""), 200); s.filter.VisibleTo != "blue" || s.filter.Parent != s.nodes[0].UUID {
		t.Errorf("children are asked for by %+v", s.filter)
	}
	s.beside = append(s.beside, &conductor.Runbook{Head: conductor.Head{UUID: "00000000-0000-4000-9000-0000000000aa"}, Public: true})
	s.want(s.do("GET", "/v1/runbooks/00000000-0000-4000-9000-0000000000aa", ""), 200)
}
