package host

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/client"
)

// SimulateCommand plays a fleet against a server.
func SimulateCommand(c *command.Run, p Programs) *cobra.Command {
	cmd := command.Exactly("simulate", 0)
	cmd.Short = "Play a fleet of machines against a running server, and measure"
	cmd.Long = `Registers fake-hardware nodes, plays their machines and cleans them all. In each machine that the server powers on, a
real agent looks itself up over TLS from a loopback address of its own and runs steps that only take time. The server
must run on this host, with --fake-machines naming the same socket.

It writes a line of figures every few seconds, and at the end all of them as JSON: latencies, refusals, how many steps
ran, and whether any ran twice.

With --gather, machines that are powered on wait for each other, and their agents start together, over --spread. With
--beats, agents hold no heartbeat once a step runs, but send so many a second for the time of --for, each when its
time has come (open loop); without it, --for ends a run whose steps are longer.`
	cmd.Example = `  bessemer serve --fake-machines /run/bessemer/machines
  bessemer simulate --socket /run/bessemer/machines --nodes 1000 --step-time 1m
  bessemer simulate --socket /run/bessemer/machines --nodes 5000 --gather --spread 5s --inventory 100
  bessemer simulate --socket /run/bessemer/machines --nodes 2000 --step-time 24h --beats 1000 --for 1m`
	var s Simulation
	f := cmd.Flags()
	f.StringVar(&s.Socket, "socket", "", "Unix socket to play the machines at: the server's --fake-machines")
	f.StringVar(&s.Prefix, "prefix", "sim-", "of the nodes' names")
	f.IntVar(&s.Nodes, "nodes", 100, "how many machines")
	f.BoolVar(&s.Gather, "gather", false, "start the agents together, once all machines are on")
	f.DurationVar(&s.Spread, "spread", 5*time.Second, "over which gathered agents start")
	f.DurationVar(&s.StepTime, "step-time", 10*time.Second, "how long a step takes")
	f.IntVar(&s.Inventory, "inventory", 1, "size of an agent's inventory, kB")
	f.Float64Var(&s.Beats, "beats", 0, "heartbeats a second, all agents together, at a fixed rate")
	f.DurationVar(&s.For, "for", 0, "how long (default: until every node's cleaning has ended)")
	cmd.RunE = c.With(func(ctx context.Context, api *client.Client, _ []string) error {
		if s.Socket == "" {
			return input.Usage("--socket is missing: name the socket that the server was given by --fake-machines")
		}
		if s.Beats > 0 && s.For <= 0 {
			return input.Usage("--beats needs --for: how long to send heartbeats")
		}
		s.API = api
		return p.Simulate(ctx, s)
	})
	return cmd
}
