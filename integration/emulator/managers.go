package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/faults"
)

func (q *request) managerPath() string { return root + "/Managers/" + q.m.Name() }

func (q *request) managers() reply { return q.members("Managers") }

func (q *request) manager() reply {
	p := q.managerPath()
	return ok(object{
		"@odata.id": p, "@odata.type": "#Manager.v1_14_0.Manager", "Id": q.m.Name(), "Name": "BMC of " + q.m.Name(), "ManagerType": "BMC",
		"FirmwareVersion": q.m.Firmware()["bmc"], "Model": "Bessemer emulator", "UUID": q.m.Config().UUID, "Status": healthy(), "PowerState": "On",
		"DateTime": q.m.Clock().UTC().Format(time.RFC3339), "DateTimeLocalOffset": "+00:00", "VirtualMedia": link(p + "/VirtualMedia"),
		"Links":   object{"ManagerForServers": []object{link(q.m.SystemPath())}, "ManagerForChassis": []object{link(root + "/Chassis/" + q.m.Name())}},
		"Actions": object{"#Manager.Reset": object{"target": p + "/Actions/Manager.Reset", "ResetType@Redfish.AllowableValues": managerResets()}},
	})
}

// patchManager sets the clock; nothing else of a manager can be set here.
func (q *request) patchManager() reply {
	var in struct{ DateTime, DateTimeLocalOffset *string }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.DateTime == nil {
		return noContent()
	}
	t, err := time.Parse(time.RFC3339, *in.DateTime)
	if err != nil {
		return failure(http.StatusBadRequest, "PropertyValueFormatError", "The value for the property DateTime is no date and time with an offset.", "#/DateTime")
	}
	return q.change("setting the clock", func(context.Context) error { q.m.SetClock(t); return nil })
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
	return q.change("reset of the manager", func(ctx context.Context) error {
		q.s.restart(ctx, q.m)
		return nil
	})
}

func (s *service) restart(ctx context.Context, m *Machine) {
	m.Restart(ctx)
	s.e.sessions.Forget(m.Name(), "")
	s.e.sessions.Forget(s.address(), "") // at the shared address, everybody's: it is one service
}

func (q *request) cd() reply {
	p := q.managerPath() + "/VirtualMedia/Cd"
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
	return q.change("insert medium", func(ctx context.Context) error { return q.m.Insert(ctx, u.String()) })
}

func (q *request) ejectMedia() reply {
	var in struct{}
	if a, fine := q.decode(&in); !fine {
		return a
	}
	return q.change("eject medium", q.m.Eject)
}

// change carries out an order, one at a time for each machine, and answers with how it went. Under a fault it is
// ignored, or becomes a task.
func (q *request) change(name string, order func(context.Context) error) reply {
	act := func(ctx context.Context) error {
		return q.m.Do(func() error { return order(bmc.AskedBy(ctx, q.who.session)) })
	}
	trouble := q.m.Trouble()
	if trouble.Use(faults.Ignore, q.Request) != nil {
		return noContent()
	}
	if f := trouble.Use(faults.TaskFails, q.Request); f != nil {
		return q.enqueue(name, f, func(context.Context) error { return errors.New("the task failed, as the fault task_fails asks") })
	}
	if f := trouble.Use(faults.Async, q.Request); f != nil {
		return q.enqueue(name, f, act)
	}
	if err := act(q.Context()); err != nil {
		return orderFailed(name, err)
	}
	if trouble.Use(faults.Twice, q.Request) != nil {
		if err := act(q.Context()); err != nil {
			return orderFailed(name, err)
		}
	}
	return noContent()
}

func (q *request) enqueue(name string, f *faults.Fault, order func(context.Context) error) reply {
	t := q.m.Enqueue(name, time.Duration(f.Delay), order)
	return accepted(t)
}

func orderFailed(name string, err error) reply {
	if bad, is := errors.AsType[bmc.BadImage](err); is {
		return failure(http.StatusBadRequest, "CouldNotEstablishConnection", "The image can't be used: "+bad.Error()+".", "#/Image")
	}
	if errors.Is(err, bmc.ErrOff) {
		return failure(http.StatusConflict, "ActionNotSupported", fmt.Sprintf("%s is not possible while the system is off; On is.", name))
	}
	return failure(http.StatusInternalServerError, "InternalError", fmt.Sprintf("%s: %v", name, err))
}
