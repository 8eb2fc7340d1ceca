package nodewire

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Show is a node as the wire has it, secrets masked, and what its lessee is not shown redacted.
func (w *Wire) Show(c *serve.Call, n conductor.Node) api.Node {
	out := w.masked(c, n)
	path := "nodes/" + string(n.UUID)
	out.Links = api.LinkPair(c.Base, path)
	out.Ports = api.LinkPair(c.Base, path+"/ports")
	out.States = api.LinkPair(c.Base, path+"/states")
	out.Portgroups = api.LinkPair(c.Base, path+"/portgroups")
	out.Volume = api.LinkPair(c.Base, path+"/volume")
	if of := serve.OwnersOf(n); c.Grant.Stands(of) == access.Lessee {
		w.Shape.Redact(&out, func(field string) bool { return c.Grant.Sees(of, field) })
	}
	return out
}

// masked is Show without links, for an administrator.
func (w *Wire) masked(c *serve.Call, n conductor.Node) api.Node {
	out := w.plain(n)
	out.DriverInfo = w.sealed.Info(n.Driver, n.DriverInfo)
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
		maps.Copy(out.DriverInternalInfo, w.ramdiskInfo(c, n))
	}
	if u := n.Unverified; u != nil {
		out.DriverInternalInfo["unverified"] = u.Why
	}
	if o := n.Owed; o != nil {
		out.DriverInternalInfo["owed"] = o.String()
	}
	if l := n.Lease; l != nil {
		out.DriverInternalInfo["lease"] = map[string]any{"holder": l.Holder, "number": l.Number, "since": l.Since.UTC().Format(time.RFC3339)}
	}
	if conductor.Busy(n) {
		out.Reservation = shape.OrNull(w.hostname)
	}
	out.Conductor = shape.OrNull(w.hostname)
	return out
}

// plain is the node without what depends on the request; nothing in it is masked but what the store itself keeps
// apart.
func (w *Wire) plain(n conductor.Node) api.Node {
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
		*f.shown = shape.OrNull(w.implementation(n, f.name))
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
func (w *Wire) implementation(n conductor.Node, iface string) string {
	if i := n.Interfaces[iface]; i != "" {
		return i
	}
	if all := w.interfaces[n.Driver][iface]; len(all) > 0 {
		return all[0]
	}
	return ""
}

// Defaults is what nodes that chose none use for an interface, by driver.
func (w *Wire) Defaults(iface string) map[string]string {
	out := map[string]string{}
	for driver := range w.interfaces {
		out[driver] = w.implementation(conductor.Node{Driver: driver}, iface)
	}
	return out
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
func (w *Wire) addStep(c *serve.Call, ctx context.Context, n conductor.Node, out *api.Node) error {
	f, ok := state.FlowOf(n.State)
	into := map[state.Flow]*map[string]any{state.Clean: &out.CleanStep, state.Deploy: &out.DeployStep, state.Service: &out.ServiceStep}[f.Flow]
	if !ok || into == nil {
		return nil
	}
	records, err := w.backend.Steps(ctx, string(n.UUID), "")
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.State != conductor.StepStarted && r.State != conductor.StepOffered {
			continue
		}
		*into = map[string]any{"interface": r.Step.Interface(), "step": r.Step.Short(), "args": mask.Args(r.Step, r.Args),
			"priority": r.Step.Priority[f.Flow], "abortable": r.Step.Abortable}
		if on := r.Children; on != nil {
			(*into)["execute_on_child_nodes"] = true
			if !on.All {
				(*into)["limit_child_node_execution"] = c.Seen(on.Only)
			}
		}
	}
	return nil
}

// ramdiskInfo is what driver_internal_info tells of a node's ramdisk.
func (w *Wire) ramdiskInfo(c *serve.Call, n conductor.Node) map[string]any {
	r := n.Ramdisk
	out := map[string]any{"agent_secret_token": conductor.Masked}
	for key, v := range map[string]string{"agent_url": r.URL, "agent_version": r.Version, "agent_status": r.Status, "agent_status_message": r.Message} {
		if v != "" {
			out[key] = v
		}
	}
	if at := heardText(w.backend.RamdiskHeard(n.UUID), r.Given); at != "" {
		out[lastHeartbeat] = at
	}
	return out
}

const lastHeartbeat = "agent_last_heartbeat"

// heardText is the time of a ramdisk's last heartbeat as it is shown; "" when there was none since it got its token.
func heardText(at, given time.Time) string {
	if at.Before(given) {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000")
}

// Encode is the selected fields of a node as they are shown.
func (w *Wire) Encode(c *serve.Call, n conductor.Node, sel shape.Selection) (json.RawMessage, error) {
	out := w.Show(c, n)
	if slices.ContainsFunc(sel.Names, func(f string) bool { return f == "clean_step" || f == "deploy_step" || f == "service_step" }) {
		if err := w.addStep(c, c.R.Context(), n, &out); err != nil {
			return nil, err
		}
	}
	return w.Shape.Encode(out, sel)
}
