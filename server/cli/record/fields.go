package record

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Flags are what create and set share.
type Flags struct {
	name, description, resourceClass, owner, lessee, conductorGroup string
	instance, instanceName, chassis, shard, parent, networkData     string
	driverInfo, property, instanceInfo, extra, iface                []string
	automatedClean, disablePowerOff                                 string
}

// Add adds the flags.
func (n *Flags) Add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.name, "name", "", "unique name: letters, digits and - . _ ~")
	f.StringArrayVar(&n.driverInfo, "driver-info", nil, "KEY=VALUE of how to reach the BMC; VALUE @FILE is read from a file, @- from the standard input")
	f.StringArrayVar(&n.property, "property", nil, "KEY=VALUE of what the machine is; KEY may lead into an object: root_device/serial=S1")
	f.StringArrayVar(&n.instanceInfo, "instance-info", nil, "KEY=VALUE of what is to be deployed")
	f.StringArrayVar(&n.extra, "extra", nil, "KEY=VALUE of anything you want to keep")
	f.StringArrayVar(&n.iface, "interface", nil, "KIND=IMPLEMENTATION: deploy=direct")
	for _, kind := range api.Interfaces() {
		f.Var(ofKind{kind, &n.iface}, kind+"-interface", "the same as --interface "+kind+"=IMPLEMENTATION")
		command.Hide(cmd, kind+"-interface")
	}
	f.Bool("no-automated-clean", false, "the same as --automated-clean false")
	command.Hide(cmd, "no-automated-clean")
	f.StringVar(&n.description, "description", "", "text for people")
	f.StringVar(&n.resourceClass, "resource-class", "", "kind of machine")
	f.StringVar(&n.owner, "owner", "", "who owns it")
	f.StringVar(&n.lessee, "lessee", "", "who uses it")
	f.StringVar(&n.conductorGroup, "conductor-group", "", "group of servers it belongs to")
	f.StringVar(&n.instance, "instance-uuid", "", "UUID of the instance on it")
	f.StringVar(&n.instanceName, "instance-name", "", "name of the instance on it")
	f.StringVar(&n.chassis, "chassis-uuid", "", "UUID of the chassis it is in")
	f.StringVar(&n.shard, "shard", "", "shard it belongs to, for clients that split a fleet")
	f.StringVar(&n.parent, "parent-node", "", "name or UUID of the node that it is a part of")
	f.StringVar(&n.networkData, "network-data", "", "JSON or YAML file of the ramdisk's static network; - is the standard input")
	f.StringVar(&n.automatedClean, "automated-clean", "", "true, false or default: whether provide and undeploy erase the disks")
	f.StringVar(&n.disablePowerOff, "disable-power-off", "", "true, false or default: whether the machine is never powered off")
}

// ofKind adds KIND=IMPLEMENTATION to a list.
type ofKind struct {
	kind string
	to   *[]string
}

func (o ofKind) String() string { return "" }
func (o ofKind) Type() string   { return "string" }
func (o ofKind) Set(implementation string) error {
	*o.to = append(*o.to, o.kind+"="+implementation)
	return nil
}

// plain is the flags that hold one text, by field.
func (n *Flags) plain() map[string]string {
	return map[string]string{"name": n.name, "description": n.description, "resource_class": n.resourceClass, "owner": n.owner,
		"lessee": n.lessee, "conductor_group": n.conductorGroup, "instance_uuid": n.instance, "instance_name": n.instanceName,
		"chassis_uuid": n.chassis, "shard": n.shard, "parent_node": n.parent}
}

// tristates is the flags that are true, false or the server's own choice, by field.
func (n *Flags) tristates() map[string]string {
	return map[string]string{"automated_clean": n.automatedClean, "disable_power_off": n.disablePowerOff}
}

// settle takes --no-automated-clean for what it means.
func settle(cmd *cobra.Command) error {
	if !command.Given(cmd, "no-automated-clean") {
		return nil
	}
	if cmd.Flags().Changed("automated-clean") {
		return input.Usage("give --automated-clean or --no-automated-clean, not both")
	}
	return cmd.Flags().Set("automated-clean", "false")
}

// tristate reads one of them; nil is the server's own choice.
func tristate(field, text string) (any, error) {
	switch text {
	case "true", "false":
		return text == "true", nil
	case "default":
		return nil, nil
	}
	return nil, input.Usage("--%s is %q, expected true, false or default", flagOf(field), text)
}

// flagOf is the flag of a field that has one of its own name.
func flagOf(field string) string { return strings.ReplaceAll(field, "_", "-") }

// Ops is the patch of the fields that create, set and configure share.
func Ops(c *command.Run, current api.Node, n Flags, changed func(flag string) bool) ([]api.PatchOp, error) {
	var ops []api.PatchOp
	set := func(path string, v any) { ops = append(ops, api.PatchOp{Op: "add", Path: path, Value: v}) }
	plain := n.plain()
	for _, field := range slices.Sorted(maps.Keys(plain)) {
		if changed(flagOf(field)) {
			set("/"+field, plain[field])
		}
	}
	three := n.tristates()
	for _, field := range slices.Sorted(maps.Keys(three)) {
		if !changed(flagOf(field)) {
			continue
		}
		v, err := tristate(field, three[field])
		switch {
		case err != nil:
			return nil, err
		case v == nil:
			ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + field}) // back to the server's setting
		default:
			set("/"+field, v)
		}
	}
	if changed("network-data") {
		v, err := c.Document(n.networkData, "--network-data")
		if err != nil {
			return nil, err
		}
		set("/network_data", v)
	}
	for _, f := range []struct {
		field string
		now   map[string]any
		args  []string
	}{{"driver_info", current.DriverInfo, n.driverInfo}, {"properties", current.Properties, n.property},
		{"instance_info", current.InstanceInfo, n.instanceInfo}, {"extra", current.Extra, n.extra}} {
		more, err := c.Fields(f.now, f.field, f.args, f.field == "driver_info")
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	for _, arg := range n.iface {
		kind, impl, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, input.Usage("--interface is %q, expected KIND=IMPLEMENTATION", arg)
		}
		set("/"+kind+"_interface", impl)
	}
	return ops, nil
}
