package rest_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// allowed is who may ask for what, written by hand and apart from server/access and from the table of routes.
var allowed = map[string]least{
	"provision":   {system: operator, owner: operator, lessee: admin},
	"power":       {system: operator, owner: operator, lessee: operator},
	"maintenance": {system: operator, owner: operator, lessee: admin},
}

// TestI26_T16_RoleVerbMatrix asks for every verb with a right body, in a state that it leads from, in every role, of a node of
// every standing: it is done for those who may, and has done nothing for anybody else. TestI26_T16_RouteRoleOwnerMatrix asks
// every route, but with bodies that ask for nothing.
func TestI26_T16_RoleVerbMatrix(t *testing.T) {
	type ask struct{ kind, from, method, path, body string }
	var asks []ask
	for _, v := range verbLines(t) {
		asks = append(asks, ask{"provision", slices.Sorted(maps.Keys(v.from))[0], "PUT", "/states/provision", bodyOf(v.target)})
	}
	asks = append(asks, ask{"provision", "active", "PUT", "/states/out_of_service", `{"reason": "fan"}`})
	for _, p := range []string{"power on", "power off", "rebooting", "soft power off", "soft rebooting"} {
		asks = append(asks, ask{"power", "available", "PUT", "/states/power", fmt.Sprintf(`{"target": %q}`, p)})
	}
	asks = append(asks, ask{"maintenance", "available", "PUT", "/maintenance", `{"reason": "fan"}`}, ask{"maintenance", "available", "DELETE", "/maintenance", ""})

	c, cases, granted := newTenancy(t), 0, 0
	for _, x := range asks {
		for _, g := range grants() {
			for i, o := range owners {
				s := c.tenants(t, g)
				n := &s.nodes[i]
				n.State, n.Target, n.LastError = state.State(x.from), "", ""
				n.InstanceInfo = map[string]any{"image_source": "http://192.0.2.1/i"}
				n.Maintenance = x.method == "DELETE"
				before := fmt.Sprintf("%+v", s.nodes)
				a := s.do(x.method, "/v1/nodes/"+o.node+x.path, x.body)
				cases++
				done := len(s.provision) + len(s.power) + len(s.treated)
				if fmt.Sprintf("%+v", s.nodes) != before {
					done++
				}
				want := wanted(allowed[x.kind], g, o.standing, true)
				got := outcome(a)
				if want == access.Granted {
					granted++
					if got != want || a.Code >= 300 || done == 0 {
						t.Errorf("%s %s %s of %s as %q of project %q: %d %s, and %d things were done; it may be asked for", x.method, x.path, x.body, o.node, g.Role, g.Project, a.Code, a.Body, done)
					}
					continue
				}
				if got != want || done != 0 {
					t.Errorf("%s %s %s of %s as %q of project %q: %s, expected %s, and %d things were done: %d %s", x.method, x.path, x.body, o.node, g.Role, g.Project, got, want, done, a.Code, a.Body)
				}
			}
		}
	}
	t.Logf("%d cases, %d of them granted", cases, granted)
}
