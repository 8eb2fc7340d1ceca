package rest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// show is a node as the wire has it, secrets masked, and what its lessee is not shown redacted.
func (a *API) show(c *serve.Call, n conductor.Node) api.Node {
	out := a.plain(n)
	out.DriverInfo = a.sealed.Info(n.Driver, n.DriverInfo)
	out.InstanceInfo = mask.Instance(n.InstanceInfo)
	out.ProvisionState = stateName(n.State, c.Version)
	out.TargetProvisionState = stateName(n.Target, c.Version)
	if b := n.Boot; b != nil && b.AgentVersion != "" {
		out.DriverInternalInfo["agent_version"] = b.AgentVersion
	}
	if n.AutomaticLessee {
		out.DriverInternalInfo["automatic_lessee"] = true
	}
	if n.Ramdisk != nil {
		maps.Copy(out.DriverInternalInfo, a.ramdiskInfo(c, n))
	}
	if u := n.Unverified; u != nil {
		out.DriverInternalInfo["unverified"] = u.Why
	}
	if l := n.Lease; l != nil {
		out.DriverInternalInfo["lease"] = map[string]any{"holder": l.Holder, "number": l.Number, "since": l.Since.UTC().Format(time.RFC3339)}
	}
	if conductor.Busy(n) {
		out.Reservation = shape.OrNull(a.cfg.Hostname)
	}
	out.Conductor = shape.OrNull(a.cfg.Hostname)
	path := "nodes/" + string(n.UUID)
	out.Links = api.LinkPair(c.Base, path)
	out.Ports = api.LinkPair(c.Base, path+"/ports")
	out.States = api.LinkPair(c.Base, path+"/states")
	out.Portgroups = api.LinkPair(c.Base, path+"/portgroups")
	out.Volume = api.LinkPair(c.Base, path+"/volume")
	if of := serve.OwnersOf(n); c.Grant.Stands(of) == access.Lessee {
		a.node.Redact(&out, func(field string) bool { return c.Grant.Sees(of, field) })
	}
	return out
}

// plain is the node without what depends on the request; nothing in it is masked but what the store itself keeps
// apart.
func (a *API) plain(n conductor.Node) api.Node {
	powerOff := n.DisablePowerOff
	out := api.Node{
		UUID: string(n.UUID), Name: shape.OrNull(n.Name), Driver: n.Driver, DriverInfo: shape.Object(n.DriverInfo),
		DriverInternalInfo: map[string]any{}, Properties: shape.Object(n.Properties), InstanceInfo: shape.Object(n.InstanceInfo),
		InstanceUUID: shape.OrNull(n.InstanceUUID), InstanceName: shape.OrNull(n.InstanceName), ChassisUUID: shape.OrNull(n.Chassis), AllocationUUID: shape.OrNull(n.Allocation), Extra: shape.Object(n.Extra),
		Description: shape.OrNull(n.Description), ResourceClass: shape.OrNull(n.ResourceClass), ConductorGroup: n.Group,
		Owner: shape.OrNull(n.Owner), Lessee: shape.OrNull(n.Lessee), AutomatedClean: n.AutomatedClean,
		Protected: n.Protected, ProtectedReason: shape.OrNull(n.ProtectedReason), Retired: n.Retired, RetiredReason: shape.OrNull(n.RetiredReason),
		Maintenance: n.Maintenance, MaintenanceReason: shape.OrNull(n.MaintenanceReason), Fault: shape.OrNull(n.Fault),
		NetworkData: shape.Object(n.NetworkData), BootMode: shape.OrNull(n.BootMode), SecureBoot: n.SecureBoot,
		PowerState: shape.OrNull(n.Power), TargetPowerState: shape.OrNull(n.PowerTarget), ProvisionUpdatedAt: api.Time{Time: n.StateSince},
		LastError: shape.OrNull(n.LastError), CleanStep: map[string]any{}, DeployStep: map[string]any{}, ServiceStep: map[string]any{},
		RAIDConfig: shape.Object(n.RAID), TargetRAIDConfig: shape.Object(n.TargetRAID), ConsoleEnabled: n.Console, ParentNode: shape.OrNull(n.Parent),
		InspectionStartedAt: api.Time{Time: n.InspectionStarted}, InspectionFinishedAt: api.Time{Time: n.InspectionFinished},
		Traits: append([]string{}, n.Traits...), Shard: shape.OrNull(n.Shard), DisablePowerOff: &powerOff, Health: shape.OrNull(n.Health),
		CreatedAt: api.Time{Time: n.Created},
	}
	if n.Updated.After(n.Created) {
		out.UpdatedAt = api.Time{Time: n.Updated}
	}
	for _, f := range interfaceFields(&out) {
		*f.shown = shape.OrNull(a.implementation(n, f.name))
	}
	return out
}

// interfaceField is where a node shows what it uses for an interface.
type interfaceField struct {
	name  string
	shown **string
}

func interfaceFields(n *api.Node) [13]interfaceField {
	return [...]interfaceField{
		{"bios", &n.BIOSInterface}, {"boot", &n.BootInterface}, {"console", &n.ConsoleInterface}, {"deploy", &n.DeployInterface},
		{"firmware", &n.FirmwareInterface}, {"inspect", &n.InspectInterface}, {"management", &n.ManagementInterface},
		{"network", &n.NetworkInterface}, {"power", &n.PowerInterface}, {"raid", &n.RAIDInterface}, {"rescue", &n.RescueInterface},
		{"storage", &n.StorageInterface}, {"vendor", &n.VendorInterface},
	}
}

// implementation is what a node uses for an interface: its own choice, or the driver's default.
func (a *API) implementation(n conductor.Node, iface string) string {
	if i := n.Interfaces[iface]; i != "" {
		return i
	}
	if all := a.interfaces[n.Driver][iface]; len(all) > 0 {
		return all[0]
	}
	return ""
}

func (a *API) driver(name string) conductor.Driver {
	for _, d := range a.cfg.Backend.Drivers() {
		if d.Name() == name {
			return d
		}
	}
	return nil
}

// stateName is a provision state as a version knows it.
func stateName(s state.State, v api.Version) *string {
	switch {
	case s == state.Available && v < 2:
		return nil
	case s == state.InspectWait && v < 39:
		s = state.Inspecting
	}
	return shape.OrNull(s)
}

// addStep fills in the step in progress of a node in a flow.
func (a *API) addStep(c *serve.Call, ctx context.Context, n conductor.Node, out *api.Node) error {
	f, ok := state.FlowOf(n.State)
	into := map[state.Flow]*map[string]any{state.Clean: &out.CleanStep, state.Deploy: &out.DeployStep, state.Service: &out.ServiceStep}[f.Flow]
	if !ok || into == nil {
		return nil
	}
	records, err := a.cfg.Backend.Steps(ctx, string(n.UUID), "")
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.State != conductor.StepStarted && r.State != conductor.StepOffered {
			continue
		}
		*into = map[string]any{"interface": r.Step.Interface(), "step": r.Step.Short(), "args": mask.Args(r.Step, r.Args),
			"priority": r.Step.Priority[f.Flow], "abortable": r.Step.Abortable}
	}
	return nil
}

// assign puts the named fields of a checked document into a node.
func (a *API) assign(n *conductor.Node, doc map[string]any, names []string, secrets map[string]string) error {
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
			info, err := a.sealed.Seal(n.Driver, fields(name), n.DriverInfo, secrets)
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
			if err := mask.CheckInstance(fields(name), n.InstanceInfo); err != nil {
				return err
			}
			n.InstanceInfo = fields(name)
		case "instance_uuid":
			if id := text(name); id != "" && n.InstanceUUID != "" && id != n.InstanceUUID {
				return fault.New(fault.NodeExists, "the node has instance %s and can't be given %s", n.InstanceUUID, id).
					WithHint("remove /instance_uuid first")
			}
			n.InstanceUUID = text(name)
		case "instance_name":
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
			if err := a.setInterface(n, iface, text(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setInterface chooses an implementation; "" goes back to the driver's default.
func (a *API) setInterface(n *conductor.Node, iface, name string) error {
	n.Interfaces = maps.Clone(n.Interfaces)
	if name == "" {
		delete(n.Interfaces, iface)
		return nil
	}
	d := a.driver(n.Driver)
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
