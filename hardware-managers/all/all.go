// Package all is the list of hardware managers in the stock ramdisk. It only lists and wires; a vendor's ramdisk has a
// list of its own. Start at Managers.
package all

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/hardware-managers/generic"
	"github.com/bessemer-metal/bessemer/shared/hardware"
)

// Parts are what the managers are made of.
type Parts struct {
	Root       fs.FS       // laid out like "/"
	BootMedium string      // kernel name of the disk the ramdisk came from, or ""
	TLS        *tls.Config // authorities for images over HTTPS; nil for the system's
	Firmware   func() (image.Firmware, error)
	Rescue     generic.Rescuer
	Now        func() time.Time
	Log        *slog.Logger
}

// Managers makes the managers of the stock ramdisk.
func Managers(p Parts) []hardware.Manager {
	return []hardware.Manager{
		generic.New(
			&disk.Guard{Root: p.Root, Layer: disk.Kernel{}, BootMedium: p.BootMedium, Log: p.Log},
			&erase.Eraser{Now: p.Now, Log: p.Log},
			&image.Writer{Client: image.NewClient(p.TLS, false), Firmware: p.Firmware, Now: p.Now, Log: p.Log},
			p.Rescue,
		),
	}
}
