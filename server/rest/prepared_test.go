package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// oddNodes are nodes whose fields try what a row may hold.
func oddNodes() []conductor.Node {
	yes := true
	node := func(i int) conductor.Node {
		return conductor.Node{UUID: conductor.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)), Driver: "redfish", State: state.Enroll, Created: now, StateSince: now}
	}
	bare, full, hostile, waiting, cleaning, stranger := node(1), node(2), node(3), node(4), node(5), node(6)
	full.Name, full.State, full.Power, full.Owner, full.Lessee = "n2", state.Active, conductor.PowerOn, "p", "q"
	full.DriverInfo = map[string]any{"redfish_address": "https://192.0.2.1", "redfish_password": conductor.Masked, "canary": "canary-1", "deep": map[string]any{"api_token": "canary-2"}}
	full.InstanceInfo = map[string]any{"image_url": "canary-3", "display_name": "web <1> & \"2\"", "list": []any{"https://u:canary-4@h/"}}
	full.Properties, full.Traits, full.AutomatedClean, full.SecureBoot = map[string]any{"cpus": 4, "ratio": 0.5}, []string{"CUSTOM_A"}, &yes, &yes
	full.InstanceUUID, full.Allocation, full.Updated = "11111111-1111-4111-8111-111111111111", "11111111-1111-4111-8111-111111111111", now.Add(1500*time.Millisecond)
	full.Interfaces = map[string]string{"inspect": "no-inspect"}
	full.Boot, full.Lease = &conductor.Boot{AgentVersion: "1.2"}, &conductor.Lease{Holder: conductor.HolderBootDevice, Number: 3, Since: now}
	hostile.Name, hostile.Description, hostile.LastError = "n3", "quote \" back\\slash \u2028 é \x00 \xff", strings.Repeat("long ", 3000)
	hostile.Unverified, hostile.PowerTarget, hostile.State = &conductor.Unverified{Why: "restored"}, conductor.PowerOff, state.Available
	waiting.State, waiting.Target = state.InspectWait, state.Manageable
	cleaning.State, cleaning.Target = state.Cleaning, state.Available
	stranger.Driver, stranger.DriverInfo = "gone", map[string]any{"any": "canary-5"}
	beating, silent := node(7), node(8)
	beating.State, beating.Ramdisk = state.Available, &conductor.Ramdisk{Token: []byte("canary-6"), Given: now.Add(-time.Minute), URL: "http://192.0.2.7:9999", Version: "9.1", Status: "start", Message: "<m>"}
	silent.Ramdisk = &conductor.Ramdisk{Token: []byte("canary-7"), Given: now.Add(time.Nanosecond)} // heard before it got this token
	return []conductor.Node{bare, full, hostile, waiting, cleaning, stranger, beating, silent}
}

// A node in a list is the same to the byte as the node shown by itself, in every version, whether its row was prepared
// or not; and nothing secret is in either.
func TestI22_PreparedRowsShowWhatTheNodeShows(t *testing.T) {
	s := newServer(t)
	s.nodes = oddNodes()
	s.backend.records = []conductor.StepRecord{{Step: step.Step{Name: "deploy.erase_devices"}, State: conductor.StepStarted}}
	prepared := s.rows
	for v := api.MinVersion; v <= api.MaxVersion; v++ {
		header := api.HeaderVersion + ": " + v.String()
		for _, fields := range []string{"", "uuid,power_state,target_provision_state", "links,reservation,conductor_group", "clean_step,name", "driver_internal_info"} {
			query, single := "/v1/nodes/detail", ""
			if fields != "" {
				if v < 46 {
					continue
				}
				query, single = "/v1/nodes?fields="+fields, "?fields="+fields
			}
			for _, rows := range []*nodewire.Preparer{prepared, nil} {
				s.rows = rows
				got := s.do("GET", query, "", header)
				if got.Code != 200 || strings.Contains(got.Body.String(), "canary-") {
					t.Fatalf("%s, %s: %d %s", v, query, got.Code, got.Body)
				}
				var list struct{ Nodes []json.RawMessage }
				if err := json.Unmarshal(got.Body.Bytes(), &list); err != nil || len(list.Nodes) != len(s.nodes) {
					t.Fatalf("%s, %s: %d nodes, %v", v, query, len(list.Nodes), err)
				}
				for i, n := range s.nodes {
					one := s.do("GET", "/v1/nodes/"+string(n.UUID)+single, "", header)
					if string(list.Nodes[i]) != one.Body.String() {
						t.Fatalf("%s, %s, prepared %t:\nlisted %s\nshown  %s", v, query, rows != nil, list.Nodes[i], one.Body)
					}
				}
			}
		}
	}
}

// Rows of other rules are not shown, and other rules of what is secret are another form.
func TestI22_RowsOfOtherRulesAreNotShown(t *testing.T) {
	s := newServer(t)
	again, err := nodewire.NewPreparer(s.Drivers())
	if err != nil || again.Form() != s.rows.Form() {
		t.Fatalf("the same drivers give %s, then %s: %v", s.rows.Form(), again.Form(), err)
	}
	other, err := nodewire.NewPreparer([]conductor.Driver{secretive{}})
	if err != nil || other.Form() == s.rows.Form() {
		t.Fatalf("another driver gives the form %s too: %v", other.Form(), err)
	}
	s.nodes, s.rows = oddNodes(), other
	if a := s.want(s.do("GET", "/v1/nodes", ""), 200); len(a.body["nodes"].([]any)) != len(s.nodes) {
		t.Errorf("listed %v", a.body)
	}
}

type secretive struct{ redfish }

func (secretive) SecretKeys() []string { return []string{"redfish_username"} }

// A node that is deleted while its step is looked up leaves a list that is whole.
func TestNodeDeletedWhileListed(t *testing.T) {
	for _, gone := range [][]int{{1}, {0}, {2}, {0, 1, 2}, {1, 2}} {
		s := newServer(t)
		all := oddNodes()[:3]
		for i := range all {
			all[i].State = state.Cleaning
		}
		s.nodes = all
		s.vanish = map[conductor.NodeID]bool{}
		for _, i := range gone {
			s.vanish[all[i].UUID] = true
		}
		a := s.want(s.do("GET", "/v1/nodes/detail", ""), 200)
		if got := len(a.body["nodes"].([]any)); got != 3-len(gone) {
			t.Errorf("without %v there are %d nodes", gone, got)
		}
	}
}

func TestDamagedRowIsAnError(t *testing.T) {
	s := newServer(t)
	s.nodes = oddNodes()[:1]
	for cut := 1; cut < 60; cut += 7 {
		s.cut = cut
		s.want(s.do("GET", "/v1/nodes/detail", ""), 500)
	}
}

func TestPagesOfPreparedRows(t *testing.T) {
	s := newServer(t)
	s.nodes = oddNodes()
	var got []string
	path := "/v1/nodes?limit=4&fields=uuid"
	for path != "" {
		a := s.want(s.do("GET", path, ""), 200)
		for _, n := range a.body["nodes"].([]any) {
			got = append(got, n.(map[string]any)["uuid"].(string))
		}
		next, _ := a.body["next"].(string)
		path = strings.TrimPrefix(next, "http://127.0.0.1:6385")
	}
	if len(got) != len(s.nodes) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("pages give %v", got)
	}
	if a := s.want(s.do("GET", "/v1/nodes?conductor=elsewhere", ""), 200); a.Body.String() != `{"nodes":[]}` {
		t.Errorf("another conductor's nodes: %s", a.Body)
	}
	s.nodes = nil
	if a := s.want(s.do("GET", "/v1/nodes", ""), 200); !maps.EqualFunc(a.body, map[string]any{"nodes": []any{}}, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("an empty list: %s", a.Body)
	}
}

// A list that is sent in parts is the same as its nodes shown one by one, whatever was sent before it.
func TestListsInParts(t *testing.T) {
	s := newServer(t)
	for i := range 200 {
		n := oddNodes()[i%8]
		n.UUID, n.Name = conductor.NodeID(fmt.Sprintf("00000000-0000-4000-8001-%012d", i)), ""
		n.Description = strings.Repeat(string(rune('a'+i%26)), 40*i)
		s.nodes = append(s.nodes, n)
	}
	s.nodes[120].Description = strings.Repeat("long", 200_000)
	for range 2 {
		got := s.do("GET", "/v1/nodes/detail", "")
		var list struct{ Nodes []json.RawMessage }
		if err := json.Unmarshal(got.Body.Bytes(), &list); err != nil || len(list.Nodes) != len(s.nodes) {
			t.Fatalf("%d nodes, %v", len(list.Nodes), err)
		}
		for i, n := range s.nodes {
			if one := s.do("GET", "/v1/nodes/"+string(n.UUID), ""); string(list.Nodes[i]) != one.Body.String() {
				t.Fatalf("node %d:\nlisted %s\nshown  %s", i, list.Nodes[i], one.Body)
			}
		}
	}
}
