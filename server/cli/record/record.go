// Package record has the commands that make, list, show and change a machine's record; the machine itself they leave
// alone.
package record

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Commands are about a machine's record.
func Commands(c *command.Run) []*cobra.Command {
	return []*cobra.Command{createCommand(c), listCommand(c), showCommand(c), setCommand(c), unsetCommand(c), deleteCommand(c), confirmCommand(c), maintenanceCommand(c)}
}

func createCommand(c *command.Run) *cobra.Command {
	var n Flags
	var driver, uuid string
	cmd := command.Exactly("create", 0)
	cmd.Short = "Enrol a machine"
	cmd.Long = "Enrols a machine. It is in the state enroll then; bessemer node manage checks its BMC.\nMany machines at once: bessemer register FILE."
	cmd.Example = `  bessemer node create --name n1 --driver redfish \
    --driver-info redfish_address=https://192.0.2.10 \
    --driver-info redfish_username=admin --driver-info redfish_password=@secret.txt`
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		if err := settle(cmd); err != nil {
			return err
		}
		body := map[string]any{"driver": driver}
		if uuid != "" {
			body["uuid"] = uuid
		}
		for field, v := range n.plain() {
			if v != "" {
				body[field] = v
			}
		}
		for field, text := range n.tristates() {
			if text == "" {
				continue
			}
			v, err := tristate(field, text)
			if err != nil {
				return err
			}
			body[field] = v
		}
		if n.networkData != "" {
			v, err := c.Document(n.networkData, "--network-data")
			if err != nil {
				return err
			}
			body["network_data"] = v
		}
		for field, args := range map[string][]string{"driver_info": n.driverInfo, "properties": n.property, "instance_info": n.instanceInfo, "extra": n.extra} {
			m, err := c.Object(args, field == "driver_info")
			if err != nil {
				return err
			}
			if len(m) > 0 {
				body[field] = m
			}
		}
		for _, arg := range n.iface {
			kind, impl, ok := strings.Cut(arg, "=")
			if !ok {
				return input.Usage("--interface is %q, expected KIND=IMPLEMENTATION", arg)
			}
			body[kind+"_interface"] = impl
		}
		made, err := a.CreateNode(ctx, body)
		if err != nil {
			return err
		}
		return c.Emit(made, func(w io.Writer) {
			fmt.Fprintf(w, "node %s is enrolled\nnext: bessemer node manage %s --watch\n", output.NodeName(made), output.NodeName(made))
		})
	})
	n.Add(cmd)
	cmd.Flags().StringVar(&driver, "driver", "redfish", "hardware type")
	cmd.Flags().StringVar(&uuid, "uuid", "", "UUID; made by the server unless given")
	return cmd
}

func setCommand(c *command.Run) *cobra.Command {
	var n Flags
	var driver, protected, retired, raid string
	cmd := &cobra.Command{Use: "set [NODE ...]", Short: "Change a machine's record"}
	cmd.Long = "Changes a machine's record.\n\n" + acts.Help
	cmd.Example = `  bessemer node set n1 --property root_device/serial=S1 --property skip_block_devices='[{"serial": "DATA1"}]'
  bessemer node set n1 --driver-info redfish_password=@secret.txt
  bessemer node set n1 --protected "holds the payroll"
  bessemer node set --where 'name=rack7-*' --resource-class big`
	m := acts.On(c, cmd)
	reset := map[string]*bool{}
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if err := settle(cmd); err != nil {
			return err
		}
		if *reset["interfaces"] && driver == "" {
			return input.Usage("--reset-interfaces goes with --driver: the interfaces become the new driver's own")
		}
		for flag, reason := range map[string]string{"protected": protected, "retired": retired} {
			if cmd.Flags().Changed(flag) && !cmd.Flags().Changed(flag+"-reason") {
				if err := noNode(ctx, a, flag, reason); err != nil {
					return err
				}
			}
		}
		return m.Run(ctx, a, args, acts.Act{Name: "set", Each: func(ctx context.Context, t *acts.Turn, node string) error {
			current, err := a.Node(ctx, node)
			if err != nil {
				return err
			}
			changed := cmd.Flags().Changed
			ops, err := Ops(c, current, n, changed)
			if err != nil {
				return err
			}
			set := func(path string, v any) { ops = append(ops, api.PatchOp{Op: "add", Path: path, Value: v}) }
			if changed("driver") {
				set("/driver", driver)
			}
			for flag, reason := range map[string]*string{"protected": &protected, "retired": &retired} {
				if changed(flag) {
					set("/"+flag, true)
				}
				if changed(flag) || changed(flag+"-reason") {
					set("/"+flag+"_reason", *reason)
				}
			}
			for _, kind := range api.Interfaces() {
				if *reset[kind] {
					ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + kind + "_interface"})
				}
			}
			if raid != "" {
				if len(ops) > 0 {
					return input.Usage("--target-raid-config stands alone")
				}
				return setRAID(ctx, t, node, raid)
			}
			return patch(ctx, t, node, ops, *reset["interfaces"])
		}})
	})
	n.Add(cmd)
	f := cmd.Flags()
	for _, kind := range append([]string{"interfaces"}, api.Interfaces()...) {
		name := "reset-" + strings.TrimSuffix(kind+"-interface", "interfaces-interface")
		if kind == "interfaces" {
			name += kind
		}
		reset[kind] = f.Bool(name, false, "bring it back to the driver's default")
		command.Hide(cmd, name)
	}
	f.StringVar(&driver, "driver", "", "hardware type")
	f.StringVar(&raid, "target-raid-config", "", "JSON or YAML file of logical_disks that a clean step is to make; - is the standard input")
	f.StringVar(&protected, "protected", "", "refuse undeploy, rebuild and delete, for this reason")
	f.StringVar(&retired, "retired", "", "do not make it available again, for this reason")
	f.StringVar(&protected, "protected-reason", "", "the reason of --protected")
	f.StringVar(&retired, "retired-reason", "", "the reason of --retired")
	command.Hide(cmd, "protected-reason", "retired-reason")
	return cmd
}

// noNode refuses a reason that is a node's name: with baremetal the flag has no value, and the node is meant as well. The
// others alone would be changed.
func noNode(ctx context.Context, a *client.Client, flag, reason string) error {
	if reason == "" || strings.ContainsAny(reason, " /") {
		return nil
	}
	if _, err := a.NodeFields(ctx, reason, []string{"uuid"}); err != nil {
		return nil //nolint:nilerr // there is none, or what is asked next tells what is wrong
	}
	return input.Usage("--%s takes a reason, and %s is a node: give --%s behind the nodes, or a reason of several words", flag, reason, flag)
}

// setRAID stores the disks that a clean step is to make.
func setRAID(ctx context.Context, t *acts.Turn, node, file string) error {
	config, err := t.Document(file, "--target-raid-config")
	if err != nil {
		return err
	}
	if _, err := t.API.Send(ctx, http.MethodPut, client.Path("nodes", node, "states", "raid"), nil, config); err != nil {
		return err
	}
	return t.Done(nil, "node %s: the target RAID configuration is set; a clean with raid.create_configuration makes it", t.Label)
}

// patch sends the operations and tells what came of them.
func patch(ctx context.Context, t *acts.Turn, node string, ops []api.PatchOp, resetInterfaces bool) error {
	if len(ops) == 0 {
		return input.Usage("nothing to change is given")
	}
	if resetInterfaces {
		o, err := t.API.Send(ctx, http.MethodPatch, client.Path("nodes", node), url.Values{"reset_interfaces": {"true"}}, ops)
		if err != nil {
			return err
		}
		return t.Done(o, "node %s is changed", t.Label)
	}
	n, err := t.API.PatchNode(ctx, node, ops)
	if err != nil {
		return err
	}
	return t.Done(n, "node %s is changed", output.NodeName(n))
}

func unsetCommand(c *command.Run) *cobra.Command {
	lists := map[string]*[]string{"driver_info": {}, "properties": {}, "instance_info": {}, "extra": {}}
	single := []string{"name", "description", "resource_class", "conductor_group", "owner", "lessee", "instance_uuid", "instance_name", "chassis_uuid",
		"shard", "parent_node", "network_data", "automated_clean", "disable_power_off", "protected", "protected_reason", "retired", "retired_reason"}
	var iface []string
	var raid bool
	cmd := &cobra.Command{Use: "unset [NODE ...]", Short: "Remove parts of a machine's record"}
	cmd.Long = "Removes parts of a machine's record.\n\n" + acts.Help
	cmd.Example = "  bessemer node unset n1 --property root_device --instance-uuid --protected"
	m := acts.On(c, cmd)
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		return m.Run(ctx, a, args, acts.Act{Name: "unset", Each: func(ctx context.Context, t *acts.Turn, node string) error {
			if raid {
				if _, err := a.Send(ctx, http.MethodPut, client.Path("nodes", node, "states", "raid"), nil, map[string]any{}); err != nil {
					return err
				}
			}
			var ops []api.PatchOp
			for _, field := range []string{"driver_info", "properties", "instance_info", "extra"} {
				for _, key := range *lists[field] {
					ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + field + "/" + key})
				}
			}
			for _, field := range single {
				if command.Given(cmd, strings.ReplaceAll(field, "_", "-")) {
					ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + field})
				}
			}
			for _, kind := range iface {
				ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + kind + "_interface"})
			}
			for _, kind := range api.Interfaces() {
				if command.Given(cmd, kind+"-interface") {
					ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + kind + "_interface"})
				}
			}
			if raid && len(ops) == 0 {
				return t.Done(nil, "node %s has no target RAID configuration any more", t.Label)
			}
			return patch(ctx, t, node, ops, false)
		}})
	})
	f := cmd.Flags()
	f.StringArrayVar(lists["driver_info"], "driver-info", nil, "KEY to remove")
	f.StringArrayVar(lists["properties"], "property", nil, "KEY to remove")
	f.StringArrayVar(lists["instance_info"], "instance-info", nil, "KEY to remove")
	f.StringArrayVar(lists["extra"], "extra", nil, "KEY to remove")
	f.StringArrayVar(&iface, "interface", nil, "KIND to bring back to the driver's default")
	for _, field := range single {
		f.Bool(strings.ReplaceAll(field, "_", "-"), false, "remove it")
	}
	f.BoolVar(&raid, "target-raid-config", false, "remove it")
	for _, kind := range api.Interfaces() {
		f.Bool(kind+"-interface", false, "the same as --interface "+kind)
		command.Hide(cmd, kind+"-interface")
	}
	return cmd
}

func deleteCommand(c *command.Run) *cobra.Command {
	cmd := &cobra.Command{Use: "delete [NODE ...]", Short: "Remove a machine's record; the machine itself is not touched"}
	cmd.Long = "Removes a machine's record with all that belongs to it; the machine itself is not touched.\n\n" + acts.Help
	m := acts.On(c, cmd)
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		return m.Run(ctx, a, args, acts.Act{Name: "delete", Each: func(ctx context.Context, t *acts.Turn, node string) error {
			if err := a.DeleteNode(ctx, node); err != nil {
				return err
			}
			return t.Done(nil, "node %s is deleted", t.Label)
		}})
	})
	return cmd
}

func maintenanceCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "maintenance", Short: "Keep the server's hands off a machine, and let them on again"})
	for _, x := range []struct {
		name, short, said string
		on                bool
	}{{"set", "Hands off", "is in maintenance", true}, {"unset", "Hands on again; clears the reason and the fault", "is out of maintenance", false}} {
		sub := &cobra.Command{Use: x.name + " [NODE ...]", Short: x.short, Long: x.short + ".\n\n" + acts.Help}
		m := acts.On(c, sub)
		reason := new(string)
		if x.on {
			sub.Flags().StringVar(reason, "reason", "", "why, for the next reader")
		}
		sub.Example = "  bessemer node maintenance " + x.name + " n1"
		if x.on {
			sub.Example += " --reason \"new fan\""
		}
		sub.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
			return m.Run(ctx, a, args, acts.Act{Name: "maintenance " + x.name, Each: func(ctx context.Context, t *acts.Turn, node string) error {
				if err := a.SetMaintenance(ctx, node, x.on, *reason); err != nil {
					return err
				}
				return t.Done(nil, "node %s %s", t.Label, x.said)
			}})
		})
		cmd.AddCommand(sub)
	}
	return cmd
}
