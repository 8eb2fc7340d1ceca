package parts

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// plot is a tree that answers what is no JSON as a BMC's service does, and counts what it is asked.
type plot struct {
	tree
	asked int
}

func (p *plot) Read(link string, into any) error {
	p.asked++
	err := p.tree.Read(link, into)
	if err != nil && !errors.Is(err, errGone) {
		return fault.New(fault.BMCError, "what is at %s is no object: %v", link, err)
	}
	return err
}

func (p *plot) Members(link string) (out []string, err error) {
	var page struct {
		Members []struct {
			ID string `json:"@odata.id"`
		}
	}
	err = p.Read(link, &page)
	for _, m := range page.Members {
		out = append(out, m.ID)
	}
	return out, err
}

func look(t *testing.T, objects map[string]string) conductor.Found {
	t.Helper()
	got, err := Inspect(&plot{tree: tree{objects: objects}}, "/s")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func ref(l string) string { return fmt.Sprintf(`{"@odata.id": %q}`, l) }

// A BMC without sums: processors, modules and drives are added up.
func TestInspectionAddsUp(t *testing.T) {
	got := look(t, map[string]string{
		"/s":   `{"Processors": ` + ref("/p") + `, "Memory": ` + ref("/m") + `, "SimpleStorage": ` + ref("/ss") + `, "Boot": {"BootSourceOverrideMode": "Legacy"}}`,
		"/p":   pages("/p/1", "/p/2", "/p/3", "/p/4", "/p/5"),
		"/p/1": `{"ProcessorType": "CPU", "ProcessorArchitecture": "ARM", "InstructionSet": "ARM-A64", "Model": "N1", "TotalCores": 64}`,
		"/p/2": `{"ProcessorType": "CPU", "ProcessorArchitecture": "ARM", "TotalCores": 64, "TotalThreads": 128}`,
		"/p/3": `{"ProcessorType": "GPU", "TotalCores": 6000}`, "/p/4": `{"ProcessorType": "CPU", "TotalCores": 9, "Status": {"State": "Absent"}}`,
		"/m": pages("/m/1", "/m/2", "/m/3", "/m/4"), "/m/1": `{"CapacityMiB": 16384}`, "/m/2": `{"CapacityMiB": 16384, "Status": {"State": "Enabled"}}`,
		"/m/3": `{"CapacityMiB": 16384, "Status": {"State": "Absent"}}`, "/m/4": `{"CapacityMiB": null}`,
		"/ss":   pages("/ss/1"),
		"/ss/1": `{"Devices": [{"Name": "sda", "Manufacturer": "M", "Model": "D", "CapacityBytes": 480103981056}, {"Name": "empty"}, {"Name": "gone", "CapacityBytes": 7e9, "Status": {"State": "Absent"}}]}`,
	})
	want := inventory.Inventory{
		CPU: inventory.CPU{Architecture: "aarch64", Count: 192, SocketCount: 2, ModelName: "N1", Flags: []string{}}, Memory: inventory.Memory{PhysicalMB: 32768},
		Disks: []inventory.Disk{{Name: "sda", Vendor: "M", Model: "D", Size: 480103981056, Class: inventory.ClassUnknown}}, Interfaces: []inventory.Interface{}, Boot: inventory.Boot{CurrentBootMode: "bios"},
	}
	if !reflect.DeepEqual(got.Inventory, want) || got.Ports != nil {
		t.Errorf("found\n%+v, expected\n%+v", got, want)
	}
}

// The disks are those that an operating system would see.
func TestInspectionSeesVolumesInThePlaceOfTheirDrives(t *testing.T) {
	got := look(t, map[string]string{
		"/s":    `{"Storage": ` + ref("/st") + `}`,
		"/st":   pages("/st/1", "/st/2", "/st/3"),
		"/st/1": `{"Drives": [` + ref("/d/1") + `,` + ref("/d/2") + `,` + ref("/d/3") + `], "Volumes": ` + ref("/v") + `}`,
		"/v":    pages("/v/1", "/v/2"),
		"/v/1":  `{"Name": "mirror", "RAIDType": "RAID1", "CapacityBytes": 5e11, "Links": {"Drives": [` + ref("/d/1") + `,` + ref("/d/2/") + `]}}`,
		"/v/2":  `{"Name": "the drive by another name", "RAIDType": "None", "CapacityBytes": 8e11, "Links": {"Drives": [` + ref("/d/3") + `]}}`,
		"/d/1":  `{"Name": "d1", "CapacityBytes": 5e11}`, "/d/2": `{"Name": "d2", "CapacityBytes": 5e11}`,
		"/d/3":  `{"Name": "d3", "CapacityBytes": 8e11, "Protocol": "NVMe", "Identifiers": [{"DurableName": "x", "DurableNameFormat": "UUID"}, {"DurableName": "00-25-38-AB", "DurableNameFormat": "EUI"}]}`,
		"/st/2": `{"Drives": [` + ref("/d/3") + `, ` + ref("/d/4") + `], "Volumes": ` + ref("/none") + `}`, "/d/4": `{"Id": "4", "CapacityBytes": 1e12, "Identifiers": [{"DurableName": "zz", "DurableNameFormat": "NAA"}]}`,
	})
	want := []inventory.Disk{
		{Name: "mirror", Model: "RAID1", Size: 5e11, Class: inventory.ClassUnknown},
		{Name: "d3", Size: 8e11, Tran: "nvme", WWN: "eui.002538ab", Class: inventory.ClassUnknown},
		{Name: "4", Size: 1e12, Class: inventory.ClassUnknown},
	}
	if !reflect.DeepEqual(got.Inventory.Disks, want) {
		t.Errorf("disks\n%+v, expected\n%+v", got.Inventory.Disks, want)
	}
}

// I4: whatever a BMC says of a disk, no disk of it can be a target.
func TestI04_NoDiskThatABMCTellsOfIsATarget(t *testing.T) {
	got := look(t, map[string]string{
		"/s": `{"Storage": ` + ref("/st") + `}`, "/st": pages("/st/1"), "/st/1": `{"Drives": [` + ref("/d/1") + `]}`,
		"/d/1": `{"Name": "/dev/nvme0n1", "SerialNumber": "S0", "CapacityBytes": 8589934592, "Protocol": "NVMe", "class": "nvme-pcie", "Class": "nvme-pcie"}`,
	})
	if len(got.Inventory.Disks) != 1 || got.Inventory.Disks[0].Class.Local() {
		t.Fatalf("disks %+v", got.Inventory.Disks)
	}
	if targets, err := inventory.Targets(got.Inventory, nil); err == nil || len(targets) > 0 {
		t.Errorf("targets %+v, %v", targets, err)
	}
	if root, err := inventory.Root(got.Inventory.Disks, nil, nil); err == nil {
		t.Errorf("root disk %+v", root)
	}
}

func TestCardsOfAnInspection(t *testing.T) {
	on := `"Status": {"State": "Enabled"}`
	objects := map[string]string{"/s": `{"EthernetInterfaces": ` + ref("/c") + `}`}
	var all []string
	for i, c := range []string{
		`{"Id": "a", "MACAddress": "52:54:00:00:00:01", "PermanentMACAddress": "52:54:00:00:00:0A", ` + on + `}`,
		`{"Id": "the same", "MACAddress": "52:54:00:00:00:0a", ` + on + `}`,
		`{"Id": "off", "MACAddress": "52:54:00:00:00:02", "InterfaceEnabled": false, ` + on + `}`,
		`{"Id": "untold", "MACAddress": "52:54:00:00:00:03"}`,
		`{"Id": "zero", "MACAddress": "00:00:00:00:00:00", ` + on + `}`, `{"Id": "all", "MACAddress": "ff:ff:ff:ff:ff:ff", ` + on + `}`,
		`{"Id": "of many", "MACAddress": "01:00:5e:00:00:01", ` + on + `}`, `{"Id": "none", ` + on + `}`, `{"Id": "odd", "MACAddress": 7, ` + on + `}`,
		`{"Id": "gone", "MACAddress": "52:54:00:00:00:04", "Status": {"State": "Absent"}}`,
		`{"Id": "b", "MACAddress": "52-54-00-00-00-05", "InterfaceEnabled": "yes", ` + on + `}`,
	} {
		l := fmt.Sprintf("/c/%d", i)
		all, objects[l] = append(all, l), c
	}
	objects["/c"] = pages(all...)
	got := look(t, objects)
	var macs []string
	for _, i := range got.Inventory.Interfaces {
		macs = append(macs, i.MACAddress)
	}
	if want := []string{"52:54:00:00:00:0a", "52:54:00:00:00:02", "52:54:00:00:00:03", "52:54:00:00:00:05"}; !slices.Equal(macs, want) {
		t.Errorf("cards %v, expected %v", macs, want)
	}
	if want := []string{"52:54:00:00:00:0a", "52:54:00:00:00:05"}; !slices.Equal(got.Ports, want) {
		t.Errorf("ports %v, expected %v", got.Ports, want)
	}
}

// I25: counts and lengths are bounded, and what is left out is said.
func TestI25_InspectionsAreBounded(t *testing.T) {
	objects := map[string]string{}
	list := func(at string, n int, each string) string {
		var all []string
		for i := range n {
			l := fmt.Sprintf("%s/%d", at, i)
			all, objects[l] = append(all, l), strings.ReplaceAll(each, "%", fmt.Sprintf("%04x", i))
		}
		objects[at] = pages(all...)
		return ref(at)
	}
	long := strings.Repeat("é", 5000) + "\n\x1b[31m"
	raw, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	var drives []string
	for i := range maxDisks + 9 {
		l := fmt.Sprintf("/d/%d", i)
		drives, objects[l] = append(drives, ref(l)), `{"CapacityBytes": 1e18, "Model": `+string(raw)+`}`
	}
	objects["/s"] = `{"Model": ` + string(raw) + `, "MemorySummary": {"TotalSystemMemoryGiB": 1e15}, "Processors": ` + list("/p", maxProcessors+9, `{"TotalThreads": 60000}`) +
		`, "Memory": ` + list("/m", maxModules+9, `{"CapacityMiB": 1e9}`) + `, "EthernetInterfaces": ` + list("/c", maxCards+9, `{"MACAddress": "52:54:00:00:%"}`) +
		`, "Storage": ` + list("/st", maxStores+9, `{"Drives": [`+strings.Join(drives, ",")+`]}`) + `}`
	for i := range maxCards + 9 {
		objects[fmt.Sprintf("/c/%d", i)] = fmt.Sprintf(`{"MACAddress": "52:54:00:00:00:%02x", "Status": {"State": "Enabled"}}`, i)
	}
	got := look(t, objects)
	inv := got.Inventory
	if len(inv.Disks) != maxDisks || len(inv.Interfaces) != maxCards || len(got.Ports) != maxCards || inv.CPU.SocketCount != maxProcessors || inv.Memory.PhysicalMB != maxMemoryMB {
		t.Errorf("%d disks, %d cards, %d ports, %d processors, %d MiB", len(inv.Disks), len(inv.Interfaces), len(got.Ports), inv.CPU.SocketCount, inv.Memory.PhysicalMB)
	}
	if n := len([]rune(inv.SystemVendor.ProductName)); n != maxText || strings.ContainsAny(inv.Disks[0].Model, "\n\x1b") {
		t.Errorf("a model of %d characters", n)
	}
	for _, what := range []string{"processors", "memory modules", "network cards", "storage", "disks"} {
		if !slices.ContainsFunc(inv.Problems, func(p string) bool { return strings.Contains(p, what) }) {
			t.Errorf("that not all %s were taken is not said: %q", what, inv.Problems)
		}
	}
}

// FuzzZ8_Inspections puts any bytes in the place of any object of a machine. What comes of it is bounded, is what Ironic's
// clients decode, and names no disk that could be a target.
func FuzzZ8_Inspections(f *testing.F) {
	objects := map[string]string{
		"/s": `{"Processors": ` + ref("/p") + `, "Memory": ` + ref("/m") + `, "Storage": ` + ref("/st") + `, "SimpleStorage": ` + ref("/ss") + `, "EthernetInterfaces": ` + ref("/c") +
			`, "MemorySummary": {"TotalSystemMemoryGiB": 64}, "ProcessorSummary": {"Count": 2, "LogicalProcessorCount": 8, "Model": "P"}, "UUID": "a", "Boot": {"BootSourceOverrideMode": "UEFI"}}`,
		"/p": pages("/p/1"), "/p/1": `{"ProcessorType": "CPU", "ProcessorArchitecture": "x86", "TotalThreads": 8, "MaxSpeedMHz": 3000}`,
		"/m": pages("/m/1"), "/m/1": `{"CapacityMiB": 1024, "Status": {"State": "Enabled"}}`,
		"/st": pages("/st/1"), "/st/1": `{"Drives": [` + ref("/d") + `], "Volumes": ` + ref("/v") + `}`,
		"/d": `{"Name": "d", "CapacityBytes": 480103981056, "Protocol": "NVMe", "MediaType": "SSD", "Identifiers": [{"DurableName": "0025", "DurableNameFormat": "EUI"}]}`,
		"/v": pages("/v/1"), "/v/1": `{"RAIDType": "RAID1", "CapacityBytes": 7e9, "Links": {"Drives": [` + ref("/d") + `]}}`,
		"/ss": pages("/ss/1"), "/ss/1": `{"Devices": [{"Name": "x", "CapacityBytes": 1}]}`,
		"/c": pages("/c/1"), "/c/1": `{"Id": "1", "MACAddress": "52:54:00:00:00:01", "SpeedMbps": 1000, "LinkStatus": "LinkUp", "Status": {"State": "Enabled"}}`,
	}
	for path, text := range objects {
		f.Add(path, text)
	}
	f.Add("/s", `{"MemorySummary": {"TotalSystemMemoryGiB": 1e400}, "ProcessorSummary": {"Count": -1, "LogicalProcessorCount": 1.5e308}, "Processors": 7, "Storage": {"@odata.id": "/s"}, "EthernetInterfaces": {"@odata.id": "/st"}}`)
	f.Add("/st", pages("/st", "/st/1", "/d", "/v"))
	f.Add("/v", pages("/v", "/st"))
	f.Fuzz(func(t *testing.T, path, text string) {
		p := &plot{tree: tree{objects: map[string]string{}}}
		for k, v := range objects {
			p.objects[k] = v
		}
		p.objects[path] = text
		if len(text) > 1<<16 {
			return
		}
		got, err := Inspect(p, "/s")
		if err != nil {
			if !fault.Has(err, fault.BMCError) && !p.Missing(err) {
				t.Errorf("it fails with %v", err)
			}
			return
		}
		if p.asked > 6+maxProcessors+maxModules+maxStores*(2+maxDisks)+maxDisks+maxCards+maxStores {
			t.Errorf("%d requests", p.asked)
		}
		raw, err := json.Marshal(got.Inventory)
		if err != nil || len(raw) > 1<<20 {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
		var again inventory.Inventory
		if err := json.Unmarshal(raw, &again); err != nil || !reflect.DeepEqual(again, got.Inventory) {
			t.Errorf("%s decodes to another inventory: %v", raw, err)
		}
		inv := got.Inventory
		if inv.CPU.Count < 0 || inv.CPU.SocketCount < 0 || inv.Memory.PhysicalMB < 0 || inv.Memory.PhysicalMB > maxMemoryMB || len(inv.Disks) > maxDisks || len(inv.Interfaces) > maxCards || len(inv.Problems) > maxProblems {
			t.Errorf("out of bounds: %s", raw)
		}
		for _, d := range inv.Disks {
			if d.Size < 1 || d.Size > maxBytes || d.Name == "" || d.Class.Local() {
				t.Errorf("disk %+v", d)
			}
		}
		seen := map[string]bool{}
		for _, i := range inv.Interfaces {
			if mac, ok := api.MAC(i.MACAddress); !ok || mac != i.MACAddress || seen[mac] || i.Name == "" {
				t.Errorf("card %+v", i)
			}
			seen[i.MACAddress] = true
		}
		for _, mac := range got.Ports {
			if !seen[mac] {
				t.Errorf("port %s of no card", mac)
			}
		}
	})
}
