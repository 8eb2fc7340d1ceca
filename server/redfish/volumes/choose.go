package volumes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

func (d Drive) place() string { return parts.Place(d.Link) }

// Build is a volume that is to be made.
type Build struct {
	raid.Disk
	Of         int // its place among what is wanted
	Controller Controller
	Drives     []Drive
	Expected   int64 // bytes that the volume will have, about
}

const (
	stripe    = 64 << 20 // bytes by which the room of a drive is counted, as Ironic counts it
	maxChoice = 20_000   // ways that are tried to find drives for all that is wanted (I25)
)

// room is how large a volume of the level can be on n drives with so much room each, and what it takes of each for so many
// bytes; the rounding is Ironic's.
func (l level) room(free int64, n int) int64 {
	return free / stripe * stripe * int64(n-l.overhead*l.spans(n))
}

func (l level) usage(size int64, n int) int64 {
	stripes := (size + stripe - 1) / stripe
	data := int64(n - l.overhead*l.spans(n))
	return (stripes + data - 1) / data * stripe
}

// takes is what a volume takes of each of its drives: where its level is not known, all of its size.
func (v Volume) takes() int64 {
	if lv, ok := levelOf(func(l level) bool { return l.kind == v.Type }); ok && lv.fits(len(v.Drives)) == "" {
		return lv.usage(v.Bytes, len(v.Drives))
	}
	return v.Bytes
}

// fits says why a volume of the level can't be made of n drives; "" when it can.
func (l level) fits(n int) string {
	spans := l.spans(n)
	least, most := l.least, l.most
	if l.spanned {
		least, most = least*2, most*max(spans, 2)
	}
	switch {
	case n < least || n > most:
		return fmt.Sprintf("RAID level %s takes %s drives, not %d", l.word, between(least, most), n)
	case n%spans != 0:
		return fmt.Sprintf("RAID level %s takes a multiple of %d drives, not %d", l.word, spans, n)
	case l.word == "1+0" && n%2 != 0:
		return fmt.Sprintf("RAID level %s takes an even number of drives, not %d", l.word, n)
	}
	return ""
}

func between(least, most int) string {
	switch {
	case most >= many:
		return fmt.Sprintf("%d or more", least)
	case least == most:
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// chooser finds drives for what is wanted. free is the room that is left of each drive, by place.
type chooser struct {
	l     Layout
	unfit map[string]string // why a drive is left alone, by place
	size  map[string]int64
	tries int
}

type rooms map[string]int64

func (r rooms) clone() rooms {
	out := make(rooms, len(r))
	for k, v := range r {
		out[k] = v
	}
	return out
}

// choose finds drives for each of what is wanted, or says why it can't. gone are volumes that will have been deleted.
func choose(l Layout, wanted []Build, k keeper, gone []Volume) ([]Build, error) {
	c := &chooser{l: l, unfit: map[string]string{}, size: map[string]int64{}}
	free := rooms{}
	for _, ctl := range l.Controllers {
		for _, d := range ctl.Drives {
			free[d.place()], c.size[d.place()] = d.Bytes, d.Bytes
			if c.unfit[d.place()] = d.Unfit; d.Unfit == "" {
				c.unfit[d.place()] = k.drive(d)
			}
		}
		for _, v := range ctl.Volumes {
			if slices.ContainsFunc(gone, func(g Volume) bool { return g.key() == v.key() }) {
				continue
			}
			kept, err := k.volume(ctl, v)
			used := v.takes()
			if !ctl.told(v) {
				for _, d := range ctl.Drives {
					c.unfit[d.place()] = cmp.Or(c.unfit[d.place()], "it may be part of the volume "+v.words()+", of which the BMC does not tell the drives")
				}
			}
			for _, p := range v.Drives {
				if free[p] = max(0, free[p]-used); kept || err != nil {
					c.unfit[p] = cmp.Or(c.unfit[p], "it holds the volume "+v.words()+", which is kept")
				}
			}
		}
	}
	for _, ctl := range l.Controllers {
		for _, v := range ctl.Plain {
			for _, p := range v.Drives {
				c.unfit[p] = cmp.Or(c.unfit[p], k.plain(ctl, v))
			}
		}
	}
	var exact, open, filled []Build
	for _, b := range wanted {
		switch {
		case len(b.Physical) == 0:
			open = append(open, b)
		case b.Bytes == raid.Max:
			filled = append(filled, b)
		default:
			exact = append(exact, b)
		}
	}
	var out []Build
	taken := map[string]bool{} // named for a volume that does not share them with those that name none
	reserved := map[string]bool{}
	for _, b := range slices.Concat(exact, filled) {
		_, drives, err := c.named(b)
		if err != nil {
			return nil, err
		}
		for _, d := range drives {
			if b.Share && b.Bytes == raid.Max {
				reserved[d.place()] = true
			} else if !b.Share {
				taken[d.place()] = true
			}
		}
	}
	for _, b := range exact {
		done, err := c.place(b, free)
		if err != nil {
			return nil, err
		}
		out = append(out, done)
	}
	for _, b := range open {
		if _, err := c.controllers(b); err != nil {
			return nil, err
		}
	}
	if len(open) > 0 {
		left := func(more map[string]bool) func(Drive) bool {
			return func(d Drive) bool { return !taken[d.place()] && !more[d.place()] }
		}
		found, rest, ok := c.assign(open, free, left(reserved))
		if !ok {
			found, rest, ok = c.assign(open, free, left(nil))
		}
		if !ok {
			return nil, c.none(open)
		}
		out, free = append(out, found...), rest
	}
	for _, b := range filled {
		done, err := c.place(b, free)
		if err != nil {
			return nil, err
		}
		out = append(out, done)
	}
	slices.SortFunc(out, func(a, b Build) int { return a.Of - b.Of })
	return out, nil
}

func (c *chooser) fail(b Build, format string, args ...any) error {
	return fault.New(fault.StepArgument, "logical_disks[%d]: %s", b.Of, fmt.Sprintf(format, args...)).
		WithHint("bessemer node set NODE --target-raid-config FILE says anew what is wanted; volumes that are in the way go by raid.delete_configuration")
}

func (c *chooser) none(open []Build) error {
	var why []string
	for _, ctl := range c.l.Controllers {
		for _, d := range ctl.Drives {
			if w := c.unfit[d.place()]; w != "" && len(why) < 6 {
				why = append(why, ctl.ID+"/"+d.ID+": "+w)
			}
		}
	}
	text := "no drives are left that they could be made of together"
	if len(why) > 0 {
		text += "; left alone are " + strings.Join(why, ", ")
	}
	return c.fail(open[0], "for this, and what else is wanted without physical_disks, %s; there are %s", text, c.l.words())
}

// controllers are those that a wanted volume may be on.
func (c *chooser) controllers(b Build) ([]Controller, error) {
	var out []Controller
	for _, ctl := range c.l.Controllers {
		if b.Disk.Controller == "" || ctl.ID == b.Disk.Controller || slices.Contains(ctl.Names, b.Disk.Controller) {
			out = append(out, ctl)
		}
	}
	switch {
	case len(out) == 0:
		return nil, c.fail(b, "there is no RAID controller %q; there are %s", b.Disk.Controller, c.l.words())
	case len(out) > 1 && b.Disk.Controller != "":
		return nil, c.fail(b, "several RAID controllers are called %q; there are %s", b.Disk.Controller, c.l.words())
	}
	able := slices.DeleteFunc(slices.Clone(out), func(ctl Controller) bool { return !ctl.builds(named(b.Level)) })
	if len(able) == 0 {
		return nil, c.fail(b, "the RAID controller %s builds %s, not %s", out[0].ID, strings.Join(out[0].Levels, ", "), named(b.Level).kind)
	}
	return able, nil
}

func (c Controller) builds(l level) bool { return c.Levels == nil || slices.Contains(c.Levels, l.kind) }

// words lists controllers with their drives.
func (l Layout) words() string {
	var out []string
	for _, c := range l.Controllers {
		var drives []string
		for _, d := range c.Drives[:min(len(c.Drives), 24)] {
			drives = append(drives, d.ID)
		}
		out = append(out, fmt.Sprintf("%s with the drives %s", c.ID, cmp.Or(strings.Join(drives, ", "), "(none)")))
	}
	return cmp.Or(strings.Join(out, "; "), "none")
}

// named finds the drives that physical_disks names, each once. A name is a drive's id; an object of hints takes the first drive
// that meets it and can be used. Several volumes may name the same drives.
func (c *chooser) named(b Build) (Controller, []Drive, error) {
	able, err := c.controllers(b)
	if err != nil {
		return Controller{}, nil, err
	}
	ctl := able[0]
	var out []Drive
	has := func(d Drive) bool {
		return slices.ContainsFunc(out, func(o Drive) bool { return o.place() == d.place() })
	}
	for _, p := range b.Physical {
		test := func(d Drive) bool { return d.ID == p }
		if hints, is := p.(map[string]any); is {
			hs, err := inventory.ParseHints(hints)
			if err != nil {
				return ctl, nil, err
			}
			test = func(d Drive) bool { return hs.Match(d.Disk) && c.unfit[d.place()] == "" && !has(d) }
		}
		i := slices.IndexFunc(ctl.Drives, test)
		switch {
		case i < 0:
			return ctl, nil, c.fail(b, "no drive of the RAID controller %s is %v; there are %s", ctl.ID, p, c.l.words())
		case has(ctl.Drives[i]):
			return ctl, nil, c.fail(b, "the drive %v is named twice", p)
		}
		out = append(out, ctl.Drives[i])
	}
	return ctl, out, nil
}

// place puts a volume with named drives onto them.
func (c *chooser) place(b Build, free rooms) (Build, error) {
	ctl, drives, err := c.named(b)
	if err != nil {
		return b, err
	}
	for _, d := range drives {
		switch p := d.place(); {
		case c.unfit[p] != "":
			return b, c.fail(b, "the drive %s can't be used: %s", d.ID, c.unfit[p])
		case !b.kind(d):
			return b, c.fail(b, "the drive %s is %s %s, which is not the disk_type or interface_type wanted", d.ID, d.Media, d.Bus)
		}
	}
	if why := c.fill(&b, ctl, drives, free); why != "" {
		return b, c.fail(b, "%s", why)
	}
	return b, nil
}

// kind tells whether a drive is of the kind that is wanted.
func (b Build) kind(d Drive) bool {
	return (b.DiskType == "" || strings.EqualFold(b.DiskType, d.Media)) && (b.InterfaceType == "" || strings.EqualFold(b.InterfaceType, d.Bus))
}

// fill puts a volume onto drives and takes its room; it says why it can't.
func (c *chooser) fill(b *Build, ctl Controller, drives []Drive, free rooms) string {
	l, n := named(b.Level), len(drives)
	if why := l.fits(n); why != "" {
		return why
	}
	least := free[drives[0].place()]
	for _, d := range drives {
		least = min(least, free[d.place()])
	}
	room := l.room(least, n)
	b.Expected = b.Bytes
	if b.Bytes == raid.Max {
		b.Expected = room
	}
	if room == 0 || room < b.Expected {
		return fmt.Sprintf("%d GiB are wanted, and %d drives with %d GiB left each make %d", b.Expected>>30, n, least>>30, room>>30)
	}
	b.Controller, b.Drives = ctl, drives
	for _, d := range drives {
		free[d.place()] -= l.usage(b.Expected, n)
	}
	return ""
}

// alike are drives that one volume may be made of.
type alike struct {
	ctl    Controller
	drives []Drive
}

// groups are the drives by controller, medium, bus and size, in the order in which they are listed.
func (c *chooser) groups(able []Controller, may func(Drive) bool) []alike {
	var out []alike
	for _, ctl := range able {
		for _, d := range ctl.Drives {
			if c.unfit[d.place()] != "" || !may(d) {
				continue
			}
			i := slices.IndexFunc(out, func(g alike) bool {
				o := g.drives[0]
				return g.ctl.ID == ctl.ID && g.ctl.Collection == ctl.Collection && o.Media == d.Media && o.Bus == d.Bus && o.Bytes == d.Bytes
			})
			if i < 0 {
				out = append(out, alike{ctl: ctl, drives: []Drive{d}})
				continue
			}
			out[i].drives = append(out[i].drives, d)
		}
	}
	return out
}

// assign finds drives for all of open, as few for each as will do, the first of open first.
func (c *chooser) assign(open []Build, free rooms, may func(Drive) bool) ([]Build, rooms, bool) {
	if len(open) == 0 {
		return nil, free, true
	}
	b := open[0]
	able, err := c.controllers(b)
	if err != nil {
		return nil, free, false
	}
	for _, g := range c.groups(able, may) {
		if !b.kind(g.drives[0]) {
			continue
		}
		drives := slices.DeleteFunc(slices.Clone(g.drives), func(d Drive) bool {
			return free[d.place()] <= 0 || !b.Share && free[d.place()] < c.size[d.place()]
		})
		slices.SortStableFunc(drives, func(x, y Drive) int { return cmp.Compare(free[x.place()], free[y.place()]) })
		for n := 1; n <= len(drives); n++ {
			if b.Count > 0 && n != b.Count || named(b.Level).fits(n) != "" {
				continue
			}
			if c.tries++; c.tries > maxChoice {
				return nil, free, false
			}
			left, done := free.clone(), b
			if c.fill(&done, g.ctl, drives[:n], left) != "" {
				continue
			}
			if rest, left, ok := c.assign(open[1:], left, may); ok {
				return append([]Build{done}, rest...), left, true
			}
		}
	}
	return nil, free, false
}
