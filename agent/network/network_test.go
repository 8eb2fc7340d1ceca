package network

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/bessemer-metal/bessemer/agent/drivers"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/agent/system/systemtest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestWhatTheNetworkLacks(t *testing.T) {
	open := func(files map[string]string) *drivers.Modules {
		for _, table := range []string{"dep", "alias", "softdep", "builtin"} {
			files["lib/modules/6.1/modules."+table] = ""
		}
		m, err := drivers.Open(systemtest.Tree(t, files), "6.1", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const card3 = "sys/bus/pci/devices/0000:00:03.0/"
	undriven := open(map[string]string{card3 + "class": "0x020000\n", card3 + "vendor": "0x8086\n", card3 + "device": "0x1533\n"})
	none := open(map[string]string{})
	card := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "eth0", HardwareAddr: []byte{2, 0, 0, 0, 0, 1}}}
	for name, c := range map[string]struct {
		modules *drivers.Modules
		links   []netlink.Link
		static  *api.Network
		says    string
	}{
		"no driver":      {undriven, nil, nil, "8086:1533 at 0000:00:03.0; build the ramdisk with the driver bundle"},
		"no card":        {none, nil, nil, "enabled in the firmware"},
		"another's card": {none, []netlink.Link{card}, &api.Network{MAC: "52:54:00:00:00:01"}, "names the card 52:54:00:00:00:01, this machine has eth0 02:00:00:00:00:01"},
	} {
		var s systemtest.Screen
		n := New(t.TempDir(), system.NewConsole(&s), c.modules, nil)
		n.tellLack(c.links, map[string]bool{}, c.static)
		if !strings.Contains(s.String(), c.says) || strings.Count(s.String(), "\n") != 1 {
			t.Errorf("%s: %q, expected %q", name, s.String(), c.says)
		}
	}
	var s systemtest.Screen
	New(t.TempDir(), system.NewConsole(&s), nil, nil).tellLack([]netlink.Link{card}, map[string]bool{"eth0": true}, nil)
	if s.Len() != 0 {
		t.Errorf("with a card: %q", s.String())
	}
}
