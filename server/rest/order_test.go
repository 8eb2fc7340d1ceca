package rest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// A list is sorted by each field that Ironic has in a column, from the field's version on, and by no other.
func TestListsAreSortedByWhatIronicSortsBy(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	no := strings.Fields("properties driver_info extra instance_info driver_internal_info clean_step deploy_step service_step raid_config target_raid_config traits " +
		"network_data chassis_uuid allocation_uuid conductor ports states portgroups volume links")
	for _, f := range api.NodeFields() {
		want := 200
		if slices.Contains(no, f.Name) {
			want = 400
		}
		s.want(s.do("GET", "/v1/nodes?sort_key="+f.Name, ""), want)
		if want == 200 && s.filter.SortKey != f.Name {
			t.Errorf("sort_key=%s asks for %q", f.Name, s.filter.SortKey)
		}
		if iface, ok := strings.CutSuffix(f.Name, "_interface"); ok {
			if list := (redfish{}).Interfaces()[iface]; len(list) > 0 && s.filter.Defaults["redfish"] != list[0] {
				t.Errorf("by %s the default of redfish is %q, expected %s", f.Name, s.filter.Defaults["redfish"], list[0])
			}
		}
		if f.Since > 1 {
			s.want(s.do("GET", "/v1/nodes?sort_key="+f.Name, "", in(int(f.Since)-1)), 406)
		}
	}
	if a := s.do("GET", "/v1/nodes?sort_key=nosuch", "", in(20)); a.Code != 400 || !strings.Contains(a.Body.String(), "provision_state") || strings.Contains(a.Body.String(), "resource_class") {
		t.Errorf("the refusal does not name what can be sorted by: %s", a.Body)
	}
	for path, keys := range map[string]string{"ports": "node_uuid portgroup_uuid extra", "portgroups": "node_uuid properties", "allocations": "node_uuid traits",
		"volume/connectors": "node_uuid extra", "volume/targets": "node_uuid properties", "deploy_templates": "steps", "chassis": "nodes"} {
		for key := range strings.FieldsSeq(keys) {
			s.want(s.do("GET", "/v1/"+path+"?sort_key="+key, ""), 400)
		}
	}
}

// TestI26_OrderTellsNothingThatIsNotShown: who is not shown a field of some nodes of a list can't sort the list by it; of
// the project's own nodes everything is shown.
func TestI26_OrderTellsNothingThatIsNotShown(t *testing.T) {
	hidden := 0
	for _, f := range api.NodeFields() {
		if !f.Sort {
			continue
		}
		for _, g := range grants() {
			if g.None() {
				continue
			}
			s := tenants(t, g)
			seen := g.Sees(access.Object{Owner: "red", Lessee: g.Project}, f.Name)
			for query, want := range map[string]bool{"": seen, "&detail=true": seen, "&lessee=blue": seen, "&project=blue": seen, "&owner=red": seen, "&owner=blue": g.Project == "" || g.Project == "blue"} {
				a := s.do("GET", "/v1/nodes?sort_key="+f.Name+query, "")
				if a.Code == 200 != want || !want && a.Code != 403 {
					t.Errorf("%+v, sort_key=%s%s: status %d, seen %t: %.200s", g, f.Name, query, a.Code, want, a.Body)
				}
				if !want {
					hidden++
				}
			}
		}
	}
	if hidden == 0 {
		t.Error("nothing is hidden")
	}
}

// UUIDs are the same in capital letters, wherever a query names one; and after the one node of an instance comes no page.
func TestUUIDsInQueries(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.want(s.do("POST", "/v1/nodes", `{"driver": "redfish", "instance_uuid": "00000000-0000-4000-8000-00000000000C"}`), 201)
	const upper = "00000000-0000-4000-8000-00000000000C"
	lower := strings.ToLower(upper)
	for _, list := range []string{"/v1/nodes", "/v1/nodes/detail"} {
		a := s.want(s.do("GET", list+"?instance_uuid="+upper+"&limit=1", ""), 200)
		if s.filter.InstanceUUID != lower {
			t.Errorf("%s: asked for the instance %q", list, s.filter.InstanceUUID)
		}
		if a.body["next"] != nil {
			t.Errorf("%s: after the node of an instance comes %v", list, a.body["next"])
		}
		if a := s.want(s.do("GET", list+"?limit=1", ""), 200); a.body["next"] == nil {
			t.Errorf("%s: a full page has no next one: %v", list, slices.Sorted(maps.Keys(a.body)))
		}
	}
	s.do("GET", "/v1/nodes?marker="+upper, "")
	if string(s.filter.After) != lower {
		t.Errorf("marker: asked for what follows %q", s.filter.After)
	}
	s.want(s.do("GET", "/v1/nodes?parent_node="+upper, ""), 200)
	if string(s.filter.Parent) != lower {
		t.Errorf("parent_node: asked for the parts of %q", s.filter.Parent)
	}
	for _, q := range []string{"instance_uuid=", "marker=", "chassis_uuid=x", "instance_uuid=00000000-0000-4000-8000-00000000000"} {
		s.want(s.do("GET", "/v1/nodes?"+q, ""), 400)
	}
}
