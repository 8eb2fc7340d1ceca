package redfish

import (
	"net/http"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// service is an operation as package parts sees it: all bounds and rules of operation hold.
type service struct{ o *operation }

var _ parts.Service = service{}

func (s service) Read(link string, into any) error {
	resp, err := s.o.Get(link)
	if err != nil {
		return err
	}
	if err := decode(bodyOf(resp), into); err != nil {
		return s.o.notRedfish(link, err)
	}
	return nil
}

func (s service) Members(link string) ([]string, error) { return s.o.members(link) }

func (s service) Post(link string, body any) ([]byte, string, error) {
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

func (s service) Patch(link string, body any) error {
	_, err := patchTagged(s.o, link, body)
	return err
}

func (s service) Delete(link string) error {
	_, err := s.o.Delete(link)
	return err
}

// Missing also holds for what the BMC lists and does not serve.
func (s service) Missing(err error) bool {
	if s.o.poison != nil || s.o.ctx.Err() != nil {
		return false
	}
	switch statusOf(err) {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
		return true
	}
	return fault.Has(err, fault.BMCUnsupported)
}

// partsOf is where a machine's parts are.
func (b *bmc) partsOf(o *operation, m machine) (parts.Machine, error) {
	mgr, err := b.manager(o, m)
	if err := b.optional(o, "manager", err); err != nil {
		return parts.Machine{}, err
	}
	return placed(m, mgr), nil
}

// placed puts together what system and manager say; mgr nil is one that there is not, or that can't be read.
func placed(m machine, mgr *manager) parts.Machine {
	out := parts.Machine{System: m.ODataID, BIOS: m.links.Bios.String(), BIOSVersion: m.BiosVersion}
	for _, c := range m.links.Links.Chassis {
		out.Chassis = append(out.Chassis, c.String())
	}
	if mgr != nil {
		out.Manager, out.BMCVersion = mgr.ODataID, mgr.FirmwareVersion
	}
	return out
}

// entrance gives the links of services that few operations need, as the BMC writes them.
func (o *operation) services() (services, error) {
	if _, err := o.root(); err != nil {
		return services{}, err
	}
	return o.more, nil
}

type services struct{ Registries, UpdateService, EventService schemas.Link }
