package emulator

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"time"
)

const defaultManagerReset = 3 * time.Second

func (m *Machine) managerPath() string { return root + "/Managers/" + m.Name() }

func (q *request) managers() reply { return q.members("Managers") }

func (q *request) manager() reply {
	p := q.m.managerPath()
	return ok(object{
		"@odata.id": p, "@odata.type": "#Manager.v1_14_0.Manager", "Id": q.m.Name(), "Name": "BMC of " + q.m.Name(), "ManagerType": "BMC",
		"FirmwareVersion": "1.0", "Model": "Bessemer emulator", "UUID": q.m.cfg.UUID, "Status": healthy(), "PowerState": "On",
		"DateTime": q.s.e.cfg.Now().UTC().Format(time.RFC3339), "DateTimeLocalOffset": "+00:00", "VirtualMedia": link(p + "/VirtualMedia"),
		"Links":   object{"ManagerForServers": []object{link(q.m.SystemPath())}, "ManagerForChassis": []object{link(root + "/Chassis/" + q.m.Name())}},
		"Actions": object{"#Manager.Reset": object{"target": p + "/Actions/Manager.Reset", "ResetType@Redfish.AllowableValues": managerResets()}},
	})
}

func managerResets() []string { return []string{"GracefulRestart", "ForceRestart"} }

// resetManager takes the BMC away for a while: nobody answers, and sessions and tasks are forgotten. The machine runs on.
func (q *request) resetManager() reply {
	var in struct{ ResetType string }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.ResetType != "" && !slices.Contains(managerResets(), in.ResetType) {
		return notInList("ResetType", in.ResetType, managerResets())
	}
	return q.change("reset of the manager", func() error {
		d := time.Duration(q.m.cfg.ManagerReset)
		if d == 0 {
			d = defaultManagerReset
		}
		q.m.cancelTasks()
		q.m.mu.Lock()
		q.m.away, q.m.tasks = q.s.e.cfg.Now().Add(d), nil
		q.m.mu.Unlock()
		q.s.e.sessions.forget(q.m, "")
		q.s.e.sessions.forget(q.s.only, "") // at the shared address, everybody's: it is one service
		return nil
	})
}

func (m *Machine) isAway() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.e.cfg.Now().Before(m.away)
}

func (q *request) mediaList() reply {
	p := q.m.managerPath() + "/VirtualMedia"
	return collection(p, "VirtualMediaCollection", "Virtual Media", []string{p + "/Cd"})
}

func (q *request) cd() reply {
	p := q.m.managerPath() + "/VirtualMedia/Cd"
	b := object{
		"@odata.id": p, "@odata.type": "#VirtualMedia.v1_5_0.VirtualMedia", "Id": "Cd", "Name": "Virtual CD", "MediaTypes": []string{"CD", "DVD"},
		"Inserted": false, "Image": nil, "ImageName": nil, "ConnectedVia": "NotConnected", "WriteProtected": true, "TransferMethod": "Stream", "VerifyCertificate": true,
		"Actions": object{"#VirtualMedia.InsertMedia": object{"target": p + "/Actions/VirtualMedia.InsertMedia"},
			"#VirtualMedia.EjectMedia": object{"target": p + "/Actions/VirtualMedia.EjectMedia"}},
	}
	if u := q.m.Medium(); u != "" {
		b["Inserted"], b["Image"], b["ImageName"], b["ConnectedVia"] = true, u, path.Base(u), "URI"
	}
	return ok(b)
}

func (q *request) insertMedia() reply {
	var in struct {
		Image, MediaType, TransferMethod, TransferProtocolType string
		UserName, Password                                     string
		Inserted, WriteProtected                               *bool
	}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	u, err := url.Parse(in.Image)
	switch {
	case in.Image == "":
		return missing("Image")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return failure(http.StatusBadRequest, "PropertyValueFormatError", "The value for the parameter Image is not an http or https URL.", "#/Image")
	case in.TransferMethod != "" && in.TransferMethod != "Stream":
		return notInList("TransferMethod", in.TransferMethod, []string{"Stream"})
	case in.TransferProtocolType != "" && in.TransferProtocolType != "HTTP" && in.TransferProtocolType != "HTTPS":
		return notInList("TransferProtocolType", in.TransferProtocolType, []string{"HTTP", "HTTPS"})
	case in.MediaType != "" && in.MediaType != "CD" && in.MediaType != "DVD":
		return notInList("MediaType", in.MediaType, []string{"CD", "DVD"})
	case in.WriteProtected != nil && !*in.WriteProtected:
		return failure(http.StatusBadRequest, "PropertyValueError", "The virtual CD is always write-protected.", "#/WriteProtected")
	case in.Inserted != nil && !*in.Inserted:
		return failure(http.StatusBadRequest, "PropertyValueError", "An image that is connected is also inserted.", "#/Inserted")
	}
	if in.UserName != "" {
		u.User = url.UserPassword(in.UserName, in.Password)
	}
	return q.change("insert medium", func() error { return q.m.insert(q.Context(), u.String()) })
}

func (q *request) ejectMedia() reply {
	var in struct{}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	return q.change("eject medium", func() error { return q.m.eject(q.Context()) })
}

// change carries out an order, one at a time for each machine, and answers with how it went. Under a fault it is
// ignored, or becomes a task.
func (q *request) change(name string, do func() error) reply {
	m := q.m
	if m.use(Ignore, q.Request) != nil {
		return noContent()
	}
	act := func() error {
		m.busy.Lock()
		defer m.busy.Unlock()
		return do()
	}
	if f := m.use(TaskFails, q.Request); f != nil {
		return q.asTask(name, time.Duration(f.Delay), func() error { return errors.New("the task failed, as the fault task_fails asks") })
	}
	if f := m.use(Async, q.Request); f != nil {
		return q.asTask(name, time.Duration(f.Delay), act)
	}
	if err := act(); err != nil {
		return orderFailed(name, err)
	}
	return noContent()
}

func orderFailed(name string, err error) reply {
	if bad, is := errors.AsType[badImage](err); is {
		return failure(http.StatusBadRequest, "CouldNotEstablishConnection", "The image can't be used: "+bad.Error()+".", "#/Image")
	}
	return internal(fmt.Errorf("%s: %w", name, err))
}
