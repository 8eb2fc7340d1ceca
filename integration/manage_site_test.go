package integration

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// manager is a site whose node is under management, with the operators' API in front.
type manager struct {
	*bmcSite
	api http.Handler
}

func newManager(t *testing.T) *manager {
	t.Helper()
	return newManagerOf(t, nil)
}

// newManagerOf is newManager with what the machine is made of; nil is the usual.
func newManagerOf(t *testing.T, parts *bmc.Parts) *manager {
	t.Helper()
	s := newBMCSiteOf(t, parts, nil, "password")
	s.do(state.VerbManage, state.Manageable)
	return &manager{s, rest.New(rest.Config{Backend: s.c, Auth: login.None{}, Hostname: "lab", Now: time.Now, Started: time.Now(), Log: slog.New(slog.DiscardHandler)})}
}

// call makes a request below the node and gives the body of an answer of the wanted status.
func (m *manager) call(method, path, body string, status int) string {
	m.t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:6385/v1/nodes/n1"+path, strings.NewReader(body))
	r.Header.Set("X-OpenStack-Ironic-API-Version", "latest")
	w := httptest.NewRecorder()
	m.api.ServeHTTP(w, r)
	if w.Code != status {
		m.t.Fatalf("%s %s: %d %s, expected %d", method, path, w.Code, w.Body, status)
	}
	return w.Body.String()
}

// settled waits until no act is under way and gives the node.
func (m *manager) settled() conductor.Node {
	m.t.Helper()
	for range 3600 {
		synctest.Wait()
		if n := m.node(); n.Act == nil && n.Lease == nil {
			return n
		}
		<-time.After(time.Second)
	}
	m.t.Fatalf("the act does not end: %+v", m.node().Act)
	return conductor.Node{}
}

func TestBIOSAndFirmwareAreReadWhenTheNodeIsManaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		_, before := m.machine.Requests()
		var bios struct{ BIOS []map[string]any }
		if err := json.Unmarshal([]byte(m.call("GET", "/bios?detail=True", "", 200)), &bios); err != nil {
			t.Fatal(err)
		}
		if len(bios.BIOS) != len(m.machine.State().BIOS) {
			t.Errorf("%d settings, expected %d", len(bios.BIOS), len(m.machine.State().BIOS))
		}
		for name, want := range map[string]string{
			"BootTimeout":  `"value":"0","attribute_type":"Integer","allowable_values":[],"lower_bound":0,"upper_bound":60,"min_length":null,"max_length":null,"read_only":false,"reset_required":true,"unique":null`,
			"QuietBoot":    `"value":"True","attribute_type":"Boolean"`,
			"PowerProfile": `"value":"Balanced","attribute_type":"Enumeration","allowable_values":["Balanced","Performance","PowerSaving"]`,
			"ServerLabel":  `"min_length":0,"max_length":64`,
			"BootMode":     `"read_only":true`,
		} {
			if got := m.call("GET", "/bios/"+name, "", 200); !strings.Contains(got, want) {
				t.Errorf("%s is %s, expected %s", name, got, want)
			}
		}
		m.call("GET", "/bios/Nothing", "", 404)
		firmware := m.call("GET", "/firmware?fields=component,current_version", "", 200)
		for _, want := range []string{`"component":"bios","current_version":"1.0"`, `"component":"bmc","current_version":"1.0"`, `"component":"nic:1","current_version":"22.5.7"`} {
			if !strings.Contains(firmware, want) {
				t.Errorf("firmware is %s, expected %s in it", firmware, want)
			}
		}
		if _, after := m.machine.Requests(); len(after) != len(before) {
			t.Error("showing what is kept asked the BMC")
		}
	})
}

// F26, I25: what one part's answer spoils takes neither the verb nor the other parts with it.
func TestF26_AHostilePartStopsNothing(t *testing.T) {
	const sys = "GET /redfish/v1/Systems/m1"
	for name, c := range map[string]struct {
		fault emulator.Fault
		bios  bool // settings are there all the same
		nic   bool
	}{
		"registry elsewhere": {emulator.Fault{Kind: emulator.Edit, Match: "GET /redfish/v1/Registries/Bios", Value: `{"Location":[{"Language":"en","Uri":"http://192.0.2.66/r.json"}]}`}, true, true},
		"endless registry":   {emulator.Fault{Kind: emulator.Endless, Match: "GET /redfish/v1/Registries/Bios"}, true, true},
		"no registry":        {emulator.Fault{Kind: emulator.Status, Status: 404, Match: "GET /redfish/v1/Registries"}, true, true},
		"BIOS no JSON":       {emulator.Fault{Kind: emulator.Body, Value: "<html>", Match: sys + "/Bios"}, false, true},
		"attributes a list":  {emulator.Fault{Kind: emulator.Edit, Match: sys + "/Bios", Value: `{"Attributes":[1,2]}`}, false, true},
		"huge inventory":     {emulator.Fault{Kind: emulator.Huge, Size: 10 << 20, Match: "GET /redfish/v1/UpdateService"}, true, true},
		"cards elsewhere":    {emulator.Fault{Kind: emulator.Edit, Match: "GET /redfish/v1/Chassis/m1", Value: `{"NetworkAdapters":{"@odata.id":"http://192.0.2.66/x"}}`}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newBMCSite(t, nil, "password")
				s.inject(c.fault)
				s.do(state.VerbManage, state.Manageable)
				_, bios, err := s.c.BIOSSettings(t.Context(), "n1")
				if err != nil || len(bios) > 0 != c.bios {
					t.Errorf("%d settings, %v; expected some: %v", len(bios), err, c.bios)
				}
				_, firmware, err := s.c.Firmware(t.Context(), "n1")
				nic := slices.ContainsFunc(firmware, func(f conductor.FirmwareComponent) bool { return f.Component == "nic:1" })
				if err != nil || nic != c.nic {
					t.Errorf("firmware is %+v, %v; expected a card: %v", firmware, err, c.nic)
				}
			})
		})
	}
}

func TestBootModeAndSecureBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		m.inject(emulator.Fault{Kind: emulator.Delay, Match: "PATCH", Delay: emulator.Duration(10 * time.Second), Count: 1}) // longer than the second waits
		m.call("PUT", "/states/boot_mode", `{"target": "bios"}`, 202)
		if got := m.call("PUT", "/states/secure_boot", `{"target": true}`, 409); !strings.Contains(got, "boot mode bios") {
			t.Errorf("a second act while one is under way: %s", got)
		}
		if n := m.settled(); n.BootMode != "bios" || n.LastError != "" || !m.machine.Extras().Legacy {
			t.Errorf("boot mode is %q (%s)", n.BootMode, n.LastError)
		}
		m.call("PUT", "/states/secure_boot", `{"target": true}`, 202)
		if n := m.settled(); n.LastError != "" || !m.machine.View().SecureNext {
			t.Errorf("secure boot: %s", n.LastError)
		}
		m.inject(emulator.Fault{Kind: emulator.Ignore, Match: "PATCH"})
		m.call("PUT", "/states/boot_mode", `{"target": "uefi"}`, 202)
		// Nobody has looked since the act began, so nobody knows (ADR 0260).
		if n := m.settled(); n.LastReason != fault.BMCBootMode || n.BootMode != "" {
			t.Errorf("F23: a mode that the BMC ignores: %q, %q", n.LastReason, n.BootMode)
		}
	})
}

func TestVirtualMediaOfOperators(t *testing.T) {
	const image = "http://192.0.2.80/data.iso"
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		attach := func(device, url string, status int) string {
			return m.call("POST", "/vmedia", `{"device_type": "`+device+`", "image_url": "`+url+`"}`, status)
		}
		attach("disk", image, 204)
		if n := m.settled(); n.LastError != "" || m.machine.Extras().Drives["Usb"] != image {
			t.Fatalf("drives are %v: %s", m.machine.Extras().Drives, n.LastError)
		}
		attach("cdrom", image, 204)
		if n := m.settled(); n.LastError != "" || m.machine.Medium() != image || len(n.Media) != 2 {
			t.Fatalf("the CD is %q, kept are %v: %s", m.machine.Medium(), n.Media, n.LastError)
		}
		if got := m.call("GET", "/vmedia", "", 200); !strings.Contains(got, `{"image":"`+image+`","inserted":true,"media_types":["CD","DVD"]}`) || strings.Count(got, "media_types") != 3 {
			t.Errorf("drives are shown as %s", got)
		}
		attach("cdrom", "http://192.0.2.80/other.iso", 204)
		if n := m.settled(); n.LastReason != fault.BMCNoMedia || m.machine.Medium() != image {
			t.Errorf("a second CD: reason %q, the drive has %q", n.LastReason, m.machine.Medium())
		}
		m.call("DELETE", "/vmedia?device_types=disk", "", 204)
		if n := m.settled(); m.machine.Extras().Drives["Usb"] != "" || m.machine.Medium() != image || len(n.Media) != 1 {
			t.Errorf("after the disk went: %v, %q, %v", m.machine.Extras().Drives, m.machine.Medium(), n.Media)
		}
		m.call("POST", "/vendor_passthru?method=eject_vmedia", `{"boot_device": "cd"}`, 202)
		if n := m.settled(); m.machine.Medium() != "" || len(n.Media) != 0 {
			t.Errorf("after the ejection: %q, %v", m.machine.Medium(), n.Media)
		}
		for _, url := range []string{"ftp://192.0.2.80/x", "file:///etc/passwd", "http://user:secret@192.0.2.80/x", "http://", "nonsense"} {
			attach("cdrom", url, 400)
		}
		m.call("DELETE", "/vmedia?device_types=tape", "", 400)
	})
}

// I22: the address of the ramdisk's medium opens it, and is not shown to whoever looks at the drives.
func TestI22_TheRamdisksMediumIsMaskedAmongTheDrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		if err := m.ask(state.VerbInspect); err != nil {
			t.Fatal(err)
		}
		m.until(state.InspectWait)
		medium := m.machine.Medium()
		if medium == "" {
			t.Fatal("no medium was put in")
		}
		got := m.call("GET", "/vmedia", "", 200)
		if strings.Contains(got, medium) || !strings.Contains(got, `"image":"******","inserted":true`) {
			t.Errorf("the drives are shown as %s", got)
		}
		for _, busy := range [][3]string{
			{"POST", "/vmedia", `{"device_type": "cdrom", "image_url": "http://192.0.2.80/x.iso"}`}, {"DELETE", "/vmedia", ""},
			{"PUT", "/states/boot_mode", `{"target": "bios"}`}, {"PUT", "/management/inject_nmi", `{}`},
		} {
			m.call(busy[0], busy[1], busy[2], 409)
		}
		if m.machine.Medium() != medium {
			t.Error("the ramdisk's medium is gone")
		}
	})
}

// What the ramdisk's boot leaves of an operator's medium: its own drive is another one where there are two.
func TestTheRamdiskLeavesAnOperatorsMediumInItsDrive(t *testing.T) {
	const image = "http://192.0.2.80/data.iso"
	for name, c := range map[string]struct {
		two  bool
		left string
	}{"two drives": {true, image}, "one drive": {false, ""}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, emulator.Config{Transport: mediaTransport{}}, func(c *emulator.MachineConfig) { c.SecondCD = true })
			holder := b.open(t).(conductor.MediaHolder)
			if !c.two {
				b.inject(t, emulator.Fault{Kind: emulator.Edit, Match: "GET /redfish/v1/Managers/m1/VirtualMedia/Cd2", Value: `{"MediaTypes":["Floppy"]}`})
			}
			if err := holder.Attach(t.Context(), "cdrom", image); err != nil {
				t.Fatal(err)
			}
			kept, err := b.driver.Open(t.Context(), conductor.Access{Node: "m1", Info: b.info, Keep: []string{image}, Secrets: map[string]string{"redfish_password": "password"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := kept.SetMedia(t.Context(), b.medium); err != nil {
				t.Fatal(err)
			}
			if got := b.machine.Medium(); got != b.medium {
				t.Errorf("the machine boots from %q", got)
			}
			if err := kept.SetMedia(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if got := b.machine.Extras().Drives["Cd2"]; got != c.left || b.machine.Medium() != "" {
				t.Errorf("left are %q and %q", got, b.machine.Medium())
			}
		})
	}
}

func TestIndicatorsInterruptsAndBootDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		if got := m.call("GET", "/management/boot_device/supported", "", 200); got != `{"supported_boot_devices":["cdrom","disk","pxe","uefihttp"]}` {
			t.Errorf("boot devices are %s", got)
		}
		list := m.call("GET", "/management/indicators", "", 200)
		for _, want := range []string{`"name":"m1@system"`, `"states":["on","off"]`, `"name":"m1@chassis"`, `"states":["on","off","blinking"]`} {
			if !strings.Contains(list, want) {
				t.Errorf("indicators are %s, expected %s", list, want)
			}
		}
		m.call("PUT", "/management/indicators/m1@system", `{"state": "on"}`, 204)
		m.call("PUT", "/management/indicators/m1@chassis", `{"state": "on"}`, 204)
		if !m.machine.View().LED || !m.machine.Extras().ChassisLED || m.call("GET", "/management/indicators/m1@chassis", "", 200) != `{"state":"on"}` {
			t.Error("the lights are not on")
		}
		m.call("PUT", "/management/indicators/m1@system", `{"state": "blinking"}`, 400)
		m.call("PUT", "/management/indicators/other@system", `{"state": "on"}`, 404)
		m.call("PUT", "/management/inject_nmi", `{}`, 409) // off
		if err := m.c.SetPower(t.Context(), conductor.Caller{}, "n1", conductor.PowerRequest{Target: "power on"}); err != nil {
			t.Fatal(err)
		}
		m.settled()
		m.call("PUT", "/management/inject_nmi", `{}`, 204)
		if n := m.machine.Extras().NMIs; n != 1 {
			t.Errorf("interrupted %d times", n)
		}
	})
}

func TestSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		made := m.call("POST", "/vendor_passthru?method=create_subscription",
			`{"Destination": "https://192.0.2.90/events", "Context": "c", "EventTypes": ["Alert"], "HttpHeaders": [{"Authorization": "canary-header"}]}`, 200)
		if made != `{"Id":"m1-1","Context":"c","Protocol":"Redfish","Destination":"https://192.0.2.90/events","EventTypes":["Alert"]}` {
			t.Errorf("made %s", made)
		}
		if all := m.machine.Extras().Events; len(all) != 1 || len(all[0].Headers) != 1 {
			t.Fatalf("the BMC has %+v", all)
		}
		if got := m.call("GET", "/vendor_passthru?method=get_all_subscriptions", "", 200); !strings.Contains(got, `"Members":[{"@odata.id":"/redfish/v1/EventService/Subscriptions/m1-1"}],"Members@odata.count":1`) {
			t.Errorf("listed %s", got)
		}
		if got := m.call("GET", "/vendor_passthru?method=get_subscription", `{"id": "m1-1"}`, 200); got != made {
			t.Errorf("shown %s", got)
		}
		m.call("DELETE", "/vendor_passthru?method=delete_subscription", `{"id": "../m1-1"}`, 404)
		if got := m.call("DELETE", "/vendor_passthru?method=delete_subscription", `{"id": "m1-1"}`, 200); got != "null" || len(m.machine.Extras().Events) != 0 {
			t.Errorf("deleted: %s, left %v", got, m.machine.Extras().Events)
		}
		for _, body := range []string{`{}`, `{"Destination": 7}`, `{"Destination": "https://a", "EventTypes": ["Party"]}`, `{"Destination": "https://a", "HttpHeaders": [{"a": 1}]}`, `{"Destination": "https://a", "x": 1}`} {
			m.call("POST", "/vendor_passthru?method=create_subscription", body, 400)
		}
		// I22: a header of a refused one is nowhere in the answer.
		m.inject(emulator.Fault{Kind: emulator.Status, Status: 400, Match: "POST /redfish/v1/EventService"})
		if got := m.call("POST", "/vendor_passthru?method=create_subscription", `{"Destination": "https://192.0.2.90/e", "HttpHeaders": [{"A": "canary-header"}]}`, 500); strings.Contains(got, "canary-header") {
			t.Errorf("the answer tells the header: %s", got)
		}
	})
}

func TestTargetRAIDAndConsoleAndVIFs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		m.call("PATCH", "", `[{"op": "add", "path": "/raid_interface", "value": "agent"}]`, 200)
		m.call("PUT", "/states/raid", `{"logical_disks": [{"raid_level": "1", "size_gb": "MAX"}]}`, 204)
		m.call("PUT", "/states/raid", `{"logical_disks": [{"raid_level": "9", "size_gb": 1}]}`, 400)
		if got := m.call("GET", "/states", "", 200); !strings.Contains(got, `"target_raid_config":{"logical_disks":[{"raid_level":"1","size_gb":"MAX"}]}`) {
			t.Errorf("states are %s", got)
		}
		m.call("PATCH", "", `[{"op": "add", "path": "/raid_interface", "value": "no-raid"}]`, 200)
		m.call("PUT", "/states/raid", `{}`, 404)
		m.call("GET", "/states/console", "", 400)
		for i, address := range []string{"52:54:00:00:00:01", "52:54:00:00:00:02"} {
			if _, err := m.c.CreateRecord(t.Context(), conductor.Caller{}, &conductor.Port{Node: m.node().UUID, Address: address, PXE: i == 1}); err != nil {
				t.Fatal(err)
			}
		}
		m.call("POST", "/vifs", `{"id": "v1"}`, 204)
		m.call("POST", "/vifs", `{"id": "v1"}`, 409)
		m.call("POST", "/vifs", `{"id": "v2"}`, 204)
		m.call("POST", "/vifs", `{"id": "v3"}`, 400)
		if got := m.call("GET", "/vifs", "", 200); got != `{"vifs":[{"id":"v2"},{"id":"v1"}]}` { // v1 is on the port that boots
			t.Errorf("attached are %s", got)
		}
		m.call("DELETE", "/vifs/v1", "", 204)
		m.call("DELETE", "/vifs/v1", "", 400)
		if got := m.call("GET", "/ports/detail", "", 200); !strings.Contains(got, `"internal_info":{"tenant_vif_port_id":"v2"}`) {
			t.Errorf("ports are %s", got)
		}
	})
}
