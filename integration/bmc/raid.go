package bmc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RAID is a fake machine's RAID controller: its drives are beside the machine's own. Volumes hold no data.
type RAID struct {
	Types  []string `json:"types,omitempty"`  // RAID levels in Redfish's words; default: 0, 1, 5, 6, 10, 50 and 60
	Apply  string   `json:"apply,omitempty"`  // when operations take effect: Immediate (default), OnReset, or "none": it does not say, and it is at once
	Names  *bool    `json:"names,omitempty"`  // false: it calls volumes as it likes
	Drives []Drive  `json:"drives,omitempty"` // default: four of 64 GiB
	// Volumes are there from the start: RAIDType, Drives by number from 1, and Name.
	Volumes []Volume `json:"volumes,omitempty"`
}

// Volume is one of the controller's.
type Volume struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Type   string `json:"raid_type"`
	Bytes  int64  `json:"bytes"`
	Drives []int  `json:"drives"` // by number from 1
	WWN    string `json:"wwn"`    // 32 hex digits
}

// The apply times.
const (
	Immediate = "Immediate"
	OnReset   = "OnReset"
)

const volumeTask = "volumes at the next reset"

var raidTypes = []string{"RAID0", "RAID1", "RAID5", "RAID6", "RAID10", "RAID50", "RAID60"}

func (r *RAID) complete() {
	if r.Types == nil {
		r.Types = raidTypes
	}
	if r.Apply == "" {
		r.Apply = Immediate
	}
	if r.Drives == nil {
		for i := range 4 {
			r.Drives = append(r.Drives, Drive{Serial: fmt.Sprintf("RAID%04d", i+1), Bus: "scsi", Bytes: 64 << 30})
		}
	}
}

// arrays is what the controller has made; under the machine's lock.
type arrays struct {
	volumes []Volume
	made    int
	due     []dueVolume
}

// dueVolume is an operation that the next boot carries out.
type dueVolume struct {
	task *task
	do   func() error
}

// RAID is the machine's controller; nil when it has none.
func (m *Machine) RAID() *RAID {
	if m.real != nil {
		return nil
	}
	return m.cfg.Fake.RAID
}

// Volumes are those that there are.
func (m *Machine) Volumes() []Volume {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.arrays.volumes)
}

// data is how many drives of n hold data, and how many a level needs.
func data(kind string, n int) (data, least int) {
	switch kind {
	case "RAID0":
		return n, 1
	case "RAID1":
		return 1, 2
	case "RAID5":
		return n - 1, 3
	case "RAID6":
		return n - 2, 4
	case "RAID10":
		return n / 2, 4
	case "RAID50":
		return n - 2, 6
	case "RAID60":
		return n - 4, 8
	}
	return 0, 1
}

// room is what is left of a drive.
func (m *Machine) room(drive int) int64 {
	left := m.RAID().Drives[drive-1].Bytes
	for _, v := range m.arrays.volumes {
		if d, _ := data(v.Type, len(v.Drives)); d > 0 && slices.Contains(v.Drives, drive) {
			left -= (v.Bytes + int64(d) - 1) / int64(d)
		}
	}
	return left
}

// ErrVolume refuses what the controller can't do.
type ErrVolume struct{ Cause error }

func (e ErrVolume) Error() string { return e.Cause.Error() }

// check says what is wrong with a volume that is to be made, and gives it its size where it has none.
func (m *Machine) check(v *Volume) error {
	r := m.RAID()
	d, least := data(v.Type, len(v.Drives))
	switch {
	case !slices.Contains(r.Types, v.Type):
		return ErrVolume{fmt.Errorf("%s is not among %s", v.Type, strings.Join(r.Types, ", "))}
	case len(v.Drives) < least || v.Type == "RAID1" && len(v.Drives) != 2 || v.Type == "RAID10" && len(v.Drives)%2 != 0:
		return ErrVolume{fmt.Errorf("%s can't be made of %d drives", v.Type, len(v.Drives))}
	}
	least64 := m.room(v.Drives[0])
	for _, n := range v.Drives {
		least64 = min(least64, m.room(n))
	}
	if v.Bytes == 0 {
		v.Bytes = least64 * int64(d)
	}
	if v.Bytes <= 0 || v.Bytes > least64*int64(d) {
		return ErrVolume{errors.New("the drives have not so much room")}
	}
	return nil
}

// CreateVolume makes a volume, or has the next boot make it. The volume has its id when it is there; the task is the one that
// waits for the boot.
func (m *Machine) CreateVolume(ctx context.Context, v Volume, when string) (made Volume, waits *Task, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(&v); err != nil {
		return v, nil, err
	}
	m.did(ctx, ActCreateVolume, volumeWords(v))
	make := func() error {
		if err := m.check(&v); err != nil {
			return err
		}
		m.put(&v)
		return nil
	}
	if when != OnReset {
		err := make() // which gives v its id
		return v, nil, err
	}
	return v, m.atReset(make), nil
}

func (m *Machine) put(v *Volume) {
	a := &m.arrays
	a.made++
	v.ID, v.WWN = fmt.Sprint(a.made), fmt.Sprintf("6b0551e5%024x", a.made)
	if n := m.RAID().Names; v.Name == "" || n != nil && !*n {
		v.Name = "Virtual Disk " + v.ID
	}
	a.volumes = append(a.volumes, *v)
	m.did(context.Background(), ActVolumeThere, volumeWords(*v))
}

// atReset puts an operation off to the next boot.
func (m *Machine) atReset(do func() error) *Task {
	t := &task{name: volumeTask, state: "Pending"}
	m.addTask(t)
	m.arrays.due = append(m.arrays.due, dueVolume{t, do})
	view := t.view()
	return &view
}

// DeleteVolume deletes a volume, or has the next boot delete it; found is false when there is none.
func (m *Machine) DeleteVolume(ctx context.Context, id, when string) (waits *Task, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.arrays.volumes, func(v Volume) bool { return v.ID == id })
	if i < 0 {
		return nil, false
	}
	m.did(ctx, ActDeleteVolume, volumeWords(m.arrays.volumes[i]))
	drop := func() error {
		m.arrays.volumes = slices.DeleteFunc(m.arrays.volumes, func(v Volume) bool { return v.ID == id })
		return nil
	}
	if when == OnReset {
		return m.atReset(drop), true
	}
	return nil, drop() == nil
}

// applyVolumes is what a boot makes of the operations that were put off; the caller holds m.mu.
func (m *Machine) applyVolumes() {
	for _, d := range m.arrays.due {
		d.task.state, d.task.end = "Completed", m.env.Now()
		if err := d.do(); err != nil {
			d.task.state, d.task.err = "Exception", err
		}
	}
	m.arrays.due = nil
}

// volumeWords writes a volume as an act's Value has it.
func volumeWords(v Volume) string {
	b, err := json.Marshal(map[string]any{"drives": v.Drives, "name": v.Name, "raid_type": v.Type})
	if err != nil {
		return ""
	}
	return string(b)
}
