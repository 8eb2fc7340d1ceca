package disktest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// MD is what stands in a superblock of format 1.0.
type MD struct {
	UUID                  [16]byte
	Name                  string
	Level                 int
	Members, Role         int
	Chunk, Used, Data, At int64 // bytes; At is the superblock's place in its partition
	Layout                uint32
	Events                uint64
}

// Superblock makes one.
func Superblock(m MD) []byte {
	b := make([]byte, 4096)
	le := binary.LittleEndian
	le.PutUint32(b, 0xa92b4efc)
	le.PutUint32(b[4:], 1)
	copy(b[16:32], m.UUID[:])
	copy(b[32:64], m.Name)
	le.PutUint32(b[72:], uint32(m.Level))
	le.PutUint32(b[76:], m.Layout)
	le.PutUint64(b[80:], uint64(m.Used>>9))
	le.PutUint32(b[88:], uint32(m.Chunk>>9))
	le.PutUint32(b[92:], uint32(m.Members))
	le.PutUint64(b[136:], uint64(m.Data>>9))
	le.PutUint64(b[144:], uint64(m.At>>9))
	le.PutUint32(b[160:], uint32(m.Role))
	le.PutUint64(b[200:], m.Events)
	le.PutUint32(b[220:], uint32(m.Members))
	for i := range m.Members {
		le.PutUint16(b[256+2*i:], uint16(i))
	}
	return b
}

// Mdadm stands for the programs mdadm and modprobe on a machine: arrays are superblocks on its disks, and devices of its
// kernel while they run. Partitions become known to the kernel when a disk's are read again.
type Mdadm struct {
	t    testing.TB
	m    *Machine
	Said []string // every command, with its arguments
	// Fail is asked before each command, with the program and its arguments.
	Fail func(args []string) error
	// Arrays are the devices of the arrays by their names, as they ran last.
	Arrays  map[string]*Device
	running map[string]*run
	sizes   map[[16]byte]int64
	files   map[[16]byte]*os.File // what the arrays hold
}

type run struct {
	dev   *Device
	disks []*Device
	dirs  []string // of the parts, in sysfs
}

// NewMdadm makes the kernel of the machine know the partitions that are written, and gives its mdadm.
func NewMdadm(t testing.TB, m *Machine, disks ...*Device) *Mdadm {
	f := &Mdadm{t: t, m: m, Arrays: map[string]*Device{}, running: map[string]*run{}, sizes: map[[16]byte]int64{}, files: map[[16]byte]*os.File{}}
	for _, d := range disks {
		before := d.Fail
		d.Fail = func(op string, off int64, n int) error {
			if op == "reread" {
				f.partitions(d)
			}
			if before != nil {
				return before(op, off, n)
			}
			return nil
		}
	}
	return f
}

// partitions makes known what the disk's table has now.
func (f *Mdadm) partitions(d *Device) {
	entries, err := os.ReadDir(filepath.Join(f.m.Root, d.Dir))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), d.Kernel) {
			if err := os.RemoveAll(filepath.Join(f.m.Root, d.Dir, e.Name())); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	read := func(off int64, n int) ([]byte, error) {
		b := make([]byte, n)
		_, err := d.File.ReadAt(b, off)
		return b, err
	}
	t, err := content.ReadTable(read, d.Size, d.Align)
	if err != nil {
		return
	}
	for _, p := range t.Partitions {
		f.m.Partition(d, fmt.Sprint(d.Kernel, p.Index), p.Start, p.Size)
	}
}

// Running lists the arrays that run.
func (f *Mdadm) Running() (out []string) {
	for name := range f.running {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Run is a command.
func (f *Mdadm) Run(_ context.Context, program string, args ...string) ([]byte, error) {
	f.Said = append(f.Said, program+" "+strings.Join(args, " "))
	if f.Fail != nil {
		if err := f.Fail(append([]string{program}, args...)); err != nil {
			return nil, err
		}
	}
	if program == "modprobe" || args[0] == "--version" {
		return nil, nil
	}
	name := strings.TrimPrefix(args[1], "/dev/")
	flags := map[string]string{}
	var parts []string
	for _, a := range args[2:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			flags[k] = v
		} else if p, ok := strings.CutPrefix(a, "/dev/"); ok {
			parts = append(parts, p)
		}
	}
	switch args[0] {
	case "--create":
		return nil, f.create(name, flags, parts)
	case "--assemble":
		return nil, f.assemble(name, parts)
	case "--stop":
		return nil, f.stop(name)
	}
	return nil, fmt.Errorf("no such command: %v", args)
}

// part finds a partition, and the disk that it is on.
func (f *Mdadm) part(name string) (d *Device, dir string, start, size int64, err error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	for _, d := range f.m.devices {
		dir := d.Dir + "/" + name
		b, err := os.ReadFile(filepath.Join(f.m.Root, dir, "start"))
		if err != nil {
			continue
		}
		n, err := os.ReadFile(filepath.Join(f.m.Root, dir, "size"))
		if err != nil {
			return nil, "", 0, 0, err
		}
		start, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		size, _ := strconv.ParseInt(strings.TrimSpace(string(n)), 10, 64)
		return d, dir, start << 9, size << 9, nil
	}
	return nil, "", 0, 0, fmt.Errorf("no partition %s", name)
}

func place(size int64) int64 { return ((size>>9 - 16) &^ 7) << 9 }

func (f *Mdadm) create(name string, flags map[string]string, parts []string) error {
	level, err := strconv.Atoi(flags["--level"])
	if err != nil || flags["--raid-devices"] != fmt.Sprint(len(parts)) || flags["--metadata"] != "1.0" {
		return fmt.Errorf("%v of %v: %w", flags, parts, errors.ErrUnsupported)
	}
	m := MD{Name: flags["--name"], Level: level, Members: len(parts), Events: 2}
	if level != 1 {
		m.Chunk = 512 << 10
	}
	if level == 10 {
		m.Layout = 0x102
	}
	rand.Read(m.UUID[:])
	var blocks []content.MDMember
	for pass := range 2 {
		for i, p := range parts {
			d, _, start, size, err := f.part(p)
			if err != nil {
				return err
			}
			m.Role, m.At, m.Data = i, place(size), place(size)
			if pass == 0 {
				if m.Used == 0 || m.At < m.Used {
					m.Used = m.At
				}
				continue
			}
			d.Put(f.t, start+m.At, Superblock(m))
			blocks = append(blocks, content.MDMember{MD: content.MD{Level: level, Layout: m.Layout, Chunk: m.Chunk, Members: m.Members, Used: m.Used, Data: m.Data}})
		}
	}
	size, err := content.Size(blocks)
	if err != nil {
		return err
	}
	f.sizes[m.UUID] = size
	return f.start(name, m.UUID, level, size, parts)
}

func (f *Mdadm) assemble(name string, parts []string) error {
	var uuid [16]byte
	level := 0
	for i, p := range parts {
		d, _, start, size, err := f.part(p)
		if err != nil {
			return err
		}
		b := d.Bytes(f.t, start+place(size), 256)
		if i > 0 && uuid != [16]byte(b[16:32]) || binary.LittleEndian.Uint32(b) != 0xa92b4efc {
			return fmt.Errorf("%s is no member", p)
		}
		uuid, level = [16]byte(b[16:32]), int(binary.LittleEndian.Uint32(b[72:]))
	}
	return f.start(name, uuid, level, f.sizes[uuid], parts)
}

func (f *Mdadm) start(name string, uuid [16]byte, level int, size int64, parts []string) error {
	if f.running[name] != nil {
		return fmt.Errorf("%s runs already", name)
	}
	r := &run{}
	for _, p := range parts {
		d, dir, _, _, err := f.part(p)
		if err != nil {
			return err
		}
		if d.Opened() > 0 {
			return fmt.Errorf("%s is held: device or resource busy", p)
		}
		r.disks, r.dirs = append(r.disks, d), append(r.dirs, dir)
	}
	id := fmt.Sprintf("%x-%x-%x-%x-%x", uuid[0:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:16])
	r.dev = f.m.Add(Spec{Kernel: name, Serial: id, Size: size, Class: inventory.MDRAID})
	if f.files[uuid] != nil {
		r.dev.File = f.files[uuid]
	}
	f.files[uuid], f.Arrays[name] = r.dev.File, r.dev
	for file, text := range map[string]string{
		"uuid": id, "array_state": "clean", "level": "raid" + strconv.Itoa(level), "raid_disks": strconv.Itoa(len(parts)), "degraded": "0",
	} {
		f.m.Write(r.dev.Dir+"/md/"+file, text+"\n")
	}
	for i, p := range parts {
		f.m.Write(r.dev.Dir+"/slaves/"+p, "")
		f.m.Write(r.dirs[i]+"/holders/"+name, "")
		r.disks[i].Held = true
	}
	f.running[name] = r
	return nil
}

func (f *Mdadm) stop(name string) error {
	r := f.running[name]
	if r == nil {
		return fmt.Errorf("%s does not run", name)
	}
	if r.dev.Opened() > 0 {
		return fmt.Errorf("%s is held: device or resource busy", name)
	}
	delete(f.running, name)
	for i, d := range r.disks {
		d.Held = slices.ContainsFunc(f.held(), func(o *Device) bool { return o == d })
		if err := os.Remove(filepath.Join(f.m.Root, r.dirs[i], "holders", name)); err != nil {
			return err
		}
	}
	f.m.Remove(r.dev)
	return nil
}

func (f *Mdadm) held() (out []*Device) {
	for _, r := range f.running {
		out = append(out, r.disks...)
	}
	return out
}
