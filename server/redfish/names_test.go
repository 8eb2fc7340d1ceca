package redfish

import (
	"path"
	"strings"
	"testing"
)

// A BMC that shows nothing of a medium but its name: the medium of an earlier boot, or of an earlier server, is replaced,
// and the one that is in stays (F24).
func TestF24_MediaThatOnlyTheirNameIsShownOf(t *testing.T) {
	const before, now = "http://192.0.2.7:6387/boot/one/bessemer-0123456789abcdef.iso", "http://192.0.2.7:6387/boot/two/bessemer-fedcba9876543210.iso"
	for _, old := range []string{before, "http://192.0.2.7:6387/boot/one/bessemer.iso"} {
		l := newLab(t)
		l.image, l.inserted = old, true
		l.lie = func(p string, o map[string]any) {
			if strings.HasSuffix(p, "/Cd") && o["Image"] != "" {
				o["ImageName"] = path.Base(o["Image"].(string))
				delete(o, "Image")
			}
		}
		b := l.bmc(t)
		for range 2 {
			if err := b.SetMedia(t.Context(), now); err != nil || l.image != now {
				t.Fatalf("%v, the drive holds %s", err, l.image)
			}
		}
		if n := l.count("POST /redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"); n != 1 {
			t.Errorf("put in %d times", n)
		}
	}
}
