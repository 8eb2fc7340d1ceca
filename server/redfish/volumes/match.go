package volumes

import (
	"slices"

	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// made are the volumes that this run has made, by the place of what was wanted: the key.
type made map[int]string

// match finds what is wanted among what is there: the volume for each that has one. A volume is what is wanted by its level,
// size and drives, and by its name where one is wanted; one that this run has made is, whatever the BMC calls it. One of MAX is the
// largest that takes all the room which those leave it that are wanted, too, or stay.
func (l Layout) match(wanted []raid.Disk, made made, stays func(Controller, Volume) bool) map[int]Volume {
	out, used := map[int]Volume{}, map[string]bool{}
	take := func(i int, v Volume) { out[i], used[v.key()] = v, true }
	for i := range wanted {
		for _, v := range l.volumes() {
			if key, ok := made[i]; ok && same(v.key(), key) {
				take(i, v)
			}
		}
	}
	for _, filled := range []bool{false, true} {
		for i, w := range wanted {
			if _, done := out[i]; done || filled != (w.Bytes == raid.Max) {
				continue
			}
			var best Volume
			for _, c := range l.Controllers {
				left := func(v Volume) int64 {
					return c.left(v, func(o Volume) bool { return used[o.key()] || stays(c, o) })
				}
				for _, v := range c.Volumes {
					if !used[v.key()] && (w.Name == "" || w.Name == v.Name) && c.is(w, v, left(v)) && (best.Link == "" || filled && v.Bytes > best.Bytes) {
						best = v
					}
				}
			}
			if best.Link != "" {
				take(i, best)
			}
		}
	}
	return out
}

// left is how large a volume can be on its drives beside others that are on them.
func (c Controller) left(v Volume, beside func(Volume) bool) int64 {
	lv, ok := levelOf(func(l level) bool { return l.kind == v.Type })
	least := int64(-1)
	for _, d := range c.Drives {
		if !slices.Contains(v.Drives, d.place()) {
			continue
		}
		free := d.Bytes
		for _, o := range c.Volumes {
			if o.key() != v.key() && slices.Contains(o.Drives, d.place()) && beside(o) {
				free -= o.takes()
			}
		}
		if free = max(0, free); least < 0 || free < least {
			least = free
		}
	}
	if !ok || least < 0 || lv.fits(len(v.Drives)) != "" {
		return 0
	}
	return lv.room(least, len(v.Drives))
}

func all(Controller, Volume) bool { return true }

func anyOther(Volume) bool { return true }

// is tells whether a volume is what is wanted, but for its name. Room is how large it can be there, for what is to fill it.
func (c Controller) is(w raid.Disk, v Volume, room int64) bool {
	if v.Type != named(w.Level).kind || w.Controller != "" && w.Controller != c.ID && !slices.Contains(c.Names, w.Controller) {
		return false
	}
	var drives []Drive
	for _, d := range c.Drives {
		if slices.Contains(v.Drives, d.place()) {
			drives = append(drives, d)
		}
	}
	if len(drives) != len(v.Drives) {
		return false // one is gone
	}
	b := Build{Disk: w}
	if w.Count > 0 && len(drives) != w.Count || slices.ContainsFunc(drives, func(d Drive) bool { return !b.kind(d) }) {
		return false
	}
	if len(w.Physical) > 0 && !meets(drives, w.Physical) {
		return false
	}
	if w.Bytes != raid.Max {
		return near(v.Bytes, w.Bytes)
	}
	return room > 0 && v.Bytes >= room/10*9 // controllers keep some room to themselves
}

// meets tells whether drives are those that physical_disks names: as many, and one for each.
func meets(drives []Drive, wanted []any) bool {
	left := slices.Clone(drives)
	for _, p := range wanted {
		i := slices.IndexFunc(left, func(d Drive) bool {
			hints, is := p.(map[string]any)
			if !is {
				return d.ID == p
			}
			hs, err := inventory.ParseHints(hints)
			return err == nil && hs.Match(d.Disk)
		})
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}

// near tells whether a size is as wanted: controllers round, each in its own way.
func near(have, want int64) bool {
	return max(have-want, want-have) <= max(1<<30, want/100)
}

// config is raid_config's list: what there is, with the one that is the root volume marked.
func (l Layout) config(root string) []any {
	out := []any{}
	for _, c := range l.Controllers {
		for _, v := range c.Volumes {
			word := v.Type
			if lv, ok := levelOf(func(l level) bool { return l.kind == v.Type }); ok {
				word = lv.word
			}
			ids := []any{}
			for _, d := range c.Drives {
				if slices.Contains(v.Drives, d.place()) {
					ids = append(ids, d.ID)
				}
			}
			m := map[string]any{"id": v.ID, "name": v.Name, "controller": c.ID, "size_gb": float64(v.Bytes >> 30), "raid_level": word, "physical_disks": ids}
			if root != "" && v.key() == root {
				m["is_root_volume"] = true
				if len(v.own) > 0 { // the first that it tells, where that is its own
					m["root_device_hint"] = map[string]any{"wwn": v.own[0]}
				}
			}
			out = append(out, m)
		}
	}
	return out
}
