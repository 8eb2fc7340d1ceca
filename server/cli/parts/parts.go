// Package parts has the commands for what a machine has beside its record: power, boot device and mode, traits, virtual
// interfaces and media, BIOS settings, firmware, console, lights, vendor methods.
package parts

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
)

// look is a command that shows something of one node: key of the answer as columns, "" all of it.
func look(c *command.Run, use, short string, path []string, key string, columns ...string) *cobra.Command {
	cmd := command.Exactly(use+" NODE", 1)
	cmd.Short = short
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		at := client.Path(append([]string{"nodes", args[0]}, path...)...)
		if key == "" {
			o, err := a.Get(ctx, at, nil)
			if err != nil {
				return err
			}
			return c.WriteObject(o, nil)
		}
		var all []map[string]any
		if err := a.Each(ctx, at, key, nil, func(o map[string]any) error { all = append(all, o); return nil }); err != nil {
			return err
		}
		return c.Objects(all, columns, false)
	})
	return cmd
}

// change is a command that makes a request for each of several nodes; rest is what stands behind the node.
func change(c *command.Run, use, short, done string, least int, request func(rest []string) (method string, path []string, q url.Values, body any, err error)) *cobra.Command {
	node, operands, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{Use: strings.TrimSpace(node + " [NODE] " + operands), Short: short, Long: short + ".\n\n" + acts.Help}
	m := acts.On(c, cmd)
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		nodes, rest := args, []string(nil)
		if operands != "" {
			var err error
			if nodes, rest, err = m.Operands(args, least); err != nil {
				return err
			}
		}
		method, path, q, body, err := request(rest)
		if err != nil {
			return err
		}
		return m.Run(ctx, a, nodes, acts.Act{Name: strings.TrimSpace(short), Each: func(ctx context.Context, t *acts.Turn, node string) error {
			if _, err := a.Send(ctx, method, client.Path(append([]string{"nodes", node}, path...)...), q, body); err != nil {
				return err
			}
			return t.Done(nil, "node %s: %s", t.Label, strings.TrimSpace(done+" "+strings.Join(rest, " ")))
		}})
	})
	return cmd
}

// Commands are those below bessemer node.
func Commands(c *command.Run) []*cobra.Command {
	return []*cobra.Command{bootCommand(c), secureBootCommand(c), traitCommand(c), vifCommand(c), biosCommand(c), raidCommand(c), firmwareCommand(c), mediaCommand(c), passthruCommand(c),
		consoleCommand(c), injectCommand(c), indicatorCommand(c), childrenCommand(c), outOfServiceCommand(c), powerCommand(c), asUpstream(c, "add"), asUpstream(c, "remove"), rebootCommand(c)}
}

// asUpstream is a verb that Ironic's command has before its noun: node add trait.
func asUpstream(c *command.Run, verb string) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: verb, Short: "The same as node trait " + verb, Hidden: true})
	i := slices.IndexFunc(traitCommand(c).Commands(), func(x *cobra.Command) bool { return x.Name() == verb })
	sub := traitCommand(c).Commands()[i]
	sub.Use = "trait" + strings.TrimPrefix(sub.Use, verb)
	cmd.AddCommand(sub)
	return cmd
}

// rebootCommand is node power reboot, as Ironic's command has it.
func rebootCommand(c *command.Run) *cobra.Command {
	i := slices.IndexFunc(powers, func(p power) bool { return p.name == "reboot" })
	cmd := powerAct(c, powers[i], "reboot")
	cmd.Hidden = true
	return cmd
}

// outOfServiceCommand gives an operator's word that an active machine does not work.
func outOfServiceCommand(c *command.Run) *cobra.Command {
	var reason string
	cmd := change(c, "out-of-service", "Say that an active machine does not work", "is out of service", 0, func([]string) (string, []string, url.Values, any, error) {
		body := map[string]any{}
		if reason != "" {
			body["reason"] = reason
		}
		return http.MethodPut, []string{"states", "out_of_service"}, nil, body, nil
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the next reader")
	return cmd
}

func bootCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "boot", Short: "What a machine boots from, and in which mode"})
	device := command.Group(&cobra.Command{Use: "device", Short: "The device a machine boots from"})
	var persistent, supported bool
	set := change(c, "set DEVICE", "Set the boot device", "boots from", 1, func(rest []string) (string, []string, url.Values, any, error) {
		return http.MethodPut, []string{"management", "boot_device"}, nil, map[string]any{"boot_device": rest[0], "persistent": persistent}, nil
	})
	set.Example = "  bessemer node boot device set n1 pxe --persistent"
	set.Flags().BoolVar(&persistent, "persistent", false, "for all boots, not only the next one")
	show := command.Exactly("show NODE", 1)
	show.Short = "Show the boot device"
	show.Flags().BoolVar(&supported, "supported", false, "show which devices there are instead")
	show.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		path := client.Path("nodes", args[0], "management", "boot_device")
		if supported {
			path += "/supported"
		}
		o, err := a.Get(ctx, path, nil)
		if err != nil {
			return err
		}
		return c.WriteObject(o, nil)
	})
	device.AddCommand(set, show)
	mode := command.Group(&cobra.Command{Use: "mode", Short: "The mode of a machine's firmware"})
	mode.AddCommand(change(c, "set MODE", "Set the boot mode: uefi or bios", "is to boot as", 1, func(rest []string) (string, []string, url.Values, any, error) {
		return http.MethodPut, []string{"states", "boot_mode"}, nil, map[string]any{"target": rest[0]}, nil
	}))
	cmd.AddCommand(device, mode)
	return cmd
}

func secureBootCommand(c *command.Run) *cobra.Command {
	secure := command.Group(&cobra.Command{Use: "secure", Short: "Secure boot of a machine"})
	boot := command.Group(&cobra.Command{Use: "boot", Short: "Switch secure boot"})
	for _, x := range []struct {
		name string
		on   bool
	}{{"on", true}, {"off", false}} {
		boot.AddCommand(change(c, x.name, "Switch secure boot "+x.name, "secure boot is to be "+x.name, 0, func([]string) (string, []string, url.Values, any, error) {
			return http.MethodPut, []string{"states", "secure_boot"}, nil, map[string]any{"target": x.on}, nil
		}))
	}
	secure.AddCommand(boot)
	return secure
}

func traitCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "trait", Aliases: []string{"traits"}, Short: "What machines are or can, for those who choose one"})
	add := eachOperand(c, "add TRAIT ...", "Add traits", "has the trait", func(trait string) (string, []string) { return http.MethodPut, []string{"traits", trait} })
	add.Example = "  bessemer node trait add n1 CUSTOM_GPU\n  bessemer node trait add --where 'name=rack7-*' CUSTOM_RACK7"
	remove := allTraits(c, eachOperand(c, "remove TRAIT ...", "Remove traits", "no longer has the trait", func(trait string) (string, []string) { return http.MethodDelete, []string{"traits", trait} }))
	cmd.AddCommand(look(c, "list", "List a machine's traits", []string{"traits"}, "traits", "value"), add, remove,
		clearTraits(c))
	return cmd
}

func clearTraits(c *command.Run) *cobra.Command {
	return change(c, "clear", "Remove all traits", "has no traits any more", 0, func([]string) (string, []string, url.Values, any, error) {
		return http.MethodDelete, []string{"traits"}, nil, nil, nil
	})
}

// allTraits lets the command that removes traits take --all, as Ironic's has it, and do what clear does.
func allTraits(c *command.Run, cmd *cobra.Command) *cobra.Command {
	all := cmd.Flags().Bool("all", false, "the same as node trait clear")
	command.Hide(cmd, "all")
	some := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*all {
			return some(cmd, args)
		}
		if len(args) > 1 {
			return input.Usage("give traits or --all, not both")
		}
		whole := clearTraits(c)
		for _, name := range []string{"where", "yes", "dry-run", "parallel"} {
			if err := whole.Flags().Set(name, cmd.Flags().Lookup(name).Value.String()); err != nil {
				return err
			}
		}
		whole.SetContext(cmd.Context())
		return whole.RunE(whole, args)
	}
	return cmd
}

// eachOperand is a command that makes a request for each node and each of the words behind it.
func eachOperand(c *command.Run, use, short, done string, request func(word string) (method string, path []string)) *cobra.Command {
	name, operands, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{Use: name + " [NODE] " + operands, Short: short, Long: short + ".\n\n" + acts.Help}
	m := acts.On(c, cmd)
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		nodes, rest, err := m.Operands(args, 1)
		if err != nil {
			return err
		}
		return m.Run(ctx, a, nodes, acts.Act{Name: short, Each: func(ctx context.Context, t *acts.Turn, node string) error {
			for _, word := range rest {
				method, path := request(word)
				if _, err := a.Send(ctx, method, client.Path(append([]string{"nodes", node}, path...)...), nil, nil); err != nil {
					return err
				}
			}
			return t.Done(nil, "node %s: %s %s", t.Label, done, strings.Join(rest, " "))
		}})
	})
	return cmd
}

func vifCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "vif", Short: "Virtual interfaces: networks that are plugged into a machine's ports"})
	var port, portGroup string
	var info []string
	attach := change(c, "attach VIF", "Attach a virtual interface", "attached", 1, func(rest []string) (string, []string, url.Values, any, error) {
		body, err := c.Object(info, false)
		if err != nil {
			return "", nil, nil, nil, err
		}
		body["id"] = rest[0]
		if port != "" {
			body["port_uuid"] = port
		}
		if portGroup != "" {
			body["portgroup_uuid"] = portGroup
		}
		return http.MethodPost, []string{"vifs"}, nil, body, nil
	})
	attach.Example = "  bessemer node vif attach n1 9f7a1e4c-8d5e-4b6f-a1d2-3c4b5a697887"
	attach.Flags().StringArrayVar(&info, "vif-info", nil, "KEY=VALUE of further facts; may be repeated")
	attach.Flags().StringVar(&port, "port-uuid", "", "to this port")
	attach.Flags().StringVar(&portGroup, "port-group-uuid", "", "to this port group")
	cmd.AddCommand(look(c, "list", "List a machine's virtual interfaces", []string{"vifs"}, "vifs", "id"), attach,
		eachOperand(c, "detach VIF ...", "Detach virtual interfaces", "detached", func(id string) (string, []string) { return http.MethodDelete, []string{"vifs", id} }))
	return cmd
}

func biosCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "bios", Short: "The settings of a machine's firmware"})
	setting := command.Group(&cobra.Command{Use: "setting", Short: "List and show settings; bios.apply_configuration changes them"})
	show := command.Exactly("show NODE SETTING", 2)
	show.Short = "Show a setting"
	show.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		o, err := a.Get(ctx, client.Path("nodes", args[0], "bios", args[1]), nil)
		if err != nil {
			return err
		}
		inner, ok := o[args[1]].(map[string]any)
		if !ok {
			inner = o
		}
		return c.WriteObject(inner, nil)
	})
	list := command.Exactly("list NODE", 1)
	list.Short = "List a machine's settings"
	var v command.View
	v.Add(list)
	list.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if err := v.Check(); err != nil {
			return err
		}
		q := url.Values{}
		if v.Long {
			q.Set("detail", "true")
		} else if len(v.Fields) > 0 {
			q.Set("fields", strings.Join(v.Fields, ","))
		}
		all := []map[string]any{}
		if err := a.Each(ctx, client.Path("nodes", args[0], "bios"), "bios", q, func(o map[string]any) error { all = append(all, o); return nil }); err != nil {
			return err
		}
		return c.Objects(all, v.Columns([]string{"name", "value"}), v.Long)
	})
	setting.AddCommand(list, show)
	cmd.AddCommand(setting)
	return cmd
}

func firmwareCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "firmware", Short: "The firmware of a machine's parts; the step firmware.update changes it"})
	cmd.AddCommand(look(c, "list", "List a machine's firmware, as it was read last", []string{"firmware"}, "firmware", "component", "current_version", "initial_version", "last_version_flashed"))
	return cmd
}

func mediaCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "vmedia", Short: "Virtual media: images that a BMC shows its machine as drives"})
	attach := change(c, "attach DEVICE URL", "Attach an image as cdrom, disk or floppy", "is to see", 2, func(rest []string) (string, []string, url.Values, any, error) {
		return http.MethodPost, []string{"vmedia"}, nil, map[string]any{"device_type": rest[0], "image_url": rest[1]}, nil
	})
	attach.Example = "  bessemer node vmedia attach n1 cdrom http://192.0.2.1/tools.iso"
	detach := change(c, "detach DEVICE", "Detach what is attached as a device", "no longer sees", 1, func(rest []string) (string, []string, url.Values, any, error) {
		return http.MethodDelete, []string{"vmedia"}, url.Values{"device_types": {strings.Join(rest, ",")}}, nil, nil
	})
	show := command.Exactly("show NODE", 1)
	show.Short = "Show what is attached"
	show.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		v, err := a.Call(ctx, http.MethodGet, client.Path("nodes", args[0], "vmedia"), nil, nil)
		if err != nil {
			return err
		}
		var all []map[string]any
		list, _ := v.([]any)
		for _, x := range list {
			if o, ok := x.(map[string]any); ok {
				all = append(all, o)
			}
		}
		return c.Objects(all, []string{"media_types", "inserted", "image"}, false)
	})
	cmd.AddCommand(attach, detach, show)
	return cmd
}

func passthruCommand(c *command.Run) *cobra.Command {
	return PassthruCommand(c, "nodes", "NODE", "a machine's")
}

// PassthruCommand are a vendor's own methods, of a node or a driver.
func PassthruCommand(c *command.Run, kind, ident, of string) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "passthru", Short: "Methods that only " + of + " vendor knows"})
	list := command.Exactly("list "+ident, 1)
	list.Short = "List the methods"
	list.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		o, err := a.Get(ctx, client.Path(kind, args[0], "vendor_passthru", "methods"), nil)
		if err != nil {
			return err
		}
		return c.Emit(o, func(w io.Writer) {
			output.Row(w, "METHOD", "HTTP", "ASYNC", "DESCRIPTION")
			for _, name := range slices.Sorted(maps.Keys(o)) {
				m, _ := o[name].(map[string]any)
				output.Row(w, name, output.Cell(m["http_methods"]), output.Cell(m["async"]), output.Cell(m["description"]))
			}
		})
	})
	var method string
	var args []string
	call := command.Exactly("call "+ident+" METHOD", 2)
	call.Short = "Call a method"
	call.Example = "  bessemer node passthru call n1 eject_vmedia"
	call.Flags().StringVar(&method, "http-method", "POST", "POST, PUT, GET, DELETE or PATCH")
	call.Flags().StringArrayVar(&args, "arg", nil, "KEY=VALUE of an argument; may be repeated")
	call.RunE = c.With(func(ctx context.Context, a *client.Client, words []string) error {
		body, err := c.Object(args, false)
		if err != nil {
			return err
		}
		var in any = body
		method := strings.ToUpper(method)
		if method == http.MethodGet {
			in = nil
		}
		v, err := a.Call(ctx, method, client.Path(kind, words[0], "vendor_passthru"), url.Values{"method": {words[1]}}, in)
		if err != nil {
			return err
		}
		return c.Emit(v, func(w io.Writer) { fmt.Fprintln(w, cmp.Or(output.Cell(v), words[1]+" is called")) })
	})
	cmd.AddCommand(list, call)
	return cmd
}

func consoleCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "console", Short: "A machine's console"})
	for _, x := range []struct {
		name string
		on   bool
	}{{"enable", true}, {"disable", false}} {
		cmd.AddCommand(change(c, x.name, strings.ToUpper(x.name[:1])+x.name[1:]+" the console", "console "+x.name+"d", 0, func([]string) (string, []string, url.Values, any, error) {
			return http.MethodPut, []string{"states", "console"}, nil, map[string]any{"enabled": x.on}, nil
		}))
	}
	cmd.AddCommand(look(c, "show", "Show the console", []string{"states", "console"}, ""))
	return cmd
}

func injectCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "inject", Short: "Interrupt a machine"})
	nmi := change(c, "nmi", "Send a non-maskable interrupt", "is interrupted", 0, func([]string) (string, []string, url.Values, any, error) {
		return http.MethodPut, []string{"management", "inject_nmi"}, nil, map[string]any{}, nil
	})
	cmd.AddCommand(nmi)
	return cmd
}

func indicatorCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "indicator", Short: "Lights by which a person finds a machine"})
	show := command.Exactly("show NODE INDICATOR", 2)
	show.Short = "Show whether a light is on"
	show.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		o, err := a.Get(ctx, client.Path("nodes", args[0], "management", "indicators", args[1]), nil)
		if err != nil {
			return err
		}
		return c.WriteObject(o, nil)
	})
	set := change(c, "set INDICATOR STATE", "Switch a light: on, off or blinking", "light", 2, func(rest []string) (string, []string, url.Values, any, error) {
		return http.MethodPut, []string{"management", "indicators", rest[0]}, nil, map[string]any{"state": rest[1]}, nil
	})
	set.Example = "  bessemer node indicator list n1\n  bessemer node indicator set n1 led@chassis blinking"
	cmd.AddCommand(look(c, "list", "List a machine's lights", []string{"management", "indicators"}, "indicators", "name", "states", "readonly"), show, set)
	return cmd
}

func childrenCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "children", Short: "Nodes that are parts of another"})
	cmd.AddCommand(look(c, "list", "List a machine's children", []string{"children"}, "children", "value"))
	return cmd
}
