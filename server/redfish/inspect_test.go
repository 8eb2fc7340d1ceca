package redfish

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

func inspect(t *testing.T, b conductor.BMC) (conductor.Found, error) {
	t.Helper()
	return b.(conductor.Inspector).Inspect(t.Context())
}

// Whatever is read is read by GET: nothing is asked of the BMC that could change the machine.
func TestInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		got, err := inspect(t, l.bmc(t))
		if err != nil {
			t.Fatal(err)
		}
		speed := int64(25000)
		want := conductor.Found{Ports: []string{"52:54:00:aa:00:01"}, Inventory: inventory.Inventory{
			CPU:    inventory.CPU{ModelName: "P9", Frequency: "3100", Count: 32, Architecture: "x86_64", Flags: []string{}, SocketCount: 2},
			Memory: inventory.Memory{PhysicalMB: 65536}, Boot: inventory.Boot{CurrentBootMode: "uefi"},
			SystemVendor: inventory.SystemVendor{ProductName: "M1", SerialNumber: "S1", Manufacturer: "Acme", UUID: "aaaaaaaa-0000-4000-8000-000000000001", Firmware: inventory.Firmware{Version: "2.1"}},
			Disks: []inventory.Disk{
				{Name: "system", Model: "RAID1", Size: 960197124096, WWN: "0x600508b1001c", Class: inventory.ClassUnknown},
				{Name: "Bay 1", Model: "D1", Vendor: "Acme", Serial: "DS1", Size: 16000900661248, Rotational: true, Tran: "sas", Class: inventory.ClassUnknown},
			},
			Interfaces: []inventory.Interface{
				{Name: "1", MACAddress: "52:54:00:aa:00:01", HasCarrier: true, SpeedMbps: &speed, LLDP: [][]any{}},
				{Name: "2", MACAddress: "52:54:00:aa:00:02", LLDP: [][]any{}},
			},
		}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("found\n%+v, expected\n%+v", got, want)
		}
		l.do(func() {
			for _, line := range l.log {
				if !strings.HasPrefix(line, "GET ") && line != "POST /redfish/v1/SessionService/Sessions" {
					t.Errorf("the BMC was asked to %s", line)
				}
			}
		})
		if n := l.count("GET "); n > 30 {
			t.Errorf("%d requests", n)
		}
	})
}

// F24: a BMC that restarts while it is read may show another machine at the path. What was read of both is of no use.
func TestF24_AnotherMachineWhileItIsRead(t *testing.T) {
	for name, from := range map[string]string{"before the parts": "/redfish/v1/Systems/1", "behind the parts": "/EthernetInterfaces/2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				swapped, looked := false, false
				l.lie = func(path string, o map[string]any) {
					if path == "/redfish/v1/Systems/1" && swapped {
						o["UUID"] = "bbbbbbbb-0000-4000-8000-000000000002"
					}
					if strings.HasSuffix(path, from) && (looked || path != "/redfish/v1/Systems/1" || name == "before the parts") {
						swapped = true
					}
					looked = true
				}
				_, err := inspect(t, l.bmc(t))
				if !fault.Has(err, fault.BMCBusy) || !strings.Contains(err.Error(), "bbbbbbbb") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // and the node's machine is looked for first, as by every operation
		l := newLab(t)
		b := l.known(t, conductor.IdentityOf("cccccccc-0000-4000-8000-000000000003", "S3"))
		if _, err := inspect(t, b); !fault.Has(err, fault.BMCOtherMachine) {
			t.Errorf("got %v", err)
		}
		if n := l.count("GET /redfish/v1/Systems/1/"); n > 0 {
			t.Errorf("%d parts of another machine were read", n)
		}
	})
}

// F26, I25: lists without end, of themselves, or of too much, elsewhere, and answers of a size or depth that no sane one has.
// Each ends in time: with a fault of the BMC's, or without the part.
func TestF26_I25_HostileInspections(t *testing.T) {
	const sys = "/redfish/v1/Systems/1"
	many := func(n int, at string) []any {
		var out []any
		for i := range n {
			out = append(out, map[string]any{"@odata.id": fmt.Sprintf("%s/%d", at, i)})
		}
		return out
	}
	for name, c := range map[string]struct {
		path   string
		answer map[string]any
		raw    string
		status int
		want   fault.Reason // "": it goes on without the part
	}{
		"members without end":      {path: sys + "/Processors", answer: map[string]any{"Members": []any{}, "Members@odata.nextLink": sys + "/Processors"}, want: fault.BMCTooLarge},
		"too many members":         {path: sys + "/Memory", answer: map[string]any{"Members": many(maxMembers+1, sys+"/Memory")}},
		"too many drives":          {path: sys + "/Storage", answer: map[string]any{"Members": many(maxMembers+1, sys+"/Storage")}, want: fault.BMCTooLarge},
		"a storage of itself":      {path: sys + "/Storage/RAID", answer: map[string]any{"Drives": []any{map[string]any{"@odata.id": sys + "/Storage/RAID"}}, "Volumes": map[string]any{"@odata.id": sys + "/Storage"}}},
		"more requests than due":   {path: sys + "/Storage/RAID", answer: map[string]any{"Drives": many(maxRequests, sys+"/Storage/RAID/Drives")}, want: fault.BMCTooLarge},
		"cards elsewhere":          {path: sys + "/EthernetInterfaces", answer: map[string]any{"Members": []any{map[string]any{"@odata.id": "http://evil.test/1"}}}, want: fault.BMCOrigin},
		"a drive elsewhere":        {path: sys + "/Storage/RAID", answer: map[string]any{"Drives": []any{map[string]any{"@odata.id": "//evil.test/1"}}}, want: fault.BMCOrigin},
		"deep":                     {path: sys + "/Processors/1", raw: `{"a":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `}`, want: fault.BMCTooLarge},
		"huge":                     {path: sys + "/Storage/RAID/Drives/1", raw: `{"Name":"` + strings.Repeat("x", maxBody) + `"}`, want: fault.BMCTooLarge},
		"no object":                {path: sys + "/EthernetInterfaces/1", raw: `[1]`},
		"no JSON":                  {path: sys + "/Storage", raw: `<html>`},
		"not there":                {path: sys + "/Storage", status: 404},
		"broken":                   {path: sys + "/EthernetInterfaces", status: 500},
		"busy":                     {path: sys + "/EthernetInterfaces", status: 503, want: fault.BMCBusy},
		"values of other kinds":    {path: sys + "/Storage/RAID/Drives/1", answer: map[string]any{"Name": 7, "CapacityBytes": "much", "MediaType": []any{}, "Status": 1, "Identifiers": map[string]any{}}},
		"a summary of other kinds": {path: sys + "/Processors/1", answer: map[string]any{"ProcessorArchitecture": 86, "TotalThreads": -4, "Status": "fine", "MaxSpeedMHz": 1e300}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.before = func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != http.MethodGet || r.URL.Path != c.path {
						return false
					}
					switch {
					case c.status != 0:
						http.Error(w, "{}", c.status)
					case c.raw != "":
						_, _ = w.Write([]byte(c.raw))
					default:
						_ = json.NewEncoder(w).Encode(c.answer)
					}
					return true
				}
				got, err := inspect(t, l.bmc(t))
				if c.want != "" {
					if !fault.Has(err, c.want) || !reflect.DeepEqual(got, conductor.Found{}) {
						t.Errorf("%v and %+v, expected %s", err, got, c.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got.Inventory.CPU.Count != 32 || got.Inventory.Memory.PhysicalMB != 65536 || got.Inventory.SystemVendor.Manufacturer != "Acme" {
					t.Errorf("the other parts went with it: %+v", got)
				}
				silent := c.status == 404 || c.answer != nil
				if n := len(got.Inventory.Problems); silent != (n == 0) {
					t.Errorf("problems %q", got.Inventory.Problems)
				}
			})
		})
	}
}

// A serial number is kept as far as Ironic keeps one, and a machine that has nothing else is known by it in every operation.
func TestALongSerialNumberIsOne(t *testing.T) {
	long := strings.Repeat("0123456789", 30)
	for _, n := range []int{100, 101, 255, 300} {
		l := newLab(t)
		l.lie = func(_ string, o map[string]any) {
			if _, there := o["SerialNumber"]; there && o["UUID"] != nil {
				o["UUID"], o["SerialNumber"] = "", long[:n]
			}
		}
		facts, err := l.bmc(t).Facts(t.Context())
		if err != nil || facts.Serial != long[:min(n, 255)] {
			t.Fatalf("%d characters: a serial number of %d, %v", n, len(facts.Serial), err)
		}
		b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(), Secrets: map[string]string{target.KeyPassword: password}, Machine: conductor.IdentityOf(facts.UUID, facts.Serial)})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := inspect(t, b); err != nil || got.Inventory.SystemVendor.SerialNumber != facts.Serial {
			t.Errorf("%d characters: %d in the inventory, %v", n, len(got.Inventory.SystemVendor.SerialNumber), err)
		}
	}
}
