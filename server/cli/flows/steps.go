package flows

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// manualCommand is clean or service: both run an operator's list of steps.
func manualCommand(c *command.Run, v work.Verb) *cobra.Command {
	var file, runbook string
	var steps []string
	var noRamdisk, onChildren bool
	var children []string
	cmd := &cobra.Command{Use: v.Name + " [NODE ...]", Short: "Run " + v.Name + " steps by name"}
	cmd.Long = `Runs the steps in the order given; the node must be manageable, and is so again at the end. A wrong step or argument is
refused before anything is begun. bessemer node steps --available NODE lists the steps with their arguments;
bessemer node plan NODE --clean --steps FILE shows what the list would do.`
	cmd.Example = `  bessemer node clean n1 --step deploy.erase_devices:method=overwrite,verify=full --watch
  bessemer node clean n1 --step management.reset_bmc --step bios.factory_reset
  bessemer node clean n1 --step firmware.update:settings='[{"component": "bios", "url": "http://192.0.2.20/bios.bin"}]' --watch
  bessemer node clean --where state=manageable,resource_class=big --steps steps.yaml`
	if v.Name == work.Service.Name {
		cmd.Long = `Runs the steps in the order given on a machine that is active, which it is again at the end. Its instance stays; the
ramdisk is booted only if a step needs it. bessemer node plan NODE --service --steps FILE shows what the list would do.`
		cmd.Example = "  bessemer node service n1 --step bios.apply_configuration:settings=@settings.json --watch\n" +
			`  bessemer node service n1 --step bios.apply_configuration:settings='[{"name": "BootMode", "value": "Uefi"}]' --step power.reboot`
	}
	cmd.Long += "\n\n" + acts.Help
	m := acts.On(c, cmd)
	var w waiting
	w.add(cmd)
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		wanted, err := c.WantedSteps(file, steps)
		if err != nil {
			return err
		}
		if len(children) > 0 && !onChildren {
			return input.Usage("--child-node goes with --on-child-nodes")
		}
		if onChildren && (file != "" || len(steps) == 0) {
			return input.Usage("--on-child-nodes goes with --step; in a file each step says it: execute_on_child_nodes: true")
		}
		for i := range wanted {
			wanted[i].OnChildren, wanted[i].Children = wanted[i].OnChildren || onChildren, append(wanted[i].Children, children...)
		}
		if len(wanted) == 0 && runbook == "" {
			return input.Usage("give --step or --steps; bessemer node steps --available NODE lists them")
		}
		if len(wanted) > 0 && runbook != "" {
			return input.Usage("give steps or --runbook, not both")
		}
		p := api.Provision{Target: v.Target, Runbook: runbook}
		if v.Name == work.Service.Name {
			p.ServiceSteps = wanted
		} else {
			p.CleanSteps = wanted
		}
		if noRamdisk {
			p.DisableRamdisk = &noRamdisk
		}
		v := v
		if slices.ContainsFunc(wanted, destroysData) || runbook != "" {
			v.Destroys = "the steps may destroy what is on the disks"
		}
		return runVerb(ctx, m, a, args, v, w, func(ctx context.Context, t *acts.Turn, node string) error {
			if v.Name == work.Clean.Name && runbook == "" {
				plan, err := a.Plan(ctx, node, p)
				if err != nil {
					return err
				}
				if err := refused(plan); err != nil {
					return err // before anything is begun
				}
			}
			return provision(ctx, t, node, v, p, w)
		})
	})
	f := cmd.Flags()
	stepFlags(cmd, &file, &steps)
	command.Also(cmd, "steps", v.Name+"-steps")
	f.BoolVar(&onChildren, "on-child-nodes", false, "run each --step on the nodes below the node instead: power acts, and wait with seconds")
	f.StringArrayVar(&children, "child-node", nil, "UUID of a node below it: on this one alone; may be repeated")
	f.StringVar(&runbook, "runbook", "", "a runbook's steps instead, by its name or UUID")
	f.BoolVar(&noRamdisk, "disable-ramdisk", false, "refuse steps that need the ramdisk")
	return cmd
}

// destroysData tells whether a step may destroy data on a machine's disks, as far as its name says.
func destroysData(s api.WantedStep) bool {
	if slices.Contains([]string{"hold", "wait", "power_on", "power_off", "reboot"}, s.Step) {
		return false
	}
	return !slices.Contains([]string{"management", "power", "bios", "firmware"}, s.Interface)
}

func stepFlags(cmd *cobra.Command, file *string, steps *[]string) {
	cmd.Flags().StringVar(file, "steps", "", "file of steps: a YAML or JSON list of interface, step and args (with priority for a deployment)")
	cmd.Flags().StringArrayVar(steps, "step", nil, "INTERFACE.STEP[:KEY=VALUE,...]; VALUE may be JSON, or @FILE that holds it; may be repeated")
}
