package ramdisk

import (
	"net/netip"

	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What one address may ask for without credentials, as on the agent channel: each request looks into the store (T6).
const (
	openRate  = 100 // a second
	openBurst = 200
)

// network is whose the request is, as budgets count: see limit.Network.
func network(c *serve.Call) (netip.Addr, error) {
	from, err := netip.ParseAddr(c.Source())
	if err != nil {
		return from, fault.New(fault.RequestInvalid, "the address that the request is from can't be read")
	}
	return limit.Network(from.Unmap().WithZone("")), nil
}

// budgeted makes a route without credentials one of which an address may not ask for too much. The server's own host is
// trusted: what plays a fleet of simulated machines there, or measures, is not held back.
func (a *API) budgeted(handle func(*serve.Call) error) func(*serve.Call) error {
	return func(c *serve.Call) error {
		from, err := network(c)
		if err != nil {
			return err
		}
		if !from.IsLoopback() && !a.budgets.Take(from) {
			return fault.New(fault.RequestRate, "more than %d requests of ramdisks a second come from %s", openRate, from)
		}
		return handle(c)
	}
}
