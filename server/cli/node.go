package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// recordCommands are about a machine's record.
func (c *command) recordCommands() []*cobra.Command {
	return []*cobra.Command{c.nodeCreate(), c.nodeList(), c.nodeShow(), c.nodeSet(), c.nodeUnset(), c.nodeDelete(), c.nodeConfirm(), c.nodeMaintenance()}
}

func (c *command) nodeCreate() *cobra.Command {
	var n nodeFlags
	var driver, uuid string
	cmd := one("create", 0)
	cmd.Short = "Enrol a machine"
	cmd.Long = "Enrols a machine. It is in the state enroll then; bessemer node manage checks its BMC.\nMany machines at once: bessemer register FILE."
	cmd.Example = `  bessemer node create --name n1 --driver redfish \
    --driver-info redfish_address=https://192.0.2.10 \
    --driver-info redfish_username=admin --driver-info redfish_password=@secret.txt`
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, _ []string) error {
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
			v, err := c.document(n.networkData, "--network-data")
			if err != nil {
				return err
			}
			body["network_data"] = v
		}
		for field, args := range map[string][]string{"driver_info": n.driverInfo, "properties": n.property, "instance_info": n.instanceInfo, "extra": n.extra} {
			m, err := c.object(args, field == "driver_info")
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
				return usage("--interface is %q, expected KIND=IMPLEMENTATION", arg)
			}
			body[kind+"_interface"] = impl
		}
		made, err := a.CreateNode(ctx, body)
		if err != nil {
			return err
		}
		return c.emit(made, func(w io.Writer) {
			fmt.Fprintf(w, "node %s is enrolled\nnext: bessemer node manage %s --watch\n", nodeName(made), nodeName(made))
		})
	})
	n.add(cmd)
	cmd.Flags().StringVar(&driver, "driver", "redfish", "hardware type")
	cmd.Flags().StringVar(&uuid, "uuid", "", "UUID; made by the server unless given")
	return cmd
}

func (c *command) nodeShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show NODE ...", Short: "Show a machine: its state, what it waits for, what leads on"}
	cmd.Long = cmd.Short + `.

NODE is a name or UUID; n1,n2 and @FILE (one a line) name several, of which the fields are shown that are set.`
	cmd.Example = "  bessemer node show n1\n  bessemer node show n1 n2 --fields name,provision_state\n  bessemer node show @rack7.txt -o json"
	fields := cmd.Flags().StringSlice("fields", nil, "only these fields: a,b")
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if len(args) == 0 {
			return usage("name the node, or several: bessemer node show NODE ...")
		}
		idents, err := named(c, args)
		switch {
		case err != nil:
			return err
		case len(idents) > 1 || strings.HasPrefix(args[0], "@"):
			return c.showBatch(ctx, a, idents, *fields)
		case len(*fields) > 0:
			o, err := a.NodeFields(ctx, idents[0], *fields)
			if err != nil {
				return err
			}
			return c.writeObject(o, *fields)
		}
		n, err := a.Node(ctx, idents[0])
		if err != nil {
			return err
		}
		if c.Format != "table" {
			return c.emit(n, nil)
		}
		steps, err := a.Steps(ctx, idents[0], "")
		if err != nil {
			return err
		}
		ports, err := a.Ports(ctx, n.UUID, "")
		if err != nil {
			return err
		}
		return c.emit(n, func(w io.Writer) { c.showNode(w, n, steps, ports) })
	})
	return cmd
}

// showBatch shows many nodes by one request: the fields as columns, or all that are set one below the other. Names of
// nothing are told, and make the exit code.
func (c *command) showBatch(ctx context.Context, a *client.Client, idents, fields []string) error {
	nodes, missing, err := a.Batch(ctx, idents, fields)
	if err != nil {
		return err
	}
	if err := c.objects(nodes, fields, len(fields) == 0); err != nil {
		return err
	}
	for _, id := range missing {
		c.tell("", fault.New(fault.NodeNotFound, "there is no node %s", id))
	}
	if len(missing) > 0 {
		return errTold
	}
	return nil
}

// lastSaid shows the agent's last three lines before the work failed; node steps shows the others.
func lastSaid(w io.Writer, s api.StepsAnswer) {
	if s.LastReason == "" || len(s.Steps) == 0 {
		return
	}
	said := s.Steps[len(s.Steps)-1].Log
	for i := len(s.Steps) - 2; i >= 0 && len(said) == 0; i-- {
		said = s.Steps[i].Log
	}
	for i, l := range said[max(0, len(said)-3):] {
		row(w, map[bool]string{true: "last said", false: ""}[i == 0], logLine(l))
	}
}

func (c *command) showNode(w io.Writer, n api.Node, s api.StepsAnswer, ports []api.Port) {
	pair(w, "name", text(n.Name))
	pair(w, "uuid", n.UUID)
	pair(w, "state", stateText(state.State(text(n.ProvisionState)), state.State(text(n.TargetProvisionState)))+", for "+c.ago(n.ProvisionUpdatedAt))
	power := cmp.Or(text(n.PowerState), "unknown")
	if t := text(n.TargetPowerState); t != "" {
		power += " -> " + t
	}
	pair(w, "power", power)
	if n.Maintenance {
		pair(w, "maintenance", cmp.Or(text(n.MaintenanceReason), "yes")+strings.TrimSuffix(" ("+text(n.Fault)+")", " ()"))
	}
	if why, ok := n.DriverInternalInfo["unverified"].(string); ok {
		pair(w, "unverified", why)
	}
	if s.Wait != nil {
		pair(w, "waits for", c.waitText(*s.Wait))
	}
	for _, v := range s.Steps {
		if v.Ended.IsZero() && !v.Started.IsZero() {
			pair(w, "step", v.Step+" "+progressText(v.Progress))
		}
	}
	pair(w, "last error", text(n.LastError))
	pair(w, "reason", s.LastReason)
	lastSaid(w, s)
	pair(w, "verbs", typed(s.Next))
	pair(w, "description", text(n.Description))
	pair(w, "driver", n.Driver)
	pair(w, "driver_info", flat(n.DriverInfo))
	pair(w, "properties", flat(n.Properties))
	pair(w, "instance_info", flat(n.InstanceInfo))
	pair(w, "instance_uuid", text(n.InstanceUUID))
	pair(w, "extra", flat(n.Extra))
	pair(w, "traits", strings.Join(n.Traits, " "))
	pair(w, "resource class", text(n.ResourceClass))
	pair(w, "owner", text(n.Owner))
	if n.Protected {
		pair(w, "protected", cmp.Or(text(n.ProtectedReason), "yes"))
	}
	if n.Retired {
		pair(w, "retired", cmp.Or(text(n.RetiredReason), "yes"))
	}
	pair(w, "boot mode", text(n.BootMode))
	pair(w, "health", text(n.Health))
	for _, p := range ports {
		pair(w, "port", p.Address+"  "+p.UUID)
	}
	if b := s.Boot; b != nil && !b.Ended {
		line := fmt.Sprintf("boot %d, opened %s, level A%d", b.Generation, c.clock(b.Opened), b.Level)
		if b.Contested {
			line += ", CONTESTED: two machines claim to be this node"
		}
		if b.Source != "" {
			line += ", agent at " + b.Source
		}
		pair(w, "ramdisk", line)
	}
	pair(w, "created", c.clock(n.CreatedAt))
}

func (c *command) nodeSet() *cobra.Command {
	var n nodeFlags
	var driver, protected, retired, raid string
	cmd := &cobra.Command{Use: "set [NODE ...]", Short: "Change a machine's record"}
	cmd.Long = "Changes a machine's record.\n\n" + nodesHelp
	cmd.Example = `  bessemer node set n1 --property root_device/serial=S1 --property skip_block_devices='[{"serial": "DATA1"}]'
  bessemer node set n1 --driver-info redfish_password=@secret.txt
  bessemer node set n1 --protected "holds the payroll"
  bessemer node set --where 'name=rack7-*' --resource-class big`
	m := c.many(cmd)
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		return m.run(ctx, a, args, act{name: "set", each: func(ctx context.Context, t *turn, node string) error {
			current, err := a.Node(ctx, node)
			if err != nil {
				return err
			}
			changed := cmd.Flags().Changed
			ops, err := c.nodeOps(current, n, changed)
			if err != nil {
				return err
			}
			set := func(path string, v any) { ops = append(ops, api.PatchOp{Op: "add", Path: path, Value: v}) }
			if changed("driver") {
				set("/driver", driver)
			}
			for flag, reason := range map[string]string{"protected": protected, "retired": retired} {
				if changed(flag) {
					set("/"+flag, true)
					set("/"+flag+"_reason", reason)
				}
			}
			if raid != "" {
				if len(ops) > 0 {
					return usage("--target-raid-config stands alone")
				}
				return t.setRAID(ctx, node, raid)
			}
			return t.patch(ctx, node, ops)
		}})
	})
	n.add(cmd)
	f := cmd.Flags()
	f.StringVar(&driver, "driver", "", "hardware type")
	f.StringVar(&raid, "target-raid-config", "", "JSON or YAML file of logical_disks that a clean step is to make; - is the standard input")
	f.StringVar(&protected, "protected", "", "refuse undeploy, rebuild and delete, for this reason")
	f.StringVar(&retired, "retired", "", "do not make it available again, for this reason")
	return cmd
}

// setRAID stores the disks that a clean step is to make.
func (t *turn) setRAID(ctx context.Context, node, file string) error {
	config, err := t.document(file, "--target-raid-config")
	if err != nil {
		return err
	}
	if _, err := t.a.Send(ctx, http.MethodPut, client.Path("nodes", node, "states", "raid"), nil, config); err != nil {
		return err
	}
	return t.done(nil, "node %s: the target RAID configuration is set; a clean with raid.create_configuration makes it", t.label)
}

// patch sends the operations and tells what came of them.
func (t *turn) patch(ctx context.Context, node string, ops []api.PatchOp) error {
	if len(ops) == 0 {
		return usage("nothing to change is given")
	}
	n, err := t.a.PatchNode(ctx, node, ops)
	if err != nil {
		return err
	}
	return t.done(n, "node %s is changed", nodeName(n))
}

func (c *command) nodeUnset() *cobra.Command {
	lists := map[string]*[]string{"driver_info": {}, "properties": {}, "instance_info": {}, "extra": {}}
	single := []string{"name", "description", "resource_class", "conductor_group", "owner", "lessee", "instance_uuid", "instance_name", "chassis_uuid",
		"shard", "parent_node", "network_data", "automated_clean", "disable_power_off", "protected", "retired"}
	var iface []string
	cmd := &cobra.Command{Use: "unset [NODE ...]", Short: "Remove parts of a machine's record"}
	cmd.Long = "Removes parts of a machine's record.\n\n" + nodesHelp
	cmd.Example = "  bessemer node unset n1 --property root_device --instance-uuid --protected"
	m := c.many(cmd)
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		return m.run(ctx, a, args, act{name: "unset", each: func(ctx context.Context, t *turn, node string) error {
			var ops []api.PatchOp
			for _, field := range []string{"driver_info", "properties", "instance_info", "extra"} {
				for _, key := range *lists[field] {
					ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + field + "/" + key})
				}
			}
			for _, field := range single {
				if cmd.Flags().Changed(strings.ReplaceAll(field, "_", "-")) {
					ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + field})
				}
			}
			for _, kind := range iface {
				ops = append(ops, api.PatchOp{Op: "remove", Path: "/" + kind + "_interface"})
			}
			return t.patch(ctx, node, ops)
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
	return cmd
}

func (c *command) nodeDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete [NODE ...]", Short: "Remove a machine's record; the machine itself is not touched"}
	cmd.Long = "Removes a machine's record with all that belongs to it; the machine itself is not touched.\n\n" + nodesHelp
	m := c.many(cmd)
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		return m.run(ctx, a, args, act{name: "delete", each: func(ctx context.Context, t *turn, node string) error {
			if err := a.DeleteNode(ctx, node); err != nil {
				return err
			}
			return t.done(nil, "node %s is deleted", t.label)
		}})
	})
	return cmd
}

func (c *command) nodeMaintenance() *cobra.Command {
	cmd := group(&cobra.Command{Use: "maintenance", Short: "Keep the server's hands off a machine, and let them on again"})
	for _, x := range []struct {
		name, short, said string
		on                bool
	}{{"set", "Hands off", "is in maintenance", true}, {"unset", "Hands on again; clears the reason and the fault", "is out of maintenance", false}} {
		sub := &cobra.Command{Use: x.name + " [NODE ...]", Short: x.short, Long: x.short + ".\n\n" + nodesHelp}
		m := c.many(sub)
		reason := new(string)
		if x.on {
			sub.Flags().StringVar(reason, "reason", "", "why, for the next reader")
		}
		sub.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
			return m.run(ctx, a, args, act{name: "maintenance " + x.name, each: func(ctx context.Context, t *turn, node string) error {
				if err := a.SetMaintenance(ctx, node, x.on, *reason); err != nil {
					return err
				}
				return t.done(nil, "node %s %s", t.label, x.said)
			}})
		})
		cmd.AddCommand(sub)
	}
	return cmd
}
