package machine

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
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

// Boot reads what the machine boots from next; without an override, Device is empty.
func (b *Machine) Boot(ctx context.Context) (conductor.BootTarget, error) {
	var t conductor.BootTarget
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		t = bootOf(m.Boot)
		return nil
	})
	return t, err
}

func bootOf(s schemas.Boot) conductor.BootTarget {
	t := conductor.BootTarget{
		Always: s.BootSourceOverrideEnabled == schemas.ContinuousBootSourceOverrideEnabled,
		UEFI:   s.BootSourceOverrideMode == schemas.UEFIBootSourceOverrideMode,
	}
	if s.BootSourceOverrideEnabled == schemas.DisabledBootSourceOverrideEnabled {
		return t
	}
	for _, d := range devices {
		if slices.Contains(d.sources, s.BootSourceOverrideTarget) {
			t.Device = d.device
		}
	}
	if t.Device == "uefihttp" {
		t.URL = wire.Clean(s.HTTPBootURI, 2000)
	}
	return t
}

// Trusts tells whether one of the certificates that the BMC lists as trusted by the machine's firmware for HTTPS boot vouches for
// the server's; nil where that was not asked, or the BMC lists none at all.
func (b *Machine) Trusts(o *wire.Operation, m System) (*bool, error) {
	list := m.More.Boot.Certificates.String()
	if len(b.chain) == 0 || list == "" {
		return nil, nil
	}
	links, err := o.Members(list)
	if err != nil {
		return nil, err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, l := range links {
		c, err := wire.Read[schemas.Certificate](o, l)
		if err != nil {
			return nil, err
		}
		roots.AppendCertsFromPEM([]byte(c.CertificateString)) // one of another form vouches for nobody here
	}
	leaf, err := x509.ParseCertificate(b.chain[0])
	if err != nil {
		return nil, fmt.Errorf("the server's certificate for HTTPS boot: %w", err)
	}
	for _, der := range b.chain[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: b.Endpoint.Now()})
	return new(err == nil), nil
}

// noBoot takes an override away, and reads that back. A BMC that can't be told "Disabled" is told the usual boot, or else the disk
// for once (docs/adr/0344-an-override-that-is-not-disabled.md).
func (b *Machine) noBoot(ctx context.Context) error {
	return b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		if bootOf(m.Boot).Device == "" {
			forget(o, m)
			return nil
		}
		var refused error
		for _, way := range []struct {
			target schemas.BootSource // "" where none is named
			want   map[string]any
			then   conductor.BootTarget // with what it is done
		}{
			{want: map[string]any{"BootSourceOverrideEnabled": schemas.DisabledBootSourceOverrideEnabled}},
			{target: schemas.NoneBootSource, want: map[string]any{"BootSourceOverrideTarget": schemas.NoneBootSource}},
			{schemas.HddBootSource, map[string]any{"BootSourceOverrideTarget": schemas.HddBootSource, "BootSourceOverrideEnabled": schemas.OnceBootSourceOverrideEnabled},
				conductor.BootTarget{Device: "disk"}},
		} {
			if offered := m.Boot.AllowableBootSourceOverrideTargetValues; way.target != "" && len(offered) > 0 && !slices.Contains(offered, way.target) {
				continue
			}
			ok, err := ensure(o, func() error { return patchBoot(o, m, way.want) }, func() (bool, error) {
				now, err := b.System(o)
				if err != nil {
					return false, err
				}
				m = now
				got := bootOf(now.Boot)
				return got.Device == way.then.Device && (got.Device == "" || !got.Always), nil
			})
			switch {
			case ok:
				forget(o, m)
				return nil
			case err != nil && !refusal(err):
				return err
			case refused == nil:
				refused = err
			}
		}
		if refused != nil {
			return refused
		}
		return fault.New(fault.BMCError, "the BMC at %s accepted to take its boot override away, but still says %s, %s", b.Target.Origin,
			wire.OrNone(m.Boot.BootSourceOverrideTarget), wire.OrNone(m.Boot.BootSourceOverrideEnabled))
	})
}

// refusal tells a BMC that does not take what it was given from one that can't just now.
func refusal(err error) bool {
	switch wire.StatusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// forget clears the address of a boot over HTTP that is over, where the BMC shows it: it may be signed, and be read by whoever may
// read the BMC. One that the BMC keeps all the same is used with its override only, so that nothing hangs on it.
func forget(o *wire.Operation, m System) {
	if m.Boot.HTTPBootURI != "" {
		_ = patchBoot(o, m, map[string]any{"HttpBootUri": nil})
	}
}

// SetBoot overrides the boot device and reads it back: some BMCs accept it and do nothing. UEFI asks for that boot
// mode; without it the mode stays as it is.
func (b *Machine) SetBoot(ctx context.Context, t conductor.BootTarget) error {
	if t == (conductor.BootTarget{}) {
		return b.noBoot(ctx)
	}
	var sources []schemas.BootSource
	for _, d := range devices {
		if d.device == t.Device {
			sources = d.sources
		}
	}
	if sources == nil {
		return fault.New(fault.BMCUnsupported, "boot device %q is not known; bios, cdrom, disk, floppy, pxe and uefihttp are", t.Device)
	}
	return b.Run(ctx, false, func(o *wire.Operation) error {
		o.Hide(t.URL)
		m, err := b.System(o)
		if err != nil {
			return err
		}
		source := sources[0]
		if allowed := m.Boot.AllowableBootSourceOverrideTargetValues; len(allowed) > 0 {
			i := slices.IndexFunc(sources, func(s schemas.BootSource) bool { return slices.Contains(allowed, s) })
			if i < 0 {
				return fault.New(fault.BMCUnsupported, "the BMC at %s can't boot the machine from %s; it offers %s", b.Target.Origin, t.Device, wire.Join(allowed))
			}
			source = sources[i]
		}
		want := map[string]any{"BootSourceOverrideTarget": source, "BootSourceOverrideEnabled": schemas.OnceBootSourceOverrideEnabled}
		if t.Always {
			want["BootSourceOverrideEnabled"] = schemas.ContinuousBootSourceOverrideEnabled
		}
		if mode := m.Boot.BootSourceOverrideMode; t.UEFI && mode != "" && mode != schemas.UEFIBootSourceOverrideMode {
			want["BootSourceOverrideMode"] = schemas.UEFIBootSourceOverrideMode
		}
		if t.Device == "uefihttp" {
			want["HttpBootUri"] = t.URL
		}
		reached := func() (bool, error) {
			now, err := b.System(o)
			if err != nil {
				return false, err
			}
			m = now
			got := bootOf(now.Boot)
			return got.Device == t.Device && got.Always == t.Always && (!t.UEFI || now.Boot.BootSourceOverrideMode == "" || got.UEFI) &&
				(t.Device != "uefihttp" || now.Boot.HTTPBootURI == t.URL), nil
		}
		ok, err := ensure(o, func() error { return patchBoot(o, m, want) }, reached)
		if err != nil {
			return err
		}
		if ok {
			if t.Always && t.Device != "uefihttp" { // what is for once leaves the address, which may be the one for good
				forget(o, m)
			}
			return nil
		}
		f := fault.New(fault.BMCError, "the BMC at %s accepted to boot from %s (%s), but still says %s, %s", b.Target.Origin,
			source, want["BootSourceOverrideEnabled"], wire.OrNone(m.Boot.BootSourceOverrideTarget), wire.OrNone(m.Boot.BootSourceOverrideEnabled))
		if t.Device == "uefihttp" && m.Boot.HTTPBootURI != t.URL {
			f.Message += ", with another HttpBootUri than it was given" // which opens the ramdisk, and is not told
		}
		return f
	})
}

// patchBoot writes to the system, or, where that is read-only, to its settings object.
func patchBoot(o *wire.Operation, m System, want map[string]any) error {
	payload := map[string]any{"Boot": want}
	err := m.Patch(m.ODataID, payload)
	settings := m.More.Settings.SettingsObject.String()
	switch wire.StatusOf(err) {
	case http.StatusPreconditionFailed:
		// The tag was read moments ago: this BMC's tags are of no use.
		_, err = o.Patch(m.ODataID, payload)
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed:
		if settings == "" || settings == m.ODataID {
			return err
		}
		_, err = o.PatchTagged(settings, payload)
	}
	return err
}
