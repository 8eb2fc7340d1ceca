package volumes

import (
	"path"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Bounds of what is made of answers (I25).
const (
	maxStores  = 32
	maxDrives  = 256 // of all controllers
	maxVolumes = 128
	maxText    = 255
	maxLink    = 1024 // bytes of a path: it is noted, too
	maxLevels  = 32
	maxNames   = 16 // of one drive or volume
	maxBytes   = 1 << 60
)

type link struct {
	ID string `json:"@odata.id"`
}

type identifier struct{ DurableName, DurableNameFormat string }

type status struct{ State, Health string }

type controllerObject struct {
	ID                 string `json:"Id"`
	MemberID           string `json:"MemberId"`
	Name               string
	SupportedRAIDTypes *[]string
}

// Read finds the controllers that build RAID volumes. It is strict: whatever is there and can't be read is an error, since it
// might be what is to be kept (I2).
func Read(s Service, system string) (out Layout, err error) {
	var sys struct{ Storage link }
	if err := s.Read(system, &sys); err != nil || sys.Storage.ID == "" {
		return out, err
	}
	stores, err := s.Members(sys.Storage.ID)
	if err != nil {
		if s.Missing(err) {
			return out, nil
		}
		return out, err
	}
	if len(stores) > maxStores {
		return out, tooMany("storage objects", len(stores), maxStores)
	}
	r := &reader{s: s, system: parts.Place(system)}
	for _, l := range stores {
		c, builds, err := r.store(l)
		switch {
		case err != nil:
			return Layout{}, err
		case builds:
			out.Controllers = append(out.Controllers, c)
		default:
			out.Others = append(out.Others, c.Drives...)
		}
	}
	out.names()
	return out, nil
}

type reader struct {
	s               Service
	system          string // the place of the machine's
	drives, volumes int
}

func tooMany(what string, n, most int) error {
	return fault.New(fault.BMCTooLarge, "the BMC lists %d %s, at most %d are taken", n, what, most)
}

// store reads one storage object and its drives; builds is false when it builds no RAID.
func (r *reader) store(l string) (c Controller, builds bool, err error) {
	var o struct {
		ID                 string `json:"Id"`
		Name               string
		StorageControllers []controllerObject
		Controllers        link
		Drives             []link
		Volumes            link
	}
	if err := r.listed("storage object", l, &o); err != nil {
		return c, false, err
	}
	builds = o.Volumes.ID != ""
	all := o.StorageControllers
	if len(all) == 0 && o.Controllers.ID != "" {
		if all, err = r.controllers(o.Controllers.ID); err != nil {
			return c, false, err
		}
	}
	c = Controller{ID: parts.Words(o.ID, maxText), Collection: o.Volumes.ID}
	if c.ID == "" {
		c.ID = parts.Place(l)
	}
	add := func(names ...string) {
		for _, n := range names {
			if n = parts.Words(n, maxText); n != "" && n != c.ID && !slices.Contains(c.Names, n) {
				c.Names = append(c.Names, n)
			}
		}
	}
	if add(o.Name); len(all) > 0 {
		if types := all[0].SupportedRAIDTypes; types != nil {
			c.Levels = []string{}
			for _, t := range (*types)[:min(len(*types), maxLevels)] {
				c.Levels = append(c.Levels, parts.Words(t, 30))
			}
			builds = builds && len(c.Levels) > 0 // a plain one says so
		}
		add(all[0].ID, all[0].MemberID, all[0].Name)
	}
	if r.drives += len(o.Drives); r.drives > maxDrives {
		return c, false, tooMany("drives", r.drives, maxDrives)
	}
	for _, d := range o.Drives {
		drive, there, err := r.drive(d.ID)
		if err != nil {
			return c, false, err
		}
		if there {
			c.Drives = append(c.Drives, drive)
		} else {
			c.Empty = append(c.Empty, parts.Place(d.ID))
		}
	}
	if !builds {
		return c, false, nil
	}
	return c, true, r.collection(&c)
}

// listed reads what a list names. That it is not there now says that the list is changing. What is at the place of another
// machine behind the BMC is none of this one's, whatever the list says.
func (r *reader) listed(what, l string, into any) error {
	if len(l) > maxLink {
		return fault.New(fault.BMCTooLarge, "the BMC lists a %s at a path of %d bytes, at most %d are taken", what, len(l), maxLink)
	}
	all, _ := path.Split(r.system)
	if at := parts.Place(l); all != "/" && strings.HasPrefix(at, all) && at != r.system && !strings.HasPrefix(at, r.system+"/") {
		return fault.New(fault.BMCOtherMachine, "the BMC lists the %s %s for the machine at %s, and it is at another machine's place", what, parts.Words(l, maxText), r.system).
			WithHint("its volumes can't be told from those of another machine: build them by the BMC's own pages")
	}
	err := r.s.Read(l, into)
	if err != nil && r.s.Missing(err) {
		return fault.New(fault.BMCBusy, "the BMC lists the %s %s and does not show it", what, parts.Words(l, maxText)).Because(err)
	}
	return err
}

func (r *reader) controllers(l string) ([]controllerObject, error) {
	members, err := r.s.Members(l)
	if err != nil || len(members) == 0 {
		if err != nil && r.s.Missing(err) {
			err = nil
		}
		return nil, err
	}
	var o controllerObject
	err = r.s.Read(members[0], &o)
	return []controllerObject{o}, err
}

func (r *reader) drive(l string) (Drive, bool, error) {
	var o struct {
		ID                                                                         string `json:"Id"`
		Name, Model, Manufacturer, SerialNumber, MediaType, Protocol, HotspareType string
		CapacityBytes                                                              *float64
		Identifiers                                                                []identifier
		Status                                                                     status
	}
	if err := r.listed("drive", l, &o); err != nil {
		return Drive{}, false, err
	}
	if o.Status.State == "Absent" {
		return Drive{}, false, nil // an empty slot
	}
	d := Drive{Link: l, ID: parts.Words(o.ID, maxText), Media: parts.Words(o.MediaType, 30), Bus: parts.Words(o.Protocol, 30), Bytes: bytesOf(o.CapacityBytes)}
	d.Disk = inventory.Disk{
		Name: parts.Words(o.Name, maxText), Model: parts.Words(o.Model, maxText), Vendor: parts.Words(o.Manufacturer, maxText), Serial: parts.Words(o.SerialNumber, maxText),
		Size: d.Bytes, Rotational: o.MediaType == "HDD", Class: inventory.ClassUnknown,
	}
	var err error
	if d.Disk.WWN, d.Disk.OtherWWNs, err = wwns(o.Identifiers); err != nil {
		return Drive{}, false, err
	}
	switch {
	case d.Bytes == 0:
		d.Unfit = "its size is not told"
	case o.HotspareType != "" && o.HotspareType != "None":
		d.Unfit = "it is a spare"
	case o.Status.Health == "Critical" || o.Status.State != "" && o.Status.State != "Enabled" && o.Status.State != "StandbyOffline":
		d.Unfit = "it is " + parts.Words(strings.TrimSpace(o.Status.State+" "+o.Status.Health), 60)
	}
	return d, true, nil
}

func (r *reader) collection(c *Controller) error {
	var o struct {
		Support struct{ SupportedValues []string } `json:"@Redfish.OperationApplyTimeSupport"`
	}
	if err := r.s.Read(c.Collection, &o); err != nil {
		return err
	}
	c.Apply = o.Support.SupportedValues
	members, err := r.s.Members(c.Collection)
	if err != nil {
		return err
	}
	if r.volumes += len(members); r.volumes > maxVolumes {
		return tooMany("volumes", r.volumes, maxVolumes)
	}
	for _, l := range members {
		var o struct {
			ID                         string `json:"Id"`
			Name, RAIDType, VolumeType string
			CapacityBytes              *float64
			Identifiers                []identifier
			Links                      struct{ Drives []link }
		}
		if err := r.listed("volume", l, &o); err != nil {
			return err
		}
		kind := o.RAIDType
		if kind == "" {
			kind = olderTypes[o.VolumeType]
		}
		plain := (o.RAIDType == "" || o.RAIDType == "None") && (o.VolumeType == "" || o.VolumeType == "RawDevice")
		v := Volume{Link: l, ID: parts.Words(o.ID, maxText), Name: parts.Words(o.Name, maxText), Type: parts.Words(kind, 30), Bytes: bytesOf(o.CapacityBytes)}
		if v.WWN, v.Others, err = wwns(o.Identifiers); err != nil {
			return err
		}
		if len(o.Links.Drives) > maxDrives {
			return tooMany("drives of a volume", len(o.Links.Drives), maxDrives)
		}
		for _, d := range o.Links.Drives {
			if len(d.ID) > maxLink {
				return fault.New(fault.BMCTooLarge, "the BMC names a drive of a volume by a path of %d bytes, at most %d are taken", len(d.ID), maxLink)
			}
			v.Drives = append(v.Drives, parts.Place(d.ID))
		}
		slices.Sort(v.Drives)
		if plain {
			c.Plain = append(c.Plain, v)
			continue
		}
		c.Volumes = append(c.Volumes, v)
	}
	return nil
}

// olderTypes are what VolumeType says where RAIDType is not told, as far as it says one thing.
var olderTypes = map[string]string{"NonRedundant": "RAID0", "Mirrored": "RAID1", "SpannedMirrors": "RAID10"}

func bytesOf(n *float64) int64 {
	if n == nil || !(*n >= 1 && *n <= maxBytes) {
		return 0
	}
	return int64(*n)
}

// wwns are the worldwide names that are told: the first, "" when there is none, and the others.
func wwns(all []identifier) (first string, others []string, err error) {
	if len(all) > maxNames {
		return "", nil, tooMany("names of a drive or volume", len(all), maxNames)
	}
	for _, i := range all {
		switch w := parts.WWN(i.DurableNameFormat, i.DurableName); {
		case w == "" || w == first || slices.Contains(others, w):
		case first == "":
			first = w
		default:
			others = append(others, w)
		}
	}
	return first, others, nil
}
