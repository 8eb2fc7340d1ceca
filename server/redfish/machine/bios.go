package machine

import (
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// BIOS is the BIOS object, with where its settings are written and when they may take effect.
type BIOS struct {
	*schemas.Bios
	More struct {
		Pending  *bool `json:"ResetBiosToDefaultsPending"`
		Settings struct {
			SettingsObject      schemas.Link
			SupportedApplyTimes []schemas.SettingsApplyTime
		} `json:"@Redfish.Settings"`
	}
}

// ReadBIOS gives nil when the machine has no BIOS object.
func ReadBIOS(o *wire.Operation, m System) (*BIOS, error) {
	if m.More.Bios == "" {
		return nil, nil
	}
	out := &BIOS{}
	var err error
	if out.Bios, err = wire.Read[schemas.Bios](o, m.More.Bios.String(), &out.More); err != nil {
		return nil, err
	}
	if out.ODataID == "" {
		out.ODataID = m.More.Bios.String()
	}
	return out, nil
}

// BIOS reads the machine's BIOS object; bmc.unsupported when it has none.
func (b *Machine) BIOS(o *wire.Operation) (*BIOS, System, error) {
	m, err := b.System(o)
	if err != nil {
		return nil, m, err
	}
	found, err := ReadBIOS(o, m)
	if err == nil && found == nil {
		err = fault.New(fault.BMCUnsupported, "the BMC at %s shows no BIOS of the machine", b.Target.Origin)
	}
	return found, m, err
}

// ClockAhead compares the BMC's clock with the server's; nil when it shows none that can be read.
func (b *Machine) ClockAhead(mgr *Manager) *time.Duration {
	t, err := time.Parse(time.RFC3339, mgr.DateTime)
	if err != nil {
		return nil
	}
	ahead := t.Sub(b.Endpoint.Now()).Truncate(time.Second)
	return &ahead
}
