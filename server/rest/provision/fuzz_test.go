package provision

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// FuzzZ5_GivenConfigDrives: whatever stands in the place of a config drive, it is an image within the bounds or files of known
// names, or refused with the reason.
func FuzzZ5_GivenConfigDrives(f *testing.F) {
	pack := func(image []byte) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(image)
		_ = z.Close()
		return base64.StdEncoding.EncodeToString(b.Bytes())
	}
	iso := make([]byte, 40<<10)
	copy(iso[0x8001:], "CD001")
	for _, text := range []string{`"` + pack(iso) + `"`, `"` + pack(iso[:100]) + `"`, `"` + pack(iso)[:50] + `"`, `"http://x"`, `""`, `{}`, `{"user_data": ["a", {"b": null}]}`,
		`{"meta_data": {"uuid": 1}, "network_data": {}, "vendor_data": {"a": []}}`, `{"meta_data": "x"}`, `{"../etc/passwd": {}}`, `7`, `null`} {
		f.Add(text, uint16(110))
	}
	names := []string{"openstack/latest/meta_data.json", "openstack/latest/network_data.json", "openstack/latest/user_data", "openstack/latest/vendor_data2.json"}
	f.Fuzz(func(t *testing.T, text string, version uint16) {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		d, err := configDrive(v, api.Version(version))
		if err != nil {
			if f := fault.From(err); f.Reason != fault.ConfigDrive && f.Reason != fault.RequestVersion || f.Hint == "" || d != nil {
				t.Fatalf("%.200s: %v", text, err)
			}
			return
		}
		if d.Files == nil && (len(d.Image) > maxDrive || len(d.Image) < 0x8006 || !strings.HasPrefix(string(d.Image[0x8001:]), "CD001")) {
			t.Fatalf("%.200s is an image of %d bytes", text, len(d.Image))
		}
		for name := range d.Files {
			if !slices.Contains(names, name) {
				t.Fatalf("%.200s has the file %q", text, name)
			}
		}
	})
}
