package plan

import (
	"cmp"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// coreStep is Ironic's name for what a deploy interface does by itself.
const coreStep = "deploy.deploy"

// automated lists what the flow runs by itself: every step with a priority above zero, defaults and the ramdisk's own
// steps included, in order.
func (b *builder) automated() {
	for _, s := range b.in.Registry.All() {
		own, offered := s.Priority[b.Flow]
		if !offered || s.Name == catalog.WriteStep {
			continue
		}
		priority := b.priority(s, own)
		if priority.Value <= 0 {
			continue
		}
		given, origins := defaults.Arguments(b.in.Defaults, b.Flow, s)
		args, err := s.Check(given)
		if err != nil {
			b.problem(fault.From(err), s.Name)
		}
		for name := range args {
			if _, set := origins[name]; !set {
				origins[name] = defaults.FromStep
			}
		}
		b.Items = append(b.Items, Item{Step: s, Args: args, Origins: origins, Priority: priority})
	}
	if b.Flow == state.Clean {
		items, problems := Joining(b.in.Registry, b.in.Offered, b.Flow)
		b.Items, b.Problems = append(b.Items, items...), append(b.Problems, problems...)
	}
	slices.SortStableFunc(b.Items, func(x, y Item) int {
		return step.Compare(x.Step, y.Step, x.Priority.Value, y.Priority.Value)
	})
}

// priority is a step's merged priority in the flow that is planned.
func (b *builder) priority(s step.Step, own int) Valued {
	value, from := defaults.Priority(b.in.Defaults, b.Flow, s, own)
	return Valued{value, from}
}

// Joining lists the steps of vendors' managers that a flow runs by itself once a ramdisk offers them.
func Joining(registry *step.Registry, offered []step.Step, f state.Flow) (items []Item, problems []*fault.Fault) {
	for _, s := range offered {
		if _, ours := registry.Get(s.Name); ours || s.Where != step.InBand || s.Priority[f] <= 0 {
			continue // a row of ours is planned by our own priority, and an agent does not speak for the BMC
		}
		args, err := s.Check(nil)
		if err == nil && bounded(s) != nil {
			err = bounded(s)
		}
		if err != nil {
			problems = append(problems, fault.From(err).At("", s.Name))
			continue
		}
		it := Item{Step: s, Args: args, Origins: map[string]defaults.Origin{}, Priority: Valued{s.Priority[f], defaults.FromStep}}
		for name := range args {
			it.Origins[name] = defaults.FromStep
		}
		items = append(items, it)
	}
	return items, problems
}

// automatedClean plans what provide and undeploy run. Without the erase step the machine would be called clean though
// nothing proves it: that needs the node's own audited exclusion (I5).
func (b *builder) automatedClean() {
	b.Automated = true
	if off := b.in.Node.AutomatedClean; off != nil && !*off {
		b.Exclusion = "automated cleaning is off for this node: nothing was erased"
		return
	}
	b.automated()
	if fit.Pretends(b.in.Interfaces, b.Flow) {
		b.Exclusion = "the deploy interface fake has no machine: nothing was erased"
		return
	}
	b.rebuild()
	if !b.has(catalog.EraseStep) {
		b.problem(fault.New(fault.DiskNotErased, "no step of this cleaning erases the disks").
			WithHint("give the step a priority above 0 for clean; a node whose disks are to stay as they are has automated_clean false"), catalog.EraseStep)
	}
}

// rebuild builds the arrays anew that the machine had, after its disks are erased: an erase takes them with the disks, and
// who asked for them wants them for the next instance, too.
func (b *builder) rebuild() {
	if !disks.Arrays(b.in.Node) || len(b.in.Node.TargetRAID) == 0 || b.has(catalog.CreateRAID) {
		return
	}
	s, ok := b.in.Registry.Get(catalog.CreateRAID)
	if !ok || s.Where != step.InBand {
		return
	}
	args, err := s.Check(nil)
	if err != nil {
		b.problem(fault.From(err), s.Name)
		return
	}
	it := Item{Step: s, Args: args, Origins: map[string]defaults.Origin{}}
	for name := range args {
		it.Origins[name] = defaults.FromStep
	}
	b.Items = append(b.Items, it)
	b.note("the machine's arrays are erased with its disks, and built anew from the node's target RAID configuration")
}

func (b *builder) has(name string) bool {
	return slices.ContainsFunc(b.Items, func(it Item) bool { return it.Step.Name == name })
}

// deployment plans the flow's own steps and the operator's deploy_steps: out of band first, by priority, then the
// in-band ones. Of a step that both have the operator's entry counts; 0 leaves it out.
func (b *builder) deployment() {
	b.automated()
	if f := fit.Instance(b.in.Node, b.in.Interfaces); f != nil {
		b.Problems = append(b.Problems, f)
	}
	if fit.BootsISO(b.in.Interfaces) {
		b.isoDeployment()
		return
	}
	writes := fit.WritesImage(b.in.Interfaces)
	if !writes && !fit.Pretends(b.in.Interfaces, b.Flow) { // custom-agent: the image is written if the operator's list says so
		writes = slices.ContainsFunc(b.in.Ask.DeploySteps, func(w step.Wanted) bool { return w.Name == catalog.WriteStep })
	}
	if !writes {
		b.ownDeployment()
		return
	}
	priority := Valued{Origin: defaults.FromStep}
	var write step.Step
	if s, ok := b.in.Registry.Get(catalog.WriteStep); ok {
		write = s
		priority.Value = s.Priority[state.Deploy]
		priority = b.priority(s, priority.Value)
	} else {
		b.problem(fault.New(fault.StepUnknown, "no ramdisk known here offers the step"), catalog.WriteStep)
	}
	for _, w := range b.in.Ask.DeploySteps {
		if w.Name == catalog.WriteStep {
			priority = Valued{w.Priority, FromOperator}
			if len(w.Args) > 0 {
				b.problem(fault.New(fault.StepArgument, "the step takes its arguments from instance_info, not from a list of steps").
					WithHint("set instance_info.image_source and its digest"), catalog.WriteStep)
			}
			continue
		}
		b.override(w)
	}
	if priority.Value <= 0 {
		b.problem(fault.New(fault.StepArgument, "a deployment can't leave the image out").WithHint("give the step a priority above 0"), catalog.WriteStep)
	}
	if write.Name != "" {
		b.Items = append(b.Items, b.image(write, priority))
	}
	b.orderDeployment()
}

// ownDeployment plans a deployment whose deploy interface writes no image: the operator's steps do what is to be done, or,
// with the interface fake, nothing is.
func (b *builder) ownDeployment() {
	for _, w := range b.in.Ask.DeploySteps {
		if w.Name == coreStep && w.Priority > 0 {
			b.problem(fault.New(fault.StepArgument, "it is what the deploy interface does, and can't be replaced").
				WithHint("leave it out of the list, or give it the priority 0 to leave it out of the deployment"), w.Name)
			continue
		}
		b.override(w)
	}
	inBand := slices.ContainsFunc(b.Items, func(it Item) bool { return it.Step.Where == step.InBand })
	how := b.in.Interfaces[drivers.Deploy]
	if !fit.Pretends(b.in.Interfaces, b.Flow) && !inBand && drivers.Why(drivers.Deploy, how) == "" {
		b.problem(fault.New(fault.StepUnknown, "the deploy interface %s writes no image by itself", how).
			WithHint("give the step that does it in deploy_steps, or take the deploy interface direct"), "")
	}
	b.orderDeployment()
}

// isoDeployment plans a deployment that ends with the boot of the operator's ISO. What goes before it goes through the BMC:
// no agent is booted, so that no disk is written.
func (b *builder) isoDeployment() {
	b.Items = slices.DeleteFunc(b.Items, func(it Item) bool { // a default's wish, for whatever is deployed
		inBand := it.Step.Where == step.InBand
		if inBand {
			b.note("%s needs an agent, and an ISO of the operator's is booted without one: it is left out", it.Step.Name)
		}
		return inBand
	})
	for _, w := range b.in.Ask.DeploySteps {
		if w.Name == coreStep {
			b.problem(fault.New(fault.StepArgument, "it is what the deploy interface does, and can neither be replaced nor left out").
				WithHint("leave it out of the list"), w.Name)
			continue
		}
		b.override(w)
	}
	for _, it := range b.Items {
		if it.Step.Where == step.InBand {
			b.problem(fault.New(fault.StepNotOffered, "the step needs an agent, and the deploy interface ramdisk boots the operator's ISO without one").
				WithHint("leave it out of deploy_steps; run it in a cleaning before, or take the deploy interface direct or custom-agent"), it.Step.Name)
		}
	}
	if _, err := fit.BootISO(b.in.Node.InstanceInfo); err != nil {
		b.Problems = append(b.Problems, fault.From(err))
	}
	what := "no disk is written"
	if b.redraws() {
		what = "no disk is written but by the RAID steps"
	}
	b.note("the machine is switched off, started from the ISO of instance_info.boot_iso, and active when its BMC has confirmed that: %s", what)
	b.orderDeployment()
}

// override puts an operator's step in the place of the flow's own of the same name; priority 0 leaves it out.
func (b *builder) override(w step.Wanted) {
	b.Items = slices.DeleteFunc(b.Items, func(it Item) bool { return it.Step.Name == w.Name })
	it, ok := b.wanted(w)
	if ok && w.Priority > 0 {
		it.Priority = Valued{w.Priority, FromOperator}
		b.Items = append(b.Items, it)
	}
}

// image makes the item that writes the image, and checks what can be checked before it.
func (b *builder) image(write step.Step, priority Valued) Item {
	it := Item{Step: write, Priority: priority, Origins: map[string]defaults.Origin{}}
	args, err := fit.ImageArgs(b.in.Node.InstanceInfo, b.in.Ask.Image)
	if err == nil {
		_, args["configdrive"] = b.in.Node.InstanceInfo["configdrive"]
		for name := range args {
			it.Origins[name] = FromInstance
		}
		it.Args, err = write.Check(args)
	}
	if err != nil {
		b.Problems = append(b.Problems, fault.From(err))
	}
	if b.in.Accepted != nil && !b.redraws() && !b.has(catalog.ApplyRAID) && !disks.Restacked(b.in.Node, *b.in.Accepted) { // else the boot shows which it is
		if _, err := disks.Root(b.in.Node, *b.in.Accepted); err != nil {
			b.Problems = append(b.Problems, fault.From(err))
		}
	}
	return it
}

// orderDeployment sorts by vector, then priority; the operator's order decides between equals. A reserved step goes
// with the out-of-band ones while one of lower priority is still to come there, else with the in-band ones.
func (b *builder) orderDeployment() {
	group := func(it Item) int {
		switch it.Step.Where {
		case step.OutOfBand:
			return 0
		case step.Server:
			if slices.ContainsFunc(b.Items, func(o Item) bool {
				return o.Step.Where == step.OutOfBand && o.Priority.Value < it.Priority.Value
			}) {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(b.Items, func(x, y Item) int {
		return cmp.Or(cmp.Compare(group(x), group(y)), cmp.Compare(y.Priority.Value, x.Priority.Value))
	})
}
