package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Select lists the disks that meet all hints, in the order given. It returns a request.invalid fault for malformed
// hints. It judges nothing else: Root and Targets decide what may be written.
func Select(disks []Disk, hints map[string]any) ([]Disk, error) {
	hs, err := ParseHints(hints)
	if err != nil {
		return nil, err
	}
	var out []Disk
	for _, d := range disks {
		if hs.Match(d) {
			out = append(out, d)
		}
	}
	return out, nil
}

// Skipped parts the disks by properties.skip_block_devices, a list of hint objects; a disk is skipped when it meets
// all hints of any one object. An object that fits no disk is told in warnings; a malformed list is a
// request.invalid fault, because a disk to be kept might be meant by it.
func Skipped(disks []Disk, skip []any) (kept, skipped []Disk, warnings []string, err error) {
	out, warnings, err := meant(disks, skip)
	if err != nil {
		return nil, nil, nil, err
	}
	spread(disks, out)
	for i, d := range disks {
		if out[i] {
			skipped = append(skipped, d)
		} else {
			kept = append(kept, d)
		}
	}
	return kept, skipped, warnings, nil
}

// meant marks the disks that meet an entry themselves.
func meant(disks []Disk, skip []any) (out []bool, warnings []string, _ error) {
	if len(skip) > maxSkip {
		return nil, nil, fault.New(fault.RequestInvalid, "skip_block_devices has %d entries, at most %d are read", len(skip), maxSkip)
	}
	out = make([]bool, len(disks))
	for i, e := range skip {
		m, ok := e.(map[string]any)
		if !ok || len(m) == 0 {
			return nil, nil, fault.New(fault.RequestInvalid, "skip_block_devices entry %d is not an object of hints", i+1).
				WithHint(`write it like [{"serial": "S1"}, {"tran": "usb"}]`)
		}
		if _, ok := m["volume_name"]; ok {
			return nil, nil, fault.New(fault.RequestInvalid, "skip_block_devices entry %d names a RAID volume, which can't be kept by name", i+1).
				WithHint("name the volume's member disks by serial or wwn")
		}
		hs, err := ParseHints(m)
		if err != nil {
			f := fault.From(err)
			return nil, nil, fault.New(fault.RequestInvalid, "skip_block_devices entry %d: %s", i+1, f.Message).WithHint("%s", f.Hint)
		}
		found := false
		for j, d := range disks {
			if hs.Match(d) {
				out[j], found = true, true
			}
		}
		if !found {
			warnings = append(warnings, fmt.Sprintf("skip_block_devices entry %d (%s) fits no disk of this machine", i+1, hs))
		}
	}
	return out, warnings, nil
}

// byName narrows what is meant to what the operator said beyond doubt: a disk itself, or an array by its serial with its members.
// Whoever used the machine last made its arrays, of the disks and with the size and name that they liked.
func byName(disks []Disk, skip []any, out []bool) {
	named := map[DeviceID]bool{}
	for a, array := range disks {
		if !out[a] || !array.Array() {
			continue
		}
		if !slices.ContainsFunc(skip, func(e any) bool {
			m, _ := e.(map[string]any)
			hs, err := ParseHints(m)
			return err == nil && m["serial"] != nil && hs.Match(array)
		}) {
			continue
		}
		for _, m := range array.Members {
			named[m] = true
		}
	}
	for i, d := range disks {
		if id, _ := d.ID(); named[id] {
			out[i] = true
		}
	}
}

// CheckSkip checks the form of properties.skip_block_devices. Beside what Skipped reads, an entry may name a RAID volume by
// volume_name: the steps that make and delete volumes through a BMC keep it. Whoever sees disks alone can't, and Skipped refuses.
func CheckSkip(skip []any) error {
	plain := slices.Clone(skip)
	for i, e := range plain {
		m, _ := e.(map[string]any)
		if name, ok := m["volume_name"].(string); ok && name != "" && len(name) <= maxHintText {
			rest := maps.Clone(m)
			delete(rest, "volume_name")
			if plain[i] = rest; len(rest) == 0 {
				plain[i] = map[string]any{"serial": "any"} // it is well formed
			}
		}
	}
	_, _, _, err := Skipped(nil, plain)
	return err
}

// spread marks the members of every array that is marked, and every array that has a marked member (safety.md I2). Each disk
// is looked at once, however many arrays there are: it is the machine that tells of them.
func spread(disks []Disk, marked []bool) {
	called, over := map[DeviceID][]int{}, map[DeviceID][]int{} // the disks of an identity, and the arrays over them
	var todo []int
	for i, d := range disks {
		id, _ := d.ID()
		called[id] = append(called[id], i)
		if d.Array() {
			for _, m := range d.Members {
				over[m] = append(over[m], i)
			}
		}
		if marked[i] {
			todo = append(todo, i)
		}
	}
	mark := func(some []int) {
		for _, i := range some {
			if !marked[i] {
				marked[i], todo = true, append(todo, i)
			}
		}
	}
	reached := map[DeviceID]bool{}
	for len(todo) > 0 {
		d := disks[todo[0]]
		todo = todo[1:]
		own, _ := d.ID()
		if !reached[own] {
			reached[own] = true
			mark(over[own])
		}
		for _, m := range d.Members {
			if d.Array() && !reached[m] {
				mark(called[m]) // what lies over it follows when its turn comes
			}
		}
	}
}

// Allowed reads properties.allow_device_classes: the classes that an operator vouches for though they are not
// provably local. A malformed list or an unknown class is a request.invalid fault.
func Allowed(node map[string]any) ([]Class, error) {
	list, err := List(node, "allow_device_classes")
	if err != nil {
		return nil, err
	}
	var out []Class
	for _, v := range list {
		s, _ := v.(string)
		if !slices.Contains(classes, Class(s)) {
			return nil, fault.New(fault.RequestInvalid, "allow_device_classes names %.64q, which is no device class", fmt.Sprint(v)).
				WithHint("the classes are %s", joinClasses())
		}
		out = append(out, Class(s))
	}
	return out, nil
}

var classes = []Class{NVMePCIe, SATA, SAS, VirtIO, EMMC, USB, FC, ISCSI, NVMeOF, MDRAID, ClassUnknown}

func joinClasses() string {
	out := make([]string, len(classes))
	for i, c := range classes {
		out[i] = string(c)
	}
	return strings.Join(out, ", ")
}

// List reads a property that is a list; an absent or null one is empty, anything else a request.invalid fault.
func List(node map[string]any, key string) ([]any, error) {
	switch v := node[key].(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	case []map[string]any: // the same list, made in Go rather than read from JSON
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out, nil
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out, nil
	default:
		return nil, fault.New(fault.RequestInvalid, "properties.%s must be a list, not %T", key, v)
	}
}

// Root names the one disk that an image goes to. Skipped, read-only, boot and not provably local disks (but those of
// the allowed classes) are no candidates. Exactly one candidate must meet the hints; without hints there must be
// exactly one candidate (safety.md I4). Faults: request.invalid, disk.none, disk.hint_no_match, disk.hint_ambiguous;
// the last two list the candidates with a hint that fits only that one. An array of software RAID is a candidate, its members
// are none; the array that mirrors the EFI system partition is none either.
func Root(disks []Disk, hints map[string]any, skip []any, allow ...Class) (Disk, error) {
	hs, err := ParseHints(hints)
	if err != nil {
		return Disk{}, err
	}
	kept, _, _, err := Skipped(disks, skip)
	if err != nil {
		return Disk{}, err
	}
	var candidates []Disk
	var out []string
	member := overs(disks)
	called := map[DeviceID]int{}
	for i, d := range slices.Backward(disks) {
		id, _ := d.ID()
		called[id] = i
	}
	for _, d := range kept {
		why := unfit(d, allow)
		id, _ := d.ID()
		switch array := member[id]; {
		case array != "":
			why = "is a member of " + array
		case d.Array():
			why = unfitArray(d, disks, called, allow)
		}
		if why != "" {
			out = append(out, d.Name+" "+why)
			continue
		}
		candidates = append(candidates, d)
	}
	if len(candidates) == 0 {
		return Disk{}, fault.New(fault.DiskNone, "none of the machine's %d disks may hold an image%s", len(disks), because(out, len(disks)-len(kept)))
	}
	var fit []Disk
	for _, d := range candidates {
		if hs.Match(d) {
			fit = append(fit, d)
		}
	}
	switch {
	case len(fit) == 0:
		return Disk{}, fault.New(fault.DiskHint, "no disk meets the hints %s; the disks are %s", hs, describe(candidates, disks))
	case len(fit) > 1 && len(hs) == 0:
		return Disk{}, fault.New(fault.DiskAmbiguous, "there are no root device hints and %d disks: %s", len(fit), describe(fit, disks))
	case len(fit) > 1:
		return Disk{}, fault.New(fault.DiskAmbiguous, "%d disks meet the hints %s: %s", len(fit), hs, describe(fit, disks))
	}
	if err := nameable(fit[0], disks); err != nil {
		return Disk{}, err
	}
	return fit[0], nil
}

// counts are the hints whose values the kernel gives out anew at each boot, in the order in which it finds the disks.
var counts = []string{"name", "hctl"}

// Again names the disk that an image goes to after it went to last by the same hints: a root disk does not move because the
// kernel counts anew, or because another disk came or went (docs/adr/0307). ok is false when it is skipped, or its class not
// allowed, since: it is then chosen anew. Faults: disk.missing when it is gone, disk.protected when it can't be written, or
// has become a member of an array, disk.hint_ambiguous when it does not meet the hints that say what and in which slot it is, or can't be told from another;
// and those of the hints and lists.
func Again(disks []Disk, hints map[string]any, skip []any, last DeviceID, allow ...Class) (d Disk, ok bool, err error) {
	hs, err := ParseHints(hints)
	if err != nil {
		return Disk{}, false, err
	}
	at := slices.IndexFunc(disks, func(d Disk) bool { id, _ := d.ID(); return id == last })
	d = Disk{WWN: last.WWN, Serial: last.Serial, Size: last.Size, Class: last.Class}
	if at >= 0 {
		d = disks[at]
	}
	kept, _, _, err := Skipped([]Disk{d}, skip)
	if err != nil || len(kept) == 0 || !d.Class.Local() && !slices.Contains(allow, d.Class) {
		return Disk{}, false, err
	}
	const move = "if another disk is meant, set root_device to its serial or wwn"
	if at < 0 {
		return Disk{}, false, fault.New(fault.DiskMissing, "the disk with %s, which the last deployment wrote, is not there now; the disks are %s", last, describe(disks, disks)).
			WithHint("look at the machine; an inspection by the ramdisk forgets a disk that was replaced; %s", move)
	}
	why := unfit(d, allow)
	if array := overs(disks)[last]; array != "" {
		why = "is a member of " + array + " now"
	}
	if why != "" {
		return Disk{}, false, fault.New(fault.DiskProtected, "%s (%s), which the last deployment wrote, %s", d.Name, last, why).WithHint("look at the disk; %s", move)
	}
	hs = slices.DeleteFunc(hs, func(h Hint) bool { return slices.Contains(counts, h.Name) })
	if !hs.Match(d) {
		return Disk{}, false, fault.New(fault.DiskAmbiguous, "%s (%s), which the last deployment wrote by the same hints, does not meet %s now", d.Name, last, hs).
			WithHint("set root_device to the serial or wwn of the disk that is meant")
	}
	if err := nameable(d, disks); err != nil {
		return Disk{}, false, err
	}
	return d, true, nil
}

// Targets lists every disk that an erase must cover: all but the skipped ones and the boot medium. An array of software
// RAID is erased with its members. A disk that can't be erased though it is not skipped, by itself or with an array that is
// skipped by its serial, is a fault, never left out in silence (safety.md I5): disk.hint_ambiguous without
// an identity of its own, disk.not_local, disk.protected when read-only. An empty set is disk.none.
func Targets(inv Inventory, node map[string]any) ([]Disk, error) {
	skip, err := List(node, "skip_block_devices")
	if err != nil {
		return nil, err
	}
	allow, err := Allowed(node)
	if err != nil {
		return nil, err
	}
	kept, skipped, _, err := Skipped(inv.Disks, skip)
	if err != nil {
		return nil, err
	}
	if err := hidden(inv.Disks, skip); err != nil {
		return nil, err
	}
	var out []Disk
	for _, d := range kept {
		if d.BootMedium || d.Array() {
			continue
		}
		if err := nameable(d, inv.Disks); err != nil {
			return nil, err
		}
		switch why := unfit(d, allow); {
		case why == "":
			out = append(out, d)
		case !d.Class.Local() && !slices.Contains(allow, d.Class):
			return nil, fault.New(fault.DiskRemote, "%s (%s) %s", d.Name, label(d), why).
				WithHint("if it may be erased, list %q in properties.allow_device_classes; if not, skip it in properties.skip_block_devices", d.Class)
		default:
			return nil, fault.New(fault.DiskProtected, "%s (%s) %s, so it can't be erased", d.Name, label(d), why).
				WithHint("skip it in properties.skip_block_devices if it may keep its data")
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.DiskNone, "the machine has no disk to erase: it reports %d, %d of them skipped", len(inv.Disks), len(skipped))
	}
	return out, nil
}

// hidden refuses disks that only an array on them keeps from an erase.
func hidden(disks []Disk, skip []any) error {
	said, _, err := meant(disks, skip)
	if err != nil {
		return err
	}
	all := slices.Clone(said)
	spread(disks, all)
	byName(disks, skip, said)
	for i, d := range disks {
		if id, _ := d.ID(); all[i] && !said[i] && !d.Array() {
			return fault.New(fault.DiskProtected, "%s (%s) is not skipped, and is a member of %s, which is: because of another member, or by hints other than its serial", d.Name, label(d), overs(disks)[id]).
				WithHint("skip the disk too in properties.skip_block_devices if it may keep its data; else delete the array, or skip none of its disks")
		}
	}
	return nil
}

// unfit says why a disk can't be written, or "".
func unfit(d Disk, allow []Class) string {
	switch {
	case d.BootMedium:
		return "is the medium this ramdisk was booted from"
	case !d.Class.Local() && !slices.Contains(allow, d.Class):
		return fmt.Sprintf("is of class %s, not provably inside the machine", d.Class)
	case d.ReadOnly:
		return "is read-only"
	case d.Size <= 0:
		return "reports no size"
	}
	return ""
}

// overs are the names of the arrays that disks are members of, by the disks' identities.
func overs(all []Disk) map[DeviceID]string {
	out := map[DeviceID]string{}
	for _, a := range slices.Backward(all) {
		if a.Array() {
			for _, id := range a.Members {
				out[id] = a.Name
			}
		}
	}
	return out
}

// unfitArray says why an array can't be written, or "": what is true of one of its members is true of it.
func unfitArray(a Disk, all []Disk, called map[DeviceID]int, allow []Class) string {
	if strings.HasSuffix(a.Name, "/"+espName) {
		return "mirrors the EFI system partition"
	}
	for _, id := range a.Members {
		i, ok := called[id]
		if !ok {
			return fmt.Sprintf("has the member %s, which is not there", id)
		}
		if why := unfit(all[i], allow); why != "" {
			return "has the member " + all[i].Name + ", which " + why
		}
	}
	return unfit(a, append([]Class{MDRAID}, allow...))
}

// espName is the name of the array that mirrors the EFI system partition (softraid.ESP).
const espName = "esp"

// nameable refuses a disk that can't be told from another one by what survives a reboot.
func nameable(d Disk, all []Disk) error {
	id, ok := d.ID()
	if !ok {
		return fault.New(fault.DiskAmbiguous, "%s (%s) has neither serial nor WWN, so it can't be named beyond doubt", d.Name, label(d)).
			WithHint("give the virtual disk a serial, or skip it in properties.skip_block_devices")
	}
	for _, o := range all {
		if other, _ := o.ID(); other == id && o.Name != d.Name {
			return fault.New(fault.DiskAmbiguous, "%s and %s have the same identity, %s", d.Name, o.Name, id).
				WithHint("two disks, or two paths to one, that can't be told apart are never written; skip both or remove one")
		}
	}
	return nil
}

func because(out []string, skipped int) string {
	if skipped > 0 {
		out = append(out, fmt.Sprintf("%d skipped by properties.skip_block_devices", skipped))
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, "; ")
}

// describe lists disks, each with a hint that fits it alone among all.
func describe(disks, all []Disk) string {
	out := make([]string, len(disks))
	for i, d := range disks {
		out[i] = fmt.Sprintf("%s (%s; %s)", d.Name, label(d), tell(d, all))
	}
	return strings.Join(out, ", ")
}

func label(d Disk) string {
	if d.Model == "" {
		return fmt.Sprintf("%s, %s", d.Class, Bytes(d.Size))
	}
	return fmt.Sprintf("%s, %s, %s", d.Model, d.Class, Bytes(d.Size))
}

func tell(d Disk, all []Disk) string {
	for _, name := range []string{"serial", "wwn_with_extension", "wwn", "by_path", "hctl"} {
		v := spellings(name, d)
		if len(v) == 0 {
			continue
		}
		h := Hint{Name: name, Args: v[:1]}
		alone := true
		for _, o := range all {
			alone = alone && (o.Name == d.Name || !h.match(o))
		}
		if alone {
			if name == "serial" {
				return "serial=" + strings.TrimSpace(d.Serial) // as its label has it
			}
			return name + "=" + v[0]
		}
	}
	return "no hint but its name fits it alone"
}
