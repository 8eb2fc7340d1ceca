package conductor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// The steps that a flow can't do without: only they leave the evidence that ends it (I5, I6).
const (
	eraseStep = "deploy.erase_devices"
	writeStep = "deploy.write_image"
)

// automated lists what the flow runs by itself: every step with a priority above zero, defaults and the ramdisk's own
// steps included, in order.
func (b *builder) automated() {
	for _, s := range b.in.Registry.All() {
		own, offered := s.Priority[b.Flow]
		if !offered || s.Name == writeStep {
			continue
		}
		priority := b.priority(s, own)
		if priority.Value <= 0 {
			continue
		}
		given, origins := b.given(s)
		args, err := s.Check(given)
		if err != nil {
			b.problem(fault.From(err), s.Name)
		}
		for name := range args {
			if _, set := origins[name]; !set {
				origins[name] = FromStep
			}
		}
		b.Items = append(b.Items, PlanItem{Step: s, Args: args, Origins: origins, Priority: priority})
	}
	if b.Flow == state.Clean {
		items, problems := joining(b.in.Registry, b.in.Offered, b.Flow)
		b.Items, b.Problems = append(b.Items, items...), append(b.Problems, problems...)
	}
	slices.SortStableFunc(b.Items, func(x, y PlanItem) int {
		return step.Compare(x.Step, y.Step, x.Priority.Value, y.Priority.Value)
	})
}

// joining lists the steps of vendors' managers that a flow runs by itself once a ramdisk offers them.
func joining(registry *step.Registry, offered []step.Step, f state.Flow) (items []PlanItem, problems []*fault.Fault) {
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
		it := PlanItem{Step: s, Args: args, Origins: map[string]Origin{}, Priority: Valued{s.Priority[f], FromStep}}
		for name := range args {
			it.Origins[name] = FromStep
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
	if pretends(b.in.Interfaces, b.Flow) {
		b.Exclusion = "the deploy interface fake has no machine: nothing was erased"
		return
	}
	if !b.has(eraseStep) {
		b.problem(fault.New(fault.DiskNotErased, "no step of this cleaning erases the disks").
			WithHint("give the step a priority above 0 for clean; a node whose disks are to stay as they are has automated_clean false"), eraseStep)
	}
}

func (b *builder) has(name string) bool {
	return slices.ContainsFunc(b.Items, func(it PlanItem) bool { return it.Step.Name == name })
}

// deployment plans the flow's own steps and the operator's deploy_steps: out of band first, by priority, then the
// in-band ones. Of a step that both have the operator's entry counts; 0 leaves it out.
func (b *builder) deployment() {
	b.automated()
	if f := checkInstance(b.in.Node, b.in.Interfaces); f != nil {
		b.Problems = append(b.Problems, f)
	}
	writes := writesImage(b.in.Interfaces)
	if !writes && !pretends(b.in.Interfaces, b.Flow) { // custom-agent: the image is written if the operator's list says so
		writes = slices.ContainsFunc(b.in.Ask.DeploySteps, func(w step.Wanted) bool { return w.Name == writeStep })
	}
	if !writes {
		b.ownDeployment()
		return
	}
	priority := Valued{Origin: FromStep}
	var write step.Step
	if s, ok := b.in.Registry.Get(writeStep); ok {
		write = s
		priority.Value = s.Priority[state.Deploy]
		priority = b.priority(s, priority.Value)
	} else {
		b.problem(fault.New(fault.StepUnknown, "no ramdisk known here offers the step"), writeStep)
	}
	for _, w := range b.in.Ask.DeploySteps {
		if w.Name == writeStep {
			priority = Valued{w.Priority, FromOperator}
			if len(w.Args) > 0 {
				b.problem(fault.New(fault.StepArgument, "the step takes its arguments from instance_info, not from a list of steps").
					WithHint("set instance_info.image_source and its digest"), writeStep)
			}
			continue
		}
		b.override(w)
	}
	if priority.Value <= 0 {
		b.problem(fault.New(fault.StepArgument, "a deployment can't leave the image out").WithHint("give the step a priority above 0"), writeStep)
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
	inBand := slices.ContainsFunc(b.Items, func(it PlanItem) bool { return it.Step.Where == step.InBand })
	how := b.in.Interfaces[drivers.Deploy]
	if !pretends(b.in.Interfaces, b.Flow) && !inBand && drivers.Why(drivers.Deploy, how) == "" {
		b.problem(fault.New(fault.StepUnknown, "the deploy interface %s writes no image by itself", how).
			WithHint("give the step that does it in deploy_steps, or take the deploy interface direct"), "")
	}
	b.orderDeployment()
}

// override puts an operator's step in the place of the flow's own of the same name; priority 0 leaves it out.
func (b *builder) override(w step.Wanted) {
	b.Items = slices.DeleteFunc(b.Items, func(it PlanItem) bool { return it.Step.Name == w.Name })
	it, ok := b.wanted(w)
	if ok && w.Priority > 0 {
		it.Priority = Valued{w.Priority, FromOperator}
		b.Items = append(b.Items, it)
	}
}

// image makes the item that writes the image, and checks what can be checked before it.
func (b *builder) image(write step.Step, priority Valued) PlanItem {
	it := PlanItem{Step: write, Priority: priority, Origins: map[string]Origin{}}
	args, err := ImageArgs(b.in.Node.InstanceInfo)
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
	if b.in.Accepted != nil {
		if _, err := RootDisk(b.in.Node, *b.in.Accepted); err != nil {
			b.Problems = append(b.Problems, fault.From(err))
		}
	}
	return it
}

// orderDeployment sorts by vector, then priority; the operator's order decides between equals. A reserved step goes
// with the out-of-band ones while one of lower priority is still to come there, else with the in-band ones.
func (b *builder) orderDeployment() {
	group := func(it PlanItem) int {
		switch it.Step.Where {
		case step.OutOfBand:
			return 0
		case step.Server:
			if slices.ContainsFunc(b.Items, func(o PlanItem) bool {
				return o.Step.Where == step.OutOfBand && o.Priority.Value < it.Priority.Value
			}) {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(b.Items, func(x, y PlanItem) int {
		return cmp.Or(cmp.Compare(group(x), group(y)), cmp.Compare(y.Priority.Value, x.Priority.Value))
	})
}

// ImageArgs makes the arguments of deploy.write_image from instance_info.
func ImageArgs(info map[string]any) (step.Args, error) {
	text := func(k string) string { s, _ := info[k].(string); return s }
	url := text("image_source")
	if url == "" {
		return nil, fault.New(fault.RequestInvalid, "instance_info.image_source is not set").
			WithHint("set it to the image's http or https URL, or use bessemer node deploy NODE --image NAME")
	}
	if err := wholeDisk(info); err != nil {
		return nil, err
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

// wholeDisk refuses what asks for another thing than one image for the whole disk.
func wholeDisk(info map[string]any) error {
	switch kind := info["image_type"]; kind {
	case nil, "whole-disk":
	case "partition":
		return fault.New(fault.ImageFormat, "image_type is partition, and this server writes whole-disk images only").
			WithHint("use an image of a whole disk, with its boot loader")
	default:
		return fault.New(fault.RequestInvalid, "image_type is %.40q, expected whole-disk", fmt.Sprint(kind))
	}
	for _, key := range []string{"kernel", "ramdisk"} {
		if v := info[key]; v != nil && v != "" {
			return fault.New(fault.ImageFormat, "instance_info.%s goes with an image of a partition, and this server writes whole-disk images only", key).
				WithHint("use an image of a whole disk, and take kernel and ramdisk out of instance_info")
		}
	}
	if v := info["boot_iso"]; v != nil && v != "" {
		return fault.New(fault.RequestInvalid, "instance_info has both image_source and boot_iso").WithHint("take one of the two out")
	}
	return nil
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
