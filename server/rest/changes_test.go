package rest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func idOf(line string) string { return strings.TrimSpace(strings.TrimPrefix(line, "id: ")) }

// A consumer that is dropped goes on without a gap, and without hearing anything twice (requirements row 25).
func TestEventsResumeWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.enrolled()
		h := s.listening()
		events, cut := h.open("/v1/events", "")
		line(t, events, `"provision_state":"enroll"`)
		at := idOf(line(t, events, "id: "))
		var want []state.State
		move := func(st state.State) {
			s.mu.Lock()
			s.nodes[0].State = st
			s.changes(s.nodes[0], false)
			s.mu.Unlock()
			want = append(want, st)
		}
		var got []string
		for round, states := range [][]state.State{{state.Verifying}, {state.Manageable, state.Cleaning, state.CleanWait}, {state.Cleaning, state.Available}} {
			cut()
			for _, st := range states {
				move(st) // while nobody listens
			}
			if round == 1 { // by query as well as by header
				events, cut = h.open("/v1/events?cursor="+at, "")
			} else {
				events, cut = h.open("/v1/events", at)
			}
			for range states {
				at = idOf(line(t, events, "id: "))
				got = append(got, line(t, events, "data: "))
			}
		}
		cut()
		if len(got) != len(want) {
			t.Fatalf("%d events, expected %d", len(got), len(want))
		}
		for i, st := range want {
			if !strings.Contains(got[i], `"provision_state":"`+string(st)+`"`) {
				t.Errorf("event %d is %s, expected %s", i, got[i], st)
			}
		}
		// A node that went while nobody listened.
		s.mu.Lock()
		s.changes(s.nodes[0], true)
		uuid := string(s.nodes[0].UUID)
		s.nodes = nil
		s.mu.Unlock()
		for _, q := range []string{"", "?node=" + uuid} {
			events, cut = h.open("/v1/events"+q, at)
			line(t, events, `"gone":true`)
			cut()
		}
	})
}

// A cursor that the journal does not reach back to begins anew, and says so.
func TestEventsTellALostCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.enrolled()
		h := s.listening()
		events, cut := h.open("/v1/events", "")
		at := idOf(line(t, events, "id: "))
		cut()
		s.mu.Lock()
		s.changes(s.nodes[0], false)
		s.pruned = 1
		s.mu.Unlock()
		events, cut = h.open("/v1/events", at)
		line(t, events, "event: reset")
		line(t, events, `"name":"n1"`)
		line(t, events, "id: ")
		cut()
		if a := s.do("GET", "/v1/nodes?changed_since="+at, ""); a.Code != 200 { // .0 is the beginning
			t.Errorf("the cursor of the beginning: %d %s", a.Code, a.Body)
		}
		for _, bad := range []string{"x", "!!", strings.Repeat("A", 100), "LTE"} {
			s.want(s.do("GET", "/v1/events?cursor="+bad, ""), 400)
			s.want(s.do("GET", "/v1/nodes?changed_since="+bad, ""), 400)
		}
	})
}

// A client that keeps a copy by changed_since has all nodes, is given only what has changed, and is told what went
// (requirements row 57).
func TestChangedSince(t *testing.T) {
	s := newServer(t)
	for i := range 250 {
		s.want(s.do("POST", "/v1/nodes", fmt.Sprintf(`{"name": "n%d", "driver": "redfish"}`, i)), 201)
		s.changes(s.nodes[i], false)
	}
	mine, moved := map[string]bool{}, 0
	cursor := ""
	sync := func() {
		t.Helper()
		for more := true; more; {
			a := s.want(s.do("GET", "/v1/nodes?limit=100&fields=uuid,provision_state&changed_since="+cursor, ""), 200)
			for _, n := range a.body["nodes"].([]any) {
				mine[n.(map[string]any)["uuid"].(string)] = true
				moved++
			}
			for _, id := range a.body["gone"].([]any) {
				delete(mine, id.(string))
				moved++
			}
			cursor, more = a.body["cursor"].(string), a.body["more"].(bool)
		}
	}
	sync()
	if len(mine) != 250 || moved != 250 {
		t.Fatalf("the first round gave %d nodes in %d moves", len(mine), moved)
	}
	moved = 0
	sync()
	if moved != 0 {
		t.Errorf("%d were given though nothing has changed", moved)
	}
	s.changes(s.nodes[7], false)
	s.changes(s.nodes[7], false)
	s.changes(s.nodes[9], true)
	gone := string(s.nodes[9].UUID)
	s.nodes = append(s.nodes[:9:9], s.nodes[10:]...)
	sync()
	if moved != 2 || mine[gone] || len(mine) != 249 {
		t.Errorf("%d moves, %d nodes", moved, len(mine))
	}
	s.pruned = int64(len(s.journal)) + 1
	if a := s.want(s.do("GET", "/v1/nodes?changed_since="+cursor, ""), 410); !strings.Contains(a.fault(), "begin anew") {
		t.Error(a.fault())
	}
	s.want(s.do("GET", "/v1/nodes?changed_since=&driver=redfish", ""), 400)
}

// Tenants follow their own nodes; one that is theirs no more is gone for them, and what a lessee is not shown is not in
// an event either (I22, I26).
func TestI26_ChangesAreTheCallersOwn(t *testing.T) {
	s := tenants(t, access.Grant{Role: observer, Project: "blue"})
	for _, n := range s.nodes {
		s.changes(n, false)
	}
	moved := s.nodes[0]
	moved.Owner = "red"
	s.changes(moved, false)
	s.journal[len(s.journal)-1].WasOwner = "blue"
	close(s.backend.changed)
	for _, path := range []string{"/v1/events", "/v1/events?cursor=LjA"} {
		text := s.do("GET", path, "").Body.String()
		for _, secret := range []string{"canary-error of leased", "canary-error of foreign", "canary-error of free", `"foreign"`, `"free"`} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %s is told: %s", path, secret, text)
			}
		}
		if !strings.Contains(text, "canary-error of lent") || !strings.Contains(text, `"leased"`) {
			t.Errorf("%s: own nodes are not told: %s", path, text)
		}
	}
	s.nodes[0].Owner = "red"
	a := s.want(s.do("GET", "/v1/nodes?changed_since=", ""), 200)
	if got := fmt.Sprint(a.body["gone"], len(a.body["nodes"].([]any))); got != "[00000000-0000-4000-8000-000000000001] 3" {
		t.Errorf("changed_since gives %s", got)
	}
}

// 500 nodes come in one call (requirements row 77), in the order asked for; those that are not there, or not the
// caller's, are named as missing.
func TestBatchGet(t *testing.T) {
	s := newServer(t)
	var ids []string
	for i := range 500 {
		s.want(s.do("POST", "/v1/nodes", fmt.Sprintf(`{"name": "n%d", "driver": "redfish"}`, i)), 201)
		ids = append(ids, `"`+string(s.nodes[i].UUID)+`"`)
	}
	ids[3], ids[4] = `"n3"`, `"nosuch"`
	a := s.want(s.do("POST", "/v1/nodes:batchGet", `{"ids": [`+strings.Join(ids, ",")+`], "fields": ["uuid", "name"]}`), 200)
	nodes := a.body["nodes"].([]any)
	if len(nodes) != 499 || fmt.Sprint(a.body["missing"]) != "[nosuch]" {
		t.Fatalf("%d nodes, missing %v", len(nodes), a.body["missing"])
	}
	for i, at := range map[int]int{0: 0, 3: 3, 4: 5, 498: 499} {
		if got := nodes[i].(map[string]any)["name"]; got != fmt.Sprintf("n%d", at) {
			t.Errorf("entry %d is %v", i, got)
		}
	}
	for _, bad := range []string{`{}`, `{"ids": []}`, `{"ids": "n1"}`, `{"ids": [1]}`, `{"ids": ["a b"]}`, `{"ids": ["n1"], "fields": ["nosuch"]}`, `{"ids": ["n1"], "x": 1}`,
		`{"ids": [` + strings.Repeat(`"n1",`, 1000) + `"n1"]}`} {
		s.want(s.do("POST", "/v1/nodes:batchGet", bad), 400)
	}
	tenant := tenants(t, access.Grant{Role: observer, Project: "blue"})
	a = tenant.want(tenant.do("POST", "/v1/nodes:batchGet", `{"ids": ["own", "foreign", "leased"]}`), 200)
	if text := a.Body.String(); len(a.body["nodes"].([]any)) != 2 || fmt.Sprint(a.body["missing"]) != "[foreign]" || strings.Contains(text, "canary-address.leased") {
		t.Errorf("a tenant is given %s", text)
	}
}
