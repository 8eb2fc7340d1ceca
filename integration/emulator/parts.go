package emulator

import (
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/integration/bmc"
)

// What a machine is made of: one processor package, one memory module, one storage controller with its drives.

func (q *request) processors() reply {
	p := q.m.SystemPath() + "/Processors"
	return collection(p, "ProcessorCollection", "Processors", []string{p + "/CPU1"})
}

func (q *request) processor() reply {
	n := q.m.Parts().CPUs
	return ok(object{"@odata.id": q.m.SystemPath() + "/Processors/CPU1", "@odata.type": "#Processor.v1_16_0.Processor", "Id": "CPU1", "Name": "Processor",
		"ProcessorType": "CPU", "ProcessorArchitecture": "x86", "InstructionSet": "x86-64", "Manufacturer": "Bessemer", "Model": "Emulated processor",
		"TotalCores": n, "TotalThreads": n, "Socket": "CPU 1", "Status": healthy()})
}

func (q *request) modules() reply {
	p := q.m.SystemPath() + "/Memory"
	return collection(p, "MemoryCollection", "Memory", []string{p + "/DIMM1"})
}

func (q *request) module() reply {
	return ok(object{"@odata.id": q.m.SystemPath() + "/Memory/DIMM1", "@odata.type": "#Memory.v1_16_0.Memory", "Id": "DIMM1", "Name": "Memory module",
		"CapacityMiB": q.m.Parts().MemoryMB, "MemoryType": "DRAM", "Status": healthy()})
}

func (q *request) stores() reply {
	p := q.m.SystemPath() + "/Storage"
	all := []string{p + "/1"}
	if q.m.RAID() != nil {
		all = append(all, p+"/RAID")
	}
	return collection(p, "StorageCollection", "Storage", all)
}

func (q *request) drivePath(i int) string {
	return fmt.Sprintf("%s/Storage/1/Drives/%d", q.m.SystemPath(), i+1)
}

func (q *request) store() reply {
	drives := []object{}
	for i := range q.m.Parts().Drives {
		drives = append(drives, link(q.drivePath(i)))
	}
	return ok(object{"@odata.id": q.m.SystemPath() + "/Storage/1", "@odata.type": "#Storage.v1_13_0.Storage", "Id": "1", "Name": "Storage",
		"Drives": drives, "Drives@odata.count": len(drives), "Status": healthy()})
}

func (q *request) disk() reply {
	for i, d := range q.m.Parts().Drives {
		p := q.drivePath(i)
		if !strings.HasSuffix(p, "/"+q.PathValue("id")) {
			continue
		}
		return ok(driveBody(p, q.PathValue("id"), d))
	}
	return notFound(q.URL.Path)
}

func driveBody(p, id string, d bmc.Drive) object {
	protocol := map[string]string{"": "NVMe", "nvme": "NVMe", "scsi": "SAS", "sata": "SATA"} // virtio is none that Redfish knows
	media := "SSD"
	if d.Rotational {
		media = "HDD"
	}
	body := object{"@odata.id": p, "@odata.type": "#Drive.v1_16_0.Drive", "Id": id, "Name": "Drive " + id, "Manufacturer": "Bessemer",
		"Model": "Emulated drive", "SerialNumber": d.Serial, "CapacityBytes": d.Bytes, "MediaType": media, "Status": healthy()}
	if protocol[d.Bus] != "" {
		body["Protocol"] = protocol[d.Bus]
	}
	if d.WWN != "" {
		body["Identifiers"] = []object{{"DurableName": d.WWN, "DurableNameFormat": map[bool]string{true: "NAA", false: "EUI"}[d.Bus == "scsi"]}}
	}
	return body
}
