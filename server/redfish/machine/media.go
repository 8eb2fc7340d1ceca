package machine

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// cds is what a virtual CD drive takes.
var cds = []schemas.VirtualMediaType{schemas.CDVirtualMediaType, schemas.DVDVirtualMediaType}

// drives lists the virtual drives of a machine that take one of these media, or all, in a lasting order. Newer BMCs keep
// them at the system, most at the manager.
func (b *Machine) drives(o *wire.Operation, m System, types ...schemas.VirtualMediaType) ([]*schemas.VirtualMedia, error) {
	lists := []string{m.More.VirtualMedia.String()}
	mgr, err := b.Manager(o, m)
	if err != nil {
		return nil, err
	}
	if mgr != nil {
		lists = append(lists, mgr.links.VirtualMedia.String())
	}
	for _, list := range lists {
		var out []*schemas.VirtualMedia
		links, err := o.Members(list)
		if wire.StatusOf(err) == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		slices.Sort(links)
		for _, l := range links {
			v, err := wire.Read[schemas.VirtualMedia](o, l)
			if err != nil {
				return nil, err
			}
			if v.ODataID == "" {
				v.ODataID = l
			}
			if len(types) == 0 || slices.ContainsFunc(types, func(t schemas.VirtualMediaType) bool { return slices.Contains(v.MediaTypes, t) }) {
				out = append(out, v)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

// HasCD tells whether the machine has a virtual CD drive.
func (b *Machine) HasCD(o *wire.Operation, m System) (bool, error) {
	all, err := b.drives(o, m, cds...)
	return len(all) > 0, err
}

// kept tells whether a drive holds a medium that an operator attached, or one that is called like it where nothing but a name is
// shown.
func (b *Machine) kept(v *schemas.VirtualMedia) bool {
	return slices.ContainsFunc(b.keep, func(url string) bool { return v.Image == url && url != "" || called(v, url) })
}

// SetMedia puts the image at url into a virtual CD drive, in place of what is in it, and reads that back. "" empties
// every virtual CD drive. A drive with an operator's medium is used only where there is no other, and is emptied only
// then. Where the BMC shows nothing of a medium but its name, and an operator attached one of the same name, which of the two is
// in can't be told: bmc.no_virtual_media. It may be called again.
func (b *Machine) SetMedia(ctx context.Context, url string) error {
	return b.Run(ctx, false, func(o *wire.Operation) error {
		o.Hide(url) // the address is what opens the medium
		m, err := b.System(o)
		if err != nil {
			return err
		}
		drives, err := b.drives(o, m, cds...)
		if err != nil {
			return err
		}
		if len(drives) == 0 {
			if url == "" {
				return nil
			}
			return fault.New(fault.BMCUnsupported, "the BMC at %s has no virtual CD drive", b.Target.Origin)
		}
		if url == "" {
			for _, d := range drives {
				if b.kept(d) {
					continue
				}
				if err := b.eject(o, d); err != nil {
					return err
				}
			}
			return nil
		}
		drive := drives[0]
		if i := slices.IndexFunc(drives, func(d *schemas.VirtualMedia) bool { return !b.kept(d) }); i > 0 {
			drive = drives[i]
		}
		if slices.ContainsFunc(drives, func(d *schemas.VirtualMedia) bool { return inserted(d) && d.Image == url }) {
			return nil
		}
		if in := slices.DeleteFunc(slices.Clone(drives), func(d *schemas.VirtualMedia) bool { return !holds(d, url) }); len(in) > 0 {
			if namesakes(in, url, b.keep) == 0 {
				return nil
			}
			return fault.New(fault.BMCNoMedia, "the BMC at %s shows nothing of a medium but its name, and an operator attached another one of the same name: which of the two is in can't be told", b.Target.Origin).
				WithHint("take that one out first: bessemer node vmedia detach NODE cdrom")
		}
		if err := b.eject(o, drive); err != nil {
			return err
		}
		return b.insert(o, drive, url)
	})
}

func inserted(v *schemas.VirtualMedia) bool { return v.Inserted != nil && *v.Inserted }

// holds tells whether the medium is in. Some BMCs show only its name, which says as much where no other medium is called so, or
// where the drive was seen empty before.
func holds(v *schemas.VirtualMedia, url string) bool {
	return inserted(v) && (v.Image == url || called(v, url))
}

// called tells whether a drive of which nothing but a name is shown holds a medium that is called like the one at url.
func called(v *schemas.VirtualMedia, url string) bool {
	return v.Image == "" && v.ImageName != "" && slices.Contains(names(url), v.ImageName)
}

// names are what BMCs make of an address: its last part, with the query or without, as it is or unescaped. Some take a query
// for a part of the path, and what stands after its last slash for the name.
func names(address string) []string {
	if !strings.Contains(address, "/") {
		return nil
	}
	plain := address
	if i := strings.IndexAny(address, "?#"); i >= 0 {
		plain = address[:i]
	}
	last := path.Base(plain)
	out := []string{last, last + address[len(plain):], path.Base(address)}
	for _, name := range out {
		if name, err := url.PathUnescape(name); err == nil {
			out = append(out, name)
			if strings.Contains(name, "/") {
				out = append(out, path.Base(name))
			}
		}
	}
	return out
}

// eject empties a drive and reads that back. An empty drive is left alone: some BMCs answer an eject with an error.
func (b *Machine) eject(o *wire.Operation, v *schemas.VirtualMedia) error {
	if !inserted(v) && v.Image == "" {
		return nil
	}
	reached := func() (bool, error) {
		now, err := wire.Read[schemas.VirtualMedia](o, v.ODataID)
		return err == nil && !inserted(now), err
	}
	ok, err := ensure(o, func() error {
		if !v.SupportsMediaEject {
			_, err := o.PatchTagged(v.ODataID, map[string]any{"Image": nil, "Inserted": false})
			return err
		}
		task, err := v.EjectMedia()
		if err != nil || task == nil {
			return err
		}
		return b.follow(o, task.TaskMonitor, reached)
	}, reached)
	if err != nil || ok {
		return err
	}
	return fault.New(fault.BMCError, "the BMC at %s accepted to eject the medium of drive %s, but it is still in", b.Target.Origin, v.ID)
}

// forms are what InsertMedia is sent, until one is not refused as malformed: what the standard says first; then with
// what some demand beyond it; then with nothing but the address.
func forms(url string) []*schemas.VirtualMediaInsertMediaParameters {
	yes := true
	stream, http := schemas.StreamTransferMethod, schemas.HTTPTransferProtocolType
	switch scheme, _, _ := strings.Cut(url, ":"); scheme {
	case "https":
		http = schemas.HTTPSTransferProtocolType
	case "nfs":
		http = schemas.NFSTransferProtocolType
	case "cifs":
		http = schemas.CIFSTransferProtocolType
	}
	return []*schemas.VirtualMediaInsertMediaParameters{
		{Image: url, Inserted: &yes, WriteProtected: &yes},
		{Image: url, Inserted: &yes, WriteProtected: &yes, TransferMethod: &stream, TransferProtocolType: &http},
		{Image: url},
	}
}

func (b *Machine) insert(o *wire.Operation, v *schemas.VirtualMedia, url string) error {
	var image string
	reached := func() (bool, error) {
		now, err := wire.Read[schemas.VirtualMedia](o, v.ODataID)
		if err != nil {
			return false, err
		}
		image = now.Image
		return holds(now, url), nil
	}
	ok, err := ensure(o, func() error {
		if !v.SupportsMediaInsert {
			_, err := o.PatchTagged(v.ODataID, map[string]any{"Image": url, "Inserted": true, "WriteProtected": true})
			return err
		}
		var err error
		for _, f := range forms(url) {
			var task *schemas.TaskMonitorInfo
			if task, err = v.InsertMedia(f); err == nil && task != nil {
				err = b.follow(o, task.TaskMonitor, reached)
			}
			if wire.StatusOf(err) != http.StatusBadRequest {
				break
			}
		}
		return err
	}, reached)
	if err != nil || ok {
		return err
	}
	if image == "" {
		return fault.New(fault.BMCError, "the BMC at %s accepted the medium, but its drive %s is empty", b.Target.Origin, v.ID).
			WithHint("check that the BMC reaches the server's boot address")
	}
	return fault.New(fault.BMCError, "the BMC at %s accepted the medium, but its drive %s holds another one", b.Target.Origin, v.ID)
}
