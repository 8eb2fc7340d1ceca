package redfish

import (
	"context"
	"net/netip"
	"net/url"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

var _ conductor.Inspector = (*bmc)(nil)

// Inspect reads what the machine is made of, as one operation of reads alone. A BMC that restarts in the middle may show
// another machine at the path (F24), so who it is is read again at the end: bmc.busy when it was another one in between.
func (b *bmc) Inspect(ctx context.Context) (conductor.Found, error) {
	var out conductor.Found
	err := b.run(ctx, false, func(o *operation) error {
		m, err := b.machine(o)
		if err != nil {
			return err
		}
		found, err := parts.Inspect(service{o}, m.ODataID)
		if err != nil {
			return err
		}
		after, err := readMachine(o, m.ODataID)
		if err != nil {
			return err
		}
		v := found.Inventory.SystemVendor
		for _, is := range []conductor.Identity{conductor.IdentityOf(v.UUID, v.SerialNumber), after.identity()} {
			if m.identity().Match(is) == conductor.OtherMachine {
				return fault.New(fault.BMCBusy, "the BMC at %s showed the machine with %s at %s, and the one with %s while it was read", b.target.origin, m.identity(), m.ODataID, is)
			}
		}
		out = found
		out.Inventory.BMCAddress, out.Inventory.BMCV6Address = b.target.addresses()
		return nil
	})
	return out, err
}

// addresses are the BMC's, when driver_info names it by one.
func (t target) addresses() (v4, v6 *string) {
	u, err := url.Parse(t.origin)
	if err != nil {
		return nil, nil
	}
	a, err := netip.ParseAddr(u.Hostname())
	text := a.String()
	switch {
	case err != nil:
		return nil, nil
	case a.Is4():
		return &text, nil
	}
	return nil, &text
}
