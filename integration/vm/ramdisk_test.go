//go:build vm

package vm

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs"
	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/shared/api"
)

const (
	node    = "6b1c0e5e-0000-4000-8000-000000000001"
	initrdM = 20 << 20 // bytes an initramfs may have
)

// ramdisk builds one of this kind into a folder of its own; what it shares with others comes from the cache.
func ramdisk(t *testing.T, o initramfs.Options) initramfs.Result {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	o.Source, o.Out = root, t.TempDir()
	if o.Cache == "" {
		o.Cache = filepath.Join(root, "build", "cache", "ramdisk")
	}
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	r, err := initramfs.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// region is a boot configuration for this node; nobody listens at its server.
func region(t *testing.T, network *api.Network) []byte {
	t.Helper()
	b, err := api.EncodeBootConfig(api.BootConfig{
		Version: 1, Server: "https://10.0.2.2:1", Node: node, Generation: 1, NotBefore: time.Now(), Network: network,
		Pins:   []string{base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))},
		Secret: base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)),
	}, api.RegionSize)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// direct are QEMU's arguments for a kernel started without firmware, with words added to its command line.
func direct(r initramfs.Result, words ...string) []string {
	return []string{"-kernel", r.Kernel, "-initrd", r.Initramfs, "-append", strings.Join(append([]string{r.Cmdline}, words...), " ")}
}

// cd are the arguments for a CD with this image.
func cd(file string) []string {
	return []string{"-drive", "if=none,id=cd,format=raw,readonly=on,file=" + file, "-device", "scsi-cd,drive=cd,bus=scsi.0,bootindex=1"}
}

func regionCD(t *testing.T, network *api.Network) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "region.iso")
	if err := media.RegionISO(file, region(t, network)); err != nil {
		t.Fatal(err)
	}
	return cd(file)
}

// join puts groups of arguments together.
func join(groups ...[]string) (out []string) {
	for _, g := range groups {
		out = append(out, g...)
	}
	return out
}

var userNet = []string{"-netdev", "user,id=n0", "-device", "virtio-net-pci,id=nic0,netdev=n0,romfile=,mac=52:54:00:00:00:01"}

// In 512 MB of RAM: a link that is missing is told, and used when it comes.
func TestRamdiskWaitsForALink(t *testing.T) {
	r := ramdisk(t, initramfs.Options{})
	g := boot(t, join(direct(r), regionCD(t, nil), userNet, []string{"-S"})...)
	g.qmp("set_link", map[string]any{"name": "nic0", "up": false})
	g.qmp("cont", nil)
	g.expect("boot medium sr0: server https://10.0.2.2:1, node " + node)
	g.expect("eth0 (52:54:00:00:00:01) has no link: check cable and switch port")
	g.qmp("set_link", map[string]any{"name": "nic0", "up": true})
	g.expect("eth0 (52:54:00:00:00:01) has the address 10.0.2.15/24, by DHCP")
	if n := g.count("has no link"); n != 1 {
		t.Errorf("the missing link was told %d times, expected once", n)
	}
}

// The ISO under UEFI firmware, in 512 MB of RAM, with a static network on a VLAN: nobody answers there, so only the set-up shows.
func TestRamdiskISOBootsUnderUEFI(t *testing.T) {
	r := ramdisk(t, initramfs.Options{})
	fi, err := os.Stat(r.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Size() > initrdM {
		t.Errorf("initramfs of %d bytes, expected at most %d", fi.Size(), initrdM)
	}
	f, err := os.OpenFile(r.ISO, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	off, _, err := api.FindRegion(f)
	if err != nil {
		t.Fatal(err)
	}
	static := &api.Network{MAC: "52:54:00:00:00:01", Address: "192.0.2.9/24", Gateway: "192.0.2.1", Nameservers: []string{"192.0.2.53"}, VLAN: 12}
	if _, err := f.WriteAt(region(t, static), off); err != nil {
		t.Fatal(err)
	}
	vars := filepath.Join(t.TempDir(), "vars.fd")
	fresh, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vars, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	g := boot(t, join(cd(r.ISO), userNet, []string{
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", "if=pflash,unit=1,format=raw,file=" + vars})...)
	g.expect("boot medium sr0: server https://10.0.2.2:1, node " + node)
	g.expect("vlan12 (52:54:00:00:00:01) has the address 192.0.2.9/24, by boot medium")
}

// A network without a DHCP server, and one whose card has no driver in the ramdisk: each is told in words.
func TestRamdiskTellsWhatTheNetworkLacks(t *testing.T) {
	t.Run("lease", func(t *testing.T) {
		r := ramdisk(t, initramfs.Options{})
		g := boot(t, join(direct(r), regionCD(t, nil), []string{"-netdev", "hubport,id=n0,hubid=0", "-device", "virtio-net-pci,netdev=n0,romfile="})...)
		g.expect("has a link but no DHCP server answers")
	})
	t.Run("driver", func(t *testing.T) {
		r := ramdisk(t, initramfs.Options{Bundles: []string{"virtual", "medium"}})
		g := boot(t, join(direct(r), regionCD(t, nil), []string{"-netdev", "user,id=n0", "-device", "e1000e,netdev=n0,romfile="})...)
		g.expect("no network card found, but PCI network devices without a driver: 8086:10d3 at 0000:00:")
		g.expect("build the ramdisk with the driver bundle")
	})
	t.Run("card", func(t *testing.T) {
		r := ramdisk(t, initramfs.Options{})
		other := &api.Network{MAC: "52:54:00:00:00:99", Address: "192.0.2.9/24"}
		g := boot(t, join(direct(r), regionCD(t, other), userNet)...)
		g.expect("the boot medium names the card 52:54:00:00:00:99, this machine has eth0 52:54:00:00:00:01")
	})
}

// Without a medium the ramdisk says so; a decoy on a hard disk changes nothing (safety.md T13). The rescue shell shows
// that Linux reads our config drive by its long names, and that the agent comes back when it is killed.
func TestT13_RamdiskWithoutMediumAndItsRescueShell(t *testing.T) {
	r := ramdisk(t, initramfs.Options{Rescue: true})
	dir := t.TempDir()
	drive, err := media.ConfigDrive(map[string][]byte{
		"openstack/latest/meta_data.json":    []byte("{\"hostname\":\"node-7\"}\n"),
		"openstack/latest/network_data.json": bytes.Repeat([]byte(" "), 2048),
		"openstack/latest/vendor_data2.json": []byte("{}"),
		"openstack/latest/user_data":         []byte("#cloud-config"),
	}, media.ConfigDriveLabel)
	if err != nil {
		t.Fatal(err)
	}
	configDrive, decoy := filepath.Join(dir, "config.iso"), filepath.Join(dir, "decoy.iso")
	if err := os.WriteFile(configDrive, drive, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := media.RegionISO(decoy, region(t, nil)); err != nil {
		t.Fatal(err)
	}
	g := boot(t, join(direct(r, "bessemer.rescue"), userNet, []string{
		"-drive", "if=none,id=c,format=raw,file=" + configDrive, "-device", "virtio-blk-pci,drive=c,addr=0x10",
		"-drive", "if=none,id=d,format=raw,file=" + decoy, "-device", "virtio-blk-pci,drive=d,addr=0x11"})...)
	g.expect("no boot medium found: attach the server's boot ISO")
	g.typed("mount -t iso9660 -r /dev/vda /mnt; cat /mnt/openstack/latest/meta_data.json; ls /mnt/openstack/latest")
	g.expect(`{"hostname":"node-7"}`)
	for _, name := range []string{"meta_data.json", "network_data.json", "vendor_data2.json", "user_data"} {
		g.expect("\n" + name + "\r\n")
	}
	g.typed("for p in /proc/[0-9]*; do echo $p is $(cat $p/comm); done; echo that is all of them")
	g.expect("\nthat is all of them")
	agent := regexp.MustCompile(`/proc/(\d{2,}) is init\r`).FindStringSubmatch(g.all())
	if agent == nil {
		t.Fatal("PID 1 has no child that is the agent")
	}
	g.typed("kill -9 " + agent[1])
	g.expect("/init agent ended (signal 9: killed); it is started again in 0s")
	if n := g.count("boot medium vdb"); n != 0 {
		t.Error("the decoy on a hard disk was read")
	}
}

// Same inputs, same bytes, also where nothing is cached but the packages.
func TestRamdiskIsReproducible(t *testing.T) {
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	few := []string{"virtual"} // compressing all of them takes half a minute
	one := ramdisk(t, initramfs.Options{Bundles: few})
	cache := t.TempDir()
	if err := os.CopyFS(filepath.Join(cache, "packages"), os.DirFS(filepath.Join(root, "build", "cache", "ramdisk", "packages"))); err != nil {
		t.Fatal(err)
	}
	two := ramdisk(t, initramfs.Options{Bundles: few, Cache: cache})
	for _, l := range two.Layers {
		if l.Cached {
			t.Errorf("layer %s was cached", l.Name)
		}
	}
	for _, files := range [][2]string{{one.Kernel, two.Kernel}, {one.Initramfs, two.Initramfs}, {one.UKI, two.UKI}, {one.ISO, two.ISO}, {one.SBOM, two.SBOM}} {
		a, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(files[1])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("two builds differ in %s", filepath.Base(files[0]))
		}
	}
}

// The edit loop rebuilds the agent's layer only.
func TestRamdiskFastPath(t *testing.T) {
	ramdisk(t, initramfs.Options{})
	begin := time.Now()
	r := ramdisk(t, initramfs.Options{Fast: true, Version: "edit"})
	took := time.Since(begin)
	for _, l := range r.Layers {
		if l.Cached != (l.Name != "agent") {
			t.Errorf("layer %s: cached %v", l.Name, l.Cached)
		}
	}
	t.Logf("the edit loop took %s", took)
}
