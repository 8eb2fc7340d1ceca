package redfish

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

var _ conductor.Inspector = (*bmc)(nil)

// Inspect reads what the machine is made of, as one operation of reads alone. A BMC that restarts in the middle may show
// another machine at the path (F24), so who it is is read again at the end: bmc.busy when it was another one in between.
func (b *bmc) Inspect(ctx context.Context) (conductor.Found, error) {
	var out conductor.Found
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		found, err := parts.Inspect(o.Parts(), m.ODataID)
		if err != nil {
			return err
		}
		after, err := machine.ReadSystem(o, m.ODataID)
		if err != nil {
			return err
		}
		v := found.Inventory.SystemVendor
		for _, is := range []conductor.Identity{conductor.IdentityOf(v.UUID, v.SerialNumber), after.Identity()} {
			if m.Identity().Match(is) == conductor.OtherMachine {
				return fault.New(fault.BMCBusy, "the BMC at %s showed the machine with %s at %s, and the one with %s while it was read", b.Target.Origin, m.Identity(), m.ODataID, is)
			}
		}
		out = found
		out.Inventory.BMCAddress, out.Inventory.BMCV6Address = b.Target.Addresses()
		return nil
	})
	return out, err
}
