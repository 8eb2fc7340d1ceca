package rest_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// settable is who may set which field of a node, beside those that operators and the owner's operators may set.
var settable = map[string]least{
	"instance_info":   {system: operator, owner: operator, lessee: admin},
	"maintenance":     {system: operator, owner: operator, lessee: admin},
	"extra":           {system: operator, owner: operator, lessee: operator},
	"owner":           {system: admin},
	"shard":           {system: admin},
	"chassis_uuid":    {system: operator},
	"automated_clean": {system: admin},
	"lessee":          {system: operator, owner: admin},
}

// TestI26_T16_PatchIsDecidedByPath patches every field in every role over nodes of every owner, on its own and behind a
// field that everybody may set; a refused patch changes nothing.
func TestI26_T16_PatchIsDecidedByPath(t *testing.T) {
	values := map[api.Kind]string{api.Text: `"x"`, api.UUID: `"00000000-0000-4000-8000-0000000000aa"`, api.Flag: "true", api.Tristate: "true",
		api.Map: `{"a": 1}`}
	c := newTenancy(t)
	for _, f := range api.NodeFields() {
		if !f.Patch {
			continue
		}
		want, special := settable[f.Name]
		if !special {
			want = least{system: operator, owner: operator}
		}
		for _, g := range grants() {
			for _, o := range owners[:4] {
				expect := wanted(want, g, o.standing, true)
				for _, body := range []string{
					fmt.Sprintf(`[{"op": "add", "path": "/%s", "value": %s}]`, f.Name, values[f.Kind]),
					fmt.Sprintf(`[{"op": "add", "path": "/extra/x", "value": 1}, {"op": "add", "path": "/%s", "value": %s}]`, f.Name, values[f.Kind]),
					fmt.Sprintf(`[{"op": "remove", "path": "/%s"}]`, f.Name),
				} {
					s := c.tenants(t, g)
					before := fmt.Sprint(s.nodes)
					a := s.do("PATCH", "/v1/nodes/"+o.node, body)
					if got := outcome(a); got != expect {
						t.Errorf("%s on a node of %q, leased by %q, as %q of %q: %s, expected %s: %d %.300s", body, o.owner, o.lessee, g.Role, g.Project, got, expect, a.Code, a.Body)
					}
					if expect != access.Granted && fmt.Sprint(s.nodes) != before {
						t.Errorf("%s was refused and changed something", body)
					}
				}
			}
		}
	}
}

// TestT16_ANewNodeIsItsMakersProjects: a project's administrator makes nodes of that project, with the fields an owner
// may set, and of no other.
func TestT16_ANewNodeIsItsMakersProjects(t *testing.T) {
	for _, c := range []struct {
		body   string
		status int
	}{
		{`{"driver": "redfish"}`, 201}, {`{"driver": "redfish", "owner": "blue"}`, 201}, {`{"driver": "redfish", "lessee": "red"}`, 201},
		{`{"driver": "redfish", "owner": "red"}`, 403}, {`{"driver": "redfish", "owner": null}`, 403}, {`{"driver": "redfish", "owner": ["blue"]}`, 400},
		{`{"driver": "redfish", "shard": "s"}`, 403}, {`{"driver": "redfish", "automated_clean": false}`, 403},
	} {
		s := tenants(t, access.Grant{Role: admin, Project: "blue"})
		a := s.do("POST", "/v1/nodes", c.body)
		if made := len(s.nodes) - len(owners); c.status == 201 && (a.Code != 201 || made != 1 || s.nodes[len(owners)].Owner != "blue") {
			t.Errorf("%s: %d, %d made: %s", c.body, a.Code, made, a.Body)
		} else if c.status != 201 && (a.Code < 400 || made != 0) {
			t.Errorf("%s: %d, %d made", c.body, a.Code, made)
		}
	}
	s := tenants(t, access.Grant{Role: admin})
	s.want(s.do("POST", "/v1/nodes", `{"driver": "redfish", "owner": "red"}`), 201)
}

// TestT16_APortGoesToANodeOfTheCaller: what a body names is looked at with the caller's rights too.
func TestT16_APortGoesToANodeOfTheCaller(t *testing.T) {
	for _, o := range owners {
		for _, ident := range []string{"node_uuid", "node_ident"} {
			s := tenants(t, access.Grant{Role: admin, Project: "blue"})
			id := string(s.nodes[s.at(o.node)].UUID)
			before := len(s.beside)
			a := s.do("POST", "/v1/ports", `{"address": "52:54:00:00:00:aa", "`+ident+`": "`+id+`"}`)
			want := map[access.Standing]int{access.Owner: 201, access.Lessee: 403, access.Stranger: 400}[o.standing]
			if a.Code != want || (want != 201) != (len(s.beside) == before) {
				t.Errorf("a port by %s of node %s: %d, expected %d: %s", ident, o.node, a.Code, want, a.Body)
			}
		}
	}
	// Lists by a node's name are no way round.
	s := tenants(t, access.Grant{Role: admin, Project: "blue"})
	for _, q := range []string{"/v1/ports?node=foreign", "/v1/ports?node=free", "/v1/events?node=foreign"} {
		if a := s.do("GET", q, ""); a.Code != 404 {
			t.Errorf("%s: %d %s", q, a.Code, a.Body)
		}
	}
	if a := s.want(s.do("GET", "/v1/ports/detail", ""), 200); len(a.body["ports"].([]any)) != 4 {
		t.Errorf("ports %s", a.Body)
	}
}

// TestI27_LogInsAndRefusalsAreRecorded, each once for a while, with the user and the request; those of people who did
// not prove to be a user are not (I24).
func TestI27_LogInsAndRefusalsAreRecorded(t *testing.T) {
	s := tenants(t, access.Grant{Role: observer, Project: "blue"})
	first := s.do("GET", "/v1/nodes", "")
	for range 3 {
		s.do("GET", "/v1/nodes", "")
		s.do("DELETE", "/v1/nodes/own", "")
		s.do("DELETE", "/v1/nodes/foreign", "")
		s.do("GET", "/v1/doctor", "")
	}
	var got []string
	for _, a := range s.recorded {
		got = append(got, fmt.Sprint(a.Act, " ", a.Actor, " ", a.Detail["right"]))
		if !strings.HasPrefix(a.Request, "req-") {
			t.Errorf("%s has the request %q", a.Act, a.Request)
		}
	}
	if text := strings.Join(got, ", "); text != "login ann <nil>, access.denied ann node.delete, access.denied ann server.doctor" {
		t.Errorf("recorded: %s", text)
	}
	if s.recorded[0].Request != first.Header().Get(api.HeaderRequest) || s.recorded[0].Detail["project"] != "blue" {
		t.Errorf("the log-in is %+v", s.recorded[0])
	}
	none := tenants(t, access.Grant{})
	if a := none.do("GET", "/v1/nodes", ""); a.Code != 403 || !strings.Contains(a.fault(), "roles file") {
		t.Errorf("without a role: %d %s", a.Code, a.Body)
	}
	if len(none.recorded) != 1 || none.recorded[0].Act != "access.denied" {
		t.Errorf("recorded: %v", none.recorded)
	}
}

// A name may come to stand for another node between decision and act: what is acted on is the node that was judged.
func TestT16_TheNodeJudgedIsTheNodeActedOn(t *testing.T) {
	s := tenants(t, access.Grant{Role: admin, Project: "blue"})
	s.handler = rest.New(rest.Config{Backend: &renaming{backend: s.backend}, Auth: as{access.Grant{Role: admin, Project: "blue"}}, Now: time.Now,
		Log: slog.New(slog.DiscardHandler)})
	s.want(s.do("PUT", "/v1/nodes/own/maintenance", "{}"), 202)
	for _, n := range s.nodes {
		if n.Maintenance != (n.UUID == "00000000-0000-4000-8000-000000000001") {
			t.Errorf("node %s of %s: maintenance is %v", n.UUID, n.Owner, n.Maintenance)
		}
	}
}

// renaming gives the name that was looked at to a foreign node right after the look.
type renaming struct {
	*backend
	done bool
}

func (r *renaming) Node(ctx context.Context, ident string) (conductor.Node, error) {
	n, err := r.backend.Node(ctx, ident)
	if !r.done {
		r.done = true
		r.mu.Lock()
		r.nodes[0].Name, r.nodes[4].Name = "old", "own"
		r.mu.Unlock()
	}
	return n, err
}
