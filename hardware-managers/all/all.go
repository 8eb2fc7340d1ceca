// Package all is the list of hardware managers in the stock ramdisk. It only lists and wires; a vendor's ramdisk has a
// list of its own. Start at Managers.
package all

import (
	"context"
	"crypto/tls"
	"io/fs"
	"log/slog"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/agent/raid"
	"github.com/bessemer-metal/bessemer/hardware-managers/generic"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Parts are what the managers are made of.
type Parts struct {
	Root       fs.FS           // laid out like "/"
	BootMedium string          // kernel name of the disk the ramdisk came from, or ""
	Exec       hardware.Runner // runs the ramdisk's programs
	Notes      string          // folder for what a later process of the same boot must know of arrays
	TLS        *tls.Config     // authorities for images over HTTPS; nil for the system's
	Firmware   func() (image.Firmware, error)
	Rescue     generic.Rescuer
	Now        func() time.Time
	Log        *slog.Logger
}

func (p Parts) guard() *disk.Guard {
	return &disk.Guard{Root: p.Root, Layer: disk.Kernel{}, BootMedium: p.BootMedium, Log: p.Log}
}

func (p Parts) eraser() *erase.Eraser { return &erase.Eraser{Now: p.Now, Log: p.Log} }

// Arrays makes what builds arrays of software RAID, and knows those that are there.
func Arrays(p Parts) *raid.Builder {
	return &raid.Builder{
		Guard: p.guard(), Exec: p.Exec, Root: p.Root, Notes: p.Notes, Log: p.Log,
		Clear: func(ctx context.Context, disks []*disk.Disk, report func(step.Progress)) error {
			_, err := p.eraser().Metadata(ctx, disks, report)
			return err
		},
	}
}

// Managers makes the managers of the stock ramdisk.
func Managers(p Parts) []hardware.Manager {
	return []hardware.Manager{
		generic.New(
			p.guard(),
			p.eraser(),
			&image.Writer{Client: image.NewClient(p.TLS, false), Firmware: p.Firmware, Now: p.Now, Log: p.Log},
			Arrays(p),
			p.Rescue,
		),
	}
}
