package resources

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/resource"
)

// PortCommand is about network cards.
func PortCommand(c *command.Run) *cobra.Command {
	cmd := command.Group(&cobra.Command{Use: "port", Aliases: []string{"ports"}, Short: "Network cards of machines", Long: "A port is one network card of a node, known by its address. PORT is its UUID or address."})

	var node, address, network string
	var noPXE bool
	create := command.Exactly("create", 0)
	create.Short = "Tell a network card of a machine"
	create.Example = "  bessemer port create --node n1 --address 52:54:00:12:34:56"
	create.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		if node == "" || address == "" {
			return input.Usage("--node and --address are required")
		}
		body := map[string]any{"node_ident": node, "address": address, "pxe_enabled": !noPXE}
		if network != "" {
			body["physical_network"] = network
		}
		p, err := a.CreatePort(ctx, body)
		if err != nil {
			return err
		}
		return c.Emit(p, func(w io.Writer) { fmt.Fprintf(w, "port %s (%s) is created\n", p.Address, p.UUID) })
	})
	create.Flags().StringVar(&node, "node", "", "the machine")
	create.Flags().StringVar(&address, "address", "", "MAC address")
	create.Flags().StringVar(&network, "physical-network", "", "name of the network it is plugged into")
	create.Flags().BoolVar(&noPXE, "no-pxe", false, "the ramdisk does not boot from it")

	var of string
	list := command.Exactly("list", 0)
	list.Aliases = []string{"ls"}
	list.Short = "List network cards"
	list.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		ports, err := a.Ports(ctx, of, "")
		if err != nil {
			return err
		}
		return c.Emit(ports, func(w io.Writer) {
			output.Row(w, "ADDRESS", "NODE", "PXE", "UUID")
			for _, p := range ports {
				output.Row(w, p.Address, p.NodeUUID, fmt.Sprint(p.PXEEnabled), p.UUID)
			}
		})
	})
	list.Flags().StringVar(&of, "node", "", "only those of this machine")

	show := command.Exactly("show PORT", 1)
	show.Short = "Show a network card"
	show.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		p, err := a.Port(ctx, args[0])
		if err != nil {
			return err
		}
		return c.Emit(p, func(w io.Writer) {
			output.Pair(w, "address", p.Address)
			output.Pair(w, "uuid", p.UUID)
			output.Pair(w, "node", p.NodeUUID)
			output.Pair(w, "pxe", fmt.Sprint(p.PXEEnabled))
			output.Pair(w, "physical network", output.Text(p.PhysicalNetwork))
			output.Pair(w, "plugged into", output.Flat(p.LocalLinkConnection))
			output.Pair(w, "extra", output.Flat(p.Extra))
		})
	})

	remove := command.Exactly("delete PORT", 1)
	remove.Short = "Forget a network card"
	remove.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		p, err := a.Port(ctx, args[0])
		if err != nil {
			return err
		}
		if err := a.DeletePort(ctx, p.UUID); err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "port %s is deleted\n", p.Address)
		return nil
	})
	cmd.AddCommand(create, list, show, remove, byAddress(c, setCommand(c, resource.Port)), byAddress(c, unsetCommand(c, resource.Port)))
	return cmd
}

// byAddress lets a command that takes a port's UUID take its address as well.
func byAddress(c *command.Run, cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !strings.Contains(args[0], ":") {
			return run(cmd, args)
		}
		return c.With(func(ctx context.Context, a *client.Client, _ []string) error {
			p, err := a.Port(ctx, args[0])
			if err != nil {
				return err
			}
			return run(cmd, []string{p.UUID})
		})(cmd, args)
	}
	return cmd
}
