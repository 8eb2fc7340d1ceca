package rest_test

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// TestI26_AnAllocationBelowANodeIsItsOwners: whose allocation it is decides, not whose node.
func TestI26_AnAllocationBelowANodeIsItsOwners(t *testing.T) {
	for _, c := range []struct {
		project, node string
		want          [2]int // of GET and DELETE
	}{{"blue", "lent", [2]int{404, 404}}, {"red", "lent", [2]int{200, 204}}, {"blue", "own", [2]int{200, 204}}, {"red", "own", [2]int{404, 404}}, {"", "lent", [2]int{200, 204}}} {
		s := tenants(t, access.Grant{Role: operator, Project: c.project})
		for _, r := range s.beside {
			if a, ok := r.(*conductor.Allocation); ok && a.UUID == s.nodes[s.at("lent")].Allocation {
				a.Owner = "red" // the node's lessee has it
			}
		}
		for i, method := range []string{"GET", "DELETE"} {
			if a := s.do(method, "/v1/nodes/"+c.node+"/allocation", ""); a.Code != c.want[i] {
				t.Errorf("%s of %s's as %q: %d %s, expected %d", method, c.node, c.project, a.Code, a.Body, c.want[i])
			}
		}
	}
}
