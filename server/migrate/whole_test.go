package migrate

import (
	"reflect"
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// What the target serves comes over, and what can't be read is told of (requirement 42: nothing is lost without a word).
func TestNothingServedIsLeftOut(t *testing.T) {
	from, to := old(1), newServer()
	from.objects["nodes"][0]["shard"] = "s1"
	from.objects["portgroups"][0]["physical_network"], from.objects["portgroups"][0]["category"] = "phys", "storage"
	from.objects["deploy_templates"][0]["description"] = "two mirrors"
	from.objects["volume/connectors"] = []Object{{"uuid": uuid(8, 0), "node_uuid": uuid(3, 0), "type": "iqn", "connector_id": "iqn.2026-11.example:a", "extra": Object{}}}
	from.objects["volume/targets"] = []Object{{"uuid": uuid(9, 0), "node_uuid": uuid(3, 0), "volume_type": "iscsi", "boot_index": 0.0, "volume_id": "v1",
		"properties": Object{"target_iqn": "iqn.2026-11.example:t", "auth_password": api.Masked}, "extra": Object{}}}
	to.objects["volume/connectors"], to.objects["volume/targets"] = []Object{}, []Object{}
	plan := Compare(read(t, from), read(t, to), Secrets{"*": {"redfish_password": "secret"}})
	want := map[string]map[string]any{
		"node": {"shard": "s1"}, "port group": {"physical_network": "phys", "category": "storage"}, "deploy template": {"description": "two mirrors"},
		"volume connector": {"type": "iqn", "connector_id": "iqn.2026-11.example:a", "node_uuid": uuid(3, 0)},
		"volume target":    {"volume_type": "iscsi", "boot_index": 0.0, "volume_id": "v1", "properties": map[string]any{"target_iqn": "iqn.2026-11.example:t"}},
	}
	for _, i := range plan.Items {
		for f, v := range want[i.Kind] {
			if !reflect.DeepEqual(i.want[f], v) {
				t.Errorf("%s of the %s is %v, expected %v", f, i.Kind, i.want[f], v)
			}
		}
		if told := slices.Contains(i.Notes, "properties auth_password can't be read from the source and is left out"); told != (i.Kind == "volume target") {
			t.Errorf("%s: notes %q", i.Kind, i.Notes)
		}
		delete(want, i.Kind)
	}
	if len(want) > 0 {
		t.Errorf("not taken over: %v", want)
	}
	var failures []string
	if err := plan.Apply(t.Context(), to, to.options(t, &failures)); err != nil || len(failures) > 0 {
		t.Fatalf("%v, %v", err, failures)
	}
	if len(to.objects["volume/connectors"]) != 1 || len(to.objects["volume/targets"]) != 1 {
		t.Errorf("the target has %v and %v", to.objects["volume/connectors"], to.objects["volume/targets"])
	}
	delete(to.objects, "volume/targets") // an older server
	if p := Compare(read(t, from), read(t, to), nil); !slices.Contains(p.Unserved, "volume target") {
		t.Errorf("not served: %v", p.Unserved)
	}
}
