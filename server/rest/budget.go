package rest

import (
	"net/netip"

	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What one address may ask for without credentials, as on the agent channel: each request looks into the store (T6).
const (
	openRate  = 100 // a second
	openBurst = 200
)

// network is whose the request is, as budgets count: see limit.Network.
func (c *call) network() (netip.Addr, error) {
	from, err := netip.ParseAddr(c.source())
	if err != nil {
		return from, fault.New(fault.RequestInvalid, "the address that the request is from can't be read")
	}
	return limit.Network(from.Unmap().WithZone("")), nil
}

// budgeted makes a route without credentials one of which an address may not ask for too much. The server's own host is
// trusted: what plays a fleet of simulated machines there, or measures, is not held back.
func budgeted(handle func(*call) error) func(*call) error {
	return func(c *call) error {
		from, err := c.network()
		if err != nil {
			return err
		}
		if !from.IsLoopback() && !c.api.budgets.Take(from) {
			return fault.New(fault.RequestRate, "more than %d requests of ramdisks a second come from %s", openRate, from)
		}
		return handle(c)
	}
}
