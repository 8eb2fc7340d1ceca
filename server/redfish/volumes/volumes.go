// Package volumes builds and deletes RAID volumes through a BMC. It reads the controllers with their drives and volumes,
// chooses drives for what is wanted, keeps what is to be kept, and gives one order at a time: before each it reads what there
// is and decides anew, after each it reads whether it came about. An order whose answer was lost is never given again: what is
// there is read, and if that does not tell, the step fails and says so (safety.md I8, F15, F25).
//
// It reaches the BMC through Machine alone, which holds all bounds of bytes, requests and time, and follows no foreign link.
// Start at Run; read.go is what there is, choose.go which drives are taken, match.go what is there already.
package volumes

import (
	"context"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Service is one operation on one BMC. A link is as the BMC wrote it; errors are bmc.* faults.
type Service interface {
	Read(link string, into any) error
	Members(link string) ([]string, error)
	Missing(err error) bool // the BMC does not have what was asked
	// Order sends something once; the answer names the task that goes on with it, "" when none does.
	Order(method, link string, body any) (task string, err error)
}

// Refusal is what is known of an order that got no good answer.
type Refusal int

// Unknown: it may have been taken, or is under way. Refused: it was not taken, and won't be. Busy: it was not taken now.
// Doubtful: that it was not taken now is said, by the BMC or by something before it which had handed it on.
const (
	Unknown Refusal = iota
	Refused
	Busy
	Doubtful
)

// Machine is one machine behind its BMC.
type Machine interface {
	// Do makes one operation; system is where the machine's computer system is.
	Do(ctx context.Context, do func(s Service, system string) error) error
	Refusal(err error) Refusal
	Passing(ctx context.Context, err error) bool // it may go away by itself
	// Task tells how far a task has come; bmc.task_failed for one that failed.
	Task(ctx context.Context, link string) (Task, error)
	// Open names the tasks that have not ended; waits tells of those that are yet to begin.
	Open(ctx context.Context) (names []string, waits bool, err error)
	On(ctx context.Context) (bool, error)
	SwitchOn(ctx context.Context) error    // confirmed
	Restart(ctx context.Context) error     // off, confirmed, on, confirmed
	Restore(ctx context.Context) error     // the power that was before the step
	Note(ctx context.Context, v any) error // keeps what a later attempt is to know, and returns when it is stored
	At(percent float64, format string, args ...any)
}

// Task is what a task says of itself.
type Task struct {
	Done    bool    // it ended well, or the BMC knows it no more
	Waits   bool    // it is yet to begin: at a restart, it may be
	Silent  bool    // neither the one nor the other can be told
	Percent float64 // of its work
}

// Drive is a physical disk of a controller.
type Drive struct {
	Link  string
	ID    string
	Disk  inventory.Disk // as far as the BMC tells; the class is unknown
	Media string         // "HDD", "SSD"
	Bus   string         // Redfish's protocol
	Bytes int64
	Unfit string // why no volume can be made of it; "" when one can
}

// Volume is a RAID volume. Drives are places of drives.
type Volume struct {
	Link   string
	ID     string
	Name   string
	Type   string   // Redfish's RAIDType; "" when the BMC gives none
	WWN    string   // the one that the BMC tells first; "" when it tells none
	Others []string // further ones
	own    []string // those that the BMC tells of no other volume
	Bytes  int64
	Drives []string
}

// Controller is one that builds RAID volumes. Levels are Redfish's types; nil when it does not tell.
type Controller struct {
	ID         string
	Names      []string // other ways to call it
	Levels     []string
	Collection string   // where volumes are made
	Apply      []string // when operations can take effect
	Drives     []Drive
	Empty      []string // places of drives that are not there
	Volumes    []Volume
	Plain      []Volume // of no RAID level that is told: drives by another name, perhaps
}

// told tells whether all drives of a volume are known: those of this controller, or places that are empty.
func (c Controller) told(v Volume) bool {
	return len(v.Drives) > 0 && !slices.ContainsFunc(v.Drives, func(p string) bool {
		return !slices.Contains(c.Empty, p) && !slices.ContainsFunc(c.Drives, func(d Drive) bool { return d.place() == p })
	})
}

// Layout is what there is: the controllers that build RAID, and the drives of those that don't.
type Layout struct {
	Controllers []Controller
	Others      []Drive
}

// key tells one volume from another in one reading; over two readings, same does.
func (v Volume) key() string {
	return v.Link + " " + v.Type + " " + v.Name + " " + strings.Join(v.Drives, " ") + "\n" + strings.Join(v.own, " ")
}

// same tells whether two keys are of one volume, as well as the BMC lets it be told: it tells the names of a volume in any order,
// and some of them late or not at times.
func same(a, b string) bool {
	atA, namesA := parted(a)
	atB, namesB := parted(b)
	if len(namesA) == 0 || len(namesB) == 0 {
		return atA == atB
	}
	return slices.ContainsFunc(namesA, func(n string) bool { return slices.Contains(namesB, n) })
}

// parted is what a key tells beside worldwide names, and these.
func parted(key string) (at string, names []string) {
	i := max(0, strings.LastIndex(key, "\n"))
	return key[:i], strings.Fields(key[i:])
}

// names notes which worldwide names tell a volume from all others.
func (l *Layout) names() {
	told := map[string]int{}
	each := func(do func(v *Volume)) {
		for _, c := range l.Controllers {
			for i := range c.Volumes {
				do(&c.Volumes[i])
			}
			for i := range c.Plain {
				do(&c.Plain[i])
			}
		}
	}
	each(func(v *Volume) {
		for _, n := range append([]string{v.WWN}, v.Others...) {
			told[n]++
		}
	})
	each(func(v *Volume) {
		for _, n := range append([]string{v.WWN}, v.Others...) {
			if n != "" && told[n] == 1 {
				v.own = append(v.own, n)
			}
		}
	})
}

func (l Layout) volumes() (out []Volume) {
	for _, c := range l.Controllers {
		out = append(out, c.Volumes...)
	}
	return out
}

func (l Layout) has(key string) bool {
	return slices.ContainsFunc(l.volumes(), func(v Volume) bool { return same(v.key(), key) })
}

// level is Ironic's word for a RAID type, and how many disks it takes.
type level struct {
	word, kind string
	least      int // of a span
	most       int // of a span
	overhead   int // disks of a span that hold no data
	spanned    bool
}

// many is more disks than any controller has.
const many = 1000

var levels = []level{
	{"0", "RAID0", 1, many, 0, false}, {"1", "RAID1", 2, 2, 1, false}, {"5", "RAID5", 3, many, 1, false}, {"6", "RAID6", 4, many, 2, false},
	{"1+0", "RAID10", 2, 2, 1, true}, {"5+0", "RAID50", 3, many, 1, true}, {"6+0", "RAID60", 4, many, 2, true},
}

func levelOf(is func(level) bool) (level, bool) {
	i := slices.IndexFunc(levels, is)
	if i < 0 {
		return level{}, false
	}
	return levels[i], true
}

func named(word string) level {
	l, _ := levelOf(func(l level) bool { return l.word == word })
	return l
}

// spans is how many a volume of n disks has: as many mirrors as fit, or two sets with parity.
func (l level) spans(n int) int {
	switch {
	case !l.spanned:
		return 1
	case l.word == "1+0":
		return n / 2
	}
	return 2
}
