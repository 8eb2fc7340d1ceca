package cli

import (
	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/fleet"
	"github.com/bessemer-metal/bessemer/server/cli/flows"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/cli/observe"
	"github.com/bessemer-metal/bessemer/server/cli/parts"
	"github.com/bessemer-metal/bessemer/server/cli/record"
	"github.com/bessemer-metal/bessemer/server/cli/resources"
	"github.com/bessemer-metal/bessemer/server/cli/work"
)

// root is the tree of commands that the arguments can mean.
func root(c *command.Run, p host.Programs, args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "bessemer",
		Short: "Turn machines into machines that run what you want, and back into clean ones",
		Long: `Bessemer takes a machine from enrolled to deployed and back: it erases its disks, verifies that they are
empty, writes an image, checks its digest and boots it.

A machine is a node. A new one is enrolled; these verbs move it on:

  manage     check the BMC and take the node under management   enroll -> manageable
  inspect    find out what the machine is, by ramdisk or BMC    manageable -> manageable
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
	c.Globals(root)
	serve := host.ServeCommand(c, p)
	root.AddCommand(serve)
	if len(args) > 0 && args[0] == serve.Name() {
		return root // a server's first answer would wait until all the other commands are made
	}
	node := command.Group(&cobra.Command{Use: "node", Aliases: []string{"nodes"}, Short: "Machines: create, show, move through their life, watch",
		Long: "A node is one machine. NODE is its name or UUID."})
	node.AddCommand(record.Commands(c)...)
	node.AddCommand(observe.NodeCommands(c)...)
	node.AddCommand(flows.NodeCommands(c)...)
	node.AddCommand(parts.Commands(c)...)
	settings := command.Group(&cobra.Command{Use: "config", Short: "The server's settings, and the defaults of steps",
		Long: "show is about the settings of bessemer serve. The others are about default_config: priorities and arguments of the steps\nthat flows run by themselves, for the fleet, a group, a trait or a node."})
	settings.AddCommand(host.SettingsCommand(c))
	settings.AddCommand(resources.DefaultsCommands(c)...)
	root.AddCommand(node, flows.VerbCommand(c, work.Named("inspect")), flows.VerbCommand(c, work.Named("provide")), flows.StateCommand(c), flows.BMCCommand(c),
		fleet.ConfigureCommand(c), fleet.RegisterCommand(c), fleet.ImportCommand(c), acts.SelectorsCommand(), resources.PortCommand(c), resources.ImageCommand(c),
		observe.DoctorCommand(c, p.Examine), observe.EventsCommand(c), settings,
		host.UserCommand(c, p), host.RamdiskCommand(c, p), host.SimulateCommand(c, p), host.VersionCommand(c, p))
	resources.Add(c, root)
	command.Group(root)
	c.Finish(root)
	return root
}
