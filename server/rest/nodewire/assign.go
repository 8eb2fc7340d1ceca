package nodewire

import (
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Assign puts the named fields of a checked document into a node.
func (w *Wire) Assign(n *conductor.Node, doc map[string]any, names []string, secrets map[string]string) error {
	text := func(name string) string { s, _ := doc[name].(string); return s }
	flag := func(name string) bool { b, _ := doc[name].(bool); return b }
	fields := func(name string) map[string]any { m, _ := doc[name].(map[string]any); return m }
	// The driver comes first: it decides which keys of driver_info are secret.
	if slices.Contains(names, "driver") {
		n.Driver = text("driver")
	}
	for _, name := range names {
		switch name {
		case "uuid":
			n.UUID = conductor.NodeID(text(name))
		case "name":
			if s, given := doc[name].(string); given && !isNodeName(s) {
				return fault.New(fault.RequestInvalid, "%q is no name for a node", s).
					WithHint("a name is 1 to 255 letters, digits and - . _ ~, not a UUID and not one of %s", strings.Join(reservedNames, ", "))
			}
			n.Name = text(name)
		case "driver":
		case "driver_info":
			info, err := w.sealed.Seal(n.Driver, fields(name), n.DriverInfo, secrets)
			if err != nil {
				return err
			}
			n.DriverInfo = info
		case "properties":
			if err := checkProperties(fields(name)); err != nil {
				return err
			}
			n.Properties = fields(name)
		case "instance_info":
			info, err := mask.SealInstance(fields(name), n.InstanceInfo, secrets)
			if err != nil {
				return err
			}
			n.InstanceInfo = info
		case "instance_uuid":
			if id := text(name); id != "" && n.InstanceUUID != "" && id != n.InstanceUUID {
				return fault.New(fault.NodeExists, "the node has instance %s and can't be given %s", n.InstanceUUID, id).
					WithHint("remove /instance_uuid first")
			}
			n.InstanceUUID = text(name)
		case "instance_name":
			if doc[name] == "" {
				return fault.New(fault.RequestInvalid, "instance_name must not be empty").WithHint("null is none")
			}
			n.InstanceName = text(name)
		case "chassis_uuid":
			n.Chassis = text(name)
		case "parent_node":
			n.Parent = conductor.NodeID(text(name)) // a name too: the conductor finds the node
		case "boot_mode", "secure_boot", "console_enabled": // taken on create, as Ironic does; what holds is read from the machine
		case "extra":
			n.Extra = fields(name)
		case "description":
			n.Description = text(name)
		case "resource_class":
			n.ResourceClass = text(name)
		case "conductor_group":
			n.Group = strings.ToLower(text(name))
		case "owner":
			n.Owner = text(name)
		case "lessee":
			n.Lessee = text(name)
		case "automated_clean":
			n.AutomatedClean = nil
			if b, ok := doc[name].(bool); ok {
				n.AutomatedClean = &b
			}
		case "protected":
			if n.Protected = flag(name); !n.Protected {
				n.ProtectedReason = ""
			}
		case "protected_reason":
			if text(name) != "" && !flag("protected") {
				return fault.New(fault.RequestInvalid, "protected_reason is given, but the node is not protected")
			}
			n.ProtectedReason = text(name)
		case "retired":
			if n.Retired = flag(name); !n.Retired {
				n.RetiredReason = ""
			}
		case "retired_reason":
			if text(name) != "" && !flag("retired") {
				return fault.New(fault.RequestInvalid, "retired_reason is given, but the node is not retired")
			}
			n.RetiredReason = text(name)
		case "maintenance":
			if n.Maintenance = flag(name); !n.Maintenance {
				n.MaintenanceReason, n.Fault = "", ""
			}
		case "network_data":
			n.NetworkData = fields(name)
		case "shard":
			n.Shard = text(name)
		case "disable_power_off":
			n.DisablePowerOff = flag(name)
		default:
			iface, ok := strings.CutSuffix(name, "_interface")
			if !ok {
				return fault.New(fault.RequestInvalid, "%s can't be set", name)
			}
			if err := w.setInterface(n, iface, text(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setInterface chooses an implementation; "" goes back to the driver's default.
func (w *Wire) setInterface(n *conductor.Node, iface, name string) error {
	n.Interfaces = maps.Clone(n.Interfaces)
	if name == "" {
		delete(n.Interfaces, iface)
		return nil
	}
	d := w.Driver(n.Driver)
	if d == nil {
		return fault.New(fault.DriverUnknown, "there is no driver %q", n.Driver)
	}
	if all := d.Interfaces()[iface]; !slices.Contains(all, name) {
		return fault.New(fault.RequestInvalid, "driver %s has no %s interface %q; it has %s", n.Driver, iface, name, strings.Join(all, ", ")).
			WithHint("choose one of these, or leave the field out for the default")
	}
	if n.Interfaces == nil {
		n.Interfaces = map[string]string{}
	}
	n.Interfaces[iface] = name
	return nil
}

var reservedNames = []string{"detail", "validate", "states", "management", "maintenance", "vendor_passthru"}

func isNodeName(s string) bool {
	return shape.IsName(s) && !shape.IsUUID(s) && !slices.Contains(reservedNames, s)
}

// Patch applies a PATCH to a node. reset takes back the chosen interfaces first.
func (w *Wire) Patch(n *conductor.Node, secrets map[string]string, ops []api.PatchOp, reset bool, v api.Version) error {
	if reset {
		n.Interfaces = nil
	}
	shown := w.plain(*n)
	for _, f := range interfaceFields(&shown) {
		*f.shown = shape.OrNull(n.Interfaces[f.name]) // the choice, not the default
	}
	doc, err := w.Shape.Document(shown)
	if err != nil {
		return err
	}
	doc, touched, err := api.ApplyPatch(doc, ops, w.Shape.Fields, v)
	if err != nil {
		return err
	}
	if name, ok := doc["name"].(string); ok && slices.Contains(touched, "name") {
		if err := shape.NodeName(name, v); err != nil {
			return err
		}
	}
	if slices.Contains(touched, "driver") && !slices.Contains(touched, "driver_info") {
		touched = append(touched, "driver_info") // another driver has other secrets
	}
	// A flag and its reason are judged together, the flag first.
	slices.SortStableFunc(touched, func(x, y string) int { return len(x) - len(y) })
	if err := w.Shape.Check(doc, touched); err != nil {
		return err
	}
	had := n.Chassis
	if err := w.Assign(n, doc, touched, secrets); err != nil {
		return err
	}
	if v < 25 && had != "" && n.Chassis == "" {
		return fault.New(fault.RequestVersion, "a node can be taken out of its chassis from version 1.25 on, %s was asked for", v)
	}
	return nil
}
