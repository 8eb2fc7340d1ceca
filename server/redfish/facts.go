package redfish

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Facts reads what the BMC says of its machine. Parts that the BMC does not have stay empty.
func (b *bmc) Facts(ctx context.Context) (conductor.Facts, error) {
	var f conductor.Facts
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		f = conductor.Facts{
			Power:       machine.PowerOf(m.PowerState),
			Vendor:      wire.Clean(m.Manufacturer, 100),
			Model:       wire.Clean(m.Model, 100),
			Serial:      m.Serial(),
			UUID:        wire.Clean(strings.ToLower(m.UUID), 64),
			BIOSVersion: wire.Clean(m.BiosVersion, 100),
			BootMode:    m.BootMode(),
			BootModes:   m.Modes(),
			Health:      healthOf(m.Status),
			BootDevices: m.BootDevices(),
			BootURI:     new(len(m.More.Boot.URI) > 0),
		}
		parts := []struct {
			name string
			read func() error
		}{
			{conductor.PartManager, func() error {
				mgr, err := b.Manager(o, m)
				if err == nil && mgr != nil {
					f.BMCModel, f.BMCFirmware = wire.Clean(mgr.Model, 100), wire.Clean(mgr.FirmwareVersion, 100)
					f.ClockAhead = b.ClockAhead(mgr)
				}
				return err
			}},
			{conductor.PartMedia, func() (err error) { f.VirtualMedia, err = b.HasCD(o, m); return err }},
			{conductor.PartCards, func() (err error) { f.MACs, err = macs(o, m); return err }},
			{conductor.PartBootTrust, func() (err error) { f.BootTrust, err = b.Trusts(o, m); return err }},
			{conductor.PartSecureBoot, func() (err error) { f.SecureBoot, err = m.SecureBoot(o); return err }},
			{conductor.PartBIOS, func() error {
				bios, err := machine.ReadBIOS(o, m)
				if err == nil && bios != nil {
					f.BIOS = maps.Clone(map[string]any(bios.Attributes))
				}
				return err
			}},
		}
		allowed, err := m.GetSupportedResetTypes()
		if err := b.Optional(o, "allowed resets", err); err != nil {
			return err
		}
		f.PowerActs = machine.PowerActs(allowed)
		for _, p := range parts {
			err := p.read()
			if status := wire.StatusOf(err); err != nil && status != http.StatusNotFound && status != http.StatusMethodNotAllowed && status != http.StatusNotImplemented {
				f.Unread = append(f.Unread, p.name)
			}
			if err := b.Optional(o, p.name, err); err != nil {
				return err
			}
		}
		f.NoSession = b.Account.Sessionless()
		return nil
	})
	return f, err
}

func healthOf(s schemas.Status) string {
	h := s.HealthRollup
	if h == "" {
		h = s.Health
	}
	switch h {
	case schemas.OKHealth, schemas.WarningHealth, schemas.CriticalHealth:
		return string(h)
	}
	return ""
}

// macs lists the cards' addresses, lower case, in the BMC's order, each once. What is no address is left out.
func macs(o *wire.Operation, m machine.System) ([]string, error) {
	links, err := o.Members(m.More.EthernetInterfaces.String())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range links {
		card, err := wire.Read[schemas.EthernetInterface](o, l)
		if err != nil {
			return out, err
		}
		for _, s := range []string{card.PermanentMACAddress, card.MACAddress} {
			if mac, ok := api.MAC(s); ok {
				if !slices.Contains(out, mac) {
					out = append(out, mac)
				}
				break
			}
		}
	}
	return out, nil
}
