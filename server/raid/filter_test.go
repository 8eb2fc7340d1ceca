package raid

import (
	"encoding/json"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestFilter(t *testing.T) {
	var c map[string]any
	if err := json.Unmarshal([]byte(`{"logical_disks": [{"volume_name": "a"}, {"volume_name": "r", "is_root_volume": true}, {"volume_name": "b", "is_root_volume": false}]}`), &c); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		root, others bool
		want         string
	}{{true, true, "arb"}, {true, false, "r"}, {false, true, "ab"}, {false, false, ""}} {
		got, err := Filter(c, x.root, x.others)
		names := ""
		list, _ := got["logical_disks"].([]any)
		for _, v := range list {
			names += v.(map[string]any)["volume_name"].(string)
		}
		if names != x.want || (err != nil) != (x.want == "") || err != nil && !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%v: %s, %v", x, names, err)
		}
	}
	if len(c["logical_disks"].([]any)) != 3 {
		t.Error("the target itself was changed")
	}
	for _, none := range []map[string]any{nil, {}, {"logical_disks": []any{}}} {
		if _, err := Filter(none, true, true); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%v: %v", none, err)
		}
	}
}
