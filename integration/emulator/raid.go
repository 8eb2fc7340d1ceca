package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/integration/bmc"
)

// A fake machine's RAID controller: its drives, and the volumes that are made of them.

const applyTime = "@Redfish.OperationApplyTime"

func (q *request) raidPath() string { return q.m.SystemPath() + "/Storage/RAID" }

// raidOnly answers with 404 for a machine without a controller.
func raidOnly(h handler) handler {
	return func(q *request) reply {
		if q.m.RAID() == nil {
			return notFound(q.URL.Path)
		}
		return h(q)
	}
}

func (q *request) raidStore() reply {
	p, drives := q.raidPath(), []object{}
	for i := range q.m.RAID().Drives {
		drives = append(drives, link(fmt.Sprintf("%s/Drives/%d", p, i+1)))
	}
	inner := q.raidControllerBody()
	inner["@odata.id"], inner["MemberId"] = p+"#/StorageControllers/0", "0"
	return ok(object{"@odata.id": p, "@odata.type": "#Storage.v1_13_0.Storage", "Id": "RAID", "Name": "RAID controller", "Drives": drives,
		"Drives@odata.count": len(drives), "Volumes": link(p + "/Volumes"), "Controllers": link(p + "/Controllers"), "StorageControllers": []object{inner}, "Status": healthy()})
}

func (q *request) raidControllerBody() object {
	return object{"Name": "Emulated RAID controller", "Manufacturer": "Bessemer", "SupportedRAIDTypes": q.m.RAID().Types,
		"SupportedDeviceProtocols": []string{"SAS", "SATA"}, "Status": healthy()}
}

func (q *request) raidControllers() reply {
	p := q.raidPath() + "/Controllers"
	return collection(p, "StorageControllerCollection", "Storage controllers", []string{p + "/0"})
}

func (q *request) raidController() reply {
	b := q.raidControllerBody()
	b["@odata.id"], b["@odata.type"], b["Id"] = q.raidPath()+"/Controllers/0", "#StorageController.v1_6_0.StorageController", "0"
	return ok(b)
}

func (q *request) raidDrive() reply {
	n, err := strconv.Atoi(q.PathValue("id"))
	if err != nil || n < 1 || n > len(q.m.RAID().Drives) {
		return notFound(q.URL.Path)
	}
	p := fmt.Sprintf("%s/Drives/%d", q.raidPath(), n)
	b := driveBody(p, fmt.Sprint(n), q.m.RAID().Drives[n-1])
	volumes := []object{}
	for _, v := range q.m.Volumes() {
		if slices.Contains(v.Drives, n) {
			volumes = append(volumes, link(q.raidPath()+"/Volumes/"+v.ID))
		}
	}
	b["Links"] = object{"Volumes": volumes}
	return ok(b)
}

func (q *request) volumes() reply {
	p := q.raidPath() + "/Volumes"
	var all []string
	for _, v := range q.m.Volumes() {
		all = append(all, p+"/"+v.ID)
	}
	a := collection(p, "VolumeCollection", "Volumes", all)
	if when := q.m.RAID().Apply; when != "none" {
		a.body["@Redfish.OperationApplyTimeSupport"] = object{"@odata.type": "#Settings.v1_3_4.OperationApplyTimeSupport", "SupportedValues": []string{when}}
	}
	return a
}

func (q *request) volumeBody(v bmc.Volume) object {
	drives := []object{}
	for _, n := range v.Drives {
		drives = append(drives, link(fmt.Sprintf("%s/Drives/%d", q.raidPath(), n)))
	}
	return object{"@odata.id": q.raidPath() + "/Volumes/" + v.ID, "@odata.type": "#Volume.v1_8_0.Volume", "Id": v.ID, "Name": v.Name, "RAIDType": v.Type,
		"CapacityBytes": v.Bytes, "Identifiers": []object{{"DurableName": v.WWN, "DurableNameFormat": "NAA"}}, "Links": object{"Drives": drives}, "Status": healthy()}
}

func (q *request) volume() reply {
	for _, v := range q.m.Volumes() {
		if v.ID == q.PathValue("id") {
			return ok(q.volumeBody(v))
		}
	}
	return notFound(q.URL.Path)
}

// when is when an operation takes effect: as asked for, if the controller can do that.
func (q *request) when(asked string) (string, reply, bool) {
	can := q.m.RAID().Apply
	if asked != "" && asked != can {
		return "", notInList(applyTime, asked, []string{can}), false
	}
	return can, reply{}, true
}

func (q *request) createVolume() reply {
	var in struct {
		Name, RAIDType string
		CapacityBytes  int64
		Links          struct {
			Drives []struct {
				ID string `json:"@odata.id"`
			}
		}
		ApplyTime string `json:"@Redfish.OperationApplyTime"`
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	when, a, fine := q.when(in.ApplyTime)
	if !fine {
		return a
	}
	v := bmc.Volume{Name: in.Name, Type: in.RAIDType, Bytes: in.CapacityBytes}
	for _, d := range in.Links.Drives {
		n, err := strconv.Atoi(path.Base(d.ID))
		if err != nil || !strings.HasPrefix(d.ID, q.raidPath()+"/Drives/") || n < 1 || n > len(q.m.RAID().Drives) || slices.Contains(v.Drives, n) {
			return failure(http.StatusBadRequest, "PropertyValueError", "The value "+d.ID+" for the property Drives names no drive, or one twice.", "#/Links/Drives")
		}
		v.Drives = append(v.Drives, n)
	}
	if len(v.Drives) == 0 {
		return missing("Links/Drives")
	}
	if q.m.Jammed() {
		return jammed()
	}
	var waits *bmc.Task
	var refused error
	made := v
	a = q.change("create a volume", func(ctx context.Context) (err error) {
		made, waits, err = q.m.CreateVolume(ctx, v, when)
		if _, is := errors.AsType[bmc.ErrVolume](err); is {
			refused = err
		}
		return err
	})
	switch {
	case refused != nil:
		return failure(http.StatusBadRequest, "PropertyValueConflict", "The volume can't be made: "+refused.Error()+".")
	case a.status != http.StatusNoContent:
		return a
	case waits != nil:
		return accepted(*waits)
	case made.ID == "": // the fault ignore
		return a
	}
	return reply{status: http.StatusCreated, body: q.volumeBody(made), header: http.Header{"Location": {q.raidPath() + "/Volumes/" + made.ID}}}
}

func (q *request) deleteVolume() reply {
	var in struct {
		ApplyTime string `json:"@Redfish.OperationApplyTime"`
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	when, a, fine := q.when(in.ApplyTime)
	if !fine {
		return a
	}
	if q.m.Jammed() {
		return jammed()
	}
	var waits *bmc.Task
	there := true
	a = q.change("delete a volume", func(ctx context.Context) error {
		waits, there = q.m.DeleteVolume(ctx, q.PathValue("id"), when)
		return nil
	})
	switch {
	case !there:
		return notFound(q.URL.Path)
	case a.status == http.StatusNoContent && waits != nil:
		return accepted(*waits)
	}
	return a
}

func accepted(t bmc.Task) reply {
	return reply{status: http.StatusAccepted, body: taskBody(t), header: http.Header{"Location": {monitorPath + t.ID}, "Retry-After": {retryAfter}}}
}

func jammed() reply {
	return failure(http.StatusConflict, "ResourceInUse", "The job queue is stuck: it holds tasks that do not end. Delete them below /redfish/v1/TaskService/Tasks.")
}
