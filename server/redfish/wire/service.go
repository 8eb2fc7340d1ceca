package wire

import (
	"net/http"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Service is an operation as package parts sees it: all bounds and rules of operation hold.
type Service struct{ o *Operation }

// Parts is the operation as package parts sees it.
func (o *Operation) Parts() Service { return Service{o} }

var _ parts.Service = Service{}

// Read reads one object, and the methods below are those of parts.Service.
func (s Service) Read(link string, into any) error {
	resp, err := s.o.Get(link)
	if err != nil {
		return err
	}
	if err := decode(bodyOf(resp), into); err != nil {
		return s.o.notRedfish(link, err)
	}
	return nil
}

func (s Service) Members(link string) ([]string, error) { return s.o.Members(link) }

func (s Service) Post(link string, body any) ([]byte, string, error) {
	resp, err := s.o.Post(link, body)
	if err != nil {
		return nil, "", err
	}
	raw := bodyOf(resp)
	if bounded(raw) != nil {
		raw = nil // an answer without an object
	}
	return raw, resp.Header.Get("Location"), nil
}

func (s Service) Patch(link string, body any) error {
	_, err := s.o.PatchTagged(link, body)
	return err
}

func (s Service) Delete(link string) error {
	_, err := s.o.Delete(link)
	return err
}

// Missing also holds for what the BMC lists and does not serve.
func (s Service) Missing(err error) bool {
	if s.o.poison != nil || s.o.ctx.Err() != nil {
		return false
	}
	switch StatusOf(err) {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
		return true
	}
	return fault.Has(err, fault.BMCUnsupported)
}

// Services gives the links of services that few operations need, as the BMC writes them.
func (o *Operation) Services() (services, error) {
	if _, err := o.Root(); err != nil {
		return services{}, err
	}
	return o.more, nil
}

// services are links of the entrance.
type services struct{ Registries, UpdateService, EventService schemas.Link }

// Order sends something once, with the task that goes on with it: where the answer says 202, at its Location or in its body.
func (s Service) Order(method, link string, body any) (string, error) {
	resp, err := s.o.call(method, link, body, nil)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		return "", err
	}
	if monitor := resp.Header.Get("Location"); monitor != "" {
		return monitor, nil
	}
	var t struct {
		ID          string `json:"@odata.id"`
		TaskMonitor string
		TaskState   string
	}
	if decode(bodyOf(resp), &t) != nil || t.TaskState == "" {
		return "", nil // it shows by what it brings about
	}
	if t.TaskMonitor != "" {
		return t.TaskMonitor, nil
	}
	return t.ID, nil
}
