package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// root is the tree of commands.
func (c *command) root(l Local) *cobra.Command {
	root := &cobra.Command{
		Use:   "bessemer",
		Short: "Turn machines into machines that run what you want, and back into clean ones",
		Long: `Bessemer takes a machine from enrolled to deployed and back: it erases its disks, verifies that they are
empty, writes an image, checks its digest and boots it.

A machine is a node. A new one is enrolled; these verbs move it on:

  manage     check the BMC and take the node under management   enroll -> manageable
  inspect    boot the ramdisk and find out what the machine is  manageable -> manageable
  provide    erase the disks and offer the node                 manageable -> available
  deploy     write an image and boot it                         available -> active
  undeploy   take it away and erase the disks again             active -> available

bessemer serve starts a server; all other commands talk to one.`,
		Example: `  bessemer serve
  bessemer register nodes.yaml --manage --inspect --provide --watch
  bessemer node list
  bessemer image add debian.raw.zst
  bessemer node deploy n1 --image debian.raw.zst --hostname web1 --watch
  bessemer node logs n1 -f`,
		SilenceErrors: true, SilenceUsage: true,
	}
	c.globals(root)
	node := group(&cobra.Command{Use: "node", Aliases: []string{"nodes"}, Short: "Machines: create, show, move through their life, watch",
		Long: "A node is one machine. NODE is its name or UUID."})
	node.AddCommand(c.recordCommands()...)
	node.AddCommand(c.lookCommands()...)
	node.AddCommand(c.flowCommands()...)
	node.AddCommand(c.nodeParts()...)
	settings := group(&cobra.Command{Use: "config", Short: "The server's settings, and the defaults of steps",
		Long: "show is about the settings of bessemer serve. The others are about default_config: priorities and arguments of the steps\nthat flows run by themselves, for the fleet, a group, a trait or a node."})
	settings.AddCommand(c.settingsCommand())
	settings.AddCommand(c.defaultsCommands()...)
	root.AddCommand(node, c.verbCommand(verbNamed("inspect")), c.verbCommand(verbNamed("provide")), c.stateCommand(), c.bmcCommand(),
		c.configureCommand(), c.registerCommand(), c.importCommand(), selectorsCommand(), c.portCommand(), c.imageCommand(),
		c.doctorCommand(l.Examine), c.eventsCommand(), settings,
		c.serveCommand(l), c.userCommand(l), c.ramdiskCommand(l), c.simulateCommand(l), c.versionCommand(l))
	c.resources(root)
	group(root)
	return root
}

// group makes a command that only holds others show its help, and say so when it is given a name that is none of them.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
		if len(args) > 1 && slices.ContainsFunc(cmd.Commands(), func(sub *cobra.Command) bool { return sub.Name() == args[1] }) {
			text += fmt.Sprintf("; did you mean %s %s %s?", cmd.CommandPath(), args[1], args[0]) // what first, then to which
		} else if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage("%s", text)
	}
	return cmd
}

// one is a command that takes exactly the named arguments.
func one(use string, n int) *cobra.Command {
	return &cobra.Command{Use: use, Args: func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		takes, given := map[int]string{0: "no arguments", 1: "1 argument"}[n], "are"
		if takes == "" {
			takes = fmt.Sprintf("%d arguments", n)
		}
		if len(args) == 1 {
			given = "is"
		}
		return usage("%s takes %s, %d %s given: %s", cmd.CommandPath(), takes, len(args), given, cmd.UseLine())
	}}
}
