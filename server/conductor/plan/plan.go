// Package plan makes the plan of a verb: which steps it runs on a node, in what order, with which arguments, where the
// ramdisk is booted, which disks are touched, how long it may take, and all that is wrong with it. It is pure.
//
// Start at Build. Package decide runs what it makes; bessemer node plan shows it.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// longest is what a step that only the agent knows may take: its own word must not make a wait without end (I14).
const longest = 7 * 24 * time.Hour

// rescueStep is what a rescue does.
const rescueStep = "rescue.finalize_rescue"

// Input is all that a plan is made of.
type Input struct {
	Node     conductor.Node
	Ask      conductor.Provision
	Registry *step.Registry // what the node's hardware type and the stock ramdisk offer
	// Interfaces are the node's implementations, as in Snapshot.
	Interfaces map[string]string
	Offered    []step.Step              // what the node's ramdisk said that it offers; nil when none has
	Defaults   []conductor.Default      // those that hold for this node, weakest first (defaults.Scopes)
	Templates  []conductor.Template     // the deploy templates of the instance's traits, in its order
	Accepted   *inventory.Inventory     // what the last inspection stored; nil before one
	Agent      bool                     // an agent is up that the flow can use
	Took       map[string]time.Duration // how long steps took on this node, by name; "" is a boot of the ramdisk
}

// Plan is what a verb would do to a node, in order: the steps, where the ramdisk is booted, which disks are touched and
// what is wrong with it. Decide runs what Build makes; bessemer node plan shows it.
type Plan struct {
	Flow      state.Flow
	Automated bool // the flow chose the steps, not an operator's list
	Items     []Item
	Boots     int              // how often the ramdisk is booted
	BootFirst bool             // before any step: an inspection, which has none
	Skipped   []inventory.Disk // disks that the skip list keeps from every step
	Exclusion string           // why an automated cleaning erases nothing; audited
	Blocked   string           // Preview: why the verb can't be asked for now; the plan is that of a later time
	Notes     []string         // for people: what the plan could not tell beforehand
	Problems  []*fault.Fault   // all that is wrong; with one the plan does not run
	Expect    time.Duration    // of all steps and boots whose duration can be told
	Unknown   int              // how many steps could not be told
	BootTime  time.Duration    // expected for one boot
}

// Item is one step of a plan.
type Item struct {
	Step     step.Step      // with its vector, deadline (Timeout) and Repeat
	Args     step.Args      // checked, defaults filled in
	Children *step.Children // it runs on the nodes below the node
	Origins  map[string]defaults.Origin
	Priority Valued // automated flows and deployments: what it was ordered by
	Boots    bool   // the ramdisk is booted before it
	Disks    []inventory.Disk
	Expect   time.Duration // 0: can't be told
	Basis    string        // where Expect comes from: "measured" on this node, "estimate"
}

// The origins of what no default says.
const (
	FromOperator defaults.Origin = "operator"
	FromInstance defaults.Origin = "instance_info"
)

// Valued is a number with its origin.
type Valued struct {
	Value  int
	Origin defaults.Origin
}

// Err is what is wrong with the plan as one fault, nil when nothing is: unknown steps before wrong arguments.
func (p Plan) Err() error {
	switch len(p.Problems) {
	case 0:
		return nil
	case 1:
		return p.Problems[0]
	}
	first := p.Problems[0]
	var all []string
	for _, f := range p.Problems {
		if f.Reason == fault.StepUnknown && first.Reason != fault.StepUnknown {
			first = f
		}
		text := f.Message
		if f.Step != "" {
			text = f.Step + ": " + text
		}
		all = append(all, text)
	}
	return fault.New(first.Reason, "%s", strings.Join(all, "; ")).WithHint("%s", first.Hint)
}

// Build makes the plan of a verb. It is pure, and never fails: what is wrong stands in Problems, all of it at once.
// A verb without steps (manage, abort, ...) has an empty plan.
func Build(in Input) Plan {
	b := &builder{in: in}
	switch in.Ask.Verb {
	case state.VerbProvide, state.VerbDelete:
		b.Flow = state.Clean
		b.automatedClean()
	case state.VerbClean:
		b.Flow = state.Clean
		b.list(in.Ask.CleanSteps)
	case state.VerbDeploy, state.VerbRebuild:
		b.Flow = state.Deploy
		b.addTemplates()
		b.deployment()
		b.nameTemplates()
	case state.VerbInspect:
		b.Flow = state.Inspect
		switch {
		case fit.Reads(in.Interfaces, state.Inspect):
			b.note("the machine is read through its BMC: nothing is booted, and its power stays as it is")
		case !fit.Pretends(in.Interfaces, state.Inspect):
			b.BootFirst, b.Boots = true, 1
		}
	case state.VerbManage:
		b.Flow = state.Verify
	case state.VerbService:
		b.Flow = state.Service
		b.list(in.Ask.ServiceSteps)
	case state.VerbRescue:
		b.Flow = state.RescueFlow
		if fit.Pretends(in.Interfaces, state.RescueFlow) {
			break
		}
		b.automated()
		if !b.has(rescueStep) {
			b.problem(fault.New(fault.StepUnknown, "no ramdisk known here offers the step"), rescueStep)
		}
	}
	b.volumes()
	b.arrays()
	b.place()
	b.fits()
	b.disks()
	b.expect()
	return b.Plan
}

// builder is one run of Build.
type builder struct {
	Plan
	in       Input
	template map[string]string // of a step that a deploy template adds
}

func (b *builder) problem(f *fault.Fault, name string) {
	f.Step = name
	b.Problems = append(b.Problems, f)
}

// find looks a step up: reserved ones first, then the server's own rows, then what the ramdisk offers.
func (b *builder) find(name string) (step.Step, *fault.Fault) {
	s, ok := catalog.ReservedStep(name)
	if !ok {
		s, ok = b.in.Registry.Get(name)
	}
	if !ok {
		i := slices.IndexFunc(b.in.Offered, func(o step.Step) bool { return o.Name == name && o.Where == step.InBand })
		if i >= 0 {
			s, ok = b.in.Offered[i], true
			if f := bounded(s); f != nil {
				return s, f
			}
		}
	}
	if !ok {
		return s, fault.New(fault.StepUnknown, "the step is not known").WithHint("the steps for %s are %s", b.Flow, strings.Join(b.in.Registry.Names(b.Flow), ", "))
	}
	if _, ok := s.Priority[b.Flow]; !ok {
		return s, fault.New(fault.StepUnknown, "the step is not offered for %s", b.Flow).
			WithHint("the steps for %s are %s", b.Flow, strings.Join(b.in.Registry.Names(b.Flow), ", "))
	}
	if b.Flow == state.Service && s.Touches != step.Nothing {
		return s, fault.New(fault.StepNotOffered, "the step writes to disks, and those of a machine in service hold an instance's data").
			WithHint("undeploy or rebuild the node; no service writes to disks")
	}
	return s, nil
}

// bounded refuses a ramdisk's own step without an end (I14).
func bounded(s step.Step) *fault.Fault {
	if s.Timeout > 0 && s.Timeout <= longest {
		return nil
	}
	return fault.New(fault.StepArgument, "the ramdisk's own step may take %s, expected more than 0 and at most %s", s.Timeout, longest)
}

// wanted makes an item of an operator's entry; ok is false when the step is unknown. Wrong arguments are a problem, but
// the item stays, so that what follows from it is told, too.
func (b *builder) wanted(w step.Wanted) (Item, bool) {
	s, f := b.find(w.Name)
	if f == nil && w.Children != nil {
		s, f = onChildren(s)
	}
	if f != nil {
		b.problem(f, w.Name)
		return Item{}, false
	}
	args, err := s.Check(w.Args)
	if err != nil {
		b.problem(fault.From(err), w.Name)
	}
	it := Item{Step: s, Args: args, Children: w.Children, Origins: map[string]defaults.Origin{}}
	for name := range args {
		it.Origins[name] = defaults.FromStep
		if v, given := w.Args[name]; given && v != nil {
			it.Origins[name] = FromOperator
		}
	}
	return it, true
}

// list takes an operator's list in its order.
func (b *builder) list(wanted []step.Wanted) {
	for _, w := range wanted {
		if it, ok := b.wanted(w); ok {
			b.Items = append(b.Items, it)
		}
	}
}

// arrays finds what is wrong with the arrays that a step is to build, before anything is booted for it.
func (b *builder) arrays() {
	for _, it := range b.Items {
		if _, err := disks.Wanted(b.in.Node, it.Step, it.Args); err != nil {
			b.problem(fault.From(err), it.Step.Name)
		}
	}
}

// place tells where the ramdisk is booted: at the first in-band step that finds no agent up. A step that restarts the
// machine ends the ramdisk.
func (b *builder) place() {
	up := b.in.Agent
	for i := range b.Items {
		it := &b.Items[i]
		s := it.Step
		switch {
		case s.Where == step.InBand && b.in.Ask.NoRamdisk:
			b.problem(fault.New(fault.StepArgument, "the step needs the ramdisk, but disable_ramdisk is set").
				WithHint("leave the step or disable_ramdisk out"), s.Name)
		case s.Where == step.InBand && !up:
			it.Boots, up = true, true
			b.Boots++
		case it.Children != nil:
			b.placeOnChildren(*it)
		case s.Where == step.Server:
			b.placeReserved(*it, up)
		}
		if s.Reboot {
			up = false
		}
	}
}

// disks tells which disks each step touches, by the last inspection. What can't be told is a note and no problem: the
// inventory that counts is the one that the boot brings.
func (b *builder) disks() {
	touches := slices.ContainsFunc(b.Items, func(it Item) bool { return it.Step.Touches != step.Nothing })
	if !touches {
		return
	}
	if b.redraws() {
		b.note("RAID volumes are made or deleted through the BMC: which disks are touched is known only when that is done")
		return
	}
	if b.in.Accepted == nil {
		b.note("the machine was never inspected: which disks are touched is known only when the ramdisk is up")
		return
	}
	n, inv := b.in.Node, *b.in.Accepted
	skip, err := inventory.List(n.Properties, "skip_block_devices")
	if err == nil {
		var warnings []string
		if _, b.Skipped, warnings, err = inventory.Skipped(inv.Disks, skip); err == nil {
			b.Notes = append(b.Notes, warnings...)
		}
	}
	if err != nil {
		b.note("which disks are touched can't be told: %s", fault.From(err).Error())
		return
	}
	for i := range b.Items {
		it := &b.Items[i]
		switch it.Step.Touches {
		case step.AllDisks:
			it.Disks, err = inventory.Targets(inv, n.Properties)
		case step.RootDisk:
			var d inventory.Disk
			if d, err = disks.Root(n, inv); err == nil {
				it.Disks = []inventory.Disk{d}
				if kept := disks.Kept(n, inv); kept != "" {
					b.note("%s: %s", it.Step.Name, kept)
				}
			}
		default:
			continue
		}
		if err != nil {
			b.note("%s: %s", it.Step.Name, fault.From(err).Error())
		}
	}
}

func (b *builder) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(b.Notes, text) {
		b.Notes = append(b.Notes, text)
	}
}

// fits finds out whether the machine can do what the plan needs. A deletion's cleaning asks the BMC anew.
func (b *builder) fits() {
	if b.in.Ask.Verb == state.VerbDelete || b.Boots == 0 && b.Flow != state.Deploy && b.Flow != state.Inspect {
		return
	}
	if f := fit.For(b.in.Node, b.in.Interfaces, b.Flow); f != nil {
		b.problem(f, "")
	}
}

// placeReserved finds what a reserved step can't do at its place.
func (b *builder) placeReserved(it Item, up bool) {
	switch it.Step.Short() {
	case "wait":
		if _, timed := it.Args["seconds"]; !timed && !up {
			b.problem(fault.New(fault.StepArgument, "it waits for the agent's next heartbeat, and no agent is up there").
				WithHint("give seconds, or put it behind a step that needs the ramdisk"), it.Step.Name)
		}
	case "power_off":
		if b.in.Node.DisablePowerOff {
			b.problem(fault.New(fault.NodeInUse, "power off is disabled for this node").WithHint("bessemer node set NODE --disable-power-off false first"), it.Step.Name)
		}
	}
}

// longestOnChildren is what a step may take on all the nodes below a node together; each act upon one has a limit of its own.
const longestOnChildren = 2 * time.Hour

// onChildren is a step as it runs on the nodes below a node: the server does its act on each. Steps that would make a
// child wait for somebody are refused, as in Ironic; here that is every step that is not the server's own.
func onChildren(s step.Step) (step.Step, *fault.Fault) {
	if s.Where != step.Server || s.Short() == "hold" {
		return s, fault.New(fault.StepArgument, "the step would wait on a child node, and none may").
			WithHint("power_on, power_off, reboot and wait with seconds run there; ask for others on each of those nodes by itself")
	}
	s.Doc, s.Reboot, s.Timeout = "On each of the nodes below, in turn: "+s.Doc, false, longestOnChildren
	return s, nil
}

// placeOnChildren finds what can't be done there.
func (b *builder) placeOnChildren(it Item) {
	if _, timed := it.Args["seconds"]; it.Step.Short() == "wait" && !timed {
		b.problem(fault.New(fault.StepArgument, "it waits for an agent's next heartbeat, and on a child node none may wait").WithHint("give seconds"), it.Step.Name)
	}
}
