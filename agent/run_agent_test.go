package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/agent/system/systemtest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// A ramdisk that carries a configuration goes by it, or by none: whatever lies in a drive is somebody else's then. Without one the
// medium in the drive is believed. What was believed once is kept for the agent's next process.
func TestT13_TheRamdisksOwnConfigurationComesBeforeAMedium(t *testing.T) {
	region := func(node string) []byte {
		b, err := api.EncodeBootConfig(api.BootConfig{Version: 1, Server: "https://192.0.2.1:6386", Node: api.NodeID(node),
			Pins:   []string{base64.StdEncoding.EncodeToString(make([]byte, 32))},
			Secret: base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{5}, 32))}, api.RegionSize)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	damaged := region("ramdisk")
	damaged[60] ^= 1
	for name, c := range map[string]struct {
		carried []byte
		node    api.NodeID
		medium  string
		says    string
	}{
		"it carries one":           {carried: region("ramdisk"), node: "ramdisk"},
		"it carries a damaged one": {carried: damaged, says: "boot the machine anew"},
		"it carries none":          {carried: make([]byte, api.RegionSize), node: "drive", medium: "sr0"},
	} {
		t.Run(name, func(t *testing.T) {
			const dir = "sys/devices/pci0000:00/usb1/block/sr0/"
			root := systemtest.Tree(t, map[string]string{
				api.RegionFile: string(c.carried), "sys/block/sr0->": "../devices/pci0000:00/usb1/block/sr0", dir + "device/type": "5\n",
				dir + "removable": "1\n", dir + "size": "100000\n", "dev/sr0": systemtest.Medium(region("drive")),
			})
			console := system.OpenConsole(root)
			defer console.Close()
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // nothing is waited for
			m, err := bootConfig(ctx, root, console, nil)
			kept, keptErr := system.KeptMedium(root)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || keptErr == nil {
					t.Errorf("got %v, %v; kept %v", m, err, kept)
				}
				return
			}
			if err != nil || keptErr != nil || m.Config.Node != c.node || m.Name != c.medium || kept.Config.Node != c.node || kept.Name != c.medium {
				t.Errorf("got %q of %q, %v; kept %v, %v", m.Name, m.Config.Node, err, kept, keptErr)
			}
		})
	}
}
