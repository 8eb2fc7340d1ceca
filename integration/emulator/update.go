package emulator

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/faults"
)

const (
	updatePath   = root + "/UpdateService"
	simpleUpdate = "/Actions/UpdateService.SimpleUpdate"
)

func protocols() []string { return []string{"HTTP", "HTTPS"} }

func (q *request) updateService() reply {
	status := healthy()
	q.each(func(q *request) {
		if q.m.Updating() {
			status["State"] = "Updating"
		}
	})
	return ok(object{"@odata.id": updatePath, "@odata.type": "#UpdateService.v1_11_0.UpdateService", "Id": "UpdateService", "Name": "Update Service", "ServiceEnabled": true,
		"Status": status, "FirmwareInventory": link(updatePath + "/FirmwareInventory"),
		"Actions": object{"#UpdateService.SimpleUpdate": object{"target": updatePath + simpleUpdate, "TransferProtocol@Redfish.AllowableValues": protocols()}}})
}

// simpleUpdate fetches an image and installs it. Where the asker sees several machines, Targets has to name one.
func (q *request) simpleUpdate() reply {
	var in struct {
		ImageURI, TransferProtocol string
		Targets                    []string
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	u, err := url.Parse(in.ImageURI)
	switch {
	case in.ImageURI == "":
		return missing("ImageURI")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return failure(http.StatusBadRequest, "PropertyValueFormatError", "The value for the parameter ImageURI is not an http or https URL.", "#/ImageURI")
	case in.TransferProtocol != "" && !slices.Contains(protocols(), in.TransferProtocol):
		return notInList("TransferProtocol", in.TransferProtocol, protocols())
	}
	machines := q.visible()
	if len(in.Targets) > 0 {
		machines = slices.DeleteFunc(slices.Clone(machines), func(m *Machine) bool { return !slices.Contains(in.Targets, m.SystemPath()) })
	}
	if len(machines) != 1 || len(in.Targets) > 1 {
		return failure(http.StatusBadRequest, "PropertyValueError", "Targets has to name one of the systems.", "#/Targets")
	}
	one := &request{Request: q.Request, s: q.s, m: machines[0], who: q.who}
	trouble := one.m.Trouble()
	var delay time.Duration
	switch f := trouble.Use(faults.Async, q.Request); {
	case trouble.Use(faults.Ignore, q.Request) != nil:
		return noContent()
	case one.m.Updating():
		return failure(http.StatusConflict, "ResourceInUse", "An image is being installed already.")
	case f != nil:
		delay = time.Duration(f.Delay)
	}
	if f := trouble.Use(faults.TaskFails, q.Request); f != nil {
		return one.enqueue("Firmware update", f, func(context.Context) error { return errors.New("the task failed, as the fault task_fails asks") })
	}
	waits := trouble.Use(faults.Waits, q.Request) != nil
	order := func() (t bmc.Task) {
		_ = one.m.Do(func() error { // none fails
			t = one.m.Update(bmc.AskedBy(q.Context(), q.who.session), in.ImageURI, delay, waits, func(ctx context.Context) { q.s.restart(ctx, one.m) })
			return nil
		})
		return t
	}
	t := order()
	if trouble.Use(faults.Twice, q.Request) != nil {
		order()
	}
	return reply{status: http.StatusAccepted, body: taskBody(t), header: http.Header{"Location": {monitorPath + t.ID}, "Retry-After": {retryAfter}}}
}
