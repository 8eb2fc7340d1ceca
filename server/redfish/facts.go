package redfish

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// devices is how Redfish names what a machine boots from, the usual name first.
var devices = []struct {
	device  string
	sources []schemas.BootSource
}{
	{"cdrom", []schemas.BootSource{schemas.CdBootSource, "UsbCd"}},
	{"disk", []schemas.BootSource{schemas.HddBootSource}},
	{"pxe", []schemas.BootSource{schemas.PxeBootSource}},
	{"uefihttp", []schemas.BootSource{schemas.UefiHTTPBootSource}},
	{"bios", []schemas.BootSource{schemas.BiosSetupBootSource}},
	{"floppy", []schemas.BootSource{schemas.FloppyBootSource}},
}

// Facts reads what the BMC says of its machine. Parts that the BMC does not have stay empty.
func (b *bmc) Facts(ctx context.Context) (conductor.Facts, error) {
	var f conductor.Facts
	err := b.run(ctx, false, func(o *operation) error {
		m, err := b.machine(o)
		if err != nil {
			return err
		}
		f = conductor.Facts{
			Power:       powerOf(m.PowerState),
			Vendor:      clean(m.Manufacturer, 100),
			Model:       clean(m.Model, 100),
			Serial:      serial(m.SerialNumber),
			UUID:        clean(strings.ToLower(m.UUID), 64),
			BIOSVersion: clean(m.BiosVersion, 100),
			BootMode:    bootModes[m.Boot.BootSourceOverrideMode],
			BootModes:   m.links.modes(),
			Health:      healthOf(m.Status),
			BootDevices: bootDevices(m.Boot.AllowableBootSourceOverrideTargetValues),
			BootURI:     new(len(m.links.Boot.URI) > 0),
		}
		parts := []struct {
			name string
			read func() error
		}{
			{conductor.PartManager, func() error {
				mgr, err := b.manager(o, m)
				if err == nil && mgr != nil {
					f.BMCModel, f.BMCFirmware = clean(mgr.Model, 100), clean(mgr.FirmwareVersion, 100)
					f.ClockAhead = b.clockAhead(mgr)
				}
				return err
			}},
			{conductor.PartMedia, func() error {
				drives, err := b.drives(o, m, cds...)
				f.VirtualMedia = len(drives) > 0
				return err
			}},
			{conductor.PartCards, func() (err error) { f.MACs, err = macs(o, m); return err }},
			{conductor.PartBootTrust, func() (err error) { f.BootTrust, err = b.trusts(o, m); return err }},
			{conductor.PartSecureBoot, func() (err error) { f.SecureBoot, err = readSecureBoot(o, m); return err }},
			{conductor.PartBIOS, func() error {
				bios, err := readBIOS(o, m)
				if err == nil && bios != nil {
					f.BIOS = maps.Clone(map[string]any(bios.Attributes))
				}
				return err
			}},
		}
		allowed, err := m.GetSupportedResetTypes()
		if err := b.optional(o, "allowed resets", err); err != nil {
			return err
		}
		f.PowerActs = powerActs(allowed)
		for _, p := range parts {
			err := p.read()
			if status := statusOf(err); err != nil && status != http.StatusNotFound && status != http.StatusMethodNotAllowed && status != http.StatusNotImplemented {
				f.Unread = append(f.Unread, p.name)
			}
			if err := b.optional(o, p.name, err); err != nil {
				return err
			}
		}
		f.NoSession = b.account.sessionless()
		return nil
	})
	return f, err
}

var bootModes = map[schemas.BootSourceOverrideMode]string{
	schemas.UEFIBootSourceOverrideMode:   "uefi",
	schemas.LegacyBootSourceOverrideMode: "bios",
}

// powerActs are those of ours among a BMC's resets.
func powerActs(allowed []schemas.ResetType) []conductor.PowerAction {
	var out []conductor.PowerAction
	for _, a := range []conductor.PowerAction{conductor.On, conductor.ForceOff, conductor.GracefulShutdown} {
		if slices.Contains(allowed, resets[a].reset) {
			out = append(out, a)
		}
	}
	return out
}

// clockAhead compares the BMC's clock with the server's; nil when it shows none that can be read.
func (b *bmc) clockAhead(mgr *manager) *time.Duration {
	t, err := time.Parse(time.RFC3339, mgr.DateTime)
	if err != nil {
		return nil
	}
	ahead := t.Sub(b.endpoint.cfg.Now()).Truncate(time.Second)
	return &ahead
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

func bootDevices(allowed []schemas.BootSource) []string {
	var out []string
	for _, d := range devices {
		if slices.ContainsFunc(d.sources, func(s schemas.BootSource) bool { return slices.Contains(allowed, s) }) {
			out = append(out, d.device)
		}
	}
	return out
}

// macs lists the cards' addresses, lower case, in the BMC's order, each once. What is no address is left out.
func macs(o *operation, m machine) ([]string, error) {
	links, err := o.members(m.links.EthernetInterfaces.String())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range links {
		card, err := read[schemas.EthernetInterface](o, l)
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
