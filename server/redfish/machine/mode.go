package machine

import (
	"context"
	"slices"

	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/stmcginnis/gofish/schemas"
)

// bootModes are our words for Redfish's.
var bootModes = map[schemas.BootSourceOverrideMode]string{
	schemas.UEFIBootSourceOverrideMode:   "uefi",
	schemas.LegacyBootSourceOverrideMode: "bios",
}

// BootMode is how the machine boots; "" when the BMC does not say.
func (m System) BootMode() string { return bootModes[m.Boot.BootSourceOverrideMode] }

// Modes are the boot modes that the BMC lists as possible.
func (m System) Modes() []string {
	var out []string
	for _, mode := range m.More.Boot.Modes {
		if s := bootModes[mode]; s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// BootDevices are those that the BMC lists.
func (m System) BootDevices() []string {
	var out []string
	for _, d := range devices {
		if slices.ContainsFunc(d.sources, func(s schemas.BootSource) bool {
			return slices.Contains(m.Boot.AllowableBootSourceOverrideTargetValues, s)
		}) {
			out = append(out, d.device)
		}
	}
	return out
}

// SecureBoot tells whether the machine booted securely; nil when the BMC does not show it.
func (m System) SecureBoot(o *wire.Operation) (*bool, error) {
	if m.More.SecureBoot == "" {
		return nil, nil
	}
	s, err := wire.Read[schemas.SecureBoot](o, m.More.SecureBoot.String())
	if err != nil {
		return nil, err
	}
	on := s.SecureBootCurrentBoot == schemas.EnabledSecureBootCurrentBootType
	return &on, nil
}

// SetBootMode sets how the machine boots from its next start on, and reads that back.
func (b *Machine) SetBootMode(ctx context.Context, mode string) error {
	var want schemas.BootSourceOverrideMode
	for word, m := range bootModes {
		if m == mode {
			want = word
		}
	}
	if want == "" {
		return fault.New(fault.BMCBootMode, "boot mode %q is not known; uefi and bios are", mode)
	}
	return b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		if m.Boot.BootSourceOverrideMode == want {
			return nil
		}
		if have := m.Modes(); len(have) > 0 && !slices.Contains(have, mode) {
			return fault.New(fault.BMCBootMode, "the BMC at %s can't boot the machine in mode %s; it offers %s", b.Target.Origin, mode, wire.Join(have))
		}
		ok, err := ensure(o, func() error { return patchBoot(o, m, map[string]any{"BootSourceOverrideMode": want}) }, func() (bool, error) {
			now, err := b.System(o)
			if err == nil {
				m = now
			}
			return err == nil && now.Boot.BootSourceOverrideMode == want, err
		})
		if err != nil || ok {
			return err
		}
		return fault.New(fault.BMCBootMode, "the BMC at %s accepted boot mode %s, but still says %s", b.Target.Origin, mode, wire.OrNone(m.Boot.BootSourceOverrideMode))
	})
}

// SetSecureBoot switches secure boot from the next start on, and reads that back.
func (b *Machine) SetSecureBoot(ctx context.Context, on bool) error {
	return b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		place := m.More.SecureBoot.String()
		if place == "" {
			return fault.New(fault.BMCSecureBoot, "the BMC at %s shows no secure boot of the machine", b.Target.Origin)
		}
		reached := func() (bool, error) {
			s, err := wire.Read[schemas.SecureBoot](o, place)
			return err == nil && s.SecureBootEnable == on, err
		}
		if ok, err := reached(); ok || err != nil {
			return err
		}
		ok, err := ensure(o, func() error {
			_, err := o.PatchTagged(place, map[string]any{"SecureBootEnable": on})
			return err
		}, reached)
		if err != nil || ok {
			return err
		}
		return fault.New(fault.BMCSecureBoot, "the BMC at %s accepted to set secure boot to %t, but it is as it was", b.Target.Origin, on)
	})
}

// BootDevices lists what the BMC can be told to boot the machine from. One that does not say may know all.
func (b *Machine) BootDevices(ctx context.Context) ([]string, error) {
	var out []string
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		allowed := m.Boot.AllowableBootSourceOverrideTargetValues
		for _, d := range devices {
			if len(allowed) == 0 || slices.ContainsFunc(d.sources, func(s schemas.BootSource) bool { return slices.Contains(allowed, s) }) {
				out = append(out, d.device)
			}
		}
		return nil
	})
	return out, err
}
