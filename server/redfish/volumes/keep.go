package volumes

import (
	"fmt"
	"slices"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// What properties.skip_block_devices keeps (I2). It is written for disks as an operating system shows them, and a BMC does not
// tell all of that. So whether an entry means a volume or a drive is known, or it is not; what may be meant is kept.

type verdict int

const (
	no verdict = iota
	maybe
	yes
)

// entry is one of the list.
type entry struct {
	at     int // from 1
	volume string
	hints  inventory.Hints
	known  bool // something that the BMC shows is meant by it for certain, and it means one thing, so that nothing else need be
	part   bool // that is a drive, which a volume may be made of
}

type keeper []entry

func newKeeper(properties map[string]any, l Layout) (keeper, error) {
	list, err := inventory.List(properties, "skip_block_devices")
	if err != nil {
		return nil, err
	}
	var k keeper
	for i, v := range list {
		m, _ := v.(map[string]any)
		e := entry{at: i + 1}
		rest := map[string]any{}
		for key, value := range m {
			rest[key] = value
		}
		if name, named := m["volume_name"]; named {
			e.volume, _ = name.(string)
			delete(rest, "volume_name")
			if e.volume == "" {
				return nil, fault.New(fault.RequestInvalid, "skip_block_devices entry %d: volume_name must be a text", e.at)
			}
		}
		if e.hints, err = inventory.ParseHints(rest); err != nil {
			return nil, err
		}
		if len(m) == 0 {
			return nil, fault.New(fault.RequestInvalid, "skip_block_devices entry %d is not an object of hints", e.at)
		}
		for _, d := range slices.Concat(l.Others, l.drives()) {
			e.part = e.part || e.drive(d) == yes
		}
		e.known = e.part
		for _, c := range l.Controllers {
			for _, v := range slices.Concat(c.Volumes, c.Plain) {
				e.known = e.known || e.means(c, v) == yes
			}
		}
		e.known = e.known && e.one()
		k = append(k, e)
	}
	return k, nil
}

func (l Layout) drives() (out []Drive) {
	for _, c := range l.Controllers {
		out = append(out, c.Drives...)
	}
	return out
}

// one tells whether an entry means one thing at most: not a vendor, a size or a choice of serial numbers, which fit many.
func (e entry) one() bool {
	return e.volume != "" || slices.ContainsFunc(e.hints, func(h inventory.Hint) bool {
		return (h.Name == "serial" || h.Name == "wwn") && (h.Op == "" || h.Op == "s==") && len(h.Args) == 1
	})
}

// drive tells whether a physical drive is meant.
func (e entry) drive(d Drive) verdict {
	if e.volume != "" {
		return no
	}
	out := yes
	for _, h := range e.hints {
		told := false
		switch h.Name {
		case "serial":
			told = d.Disk.Serial != ""
		case "wwn":
			told = d.Disk.WWN != ""
		case "model":
			told = d.Disk.Model != ""
		case "vendor":
			told = d.Disk.Vendor != ""
		case "size":
			told = d.Bytes > 0
		case "rotational":
			told = d.Media != ""
		}
		out = min(out, verdictOf(told, h, d.Disk))
	}
	return out
}

// means tells whether a volume is meant, or a drive that it is made of.
func (e entry) means(c Controller, v Volume) verdict {
	member := no
	if !c.told(v) && e.volume == "" {
		member = maybe
	}
	for _, d := range c.Drives {
		if slices.Contains(v.Drives, d.place()) {
			member = max(member, e.drive(d))
		}
	}
	own := yes
	switch {
	case e.volume == "":
	case v.Name == "":
		own = maybe
	case v.Name != e.volume:
		own = no
	}
	disk := inventory.Disk{WWN: v.WWN, OtherWWNs: v.Others, Size: v.Bytes}
	for _, h := range e.hints {
		told := h.Name == "wwn" && v.WWN != "" || h.Name == "size" && v.Bytes > 0
		own = min(own, verdictOf(told, h, disk))
	}
	return max(member, own)
}

func verdictOf(told bool, h inventory.Hint, d inventory.Disk) verdict {
	switch {
	case !told:
		return maybe
	case inventory.Hints{h}.Match(d):
		return yes
	}
	return no
}

// volume tells whether a volume is kept. The fault is disk.protected where that can't be told.
func (k keeper) volume(c Controller, v Volume) (bool, error) {
	for _, e := range k {
		switch m := e.means(c, v); {
		case m == yes:
			return true, nil
		case m == maybe && (!e.known || e.part && !c.told(v)):
			return false, fault.New(fault.DiskProtected, "properties.skip_block_devices entry %d may mean the volume %s: the BMC does not tell all that the entry asks for", e.at, v.words()).
				WithHint("name what is to be kept by what the BMC tells: a volume by volume_name or wwn, a drive by serial or wwn; or take the entry out")
		}
	}
	return false, nil
}

// drive says why a drive is to be left alone; "" when it need not be.
func (k keeper) drive(d Drive) string {
	for _, e := range k {
		switch m := e.drive(d); {
		case m == yes:
			return fmt.Sprintf("properties.skip_block_devices entry %d keeps it", e.at)
		case m == maybe && !e.known:
			return fmt.Sprintf("properties.skip_block_devices entry %d may mean it", e.at)
		}
	}
	return ""
}

// plain says why the drives that a volume of no level is made of are to be left alone; "" when they need not be.
func (k keeper) plain(c Controller, v Volume) string {
	for _, e := range k {
		if e.means(c, v) == yes {
			return fmt.Sprintf("it is the volume %s, which properties.skip_block_devices entry %d keeps", v.words(), e.at)
		}
	}
	if len(v.Drives) > 1 {
		return "it is part of the volume " + v.words() + ", whose RAID level the BMC does not tell"
	}
	return ""
}

func (v Volume) words() string {
	if v.Name == "" {
		return v.ID
	}
	return fmt.Sprintf("%s (%s)", v.ID, v.Name)
}
