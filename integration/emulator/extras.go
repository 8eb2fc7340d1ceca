package emulator

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"

	"github.com/bessemer-metal/bessemer/integration/bmc"
)

// What a machine's BMC has beside what boots it: further virtual drives, firmware, cards, event subscriptions. Only fake
// machines have the drives: nothing reads what is in them.

// drive is a further virtual drive.
type drive struct {
	id    string
	types []string
}

func (q *request) furtherDrives() []drive {
	if !q.m.Fake() {
		return nil
	}
	all := []drive{{"Floppy", []string{"Floppy"}}, {"Usb", []string{"USBStick"}}}
	if q.m.Config().SecondCD {
		all = append(all, drive{"Cd2", []string{"CD", "DVD"}})
	}
	return all
}

func (q *request) mediaList() reply {
	p := q.managerPath() + "/VirtualMedia"
	all := []string{p + "/Cd"}
	for _, d := range q.furtherDrives() {
		all = append(all, p+"/"+d.id)
	}
	return collection(p, "VirtualMediaCollection", "Virtual Media", all)
}

func (q *request) pathDrive() (drive, bool) {
	all := q.furtherDrives()
	i := slices.IndexFunc(all, func(d drive) bool { return d.id == q.PathValue("id") })
	if i < 0 {
		return drive{}, false
	}
	return all[i], true
}

func (q *request) drive() reply {
	d, found := q.pathDrive()
	if !found {
		return notFound(q.URL.Path)
	}
	p := q.managerPath() + "/VirtualMedia/" + d.id
	b := object{
		"@odata.id": p, "@odata.type": "#VirtualMedia.v1_5_0.VirtualMedia", "Id": d.id, "Name": "Virtual drive " + d.id, "MediaTypes": d.types,
		"Inserted": false, "Image": nil, "ImageName": nil, "ConnectedVia": "NotConnected", "WriteProtected": true,
		"Actions": object{"#VirtualMedia.InsertMedia": object{"target": p + "/Actions/VirtualMedia.InsertMedia"},
			"#VirtualMedia.EjectMedia": object{"target": p + "/Actions/VirtualMedia.EjectMedia"}},
	}
	if u := q.m.Extras().Drives[d.id]; u != "" {
		b["Inserted"], b["Image"], b["ImageName"], b["ConnectedVia"] = true, u, path.Base(u), "URI"
	}
	return ok(b)
}

func (q *request) insertDrive() reply {
	d, found := q.pathDrive()
	if !found {
		return notFound(q.URL.Path)
	}
	var in struct {
		Image, MediaType, TransferMethod, TransferProtocolType string
		Inserted, WriteProtected                               *bool
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	u, err := url.Parse(in.Image)
	if err != nil || u.Host == "" {
		return failure(http.StatusBadRequest, "PropertyValueFormatError", "The value for the parameter Image is no URL.", "#/Image")
	}
	return q.change("insert medium", func(context.Context) error { q.m.SetDrive(d.id, in.Image); return nil })
}

func (q *request) ejectDrive() reply {
	d, found := q.pathDrive()
	if !found {
		return notFound(q.URL.Path)
	}
	return q.change("eject medium", func(context.Context) error { q.m.SetDrive(d.id, ""); return nil })
}

// firmware is what the machine runs on: by id its version, and what it is the firmware of.
func (q *request) firmware() map[string][2]string {
	card, v := root+"/Chassis/"+q.m.Name()+"/NetworkAdapters/1", q.m.Firmware()
	return map[string][2]string{
		q.m.Name() + "-BIOS": {v["bios"], q.m.SystemPath() + "/Bios"}, q.m.Name() + "-BMC": {v["bmc"], q.managerPath()}, q.m.Name() + "-NIC": {v["nic:1"], card},
	}
}

// each visits the machines that the asker sees.
func (q *request) each(visit func(*request)) {
	for _, m := range q.visible() {
		visit(&request{Request: q.Request, s: q.s, m: m, who: q.who})
	}
}

func (q *request) firmwareList() reply {
	p := root + "/UpdateService/FirmwareInventory"
	var all []string
	q.each(func(q *request) {
		for id := range q.firmware() {
			all = append(all, p+"/"+id)
		}
	})
	slices.Sort(all)
	return collection(p, "SoftwareInventoryCollection", "Firmware", all)
}

func (q *request) firmwareItem() reply {
	a := notFound(q.URL.Path)
	q.each(func(one *request) {
		if f, found := one.firmware()[q.PathValue("id")]; found {
			p := root + "/UpdateService/FirmwareInventory/" + q.PathValue("id")
			a = ok(object{"@odata.id": p, "@odata.type": "#SoftwareInventory.v1_8_0.SoftwareInventory", "Id": q.PathValue("id"), "Name": q.PathValue("id"),
				"Version": f[0], "Updateable": true, "RelatedItem": []object{link(f[1])}, "Status": healthy()})
		}
	})
	return a
}

func (q *request) adapters() reply {
	p := root + "/Chassis/" + q.m.Name() + "/NetworkAdapters"
	return collection(p, "NetworkAdapterCollection", "Network Adapters", []string{p + "/1"})
}

func (q *request) adapter() reply {
	if q.PathValue("id") != "1" {
		return notFound(q.URL.Path)
	}
	return ok(object{"@odata.id": root + "/Chassis/" + q.m.Name() + "/NetworkAdapters/1", "@odata.type": "#NetworkAdapter.v1_9_0.NetworkAdapter", "Id": "1",
		"Name": "Network adapter", "Manufacturer": q.m.Config().Manufacturer, "Model": "Emulated 10G", "Status": healthy(),
		"Controllers": []object{{"FirmwarePackageVersion": q.m.Firmware()["nic:1"]}}})
}

func eventTypes() []string { return []string{"Alert", "ResourceUpdated", "StatusChange"} }

const eventPath = root + "/EventService"

func (q *request) eventService() reply {
	return ok(object{"@odata.id": eventPath, "@odata.type": "#EventService.v1_8_0.EventService", "Id": "EventService", "Name": "Event Service",
		"ServiceEnabled": true, "EventTypesForSubscription": eventTypes(), "Subscriptions": link(eventPath + "/Subscriptions"), "Status": healthy()})
}

func (q *request) subscriptions() reply {
	var all []string
	q.each(func(q *request) {
		for _, s := range q.m.Extras().Events {
			all = append(all, eventPath+"/Subscriptions/"+s.ID)
		}
	})
	return collection(eventPath+"/Subscriptions", "EventDestinationCollection", "Subscriptions", all)
}

func subscriptionBody(s bmc.Subscription) object {
	return object{"@odata.id": eventPath + "/Subscriptions/" + s.ID, "@odata.type": "#EventDestination.v1_12_0.EventDestination", "Id": s.ID,
		"Name": "Event subscription", "Destination": s.Destination, "Context": s.Context, "Protocol": s.Protocol, "EventTypes": s.EventTypes}
}

// subscribe keeps it with the first machine of those that the asker sees: a BMC of one machine has one.
func (q *request) subscribe() reply {
	var in struct {
		Destination, Context, Protocol string
		EventTypes                     []string
		HttpHeaders                    []any
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	u, err := url.Parse(in.Destination)
	if err != nil || u.Host == "" {
		return failure(http.StatusBadRequest, "PropertyValueFormatError", "The value for the property Destination is no URL.", "#/Destination")
	}
	for _, t := range in.EventTypes {
		if !slices.Contains(eventTypes(), t) {
			return notInList("EventTypes", t, eventTypes())
		}
	}
	all := q.visible()
	if len(all) == 0 {
		return notFound(q.URL.Path)
	}
	m := all[0]
	s := m.Subscribe(bmc.Subscription{Destination: in.Destination, Context: in.Context, Protocol: in.Protocol, EventTypes: in.EventTypes, Headers: in.HttpHeaders},
		func(n int) string { return fmt.Sprintf("%s-%d", m.Name(), n) })
	return reply{status: http.StatusCreated, body: subscriptionBody(s), header: http.Header{"Location": {eventPath + "/Subscriptions/" + s.ID}}}
}

func (q *request) subscription() reply {
	a := notFound(q.URL.Path)
	q.each(func(one *request) {
		for _, s := range one.m.Extras().Events {
			if s.ID == q.PathValue("id") {
				a = ok(subscriptionBody(s))
			}
		}
	})
	return a
}

func (q *request) unsubscribe() reply {
	a := notFound(q.URL.Path)
	q.each(func(one *request) {
		if one.m.Unsubscribe(q.PathValue("id")) {
			a = noContent()
		}
	})
	return a
}

func (q *request) patchChassis() reply {
	var in struct{ IndicatorLED *string }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.IndicatorLED == nil {
		return missing("IndicatorLED")
	}
	if all := []string{"Lit", "Off"}; !slices.Contains(all, *in.IndicatorLED) {
		return notInList("IndicatorLED", *in.IndicatorLED, all)
	}
	return q.change("indicator", func(context.Context) error { q.m.SetChassisLED(*in.IndicatorLED == "Lit"); return nil })
}

// chassisLED is the light of the chassis, which has the older of the two properties.
func (q *request) chassisLED() string {
	if q.m.Extras().ChassisLED {
		return "Lit"
	}
	return "Off"
}

// bootMode is how the machine boots: a QEMU machine has one way only.
func (q *request) bootMode() string {
	if q.m.Extras().Legacy {
		return "Legacy"
	}
	return "UEFI"
}

func (q *request) bootModes() []string {
	if q.m.Fake() {
		return []string{"UEFI", "Legacy"}
	}
	return []string{"UEFI"}
}
