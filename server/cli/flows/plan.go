package flows

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// plannedVerbs are the flags of node plan: the verb's word and the API's target for it.
var plannedVerbs = []struct{ flag, target, doc string }{
	{"clean", "clean", "a cleaning by the steps given by --step or --steps"},
	{"provide", "provide", "the automated cleaning of provide"},
	{"deploy", "active", "a deployment of what instance_info names"},
	{"rebuild", "rebuild", "the same over an instance"},
	{"undeploy", "deleted", "the automated cleaning of undeploy"},
	{"inspect", "inspect", "an inspection"},
	{"service", "service", "a service by the steps given by --step or --steps"},
}

func planCommand(c *command.Run) *cobra.Command {
	var file string
	var steps []string
	var noRamdisk bool
	flags := map[string]*bool{}
	cmd := command.Exactly("plan NODE", 1)
	cmd.Short = "Show what a verb would do, without doing it"
	cmd.Long = `Shows the steps that a verb would run, in order: where the ramdisk is booted, which disks are touched (by the last
inspection), how long it should take, and where each argument comes from. The server makes the plan by the same code as
the real one; nothing is written, and the machine is not asked. All that is wrong is told at once.`
	cmd.Example = `  bessemer node plan n1 --provide
  bessemer node plan n1 --clean --step management.reset_bmc --step deploy.erase_devices:verify=full
  bessemer node plan n1 --deploy --steps steps.yaml -o json`
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		p := api.Provision{}
		for _, v := range plannedVerbs {
			if *flags[v.flag] {
				if p.Target != "" {
					return input.Usage("give one of --%s", strings.Join(flagNames(), ", --"))
				}
				p.Target = v.target
			}
		}
		if p.Target == "" {
			return input.Usage("give one of --%s", strings.Join(flagNames(), ", --"))
		}
		wanted, err := c.WantedSteps(file, steps)
		if err != nil {
			return err
		}
		switch {
		case (p.Target == "clean" || p.Target == "service") && len(wanted) == 0:
			return input.Usage("give --step or --steps; bessemer node steps --available %s lists them", args[0])
		case p.Target == "clean":
			p.CleanSteps = wanted
		case p.Target == "service":
			p.ServiceSteps = wanted
		case p.Target == "active" || p.Target == "rebuild":
			if len(steps) > 0 {
				return input.Usage("a deployment's steps need a priority each: give --steps FILE")
			}
			p.DeploySteps = wanted
		case len(wanted) > 0:
			return input.Usage("--step and --steps go with --clean, --service or --deploy")
		}
		if noRamdisk {
			p.DisableRamdisk = &noRamdisk
		}
		plan, err := a.Plan(ctx, args[0], p)
		if err != nil {
			return err
		}
		if err := c.Emit(plan, func(w io.Writer) { planTable(c, w, plan) }); err != nil {
			return err
		}
		return refused(plan)
	})
	f := cmd.Flags()
	for _, v := range plannedVerbs {
		flags[v.flag] = f.Bool(v.flag, false, "plan "+v.doc)
	}
	stepFlags(cmd, &file, &steps)
	f.BoolVar(&noRamdisk, "disable-ramdisk", false, "refuse steps that need the ramdisk")
	return cmd
}

func flagNames() (out []string) {
	for _, v := range plannedVerbs {
		out = append(out, v.flag)
	}
	return out
}

// refused is all that is wrong with a plan as one error, nil when nothing is.
func refused(p api.Plan) error {
	if len(p.Problems) == 0 {
		return nil
	}
	if len(p.Problems) == 1 {
		return p.Problems[0].Err()
	}
	var lines, hints []string
	for _, f := range p.Problems {
		lines = append(lines, "\n  - "+f.Message)
		if f.Hint != "" && !slices.Contains(hints, f.Hint) {
			hints = append(hints, f.Hint)
		}
	}
	return fault.New(fault.Reason(p.Problems[0].Reason), "%d things are wrong with the plan:%s", len(lines), strings.Join(lines, "")).
		WithHint("%s", strings.Join(hints, "; "))
}

func planTable(c *command.Run, w io.Writer, p api.Plan) {
	output.Row(w, "node", cmp.Or(p.Name, string(p.Node)), string(p.State))
	if p.Blocked != "" {
		output.Row(w, "not now", p.Blocked)
	}
	fmt.Fprintln(w)
	boot := func() { output.Row(w, "", "boot of the ramdisk", "", "", "", about(p.BootTime)) }
	output.Row(w, "#", "STEP", "WHERE", "DISKS", "DEADLINE", "EXPECTED", "ARGUMENTS")
	if p.BootFirst {
		boot()
	}
	for i, s := range p.Steps {
		if s.Boots {
			boot()
		}
		name := s.Step
		if s.Priority > 0 {
			name += fmt.Sprintf(" (%d%s)", s.Priority, strings.TrimSuffix(" from "+s.PriorityOrigin, " from step"))
		}
		output.Row(w, strconv.Itoa(i+1), name, string(s.Where), output.Dash(diskNames(s.Disks)), output.Span(time.Duration(s.Deadline)*time.Second),
			cmp.Or(about(s.Expected), "?"), argumentText(s))
	}
	if len(p.Steps) == 0 && !p.BootFirst {
		output.Row(w, "", "no steps")
	}
	fmt.Fprintln(w)
	output.Row(w, "boots", strconv.Itoa(p.Boots))
	total := cmp.Or(about(p.Expected), "can't be told")
	if p.Expected > 0 && p.Unknown > 0 {
		total += fmt.Sprintf(", not counting those marked ? (%d)", p.Unknown)
	}
	output.Row(w, "expected", total)
	for _, d := range touched(p) {
		output.Row(w, "touches", diskText(d))
	}
	for _, d := range p.Skipped {
		output.Row(w, "skips", diskText(d))
	}
	output.Pair(w, "excluded", p.Exclusion)
	for _, n := range p.Notes {
		output.Row(w, "note", n)
	}
}

// touched lists the disks that any step touches, once.
func touched(p api.Plan) (out []api.PlannedDisk) {
	for _, s := range p.Steps {
		for _, d := range s.Disks {
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

func diskNames(disks []api.PlannedDisk) string {
	var out []string
	for _, d := range disks {
		out = append(out, strings.TrimPrefix(d.Name, "/dev/"))
	}
	return strings.Join(out, ",")
}

func diskText(d api.PlannedDisk) string {
	return strings.Join(slices.DeleteFunc([]string{d.Name, d.Model, d.Serial, d.WWN, output.Size(float64(d.Size))}, func(s string) bool { return s == "" }), ", ")
}

// argumentText is a step's arguments, with the origin of those that are not the step's own defaults.
func argumentText(s api.PlannedStep) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Args)) {
		text := output.Flat(map[string]any{name: s.Args[name]})
		if o := s.Origins[name]; o != "" && o != "step" {
			text += " (" + o + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// about is a number of seconds for people; "" for none.
func about(seconds int64) string {
	if seconds <= 0 {
		return ""
	}
	return output.Span(time.Duration(seconds) * time.Second)
}
