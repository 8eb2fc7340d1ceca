package parts

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Bounds of an inspection. What a BMC lists beyond them is left out, and that is said.
const (
	maxProcessors = 64
	maxModules    = 256 // of memory
	maxStores     = 32
	maxDisks      = 256
	maxProblems   = 16
	maxThreads    = 1 << 16
	maxMemoryMB   = 1 << 30
	maxBytes      = 1 << 60
	maxMbps       = 1 << 30
	maxMHz        = 1 << 20
)

// told is a value of the kind that is expected. What is of another kind counts as not told.
type told[T any] struct{ is T }

func (t *told[T]) UnmarshalJSON(b []byte) error {
	var v T
	if json.Unmarshal(b, &v) == nil {
		t.is = v
	}
	return nil
}

// sized is a count of a sane size, scaled; 0 when it is none.
func sized(n told[float64], scale, most float64) int64 {
	v := math.Round(n.is * scale)
	if !(v >= 1 && v <= most) { // also what is not a number
		return 0
	}
	return int64(v)
}

func words(t told[string]) string { return Words(t.is, maxText) }

type status told[struct{ State told[string] }]

func (s *status) UnmarshalJSON(b []byte) error {
	return (*told[struct{ State told[string] }])(s).UnmarshalJSON(b)
}

func (s status) absent() bool { return s.is.State.is == "Absent" }

// reading is one inspection as it grows.
type reading struct {
	s   Service
	out conductor.Found
}

// Inspect reads what a machine is made of, by reads alone: of the system what it says itself, its processors, memory, drives
// and volumes, and network cards. What the BMC does not have stays empty; what it lists and can't show is a problem of the
// inventory. The class of the disks is unknown: that a disk is inside the machine is not proven by what a BMC says.
func Inspect(s Service, system string) (conductor.Found, error) {
	var o struct {
		Manufacturer, Model, SerialNumber, UUID, BiosVersion           told[string]
		MemorySummary                                                  told[struct{ TotalSystemMemoryGiB told[float64] }]
		ProcessorSummary                                               told[summary]
		Boot                                                           told[struct{ BootSourceOverrideMode told[string] }]
		Processors, Memory, Storage, SimpleStorage, EthernetInterfaces link
	}
	if err := s.Read(system, &o); err != nil {
		return conductor.Found{}, err
	}
	r := &reading{s: s, out: conductor.Found{Inventory: inventory.Inventory{
		Interfaces: []inventory.Interface{}, Disks: []inventory.Disk{}, CPU: inventory.CPU{Flags: []string{}},
		SystemVendor: inventory.SystemVendor{
			ProductName: words(o.Model), SerialNumber: words(o.SerialNumber), Manufacturer: words(o.Manufacturer),
			UUID: strings.ToLower(Words(o.UUID.is, 64)), Firmware: inventory.Firmware{Version: words(o.BiosVersion)},
		},
		Boot: inventory.Boot{CurrentBootMode: map[string]string{"UEFI": "uefi", "Legacy": "bios"}[o.Boot.is.BootSourceOverrideMode.is]},
	}}}
	inv := &r.out.Inventory
	inv.Memory.PhysicalMB = sized(o.MemorySummary.is.TotalSystemMemoryGiB, 1024, maxMemoryMB)
	for _, part := range []func() error{
		func() error { return r.processors(o.Processors, o.ProcessorSummary.is) },
		func() error { return r.memory(o.Memory) },
		func() error { return r.storage(o.Storage) },
		func() error { return r.simpleStorage(o.SimpleStorage) },
		func() error { return r.cards(o.EthernetInterfaces) },
	} {
		if err := part(); err != nil {
			return conductor.Found{}, err
		}
	}
	return r.out, nil
}

func (r *reading) problem(format string, args ...any) {
	if p := &r.out.Inventory.Problems; len(*p) < maxProblems {
		*p = append(*p, Words(fmt.Sprintf(format, args...), maxText))
	}
}

// left is nil when reading goes on without a part: one that is not there, or that can't be read while the BMC as a whole is
// of use.
func (r *reading) left(what string, err error) error {
	switch {
	case err == nil || r.s.Missing(err):
		return nil
	case fault.Has(err, fault.BMCError):
		r.problem("%s: %s", what, fault.From(err).Message)
		return nil
	}
	return err
}

// each reads the members of a collection, until one is the last that is wanted.
func (r *reading) each(what string, from link, most int, read func(l string) (last bool, err error)) error {
	if from == "" {
		return nil
	}
	all, err := r.s.Members(string(from))
	if err := r.left(what, err); err != nil {
		return err
	}
	if len(all) > most {
		r.problem("the BMC lists %d %s, of which %d are taken", len(all), what, most)
		all = all[:most]
	}
	for _, l := range all {
		last, err := read(l)
		if err := r.left(what, err); err != nil {
			return err
		}
		if err == nil && last {
			return nil
		}
	}
	return nil
}

type summary struct {
	Count, LogicalProcessorCount told[float64]
	Model                        told[string]
}

// processors reads as many as tell what the summary does not.
func (r *reading) processors(from link, sum summary) error {
	cpu := &r.out.Inventory.CPU
	cpu.Count, cpu.SocketCount = int(sized(sum.LogicalProcessorCount, 1, maxThreads)), int(sized(sum.Count, 1, maxProcessors))
	cpu.ModelName = words(sum.Model)
	enough := cpu.Count > 0 && cpu.SocketCount > 0
	sockets, threads := 0, int64(0)
	err := r.each("processors", from, maxProcessors, func(l string) (bool, error) {
		var p struct {
			ProcessorType, ProcessorArchitecture, InstructionSet, Model told[string]
			TotalCores, TotalThreads, MaxSpeedMHz                       told[float64]
			Status                                                      status
		}
		if err := r.s.Read(l, &p); err != nil {
			return false, err
		}
		if kind := p.ProcessorType.is; p.Status.absent() || kind != "" && kind != "CPU" {
			return false, nil
		}
		sockets++
		threads += max(sized(p.TotalThreads, 1, maxThreads), sized(p.TotalCores, 1, maxThreads))
		if cpu.ModelName == "" {
			cpu.ModelName = words(p.Model)
		}
		if mhz := sized(p.MaxSpeedMHz, 1, maxMHz); cpu.Frequency == "" && mhz > 0 {
			cpu.Frequency = strconv.FormatInt(mhz, 10)
		}
		if cpu.Architecture == "" {
			cpu.Architecture = architecture(p.ProcessorArchitecture.is, p.InstructionSet.is)
		}
		return enough && cpu.Architecture != "", nil
	})
	if cpu.SocketCount == 0 {
		cpu.SocketCount = sockets
	}
	if cpu.Count == 0 {
		cpu.Count = int(threads)
	}
	return err
}

// architecture is Linux's name of one; "" when it is not known.
func architecture(kind, set string) string {
	switch kind {
	case "x86":
		return "x86_64"
	case "ARM":
		if set == "ARM-A32" {
			return "arm"
		}
		return "aarch64"
	case "IA-64":
		return "ia64"
	case "MIPS":
		return "mips"
	}
	return ""
}

// memory adds up the modules where the system gives no sum.
func (r *reading) memory(from link) error {
	total := &r.out.Inventory.Memory.PhysicalMB
	if *total > 0 {
		return nil
	}
	return r.each("memory modules", from, maxModules, func(l string) (bool, error) {
		var m struct {
			CapacityMiB told[float64]
			Status      status
		}
		if err := r.s.Read(l, &m); err != nil {
			return false, err
		}
		if !m.Status.absent() {
			*total = min(*total+sized(m.CapacityMiB, 1, maxMemoryMB), maxMemoryMB)
		}
		return false, nil
	})
}

// full tells whether there is no room for another disk.
func (r *reading) full() bool {
	if len(r.out.Inventory.Disks) < maxDisks {
		return false
	}
	r.problem("the BMC lists more than %d disks", maxDisks)
	return true
}

// storage lists what an operating system would see: drives, and in the place of those that a RAID volume is made of, the
// volume. A drive that is listed twice counts once.
func (r *reading) storage(from link) error {
	known := map[string]bool{}
	return r.each("storage", from, maxStores, func(l string) (bool, error) {
		var st struct {
			Drives  links
			Volumes link
		}
		if err := r.s.Read(l, &st); err != nil {
			return false, err
		}
		if err := r.volumes(st.Volumes, known); err != nil {
			return false, err
		}
		for _, d := range st.Drives {
			p := Place(string(d))
			if p == "" || known[p] {
				continue
			}
			if r.full() {
				return true, nil
			}
			known[p] = true
			if err := r.left("drives", r.drive(string(d))); err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

// volumes lists the RAID volumes, and marks the drives that they are made of as known. Any other volume is a drive by
// another name.
func (r *reading) volumes(from link, known map[string]bool) error {
	return r.each("volumes", from, maxDisks, func(l string) (bool, error) {
		var v struct {
			ID                         told[string] `json:"Id"`
			Name, RAIDType, VolumeType told[string]
			CapacityBytes              told[float64]
			Identifiers                told[[]identifier]
			Links                      told[struct{ Drives links }]
			Status                     status
		}
		if known[Place(l)] {
			return false, nil
		}
		known[Place(l)] = true
		if err := r.s.Read(l, &v); err != nil {
			return false, err
		}
		size := sized(v.CapacityBytes, 1, maxBytes)
		plain := (v.RAIDType.is == "" || v.RAIDType.is == "None") && (v.VolumeType.is == "" || v.VolumeType.is == "RawDevice")
		if plain || size == 0 || v.Status.absent() {
			return false, nil
		}
		if r.full() {
			return true, nil
		}
		for _, d := range v.Links.is.Drives {
			known[Place(string(d))] = true
		}
		r.disk(inventory.Disk{Name: named(v.Name, v.ID, l), Model: words(v.RAIDType), Size: size, WWN: wwn(v.Identifiers.is)})
		return false, nil
	})
}

func (r *reading) disk(d inventory.Disk) {
	d.Class = inventory.ClassUnknown
	r.out.Inventory.Disks = append(r.out.Inventory.Disks, d)
}

func (r *reading) drive(l string) error {
	var d struct {
		ID                                                           told[string] `json:"Id"`
		Name, Model, Manufacturer, SerialNumber, MediaType, Protocol told[string]
		CapacityBytes                                                told[float64]
		Identifiers                                                  told[[]identifier]
		Status                                                       status
	}
	if err := r.s.Read(l, &d); err != nil {
		return err
	}
	size := sized(d.CapacityBytes, 1, maxBytes)
	if size == 0 || d.Status.absent() {
		return nil // an empty slot
	}
	r.disk(inventory.Disk{
		Name: named(d.Name, d.ID, l), Model: words(d.Model), Vendor: words(d.Manufacturer), Serial: words(d.SerialNumber), Size: size,
		Rotational: d.MediaType.is == "HDD", WWN: wwn(d.Identifiers.is), Tran: map[string]string{"NVMe": "nvme", "SATA": "sata", "SAS": "sas"}[d.Protocol.is],
	})
	return nil
}

// simpleStorage is what older BMCs have; newer ones show the same disks there once more.
func (r *reading) simpleStorage(from link) error {
	if len(r.out.Inventory.Disks) > 0 {
		return nil
	}
	return r.each("simple storage", from, maxStores, func(l string) (bool, error) {
		var st struct {
			Devices told[[]struct {
				Name, Manufacturer, Model told[string]
				CapacityBytes             told[float64]
				Status                    status
			}]
		}
		if err := r.s.Read(l, &st); err != nil {
			return false, err
		}
		for _, d := range st.Devices.is {
			size := sized(d.CapacityBytes, 1, maxBytes)
			if size == 0 || d.Status.absent() {
				continue
			}
			if r.full() {
				return true, nil
			}
			r.disk(inventory.Disk{Name: named(d.Name, told[string]{}, l), Model: words(d.Model), Vendor: words(d.Manufacturer), Size: size})
		}
		return false, nil
	})
}

// named is what a part is called: its name, its id, or where it is.
func named(name, id told[string], l string) string {
	for _, n := range []string{words(name), words(id)} {
		if n != "" {
			return n
		}
	}
	return Words(Place(l), maxText)
}

type identifier struct{ DurableName, DurableNameFormat told[string] }

// wwn is a disk's worldwide name as Linux writes it; "" when none is told.
func wwn(all []identifier) string {
	for _, i := range all {
		if w := WWN(i.DurableNameFormat.is, i.DurableName.is); w != "" {
			return w
		}
	}
	return ""
}

// WWN is a durable name of a format as Linux writes it; "" for one that is no worldwide name.
func WWN(format, name string) string {
	before, known := map[string]string{"NAA": "0x", "EUI": "eui."}[format]
	hex := strings.TrimPrefix(strings.NewReplacer("-", "", ":", "").Replace(strings.ToLower(name)), "0x")
	if !known || hex == "" || len(hex) > 32 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return before + hex
}

// cards lists the network cards by address, each once. Those that are enabled get ports.
func (r *reading) cards(from link) error {
	known := map[string]bool{}
	return r.each("network cards", from, maxCards, func(l string) (bool, error) {
		var c struct {
			ID                                          told[string] `json:"Id"`
			PermanentMACAddress, MACAddress, LinkStatus told[string]
			SpeedMbps                                   told[float64]
			InterfaceEnabled                            told[*bool]
			Status                                      status
		}
		if err := r.s.Read(l, &c); err != nil {
			return false, err
		}
		mac, ok := api.CardMAC(c.PermanentMACAddress.is)
		if !ok {
			mac, ok = api.CardMAC(c.MACAddress.is)
		}
		if !ok || known[mac] || c.Status.absent() {
			return false, nil
		}
		known[mac] = true
		out := inventory.Interface{Name: named(c.ID, told[string]{}, l), MACAddress: mac, HasCarrier: c.LinkStatus.is == "LinkUp", LLDP: [][]any{}}
		if speed := sized(c.SpeedMbps, 1, maxMbps); speed > 0 {
			out.SpeedMbps = &speed
		}
		r.out.Inventory.Interfaces = append(r.out.Inventory.Interfaces, out)
		if on := c.InterfaceEnabled.is; c.Status.is.State.is == "Enabled" && (on == nil || *on) {
			r.out.Ports = append(r.out.Ports, mac)
		}
		return false, nil
	})
}
