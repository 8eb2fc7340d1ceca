package integration

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// inProcess calls the API's handler without a connection.
type inProcess struct{ api http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:40000"
	w := httptest.NewRecorder()
	p.api.ServeHTTP(w, in)
	out := w.Result()
	out.Request = r
	return out, nil
}

// Metal3's operator with its fast mode: the requests that it makes of a new host until it knows its hardware, by the client
// that it makes them with, which is strict about kinds. The machine's own power log proves that nothing was done to it.
func TestMetal3sFastInspection(t *testing.T) {
	for _, version := range []string{"1.95", "1.109", "1.110"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, m := t.Context(), newManager(t)
				if err := m.c.DeleteNode(ctx, conductor.Caller{}, "n1"); err != nil { // the operator makes its own
					t.Fatal(err)
				}
				orders := m.orders()
				client, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: "http://127.0.0.1:6385/v1/"})
				if err != nil {
					t.Fatal(err)
				}
				client.Microversion, client.HTTPClient = version, http.Client{Transport: inProcess{m.api}}
				n, err := nodes.Create(ctx, client, nodes.CreateOpts{
					Name: "metal3~host-0", Driver: "redfish", BootInterface: "redfish-virtual-media", FirmwareInterface: "redfish", RAIDInterface: "redfish", InspectInterface: "agent",
					DriverInfo:      map[string]any{"redfish_address": "http://192.0.2.10", "redfish_system_id": "/redfish/v1/Systems/m1", "redfish_username": "admin", "redfish_password": "password", "redfish_verify_ca": false},
					DisablePowerOff: new(bool), Properties: map[string]any{"capabilities": "boot_mode:uefi", "cpu_arch": "x86_64"},
				}).Extract()
				if err != nil {
					t.Fatal(err)
				}
				mac := m.machine.State().MACs[0]
				if _, err := ports.Create(ctx, client, ports.CreateOpts{NodeUUID: n.UUID, Address: mac, PXEEnabled: new(true)}).Extract(); err != nil {
					t.Fatal(err)
				}
				provision := func(target nodes.TargetProvisionState) *nodes.Node {
					t.Helper()
					if err := nodes.ChangeProvisionState(ctx, client, n.UUID, nodes.ProvisionStateOpts{Target: target}).ExtractErr(); err != nil {
						t.Fatal(err)
					}
					for range 600 {
						now, err := nodes.Get(ctx, client, n.UUID).Extract()
						if err != nil {
							t.Fatal(err)
						}
						if now.TargetProvisionState == "" {
							return now
						}
						if target == nodes.TargetInspect && now.ProvisionState != string(nodes.Inspecting) {
							t.Fatalf("on its way it is %s (%s)", now.ProvisionState, now.LastError)
						}
						<-time.After(time.Second)
						synctest.Wait()
					}
					t.Fatalf("%s does not end", target)
					return nil
				}
				provision(nodes.TargetManage)
				if _, err := nodes.GetInventory(ctx, client, n.UUID).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
					t.Fatalf("the inventory before the inspection: %v", err)
				}
				_, err = nodes.Update(ctx, client, n.UUID, nodes.UpdateOpts{
					nodes.UpdateOperation{Op: nodes.AddOp, Path: "/properties/capabilities", Value: "boot_mode:uefi"},
					nodes.UpdateOperation{Op: nodes.AddOp, Path: "/properties/cpu_arch", Value: "x86_64"},
					nodes.UpdateOperation{Op: nodes.AddOp, Path: "/inspect_interface", Value: "redfish"},
				}).Extract()
				if err != nil {
					t.Fatal(err)
				}
				v, err := nodes.Validate(ctx, client, n.UUID).Extract()
				if err != nil || !v.Inspect.Result {
					t.Errorf("validation %+v, %v", v.Inspect, err)
				}
				after := provision(nodes.TargetInspect)
				if after.ProvisionState != string(nodes.Manageable) || after.LastError != "" || after.InspectionFinishedAt == nil || after.InspectionStartedAt != nil {
					t.Fatalf("it ends %s (%s), from %v to %v", after.ProvisionState, after.LastError, after.InspectionStartedAt, after.InspectionFinishedAt)
				}
				if p := after.Properties; p["memory_mb"] != 8192.0 || p["cpus"] != 4.0 || p["local_gb"] != 63.0 || p["cpu_arch"] != "x86_64" || p["capabilities"] != "boot_mode:uefi" {
					t.Errorf("properties %v", p)
				}
				data, err := nodes.GetInventory(ctx, client, n.UUID).Extract()
				if err != nil {
					t.Fatal(err)
				}
				i, s := data.Inventory, m.machine.State()
				if i.CPU.Count != 4 || i.CPU.Architecture != "x86_64" || i.Memory.PhysicalMb != 8192 || i.SystemVendor.SerialNumber != s.Serial || i.SystemVendor.Manufacturer != "Bessemer" ||
					i.SystemVendor.Firmware.Version == "" || i.BmcAddress != "192.0.2.10" || i.Boot.CurrentBootMode != "uefi" {
					t.Errorf("inventory %+v", i)
				}
				if len(i.Disks) != 1 || i.Disks[0].Size != 64<<30 || i.Disks[0].Serial != "EMU00000" || len(i.Interfaces) != 1 || i.Interfaces[0].MACAddress != mac || !i.Interfaces[0].HasCarrier {
					t.Errorf("disks %+v, cards %+v", i.Disks, i.Interfaces)
				}
				page, err := ports.List(client, ports.ListOpts{NodeUUID: n.UUID}).AllPages(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if all, err := ports.ExtractPorts(page); err != nil || len(all) != 1 || all[0].Address != mac {
					t.Errorf("ports %+v, %v", all, err)
				}
				if log := m.machine.PowerLog(); len(log) > 0 || m.orders() != orders || m.machine.Medium() != "" || len(m.boots) > 0 {
					t.Errorf("done to the machine: %v, %d orders, medium %q, %d boots", log, m.orders()-orders, m.machine.Medium(), len(m.boots))
				}
			})
		})
	}
}

// readable is a site whose node is under management and inspected through its BMC.
func readable(t *testing.T) *manager {
	t.Helper()
	m := newManager(t)
	_, err := m.c.UpdateNode(t.Context(), conductor.Caller{Name: "op"}, "n1", func(n *conductor.Node, _ map[string]string) error {
		n.Interfaces = map[string]string{"inspect": "redfish"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// untouched is what an inspection through the BMC may do to a machine: nothing.
func (m *manager) untouched(orders int) {
	m.t.Helper()
	if log := m.machine.PowerLog(); len(log) > 0 || m.orders() != orders || m.machine.On() {
		m.t.Errorf("done to the machine: %v, %d orders", log, m.orders()-orders)
	}
}

// Each request of an inspection in turn meets a fault. It ends manageable with the whole inventory, or failed with a reason of
// the BMC's, and asked for again it works. The machine is left alone in all of it.
func TestF21_F22_F24_InspectionUnderEachFault(t *testing.T) {
	for name, f := range map[string]emulator.Fault{
		"hangs":        {Kind: emulator.Delay, Delay: emulator.Duration(5 * time.Minute), Match: "GET"},
		"hung up":      {Kind: emulator.HangUp, Match: "GET"},
		"500":          {Kind: emulator.Status, Status: 500, Match: "GET"},
		"503":          {Kind: emulator.Status, Status: 503, Match: "GET"},
		"401":          {Kind: emulator.Status, Status: 401, Match: "GET"},
		"no JSON":      {Kind: emulator.Body, Value: "<html>", Match: "GET"},
		"huge":         {Kind: emulator.Huge, Size: 10 << 20, Match: "GET"},
		"endless":      {Kind: emulator.Endless, Match: "GET"},
		"elsewhere":    {Kind: emulator.ForeignLink, Value: "http://192.0.2.66", Match: "GET"},
		"BMC restarts": {Kind: emulator.Restart, Match: "GET"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := readable(t)
				orders, whole, failed, partly := m.orders(), 0, 0, 0
				for skip := 0; ; skip++ {
					if skip > 60 {
						t.Fatal("the scenario does not end")
					}
					f.Count, f.Skip = 1, skip
					m.inject(f)
					n := m.do(state.VerbInspect, state.Manageable, state.InspectFail)
					unmet := len(m.machine.Faults()) > 0
					var inv struct {
						Inventory struct{ Problems []string }
					}
					switch {
					case n.State == state.InspectFail && !strings.HasPrefix(string(n.LastReason), "bmc."):
						t.Errorf("request %d: %s", skip, n.LastError)
					case n.State == state.InspectFail:
						failed++
						if n.LastReason == fault.BMCAuth { // an operator's word is needed before it is tried again
							m.do(state.VerbManage, state.Manageable)
						}
						n = m.do(state.VerbInspect, state.Manageable, state.InspectFail)
					}
					if n.State != state.Manageable {
						t.Fatalf("request %d: asked for again: %s", skip, n.LastError)
					}
					if err := json.Unmarshal([]byte(m.call("GET", "/inventory", "", 200)), &inv); err != nil {
						t.Fatal(err)
					}
					if len(inv.Inventory.Problems) > 0 {
						partly++
					} else {
						whole++
					}
					m.untouched(orders)
					if unmet {
						break
					}
					<-time.After(6 * time.Minute) // breaker and BMC are well again
				}
				t.Logf("%d ended whole, %d without a part, %d failed at first", whole, partly, failed)
			})
		})
	}
}

// What a BMC leaves out, or says in a way of its own.
func TestF26_WhatABMCLeavesOut(t *testing.T) {
	const sys = "GET /redfish/v1/Systems/m1"
	for name, c := range map[string]struct {
		fault  emulator.Fault
		reason fault.Reason
		check  func(inventory map[string]any, n conductor.Node) bool
	}{
		"no storage": {emulator.Fault{Kind: emulator.Status, Status: 404, Match: sys + "/Storage"}, "", func(i map[string]any, n conductor.Node) bool {
			return len(i["disks"].([]any)) == 0 && i["problems"] == nil && n.Properties["local_gb"] == nil
		}},
		"storage broken": {emulator.Fault{Kind: emulator.Status, Status: 500, Match: sys + "/Storage"}, "", func(i map[string]any, _ conductor.Node) bool {
			return len(i["disks"].([]any)) == 0 && len(i["problems"].([]any)) == 1
		}},
		"no processors": {emulator.Fault{Kind: emulator.Status, Status: 404, Match: sys + "/Processors"}, fault.BMCIncomplete, nil},
		"memory by its modules": {emulator.Fault{Kind: emulator.Edit, Match: sys, Value: `{"MemorySummary":{"TotalSystemMemoryGiB":null}}`}, "", func(i map[string]any, n conductor.Node) bool {
			return i["memory"].(map[string]any)["physical_mb"] == 8192.0
		}},
		"a card that is off": {emulator.Fault{Kind: emulator.Edit, Match: sys + "/EthernetInterfaces/NIC1", Value: `{"Status":{"State":"Disabled"}}`}, "", func(i map[string]any, n conductor.Node) bool {
			return len(i["interfaces"].([]any)) == 1
		}},
		"a drive of a petabyte": {emulator.Fault{Kind: emulator.Edit, Match: sys + "/Storage/1/Drives/1", Value: `{"CapacityBytes":1125899906842624}`}, "", func(i map[string]any, _ conductor.Node) bool {
			raw, err := json.Marshal(i["disks"])
			return err == nil && bytes.Contains(raw, []byte("1125899906842624"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := readable(t)
				orders := m.orders()
				m.inject(c.fault)
				n := m.do(state.VerbInspect, state.Manageable, state.InspectFail)
				m.untouched(orders)
				if c.reason != "" {
					if n.LastReason != c.reason || !strings.Contains(n.LastError, "cpu_arch") {
						t.Errorf("%s", n.LastError)
					}
					m.call("GET", "/inventory", "", 404)
					return
				}
				var got struct{ Inventory map[string]any }
				if err := json.Unmarshal([]byte(m.call("GET", "/inventory", "", 200)), &got); err != nil || n.State != state.Manageable || !c.check(got.Inventory, n) {
					t.Errorf("%s (%s): %v, %v", n.State, n.LastError, got.Inventory, err)
				}
				all, err := m.c.Records(t.Context(), conductor.KindPort, conductor.RecordFilter{})
				if off := name == "a card that is off"; err != nil || off != (len(all) == 0) {
					t.Errorf("%d ports, %v", len(all), err)
				}
			})
		})
	}
}

// What a plan says of it is what it does.
func TestPlanOfAnInspectionThroughTheBMC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := readable(t)
		var p struct {
			Boots    int
			Notes    []string
			Problems []any
		}
		text := m.call("GET", "/plan?target=inspect", "", 200)
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Boots != 0 || len(p.Problems) > 0 ||
			!slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "nothing is booted") }) {
			t.Errorf("%s, %v", text, err)
		}
	})
}
