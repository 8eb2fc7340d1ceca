package raid

import (
	"encoding/json"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/softraid"
)

// FuzzZ1_RAIDConfigurations: whatever object is given for a target, it is one that can be built or refused with the reason; and
// what software RAID makes of one that is taken keeps to its bounds.
func FuzzZ1_RAIDConfigurations(f *testing.F) {
	for _, text := range []string{`{}`, `{"logical_disks": []}`, `{"logical_disks": [{"raid_level": "1", "size_gb": 100}]}`, `{"logical_disks": [{"raid_level": "1+0", "size_gb": "MAX", "controller": "software", "physical_disks": [{"size": "> 100"}, {"wwn": "x"}]}]}`,
		`{"logical_disks": [{"raid_level": "1", "size_gb": "MAX", "controller": "software"}, {"raid_level": "0", "size_gb": 1e300, "volume_name": "", "is_root_volume": 1, "controller": "software"}]}`,
		`{"logical_disks": [null]}`, `{"logical_disks": {"a": 1}}`, `{"logical_disks": [{"raid_level": ["1"], "size_gb": -1.5}]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c map[string]any
		if json.Unmarshal([]byte(text), &c) != nil {
			return
		}
		err := Check(c)
		if err != nil && (!fault.Has(err, fault.RequestInvalid) || fault.From(err).Hint == "") {
			t.Fatalf("%s: %v", text, err)
		}
		volumes, soft := softraid.Parse(c)
		if soft != nil {
			if !fault.Has(soft, fault.RequestInvalid) || len(volumes) > 0 {
				t.Fatalf("%s: %d volumes and %v", text, len(volumes), soft)
			}
			return
		}
		if err != nil && len(volumes) > 0 {
			t.Fatalf("%s is refused as a target (%v), and software RAID would build %d volumes of it", text, err, len(volumes))
		}
		roots, names := 0, map[string]bool{}
		for _, v := range volumes {
			if v.Bytes < 0 || v.Bytes>>30<<30 != v.Bytes || v.Name == "" || names[v.Name] || v.Least() < 2 || len(v.Hints) != 0 && len(v.Hints) < v.Least() {
				t.Fatalf("%s gives the volume %+v", text, v)
			}
			names[v.Name] = true
			if v.Root != nil && *v.Root {
				roots++
			}
		}
		if roots > 1 {
			t.Fatalf("%s gives %d root volumes", text, roots)
		}
	})
}
