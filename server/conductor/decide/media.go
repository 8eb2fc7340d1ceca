package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// What is in the virtual drives when an instance ends. A disk or a floppy that stayed in would be the next instance's
// config drive.

// leftMedia marks what an instance leaves. CDs are not kept in mind: the ramdisk's own way empties their drives.
func leftMedia(media []conductor.Medium) []conductor.Medium {
	var out []conductor.Medium
	for _, m := range media {
		if m.Device != "cdrom" {
			m.Left = true
			out = append(out, m)
		}
	}
	return out
}

// attached keeps in mind what is in a drive, or may be.
func (d *decider) attached(a conductor.Act) {
	if m := (conductor.Medium{Device: a.Device, URL: a.URL}); !slices.Contains(d.n.Media, m) {
		d.n.Media = append(slices.Clone(d.n.Media), m)
	}
}

// detached forgets what was taken out. A machine that keeps it fails the work that it begins with: nobody gets it with
// somebody else's medium in it. What is left stays in the record, and the next cleaning takes it out first.
func (d *decider) detached(e conductor.EffectDone, current bool) {
	kinds := conductor.Left(*d.n)
	if len(kinds) == 0 {
		return
	}
	d.Changed = true
	if e.Fault == nil {
		// Every drive of these kinds was emptied: also one that holds what an operator attached since.
		d.n.Media = slices.DeleteFunc(slices.Clone(d.n.Media), func(m conductor.Medium) bool { return slices.Contains(kinds, m.Device) })
		d.note("INFO", "management", 0, "what the instance left in the virtual drives is out: %s", strings.Join(kinds, ", "))
		return
	}
	f := *e.Fault
	f.Message = "what the last instance left in the virtual drives (" + strings.Join(kinds, ", ") + ") could not be taken out: " + f.Message
	var outs []string
	for _, kind := range kinds {
		outs = append(outs, fmt.Sprintf("bessemer node vmedia detach %s %s", cmp.Or(d.n.Name, string(d.n.UUID)), kind))
	}
	f.Hint = cmp.Or(f.Hint, strings.Join(outs, ", ")+", or take it out at the BMC itself; then have the node cleaned again")
	if current {
		d.fail(&f)
		return
	}
	d.lastError(&f)
	d.note("ERROR", "management", 0, "%s", f.Error())
	d.about("", f.Reason)
}
