package conductor

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// verb answers a caller's verb: refuse it, or start what it asks for.
func (d *decider) verb(e VerbAsked) {
	ask := e.Ask
	// Two rows lead out of a busy state (the end of a manual clean, the clean after a deletion): they are the
	// server's own, no caller's.
	f, busy := state.FlowOf(d.n.State)
	if _, ok := state.Next(d.n.State, ask.Verb); !ok || busy && d.n.State == f.Doing {
		d.Refuse = d.notHere(ask.Verb)
		return
	}
	if d.Refuse = d.forbidden(ask.Verb); d.Refuse != nil {
		return
	}
	switch ask.Verb {
	case state.VerbManage:
		d.manage(e)
	case state.VerbProvide:
		d.provide(e)
	case state.VerbClean:
		d.manualClean(e)
	case state.VerbInspect:
		d.inspect(e)
	case state.VerbDeploy, state.VerbRebuild:
		d.deploy(e)
	case state.VerbDelete:
		d.undeploy(e)
	case state.VerbAbort:
		d.abort(e)
	default:
		d.Refuse = fault.New(fault.StateVerb, "%s is not offered by this server yet", ask.Verb).
			WithHint("possible here: %s", verbs(d.n.State)).At(string(d.n.UUID), "")
	}
}

// notHere refuses a verb; while a worker is busy with the node the same verb may be right later.
func (d *decider) notHere(v state.Event) error {
	id := string(d.n.UUID)
	if f, ok := state.FlowOf(d.n.State); ok && d.n.State == f.Doing {
		busy := fault.New(fault.NodeBusy, "the node is %s; %s has to wait until that ends", d.n.State, v).At(id, "")
		if flow := d.open(); flow != nil && flow.Wait != nil {
			busy.WithHint("it waits for %s, until %s at the latest: bessemer node show %s",
				flow.Wait.For, flow.Wait.Deadline.UTC().Format(time.RFC3339), cmp.Or(d.n.Name, id))
		}
		return busy
	}
	return fault.New(fault.StateVerb, "%s is not possible in state %q", v, d.n.State).
		WithHint("possible here: %s", verbs(d.n.State)).At(id, "")
}

// forbidden applies the flags an operator sets on a node, as Ironic does.
func (d *decider) forbidden(v state.Event) error {
	n, id := d.n, string(d.n.UUID)
	destroys := v == state.VerbDelete || v == state.VerbRebuild
	switch {
	case n.Maintenance && (v == state.VerbDeploy || v == state.VerbRebuild || v == state.VerbClean || v == state.VerbService):
		return fault.New(fault.NodeMaintenance, "%s is not possible: the node is in maintenance (%s)", v, cmp.Or(n.MaintenanceReason, "no reason given")).At(id, "")
	case n.Protected && destroys:
		return fault.New(fault.NodeProtected, "%s is not possible: the node is protected (%s)", v, cmp.Or(n.ProtectedReason, "no reason given")).At(id, "")
	case n.Retired && v == state.VerbProvide:
		return fault.New(fault.NodeRetired, "provide is not possible: the node is retired (%s)", cmp.Or(n.RetiredReason, "no reason given")).At(id, "")
	}
	if d.n.PowerTarget != "" {
		return fault.New(fault.NodeBusy, "%s has to wait until the power act (%s) has ended", v, d.n.PowerTarget).At(id, "")
	}
	return nil
}

// begin opens a flow: the state moves, the old error goes, the steps are stored as planned.
func (d *decider) begin(e VerbAsked, f state.Flow, via state.Event, plan []step.Item) bool {
	d.n.Flow = &Flow{
		Run: d.s.NewID(), Flow: f, Phase: PhaseSteps, Started: d.now, NoRamdisk: e.Ask.NoRamdisk,
		Actor: e.Caller.Name, Request: e.Caller.Request, TearDown: d.tearDown,
		Booted: d.live(), // a ramdisk that runs already is this flow's from now on, and ends with it
	}
	if !d.enter(via) {
		return false
	}
	d.n.LastError, d.n.LastReason = "", ""
	d.n.Target = state.Row(f).Target
	d.s.Steps = nil
	for i, it := range plan {
		d.put(StepRecord{
			ID: step.ID(d.s.NewID()), Node: d.n.UUID, Run: d.n.Flow.Run, Order: i, Attempt: 1,
			Step: it.Step, Args: it.Args, State: StepPlanned,
		})
	}
	return true
}

func (d *decider) manage(e VerbAsked) {
	if d.n.State != state.Enroll {
		if d.enter(state.VerbManage) {
			d.n.Target, d.n.LastError, d.n.LastReason = "", "", ""
		}
		return
	}
	if !d.begin(e, state.Verify, state.VerbManage, nil) {
		return
	}
	d.n.Flow.Phase = PhaseVerify
	d.wait("bmc", "the BMC to answer and to accept the credentials", d.s.Timeouts.BMC, fault.BMCUnreachable)
	d.effect(Effect{Kind: EffectVerify})
}

func (d *decider) inspect(e VerbAsked) {
	if d.begin(e, state.Inspect, state.VerbInspect, nil) {
		d.n.InspectionStarted = d.now
		d.boot()
	}
}

func (d *decider) provide(e VerbAsked) {
	d.clean(e, state.VerbProvide)
}

// clean starts an automated clean, from provide or after a deletion.
func (d *decider) clean(e VerbAsked, via state.Event) {
	var plan []step.Item
	off := d.n.AutomatedClean != nil && !*d.n.AutomatedClean
	if !off {
		for _, s := range d.s.Registry.Automated(state.Clean) {
			args, err := s.Check(nil)
			if err != nil {
				d.Refuse = err
				return
			}
			plan = append(plan, step.Item{Step: s, Args: args})
		}
	}
	if !d.begin(e, state.Clean, via, plan) {
		return
	}
	if off {
		d.note("INFO", "provisioning", 0, "automated cleaning is off for this node: nothing was erased")
		d.audit("clean.skipped", map[string]any{"automated_clean": false})
	}
	d.next()
}

// manualClean runs an operator's list in its order. A wrong list is accepted and fails before any boot, as upstream
// has it.
func (d *decider) manualClean(e VerbAsked) {
	plan, err := d.s.Registry.Manual(state.Clean, e.Ask.CleanSteps)
	if err == nil && e.Ask.NoRamdisk {
		for _, it := range plan {
			if it.Step.Where == step.InBand {
				err = fault.New(fault.StepArgument, "step %s needs the ramdisk, but disable_ramdisk is set", it.Step.Name)
				break
			}
		}
	}
	if !d.begin(e, state.Clean, state.VerbClean, plan) {
		return
	}
	d.n.Flow.Manual, d.n.Target = true, state.Manageable
	if err != nil {
		d.fail(fault.From(err))
		return
	}
	d.next()
}

// deploy checks what can be checked before it accepts, then plans: out-of-band steps first, by
// priority, then the in-band ones.
func (d *decider) deploy(e VerbAsked) {
	if e.ConfigDrive {
		d.n.InstanceInfo = maps.Clone(d.n.InstanceInfo)
		d.n.InstanceInfo["configdrive"] = Masked
	}
	plan, err := d.deployPlan(e.Ask)
	if err != nil {
		d.Refuse = err
		return
	}
	if d.begin(e, state.Deploy, e.Ask.Verb, plan) {
		d.next()
	}
}

func (d *decider) deployPlan(ask Provision) ([]step.Item, error) {
	write, ok := d.s.Registry.Get("deploy.write_image")
	if !ok {
		return nil, fault.New(fault.StepUnknown, "no ramdisk known here offers deploy.write_image")
	}
	args, err := ImageArgs(d.n.InstanceInfo)
	if err != nil {
		return nil, err
	}
	_, args["configdrive"] = d.n.InstanceInfo["configdrive"]
	if args, err = write.Check(args); err != nil {
		return nil, err
	}
	if d.s.Accepted != nil {
		if _, err := RootDisk(*d.n, *d.s.Accepted); err != nil {
			return nil, err
		}
	}
	items, err := d.s.Registry.Manual(state.Deploy, ask.DeploySteps)
	if err != nil {
		return nil, err
	}
	priority := map[string]int{write.Name: write.Priority[state.Deploy]}
	for _, w := range ask.DeploySteps {
		priority[w.Name] = w.Priority
	}
	items = slices.DeleteFunc(items, func(it step.Item) bool { return it.Step.Name == write.Name || priority[it.Step.Name] <= 0 })
	items = append(items, step.Item{Step: write, Args: args})
	slices.SortStableFunc(items, func(a, b step.Item) int {
		if a.Step.Where != b.Step.Where {
			if a.Step.Where == step.OutOfBand {
				return -1
			}
			return 1
		}
		return priority[b.Step.Name] - priority[a.Step.Name]
	})
	return items, nil
}

// ImageArgs makes the arguments of deploy.write_image from instance_info.
func ImageArgs(info map[string]any) (step.Args, error) {
	text := func(k string) string { s, _ := info[k].(string); return s }
	url := text("image_source")
	if url == "" {
		return nil, fault.New(fault.RequestInvalid, "instance_info.image_source is not set").
			WithHint("set it to the image's http or https URL, or use bessemer node deploy NODE --image NAME")
	}
	algo, digest := strings.ToLower(text("image_os_hash_algo")), strings.ToLower(text("image_os_hash_value"))
	if sum := strings.ToLower(text("image_checksum")); digest == "" && sum != "" {
		digest = sum
		algo = map[int]string{64: "sha256", 128: "sha512"}[len(sum)]
	}
	if digest == "" || algo == "" {
		return nil, fault.New(fault.RequestInvalid, "instance_info names no SHA-256 or SHA-512 digest of the image").
			WithHint("set image_os_hash_algo (sha256 or sha512) and image_os_hash_value")
	}
	if want := map[string]int{"sha256": 64, "sha512": 128}[algo]; want != len(digest) || strings.Trim(digest, "0123456789abcdef") != "" {
		return nil, fault.New(fault.RequestInvalid, "image digest: %q is not a %s digest in hex", digest, cmp.Or(algo, "known")).
			WithHint("image_os_hash_algo is sha256 (64 hex digits) or sha512 (128)")
	}
	args := step.Args{"url": url, "digest_algorithm": algo, "digest": digest}
	name := path.Base(strings.SplitN(url, "?", 2)[0])
	switch format := text("image_disk_format"); {
	case strings.HasSuffix(name, ".zst") || strings.HasSuffix(name, ".zstd") || format == "raw.zst":
		args["format"] = "raw.zst"
	case format == "": // the agent goes by the name
	case format == "raw":
		args["format"] = "raw"
	default:
		return nil, fault.New(fault.ImageFormat, "image_disk_format is %q", format)
	}
	return args, nil
}

// RootDisk selects the disk that gets the image: instance_info.root_device before properties.root_device.
func RootDisk(n Node, inv inventory.Inventory) (inventory.Disk, error) {
	hints, ok := n.InstanceInfo["root_device"].(map[string]any)
	if !ok {
		hints, _ = n.Properties["root_device"].(map[string]any)
	}
	skip, err := inventory.List(n.Properties, "skip_block_devices")
	if err != nil {
		return inventory.Disk{}, err
	}
	allow, err := inventory.Allowed(n.Properties)
	if err != nil {
		return inventory.Disk{}, err
	}
	return inventory.Root(inv.Disks, hints, skip, allow...)
}

// undeploy forgets the instance and goes on to clean. A step that runs is not cut off (F40): abort it first.
func (d *decider) undeploy(e VerbAsked) {
	for _, r := range d.s.Steps {
		if r.State == StepStarted && d.open() != nil {
			d.Refuse = fault.New(fault.NodeBusy, "step %s is running", r.Step.Name).
				WithHint("wait until it ends, or abort it: bessemer node abort %s", cmp.Or(d.n.Name, string(d.n.UUID))).At(string(d.n.UUID), r.Step.Name)
			return
		}
	}
	d.withdrawOffers(AttemptAbort, nil)
	if !d.enter(state.VerbDelete) {
		return
	}
	d.audit("instance.delete", map[string]any{"instance_uuid": d.n.InstanceUUID})
	d.n.InstanceInfo, d.n.InstanceUUID = map[string]any{}, ""
	d.DropSecrets = append(d.DropSecrets, "configdrive")
	e.Ask = Provision{Verb: state.VerbClean}
	d.tearDown = true
	d.clean(e, state.VerbClean)
}

// abort ends a waiting flow. A running step is told to stop if it may be stopped, else it ends first.
func (d *decider) abort(VerbAsked) {
	f := d.open()
	if f == nil {
		if d.enter(state.VerbAbort) {
			d.n.Target = ""
		}
		return
	}
	for _, r := range d.s.Steps {
		if r.State != StepStarted {
			continue
		}
		f.Aborting = true
		if r.Step.Abortable {
			d.wait("agent", "step "+r.Step.Name+" to stop at a safe point", d.s.Timeouts.Abort, fault.FlowSilent)
			d.effect(Effect{Kind: EffectWithdraw, Step: r.ID})
		} else {
			d.seen("abort asked for; %s can't be stopped and ends first", r.Step.Name)
		}
		d.note("INFO", "provisioning", 0, "abort asked for while %s runs", r.Step.Name)
		return
	}
	d.aborted()
}

func (d *decider) aborted() {
	what := map[state.Flow]string{state.Inspect: "Inspection", state.Clean: "Cleaning", state.Deploy: "Deployment"}[d.n.Flow.Flow]
	d.fail(fault.New(fault.FlowAborted, "%s was aborted by request.", cmp.Or(what, "The work")))
}
