// Package machine is the part of the API for what is done with a machine's BMC beside provisioning it: power, boot mode and
// device, secure boot, RAID target, console, interrupt, indicators, virtual media, and what the hardware type has of its own;
// with the BIOS settings and firmware versions as they were read last. It decides nothing.
package machine

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
)

// API is the routes' handlers.
type API struct{ backend Backend }

// New makes them.
func New(b Backend) *API { return &API{b} }

// Backend is the part of the conductor behind them. Every ident is a UUID or a name; errors are faults.
type Backend interface {
	Management
	Parts
	Attachments
	SetPower(ctx context.Context, who conductor.Caller, ident string, p conductor.PowerRequest) error
	BootDevice(ctx context.Context, ident string) (conductor.BootTarget, error)
	SetBootDevice(ctx context.Context, who conductor.Caller, ident string, b conductor.BootTarget) error
}

// Routes is the rows of the table of routes.
func (a *API) Routes() []serve.Route {
	const get, put = http.MethodGet, http.MethodPut
	const node = "/v1/nodes/{node}"
	rows := []serve.Route{
		{Method: get, Path: node + "/management/boot_device", Need: access.NodeInside, Handle: a.bootDevice},
		{Method: put, Path: node + "/management/boot_device", Need: access.NodeManage, Body: serve.MaxBody, Handle: a.setBootDevice},
		{Method: get, Path: node + "/management/boot_device/supported", Need: access.NodeRead, Handle: a.bootDevices},
		{Method: put, Path: node + "/states/power", Need: access.NodePower, Body: serve.MaxBody, Handle: a.setPower},
	}
	rows = append(rows, a.manageRoutes()...)
	rows = append(rows, a.partsRoutes()...)
	return append(rows, a.vendorRoutes()...)
}
