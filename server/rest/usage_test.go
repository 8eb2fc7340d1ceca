package rest_test

import (
	"context"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Usage gives a row of each project, as the store does.
func (b *backend) Usage(_ context.Context, project string) (out []conductor.Usage, err error) {
	for _, u := range []conductor.Usage{{Class: "big", Nodes: 1}, {Project: "blue", Class: "big", Nodes: 3, Used: 1, Available: 2, Lent: 1}, {Project: "red", Nodes: 1}} {
		if project == "" || u.Project == project {
			out = append(out, u)
		}
	}
	return out, nil
}

// Users of a project are told of their own share, those without one of all (row 69).
func TestI26_UsageIsTheCallersOwn(t *testing.T) {
	for project, want := range map[string]int{"": 3, "blue": 1, "red": 1, "green": 0} {
		s := tenants(t, access.Grant{Role: observer, Project: project})
		rows := s.want(s.do("GET", "/v1/usage", ""), 200).body["usage"].([]any)
		if len(rows) != want {
			t.Errorf("project %q is told %v", project, rows)
		}
		for _, r := range rows {
			if of := r.(map[string]any)["project"]; project != "" && of != project {
				t.Errorf("project %q is told of %v", project, of)
			}
		}
	}
	s := tenants(t, access.Grant{Role: observer, Project: "blue"})
	row := s.do("GET", "/v1/usage", "").body["usage"].([]any)[0].(map[string]any)
	for key, want := range map[string]any{"project": "blue", "resource_class": "big", "nodes": 3.0, "used": 1.0, "available": 2.0, "lent": 1.0} {
		if row[key] != want {
			t.Errorf("%s is %v, expected %v", key, row[key], want)
		}
	}
}
