package redfish

import (
	"cmp"
	"path"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
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

// An operator's medium that is called like an older one never passes for it, and is never lost to the ramdisk's own (F24).
func TestF24_OperatorsMediaThatOnlyTheirNameIsShownOf(t *testing.T) {
	const older, asked, signed = "http://192.0.2.8/old/tools.iso", "http://192.0.2.8/new/tools.iso", "http://192.0.2.8/a%20b/my%20tools.iso?sig=a/b"
	for name, c := range map[string]struct {
		in       string // the drive holds it
		shows    string // of what is in; "" the end of its address
		unsaid   bool   // it does not say whether something is in
		keep     []string
		iso      string // of the instance
		attach   string
		want     string // the drive holds it at the end
		inserted int
		refused  bool
	}{
		"the end of a query":              {attach: "http://192.0.2.8/get?file=/isos/tools.iso", shows: "tools.iso", want: "http://192.0.2.8/get?file=/isos/tools.iso", inserted: 1},
		"a query, unescaped":              {attach: "http://192.0.2.8/get?file=my%20tools.iso", shows: "get?file=my tools.iso", want: "http://192.0.2.8/get?file=my%20tools.iso", inserted: 1},
		"the end of a query, unescaped":   {attach: "http://192.0.2.8/get?file=%2Fisos%2Ftools.iso", shows: "tools.iso", want: "http://192.0.2.8/get?file=%2Fisos%2Ftools.iso", inserted: 1},
		"an ISO that runs is called so":   {in: older, iso: older, attach: asked, want: older, refused: true},
		"the ISO that runs":               {in: asked, iso: asked, attach: asked, want: asked},
		"an ISO that is not in":           {iso: older, attach: asked, want: asked, inserted: 1},
		"an older one is in":              {in: older, keep: []string{older}, attach: asked, want: older, refused: true},
		"an older one, asked for again":   {in: older, keep: []string{older, asked}, attach: asked, want: older, refused: true},
		"it is in":                        {in: asked, keep: []string{asked}, attach: asked, want: asked},
		"nobody knows what is in":         {in: older, attach: asked, want: asked, inserted: 1},
		"a try before was cut off":        {in: asked, attach: asked, want: asked, inserted: 1},
		"another name is in":              {in: "http://192.0.2.8/other.iso", attach: asked, want: "http://192.0.2.8/other.iso", refused: true},
		"nothing is in":                   {attach: asked, keep: []string{older}, want: asked, inserted: 1},
		"a signed address":                {attach: signed, shows: "my%20tools.iso", want: signed, inserted: 1},
		"a signed address, unescaped":     {attach: signed, shows: "my tools.iso", want: signed, inserted: 1},
		"it is not said that it holds it": {in: older, unsaid: true, keep: []string{older}, attach: asked, want: older, refused: true},
	} {
		l := newLab(t)
		l.image, l.inserted = c.in, c.in != ""
		l.lie = func(p string, o map[string]any) {
			if strings.HasSuffix(p, "/Cd") && o["Image"] != "" {
				o["ImageName"] = cmp.Or(c.shows, path.Base(o["Image"].(string)))
				delete(o, "Image")
				if c.unsaid {
					delete(o, "Inserted")
				}
			}
		}
		b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(), Secrets: map[string]string{target.KeyPassword: password}, Keep: c.keep, ISO: c.iso})
		if err != nil {
			t.Fatal(err)
		}
		err = b.(conductor.MediaHolder).Attach(t.Context(), "cdrom", c.attach)
		if l.image != c.want || c.refused != fault.Has(err, fault.BMCNoMedia) || !c.refused && err != nil {
			t.Errorf("%s: %v, the drive holds %s", name, err, l.image)
		}
		if n := l.count("POST /redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"); n != c.inserted {
			t.Errorf("%s: put in %d times", name, n)
		}
		if c.keep == nil || c.unsaid || c.in == "" {
			continue
		}
		if err := b.SetMedia(t.Context(), ""); err != nil || l.image != c.in {
			t.Errorf("%s: a ramdisk that ends takes out what an operator attached: %v, the drive holds %q", name, err, l.image)
		}
	}
}

// The ISO of an instance goes in by the ramdisk's way, and an operator's medium of its name does not pass for it: it is refused
// to boot the one for the other (F24).
func TestF24_AnOperatorsMediumDoesNotPassForTheISOOfAnInstance(t *testing.T) {
	const attached, iso = "http://192.0.2.8/old/live.iso", "http://192.0.2.8/new/live.iso"
	for name, c := range map[string]struct {
		in       string
		keep     []string
		full     bool   // the BMC shows whole addresses
		name     string // what it shows; "" the end of the address
		iso      string // another address of the ISO
		inserted int
		refused  bool
	}{
		"the operator's is in":                {in: attached, keep: []string{attached}, refused: true},
		"one of the two is in":                {in: iso, keep: []string{attached}, refused: true},
		"a name with a query":                 {in: "http://192.0.2.8/get?file=live.iso", name: "get?file=live.iso", iso: "http://192.0.2.8/get?file=live.iso"},
		"another one of the same script":      {in: "http://192.0.2.8/get?file=live.iso", name: "get?file=live.iso", iso: "http://192.0.2.8/get?file=live.iso", keep: []string{"http://192.0.2.8/get?file=tools.iso"}},
		"the end of a query":                  {in: "http://192.0.2.8/get?file=/a/live.iso", name: "live.iso", iso: "http://192.0.2.8/get?file=/a/live.iso"},
		"it is the operator's":                {in: iso, keep: []string{iso}},
		"it is in":                            {in: iso},
		"it is in, as its whole address says": {in: iso, keep: []string{attached}, full: true},
		"another one is in":                   {in: "http://192.0.2.8/other.iso", inserted: 1},
	} {
		l := newLab(t)
		l.image, l.inserted = c.in, true
		l.lie = func(p string, o map[string]any) {
			if strings.HasSuffix(p, "/Cd") && o["Image"] != "" && !c.full {
				o["ImageName"] = cmp.Or(c.name, path.Base(o["Image"].(string)))
				delete(o, "Image")
			}
		}
		iso := cmp.Or(c.iso, iso)
		b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(), Secrets: map[string]string{target.KeyPassword: password}, Keep: c.keep, ISO: iso})
		if err != nil {
			t.Fatal(err)
		}
		err = b.SetMedia(t.Context(), iso)
		if c.refused != fault.Has(err, fault.BMCNoMedia) || !c.refused && (err != nil || l.image != iso) || c.refused && l.image != c.in {
			t.Errorf("%s: %v, the drive holds %s", name, err, l.image)
		}
		if n := l.count("POST /redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"); n != c.inserted {
			t.Errorf("%s: put in %d times", name, n)
		}
	}
}
