package acts_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// renaming is a server whose operator gives the name n1 to another machine as soon as the command has looked at the
// nodes: u9 is that machine, which nobody asked to touch.
type renaming struct {
	mu     sync.Mutex
	names  map[string]string // UUID to name
	states map[string]state.State
	asked  []string // what was written: "provide u1"
}

func (s *renaming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	ident, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/nodes/"), "/")
	id := ident
	for u, name := range s.names {
		if name == ident {
			id = u
		}
	}
	object := func(id string) map[string]any {
		return map[string]any{"uuid": id, "name": s.names[id], "provision_state": s.states[id], "maintenance": false, "driver": "redfish",
			"driver_info": map[string]any{}, "properties": map[string]any{}, "resource_class": nil}
	}
	rename := func() { s.names = map[string]string{"u1": "old", "u2": "n2", "u9": "n1"} }
	var answer any = map[string]any{}
	switch {
	case r.URL.Path == "/v1/events":
		fmt.Fprintf(w, "event: node\ndata: {\"uuid\": %q}\n\n", r.URL.Query().Get("node"))
		return
	case r.URL.Path == "/v1/nodes":
		answer = map[string]any{"nodes": []any{object("u1"), object("u2"), object("u9")}}
	case r.URL.Path == "/v1/ports":
		answer = map[string]any{"ports": []any{}}
	case r.Method == http.MethodGet && rest == "":
		answer = object(id)
		if ident == id {
			rename()
		}
	case r.Method == http.MethodGet:
		answer = api.StepsAnswer{Node: api.NodeID(id), Name: s.names[id], State: s.states[id]}
	default:
		var p api.Provision
		what := "change"
		if json.Unmarshal(body, &p) == nil && p.Target != "" {
			what = p.Target
			s.states[id] = map[string]state.State{"manage": state.Manageable, "provide": state.Available, "active": state.Active}[p.Target]
		}
		s.asked = append(s.asked, what+" "+id)
		answer = object(id)
		rename()
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// Whoever is given a selected node's name while a command runs is not touched by it: what was shown is acted on, and
// no other machine's disks are erased (requirement 129).
func TestARenamedNodeIsNotConfusedWithAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodes.yaml")
	if err := os.WriteFile(file, []byte("nodes: [{name: n1, driver: redfish}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, x := range map[string]struct {
		at   state.State
		want string
	}{
		"provide n1,n2 --parallel 1 --yes":                                                              {state.Manageable, "provide u1, provide u2"},
		"provide --where name=n1 --yes":                                                                 {state.Manageable, "provide u1"},
		"state set available n1 --yes":                                                                  {state.Enroll, "manage u1, provide u1"},
		"configure n1,n2 --resource-class big --parallel 1 --yes":                                       {state.Enroll, "change u1, change u2"},
		"node set n1,n2 --resource-class big --parallel 1 --yes":                                        {state.Enroll, "change u1, change u2"},
		"node delete n1,n2 --parallel 1 --yes":                                                          {state.Enroll, "change u1, change u2"},
		"register " + file + " --provide --yes":                                                         {state.Enroll, "manage u1, provide u1"},
		"node deploy n1 --image https://192.0.2.1/i --yes --checksum sha256:" + strings.Repeat("a", 64): {state.Available, "change u1, active u1"},
	} {
		s := &renaming{names: map[string]string{"u1": "n1", "u2": "n2", "u9": "other"}, states: map[string]state.State{"u1": x.at, "u2": x.at, "u9": x.at}}
		h := httptest.NewServer(s)
		got := clitest.Run(t, h.URL, false, strings.Fields(command)...)
		h.Close()
		if asked := strings.Join(s.asked, ", "); asked != x.want {
			t.Errorf("bessemer %s: %s, expected %s:\n%s", command, asked, x.want, got)
		}
	}
}
