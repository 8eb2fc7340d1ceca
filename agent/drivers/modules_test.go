package drivers

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/agent/system/systemtest"
)

const kdir = "lib/modules/6.1/"

func moduleTree() map[string]string {
	return map[string]string{
		kdir + "modules.dep": `kernel/drivers/nvme.ko: kernel/drivers/nvme-core.ko kernel/lib/t10-pi.ko
kernel/drivers/nvme-core.ko: kernel/lib/t10-pi.ko
kernel/lib/t10-pi.ko:
kernel/fs/xfs.ko.xz: kernel/lib/libcrc32c.ko
kernel/lib/libcrc32c.ko:
kernel/crypto/crc32c_generic.ko:
kernel/crypto/crc32c-intel.ko:
kernel/net/one.ko:
kernel/net/two.ko:
kernel/usb/hid.ko:
kernel/bad.ko:
kernel/needs-bad.ko: kernel/bad.ko
`,
		kdir + "modules.alias": `# Aliases extracted from modules themselves.
alias pci:v*d*sv*sd*bc01sc08i02* nvme
alias crypto_crc32c crc32c_generic
alias crypto_crc32c crc32c_intel
alias fs_xfs xfs
alias q* one
alias usb:v046Dp[0-9A-C]*d* hid
alias dmi*:svnA/B* two
alias platform:x_y two
alias short
`,
		kdir + "modules.softdep": "# Soft dependencies\nsoftdep libcrc32c pre: crypto-crc32c\nsoftdep one pre: two post: hid\nsoftdep two pre: one\n",
		kdir + "modules.builtin": "kernel/drivers/block/loop.ko\n",
	}
}

// open gives modules whose loading is noted instead of done.
func open(t *testing.T, root string) (*Modules, *[]string) {
	t.Helper()
	m, err := Open(root, "6.1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var loaded []string
	m.load = func(file string) error {
		if n := moduleName(file); n != "bad" {
			loaded = append(loaded, n)
			return nil
		}
		return errors.New("unknown symbol")
	}
	return m, &loaded
}

func TestModuleOrder(t *testing.T) {
	for name, want := range map[string]string{
		"nvme":                "t10_pi nvme_core nvme",
		"nvme-core":           "t10_pi nvme_core",
		"fs-xfs":              "crc32c_generic crc32c_intel libcrc32c xfs", // soft dependency by alias, compressed file
		"crypto-crc32c":       "crc32c_generic crc32c_intel",
		"loop":                "",            // built in
		"one":                 "two one hid", // soft dependencies that go round
		"q":                   "two one hid", // a pattern of one character and a wildcard
		"usb:v046DpB01Cd0100": "hid",         // a range with a dash
		"dmi:bvnX:svnA/B:pnC": "one hid two", // a wildcard across a slash
		"platform:x-y":        "one hid two", // dash and underscore are one
		"pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02": "t10_pi nvme_core nvme",
	} {
		m, loaded := open(t, systemtest.Tree(t, moduleTree()))
		if err := m.Load(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(*loaded, " "); got != want {
			t.Errorf("%s loads %q, expected %q", name, got, want)
		}
		before := len(*loaded)
		if err := m.Load(name); err != nil || len(*loaded) != before {
			t.Errorf("%s a second time: %v, loaded %v", name, err, (*loaded)[before:])
		}
	}
}

func TestModuleFailures(t *testing.T) {
	m, loaded := open(t, systemtest.Tree(t, moduleTree()))
	if err := m.Load("usb:v046DpF01C"); !errors.Is(err, ErrNoModule) {
		t.Errorf("a device without a module: %v", err)
	}
	for range 2 { // also when it is asked for again
		if err := m.Load("needs_bad"); err == nil || !strings.Contains(err.Error(), "unknown symbol") {
			t.Errorf("a module whose dependency fails: %v", err)
		}
	}
	if len(*loaded) != 0 {
		t.Errorf("loaded %v", *loaded)
	}
	if _, err := Open(t.TempDir(), "6.1", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a ramdisk without modules was opened")
	}
}

func TestColdplugGoesOnUntilNothingIsNew(t *testing.T) {
	files := moduleTree()
	files["sys/bus/pci/devices/0000:00:01.0/modalias"] = "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02\n"
	files["sys/bus/pci/devices/0000:00:02.0/modalias"] = "pci:v0000FFFFd0000FFFF\n"
	files["sys/bus/acpi/devices/X/modalias"] = "\n"
	root := systemtest.Tree(t, files)
	m, loaded := open(t, root)
	inner := m.load
	m.load = func(file string) error {
		if moduleName(file) == "nvme" { // behind the driver a new bus appears
			dev := filepath.Join(root, "sys/bus/usb/devices/1-1")
			if err := os.MkdirAll(dev, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dev, "modalias"), []byte("usb:v046DpB01Cd0100"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return inner(file)
	}
	got := m.Coldplug(context.Background())
	if want := []string{"t10_pi", "nvme_core", "nvme", "hid"}; !slices.Equal(got, want) || !slices.Equal(*loaded, want) {
		t.Errorf("loaded %v, told %v, expected %v", *loaded, got, want)
	}
	if again := m.Coldplug(context.Background()); len(again) != 0 {
		t.Errorf("a second time: %v", again)
	}
}

func TestSettle(t *testing.T) {
	root := systemtest.Tree(t, moduleTree())
	synctest.Test(t, func(t *testing.T) {
		m, _ := open(t, root)
		begin := time.Now()
		if m.Settle(t.Context(), time.Second, 10*time.Second) || time.Since(begin) != 10*time.Second {
			t.Errorf("before the first pass it was quiet, or waited %s, expected 10 s", time.Since(begin))
		}
		m.Coldplug(t.Context())
		begin = time.Now()
		go func() { // two more devices, the last after 1.4 s
			for range 2 {
				system.Sleep(t.Context(), 700*time.Millisecond)
				m.Want("")
			}
		}()
		if !m.Settle(t.Context(), time.Second, 10*time.Second) || time.Since(begin) != 2400*time.Millisecond {
			t.Errorf("settled after %s, expected 2.4 s", time.Since(begin))
		}
		begin = time.Now()
		if !m.Settle(t.Context(), time.Second, 10*time.Second) || time.Since(begin) != 0 {
			t.Errorf("quiet for long, it still waited %s", time.Since(begin))
		}
	})
}

func TestUndriven(t *testing.T) {
	files := moduleTree()
	for addr, f := range map[string][2]string{"0000:00:03.0": {"0x020000", "no"}, "0000:00:01.0": {"0x020000", "no"}, "0000:00:02.0": {"0x020000", "yes"}, "0000:00:04.0": {"0x010802", "no"}} {
		dir := "sys/bus/pci/devices/" + addr + "/"
		files[dir+"class"], files[dir+"vendor"], files[dir+"device"] = f[0]+"\n", "0x8086\n", "0x1533\n"
		if f[1] == "yes" {
			files[dir+"driver"] = ""
		}
	}
	m, _ := open(t, systemtest.Tree(t, files))
	got := m.Undriven("02")
	if len(got) != 2 || got[0].String() != "8086:1533 at 0000:00:01.0" || got[1].Address != "0000:00:03.0" {
		t.Errorf("network cards without driver: %v", got)
	}
}
