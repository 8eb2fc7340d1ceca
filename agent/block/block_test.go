package block_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

func TestI01_ClassByPath(t *testing.T) {
	m := disktest.New(t)
	want := map[string]inventory.Class{}
	for i, c := range []inventory.Class{
		inventory.VirtIO, inventory.SATA, inventory.SAS, inventory.USB, inventory.FC, inventory.ISCSI, inventory.ClassUnknown,
	} {
		name := fmt.Sprintf("sd%c", 'a'+i)
		m.Add(disktest.Spec{Kernel: name, Serial: name, Size: 1 << 20, Class: c})
		want[name] = c
	}
	m.Add(disktest.Spec{Kernel: "nvme0n1", Serial: "n0", Size: 1 << 20, Class: inventory.NVMePCIe})
	m.Add(disktest.Spec{Kernel: "nvme1n1", Serial: "n1", Size: 1 << 20, Class: inventory.NVMeOF})
	want["nvme0n1"], want["nvme1n1"] = inventory.NVMePCIe, inventory.NVMeOF
	disks, problems, err := block.New(m.FS()).Disks()
	if err != nil || len(problems) != 0 || len(disks) != len(want) {
		t.Fatalf("got %d disks, %q, %v", len(disks), problems, err)
	}
	for _, d := range disks {
		if d.Class != want[d.Kernel] {
			t.Errorf("%s: class %s, want %s", d.Kernel, d.Class, want[d.Kernel])
		}
	}
}

// tree makes a machine of files and links; a value that begins with "-> " is a link.
func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, v := range files {
		if target, ok := strings.CutPrefix(v, "-> "); ok {
			m[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
		} else {
			m[name] = &fstest.MapFile{Data: []byte(v)}
		}
	}
	return m
}

func TestI01_ClassOfOddPaths(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		disk  string
		want  inventory.Class
	}{
		"RAID card": {map[string]string{
			"sys/block/sda": "-> ../devices/pci0000:00/0000:01:00.0/host0/target0:2:0/0:2:0:0/block/sda",
			"sys/devices/pci0000:00/0000:01:00.0/host0/target0:2:0/0:2:0:0/block/sda/size": "8\n",
			"sys/class/scsi_host/host0/proc_name":                                          "megaraid_sas\n",
		}, "sda", inventory.SAS},
		"card that is not known": {map[string]string{
			"sys/block/sda": "-> ../devices/pci0000:00/0000:01:00.0/host0/target0:2:0/0:2:0:0/block/sda",
			"sys/devices/pci0000:00/0000:01:00.0/host0/target0:2:0/0:2:0:0/block/sda/size": "8\n",
			"sys/class/scsi_host/host0/proc_name":                                          "scsi_debug\n",
		}, "sda", inventory.ClassUnknown},
		"iSCSI card with a SAS look": {map[string]string{
			"sys/block/sda": "-> ../devices/pci0000:00/host0/session1/end_device-0:0/target0:2:0/0:2:0:0/block/sda",
			"sys/devices/pci0000:00/host0/session1/end_device-0:0/target0:2:0/0:2:0:0/block/sda/size": "8\n",
		}, "sda", inventory.ISCSI},
		"NVMe over two paths, one of them a network": {map[string]string{
			"sys/block/nvme0n1/size":                   "8\n",
			"sys/block/nvme0n1/device/nvme0/transport": "pcie\n",
			"sys/block/nvme0n1/device/nvme1/transport": "rdma\n",
		}, "nvme0n1", inventory.NVMeOF},
		"NVMe over two local paths": {map[string]string{
			"sys/block/nvme0n1/size":                   "8\n",
			"sys/block/nvme0n1/device/nvme0/transport": "pcie\n",
			"sys/block/nvme0n1/device/nvme1/transport": "pcie\n",
		}, "nvme0n1", inventory.NVMePCIe},
		"fibre channel through a virtual port": {map[string]string{
			"sys/block/sda": "-> ../devices/pci0000:00/host0/vport-0:0-1/host1/end_device-1:0/target1:0:0/1:0:0:0/block/sda",
			"sys/devices/pci0000:00/host0/vport-0:0-1/host1/end_device-1:0/target1:0:0/1:0:0:0/block/sda/size": "8\n",
		}, "sda", inventory.FC},
		"RAID card behind segments that look like a host or a number": {map[string]string{
			"sys/block/sda": "-> ../devices/7/hostess/host0/target0:2:0/0:2:0:0/block/sda",
			"sys/devices/7/hostess/host0/target0:2:0/0:2:0:0/block/sda/size": "8\n",
			"sys/class/scsi_host/host0/proc_name":                            "megaraid_sas\n",
		}, "sda", inventory.SAS},
		"segments that begin like a kind of path but have no number": {map[string]string{
			"sys/block/sda": "-> ../devices/virtio/virtiofs/virtio-7/virtio.7/block/sda", "sys/devices/virtio/virtiofs/virtio-7/virtio.7/block/sda/size": "8\n",
		}, "sda", inventory.ClassUnknown},
		"array's file on a disk that is none": {map[string]string{"sys/block/sda/size": "8\n", "sys/block/sda/md/array_state": "clean\n"}, "sda", inventory.ClassUnknown},
		"array that is not set up":            {map[string]string{"sys/block/md0/size": "8\n"}, "md0", inventory.ClassUnknown},
		"NVMe over a path that does not tell": {map[string]string{
			"sys/block/nvme0n1/size":                   "8\n",
			"sys/block/nvme0n1/device/nvme0/transport": "pcie\n",
			"sys/block/nvme0n1/device/nvme1/state":     "live\n",
		}, "nvme0n1", inventory.NVMeOF},
		"NVMe whose subsystem holds more than controllers": {map[string]string{
			"sys/block/nvme0n1/size":                   "8\n",
			"sys/block/nvme0n1/device/nvme0/transport": "pcie\n",
			"sys/block/nvme0n1/device/power/control":   "auto\n",
		}, "nvme0n1", inventory.NVMePCIe},
		"NVMe on a controller that is reached over a network": {map[string]string{
			"sys/block/nvme0n1/size":                   "8\n",
			"sys/block/nvme0n1/device/transport":       "tcp\n",
			"sys/block/nvme0n1/device/nvme0/transport": "pcie\n",
		}, "nvme0n1", inventory.NVMeOF},
		"NVMe that does not tell":  {map[string]string{"sys/block/nvme0n1/size": "8\n"}, "nvme0n1", inventory.ClassUnknown},
		"eMMC":                     {map[string]string{"sys/block/mmcblk0/size": "8\n", "sys/block/mmcblk0/device/type": "MMC\n"}, "mmcblk0", inventory.EMMC},
		"SD card":                  {map[string]string{"sys/block/mmcblk0/size": "8\n", "sys/block/mmcblk0/device/type": "SD\n"}, "mmcblk0", inventory.ClassUnknown},
		"array":                    {map[string]string{"sys/block/md0/size": "8\n", "sys/block/md0/md/array_state": "clean\n"}, "md0", inventory.MDRAID},
		"path that can't be read":  {map[string]string{"sys/block/sda/size": "8\n"}, "sda", inventory.ClassUnknown},
		"a word that holds virtio": {map[string]string{"sys/block/sda": "-> ../devices/notvirtio1/virtio/block/sda", "sys/devices/notvirtio1/virtio/block/sda/size": "8\n"}, "sda", inventory.ClassUnknown},
	} {
		d, err := block.New(tree(c.files)).Disk(c.disk)
		if err != nil || d.Class != c.want {
			t.Errorf("%s: class %s, %v; want %s", name, d.Class, err, c.want)
		}
		if !d.ReadOnly {
			t.Errorf("%s: a disk without a read-only flag counts as writable", name) // I2
		}
	}
}

func TestDisksLeavesOut(t *testing.T) {
	files := map[string]string{}
	for _, n := range []string{"loop0", "ram1", "zram0", "sr0", "fd0", "dm-3", "mmcblk0boot0", "mmcblk0rpmb", "nvme0c0n1", "sda", "nbd1", "srx"} {
		files["sys/block/"+n+"/size"] = "8\n"
	}
	files["sys/block/nvme0c0n1/hidden"] = "1\n"
	files["sys/block/nbd1/size"] = "0\n"
	files["sys/block/bad/size"] = "-5\n"
	disks, problems, err := block.New(tree(files)).Disks()
	if err != nil || len(disks) != 2 || disks[0].Kernel != "sda" || disks[1].Kernel != "srx" || len(problems) != 3 {
		t.Errorf("got %+v, %q, %v", disks, problems, err)
	}
}

func TestByNumber(t *testing.T) {
	m := disktest.New(t)
	d := m.Add(disktest.Spec{Kernel: "sda", Serial: "S", Size: 1 << 20, Class: inventory.SATA})
	m.Partition(d, "sda1", 512, 512)
	r := block.New(m.FS())
	if got, err := r.ByNumber(d.Number); err != nil || got.Serial != "S" || len(got.Partitions) != 1 || got.Partitions[0].Start != 512 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, n := range []string{"", "1:1", "../..", d.Number + "0"} {
		if got, err := r.ByNumber(n); err == nil {
			t.Errorf("%q: got %+v", n, got)
		}
	}
	m.Write(d.Dir+"/dev", "7:7\n")
	if _, err := r.ByNumber(d.Number); err == nil {
		t.Error("a link to a disk of another number was followed")
	}
}

func TestHoldersThatCannotBeReadCount(t *testing.T) {
	m := disktest.New(t)
	d := m.Add(disktest.Spec{Kernel: "sda", Serial: "S", Size: 1 << 20, Class: inventory.SATA})
	dir := filepath.Join(m.Root, d.Dir, "holders")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o644); err != nil { // there, but no directory
		t.Fatal(err)
	}
	got, err := block.New(m.FS()).Disk("sda")
	if err != nil || len(got.Holders) != 1 {
		t.Errorf("got %q, %v", got.Holders, err)
	}
}

// FuzzZ9_Sysfs: whatever the kernel or a device says of itself, reading it neither crashes nor yields control
// characters, absurd sizes or a local class for a path that is not one.
func FuzzZ9_Sysfs(f *testing.F) {
	f.Add("16777216\n", []byte{0, 0x80, 0, 4, 'S', 'E', 'R', '1'}, "naa.5000c500a1b2c3d4\n", "ata1/host0/target0:0:0/0:0:0:0", "0\n", "2048\n")
	f.Add("-1", []byte{0, 0x80, 0xff, 0xff}, "naa.", "usb1", "", "x")
	f.Add("9223372036854775807", []byte{}, "eui.\x00\x1b[2J", "session1/virtio0", "1", "")
	f.Fuzz(func(t *testing.T, size string, page []byte, wwid, where, ro, start string) {
		where = strings.Trim(where, "/")
		dir := "sys/devices/" + where + "/block/sda"
		if !fs.ValidPath(dir) || strings.Contains(where, "\x00") || strings.Contains(where, "..") {
			return
		}
		files := map[string]string{
			"sys/block/sda": "-> ../devices/" + where + "/block/sda", dir + "/size": size, dir + "/ro": ro, dir + "/device/wwid": wwid,
			dir + "/device/vpd_pg80": string(page), dir + "/sda1/partition": "1", dir + "/sda1/start": start, dir + "/sda1/size": size,
		}
		d, err := block.New(tree(files)).Disk("sda")
		if err != nil {
			return
		}
		if d.Disk.Size < 0 || d.Disk.Size > 1<<62 {
			t.Errorf("size %d", d.Disk.Size)
		}
		for _, s := range []string{d.Serial, d.WWN, d.WWNWithExtension, d.HCTL} {
			if strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
				t.Errorf("%q holds control characters", s)
			}
		}
		if strings.Contains("/"+where, "/usb1/") && d.Class.Local() {
			t.Errorf("%s is local", where)
		}
	})
}
