package redfish

import (
	"context"
	"net/http"
	"slices"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/server/redfish/steps"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// bmc is one machine behind its BMC, with all that Redfish offers of it.
type bmc struct{ *machine.Machine }

// The powers of a Redfish BMC beside those that every BMC has.
var (
	_ conductor.BMC              = (*bmc)(nil)
	_ conductor.StatusReader     = (*bmc)(nil)
	_ conductor.PartsReader      = (*bmc)(nil)
	_ conductor.ModeSetter       = (*bmc)(nil)
	_ conductor.BootDeviceLister = (*bmc)(nil)
	_ conductor.Interrupter      = (*bmc)(nil)
	_ conductor.Lamps            = (*bmc)(nil)
	_ conductor.MediaHolder      = (*bmc)(nil)
	_ conductor.Passer           = (*bmc)(nil)
)

// Steps binds the out-of-band steps. It asks the BMC nothing.
func (b *bmc) Steps(context.Context) ([]step.Bound, error) { return steps.Bind(b.Machine) }

// Status reads the system, and what it says of secure boot, at most two objects more than Power does.
func (b *bmc) Status(ctx context.Context) (conductor.Status, error) {
	var s conductor.Status
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		s = conductor.Status{Power: machine.PowerOf(m.PowerState), BootMode: m.BootMode(), Health: healthOf(m.Status)}
		s.SecureBoot, err = m.SecureBoot(o)
		return b.Optional(o, conductor.PartSecureBoot, err)
	})
	return s, err
}

// Parts reads BIOS settings and firmware. Each is an operation of its own: what one of a BMC's answers spoils does not
// take the others with it.
func (b *bmc) Parts(ctx context.Context) (conductor.Parts, error) {
	var out conductor.Parts
	registry := ""
	err := b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		if m.More.Bios == "" {
			out.BIOS = []conductor.BIOSSetting{}
			return nil
		}
		out.BIOS, registry, err = parts.BIOS(o.Parts(), m.More.Bios.String())
		return err
	})
	if !b.lacking(ctx, "BIOS", err) {
		return out, err
	}
	if registry != "" {
		err = b.Run(ctx, false, func(o *wire.Operation) error {
			more, err := o.Services()
			if err != nil {
				return err
			}
			return parts.Describe(o.Parts(), more.Registries.String(), registry, out.BIOS)
		})
		if !b.lacking(ctx, "registry of the BIOS", err) {
			return out, err
		}
	}
	err = b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		where, err := b.partsOf(o, m)
		if err != nil {
			return err
		}
		more, err := o.Services()
		if err != nil {
			return err
		}
		out.Firmware, err = parts.Firmware(o.Parts(), where, more.UpdateService.String())
		return err
	})
	if b.lacking(ctx, "firmware", err) {
		err = nil
	}
	return out, err
}

// partsOf is where a machine's parts are.
func (b *bmc) partsOf(o *wire.Operation, m machine.System) (parts.Machine, error) {
	mgr, err := b.Manager(o, m)
	if err := b.Optional(o, "manager", err); err != nil {
		return parts.Machine{}, err
	}
	return machine.Placed(m, mgr), nil
}

// lacking tells whether reading goes on without a part. It does not when the BMC as a whole is of no use now.
func (b *bmc) lacking(ctx context.Context, what string, err error) bool {
	if err == nil {
		return true
	}
	if ctx.Err() != nil || fault.Has(err, fault.BMCUnreachable) || fault.Has(err, fault.BMCAuth) || fault.Has(err, fault.BMCCertificate) {
		return false
	}
	b.Log.Info("a part of the machine can't be read", "bmc", b.Target.Origin, "part", what, "err", err)
	return true
}

// InjectNMI asks once: whether the interrupt arrived can't be read.
func (b *bmc) InjectNMI(ctx context.Context) error {
	return b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		allowed, err := m.GetSupportedResetTypes()
		if err != nil {
			return err
		}
		if len(allowed) > 0 && !slices.Contains(allowed, schemas.NmiResetType) {
			return fault.New(fault.BMCUnsupported, "the BMC at %s can't interrupt the machine; it offers %s", b.Target.Origin, wire.Join(allowed))
		}
		_, err = m.Reset(schemas.NmiResetType)
		return err
	})
}

// lit does something with the machine's indicators.
func (b *bmc) lit(ctx context.Context, do func(parts.Service, parts.Machine) error) error {
	return b.Run(ctx, false, func(o *wire.Operation) error {
		m, err := b.System(o)
		if err != nil {
			return err
		}
		where := parts.Machine{System: m.ODataID}
		for _, c := range m.More.Links.Chassis {
			where.Chassis = append(where.Chassis, c.String())
		}
		return do(o.Parts(), where)
	})
}

// Lights lists the indicators of system and chassis.
func (b *bmc) Lights(ctx context.Context) (out []conductor.Light, err error) {
	err = b.lit(ctx, func(s parts.Service, m parts.Machine) (err error) { out, err = parts.Lights(s, m); return err })
	return out, err
}

// SetLight switches one.
func (b *bmc) SetLight(ctx context.Context, component, name, state string) error {
	return b.lit(ctx, func(s parts.Service, m parts.Machine) error { return parts.SetLight(s, m, component, name, state) })
}

// Methods are upstream's of the interface redfish.
func (b *bmc) Methods() []conductor.Method {
	return []conductor.Method{
		{Name: "create_subscription", HTTP: []string{http.MethodPost}, Exclusive: true, Doc: "Subscribes to the BMC's events. Required argument: Destination, a URL."},
		{Name: "delete_subscription", HTTP: []string{http.MethodDelete}, Exclusive: true, Doc: "Ends a subscription. Required argument: id."},
		{Name: "get_subscription", HTTP: []string{http.MethodGet}, Doc: "Shows a subscription. Required argument: id."},
		{Name: "get_all_subscriptions", HTTP: []string{http.MethodGet}, Doc: "Lists the BMC's subscriptions."},
		{Name: "eject_vmedia", HTTP: []string{http.MethodPost}, Async: true, Exclusive: true, Doc: "Takes virtual media out. Optional argument: boot_device, one of cd, dvd, usb, floppy."},
	}
}

// ejects maps the words of eject_vmedia to device types.
var ejects = map[string][]string{"": nil, "cd": {"cdrom"}, "dvd": {"cdrom"}, "usb": {"disk"}, "floppy": {"floppy"}}

// Deferred is eject_vmedia.
func (b *bmc) Deferred(method string, args map[string]any) (conductor.Act, error) {
	device, _ := args["boot_device"].(string)
	devices, known := ejects[device]
	if method != "eject_vmedia" || !known {
		return conductor.Act{}, fault.New(fault.RequestInvalid, "boot_device is %.60q, expected cd, dvd, usb or floppy", device)
	}
	return conductor.Act{Kind: conductor.ActDetach, Devices: devices}, nil
}

// Pass takes the calls about subscriptions.
func (b *bmc) Pass(ctx context.Context, method string, args map[string]any) (out any, err error) {
	id, _ := args["id"].(string)
	var want parts.Wanted
	switch method {
	case "create_subscription":
		if want, err = wanted(args); err != nil {
			return nil, err
		}
	case "delete_subscription", "get_subscription":
		if id == "" {
			return nil, fault.New(fault.RequestInvalid, "id is required")
		}
	}
	err = b.Run(ctx, false, func(o *wire.Operation) error {
		for _, h := range want.Headers {
			for _, v := range h.(map[string]any) {
				o.Conceal(v.(string)) // wanted saw to it
			}
		}
		more, err := o.Services()
		if err != nil {
			return err
		}
		s, events := o.Parts(), more.EventService.String()
		switch method {
		case "create_subscription":
			out, err = parts.Subscribe(s, events, want)
		case "delete_subscription":
			err = parts.Unsubscribe(s, events, id)
		case "get_subscription":
			out, err = parts.ReadSubscription(s, events, id)
		case "get_all_subscriptions":
			place, all, listErr := parts.Subscriptions(s, events)
			members := []any{}
			for _, l := range all {
				members = append(members, map[string]any{"@odata.id": wire.Clean(l, 500)})
			}
			out, err = map[string]any{"@odata.id": wire.Clean(place, 500), "Members": members, "Members@odata.count": len(members)}, listErr
		default:
			err = fault.New(fault.NoMethod, "there is no method %.60q", method)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// wanted reads the arguments of create_subscription.
func wanted(args map[string]any) (parts.Wanted, error) {
	w := parts.Wanted{Protocol: "Redfish", EventTypes: []string{"Alert"}}
	wrong := func(key, want string) (parts.Wanted, error) {
		return w, fault.New(fault.RequestInvalid, "%s must be %s", key, want)
	}
	for key, v := range args {
		s, isText := v.(string)
		list, isList := v.([]any)
		switch key {
		case "Destination", "Context", "Protocol":
			if !isText || len(s) > 2048 || target.HasControl(s) {
				return wrong(key, "a text of at most 2048 bytes")
			}
			*map[string]*string{"Destination": &w.Destination, "Context": &w.Context, "Protocol": &w.Protocol}[key] = s
		case "EventTypes":
			if !isList || len(list) == 0 || len(list) > 32 {
				return wrong(key, "a list of types")
			}
			w.EventTypes = nil
			for _, v := range list {
				t, ok := v.(string)
				if !ok {
					return wrong(key, "a list of types")
				}
				w.EventTypes = append(w.EventTypes, t)
			}
		case "HttpHeaders":
			if v != nil && (!isList || len(list) > 32) {
				return wrong(key, "a list of objects")
			}
			for _, v := range list {
				h, ok := v.(map[string]any)
				for _, x := range h {
					_, isText := x.(string)
					ok = ok && isText
				}
				if !ok {
					return wrong(key, "a list of objects, whose values are texts")
				}
			}
			w.Headers = list
		default:
			return w, fault.New(fault.RequestInvalid, "%.60q is not known; Destination, EventTypes, Context, Protocol and HttpHeaders are", key)
		}
	}
	if w.Destination == "" {
		return w, fault.New(fault.RequestInvalid, "Destination is required")
	}
	return w, nil
}
