package machine

import (
	"context"
	"slices"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Virtual media of operators. The ramdisk's own way is SetMedia, which leaves them alone as far as it can.

// mediaOf maps Ironic's kinds of drive to what such a drive takes.
var mediaOf = map[string][]schemas.VirtualMediaType{
	"cdrom": cds, "disk": {schemas.USBStickVirtualMediaType}, "floppy": {schemas.FloppyVirtualMediaType},
}

// Drives lists all virtual drives.
func (b *Machine) Drives(ctx context.Context) ([]conductor.Drive, error) {
	out := []conductor.Drive{}
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		all, err := b.drives(o, m)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return b.noDrive("virtual drive")
		}
		for _, v := range all {
			d := conductor.Drive{Image: wire.Clean(v.Image, 2048), Inserted: inserted(v)}
			for _, t := range v.MediaTypes[:min(len(v.MediaTypes), 16)] {
				d.Types = append(d.Types, wire.Clean(string(t), 60))
			}
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

func (b *Machine) noDrive(what string) error {
	return fault.New(fault.BMCNoMedia, "the BMC at %s has no %s", b.Target.Origin, what)
}

// Attach puts an image into a drive of the kind and reads that back. The drive that the ramdisk would take comes last. A
// drive that holds another medium is left alone, also what the instance boots: its operator takes it out first. Where a BMC shows nothing of a medium but its
// name, one that is called like the one to be put in passes for it only if it is known to have been put in before.
func (b *Machine) Attach(ctx context.Context, device, url string) error {
	return b.Run(ctx, false, func(o *wire.Operation) error {
		o.Hide(url) // it may be signed
		m, err := b.System(o)
		if err != nil {
			return err
		}
		all, err := b.drives(o, m, mediaOf[device]...)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return b.noDrive("virtual drive for " + device)
		}
		if slices.ContainsFunc(all, func(v *schemas.VirtualMedia) bool { return inserted(v) && v.Image == url }) {
			return nil
		}
		switch same := slices.DeleteFunc(slices.Clone(all), func(v *schemas.VirtualMedia) bool { return !holds(v, url) }); {
		case len(same) <= namesakes(same, url, b.known()): // all of them are others
		case slices.Contains(b.known(), url):
			return nil // it was put in before, and is one of them
		case namesakes(same, url, b.known()) == 0: // it may be what a try that was cut off put in, or anybody's: only what goes in now is known
			if err := b.eject(o, same[0]); err != nil {
				return err
			}
			return b.insert(o, same[0], url)
		}
		for _, v := range slices.Backward(all) {
			if !inserted(v) && v.Image == "" && (v.Inserted != nil || v.ImageName == "") {
				return b.insert(o, v, url)
			}
		}
		return fault.New(fault.BMCNoMedia, "every virtual drive of the BMC at %s for %s holds a medium", b.Target.Origin, device).
			WithHint("take one out first: bessemer node vmedia detach NODE %s", device)
	})
}

// known are the media that are in by all that is known: those of operators, and what the instance boots.
func (b *Machine) known() []string {
	if b.iso == "" || slices.Contains(b.keep, b.iso) {
		return b.keep
	}
	return append(slices.Clone(b.keep), b.iso)
}

// namesakes counts the others that may be what is in one of the drives, of which nothing but a name is shown.
func namesakes(drives []*schemas.VirtualMedia, url string, others []string) (n int) {
	for _, other := range others {
		if other != url && slices.ContainsFunc(drives, func(v *schemas.VirtualMedia) bool { return called(v, other) }) {
			n++
		}
	}
	return n
}

// Detach empties the drives of these kinds, or all.
func (b *Machine) Detach(ctx context.Context, devices []string) error {
	var types []schemas.VirtualMediaType
	for _, d := range devices {
		types = append(types, mediaOf[d]...)
	}
	return b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		all, err := b.drives(o, m, types...)
		if err != nil {
			return err
		}
		for _, v := range all {
			if err := b.eject(o, v); err != nil {
				return err
			}
		}
		return nil
	})
}
