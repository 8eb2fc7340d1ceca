package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// verb is a word that moves a node on.
type verb struct {
	name, target string
	ends         []state.State // where it is meant to lead
	event        state.Event
	short, long  string
	destroys     string       // what is lost by it; "" nothing
	by           fault.Reason // what must have ended the work, of a verb that ends another's; else ""
}

const erases = "every disk that properties.skip_block_devices does not name is erased"

var verbs = []verb{
	{name: "manage", target: "manage", event: state.VerbManage, ends: []state.State{state.Manageable}, short: "Check the BMC and take the machine under management",
		long: "Reads the machine's BMC with the credentials of driver_info. Brings a node out of a failed state, too."},
	{name: "inspect", target: "inspect", event: state.VerbInspect, ends: []state.State{state.Manageable}, short: "Boot the ramdisk and find out what the machine is",
		long: "The inventory is stored; bessemer node inventory shows it. Disks are only read."},
	{name: "provide", target: "provide", event: state.VerbProvide, ends: []state.State{state.Available}, short: "Erase the machine's disks and offer it", destroys: erases,
		long: "Runs the automated clean steps: EVERY disk that properties.skip_block_devices does not name is erased, and read back."},
	{name: "undeploy", target: "deleted", event: state.VerbDelete, ends: []state.State{state.Available, state.Manageable}, short: "Take the instance away and erase the disks", destroys: erases,
		long: "Powers the machine off, forgets instance_info, and cleans as provide does."},
	{name: "adopt", target: "adopt", event: state.VerbAdopt, ends: []state.State{state.Active}, short: "Take over a machine that runs already",
		long: "The node becomes active as it is: nothing is written to its disks, and it is neither stopped nor started."},
	{name: "unrescue", target: "unrescue", event: state.VerbUnrescue, ends: []state.State{state.Active}, short: "Boot the instance again after a rescue",
		long: "Ends the rescue ramdisk and boots the machine from its disk."},
	{name: "unhold", target: "unhold", event: state.VerbUnhold, ends: []state.State{state.Manageable, state.Available, state.Active}, short: "Go on after a hold step",
		long: "Releases a node that a hold step of its list holds; the steps behind it run."},
	{name: "abort", target: "abort", event: state.VerbAbort, ends: failed(), by: fault.FlowAborted, short: "End the work in progress",
		long: "A step that can't be cut off is let finish first. The node is in the failed state of its flow then; the next verb leads on."},
}

func failed() (out []state.State) {
	for _, f := range state.Flows {
		out = append(out, f.Failed)
	}
	return append(out, state.Active) // a service that is aborted
}

// verbDeploy and the others have commands of their own.
var (
	verbDeploy = verb{name: "deploy", target: "active", event: state.VerbDeploy, ends: []state.State{state.Active}, short: "Write an image to a machine and boot it",
		destroys: "what is on the root disk is overwritten"}
	verbRebuild = verb{name: "rebuild", target: "rebuild", event: state.VerbRebuild, ends: []state.State{state.Active}, short: "Write an image over an instance and boot it",
		destroys: "what is on the root disk is overwritten"}
	verbClean   = verb{name: "clean", target: "clean", event: state.VerbClean, ends: []state.State{state.Manageable}}
	verbService = verb{name: "service", target: "service", event: state.VerbService, ends: []state.State{state.Active}}
	verbRescue  = verb{name: "rescue", target: "rescue", event: state.VerbRescue, ends: []state.State{state.Rescue}}
)

func verbNamed(name string) verb {
	for _, v := range verbs {
		if v.name == name {
			return v
		}
	}
	return verb{}
}

// typed are the API's targets as the verbs that are typed here: undeploy for deleted.
func typed(targets []string) string {
	out := slices.Clone(targets)
	for i, t := range out {
		for _, v := range append([]verb{verbDeploy, verbRebuild}, verbs...) {
			if v.target == t {
				out[i] = v.name
			}
		}
	}
	return strings.Join(out, ", ")
}

// flowCommands are the verbs of a machine, and what shows what they would do.
func (c *command) flowCommands() []*cobra.Command {
	out := []*cobra.Command{c.nodeDeploy(verbDeploy), c.nodeDeploy(verbRebuild), c.nodeManual(verbClean), c.nodeManual(verbService), c.nodeRescue(), c.nodePlan()}
	for _, v := range verbs {
		out = append(out, c.verbCommand(v))
	}
	return out
}

func (c *command) verbCommand(v verb) *cobra.Command {
	cmd := &cobra.Command{Use: v.name + " [NODE ...]"}
	cmd.Short, cmd.Long = v.short, v.short+".\n\n"+v.long+"\n\n"+nodesHelp
	cmd.Example = "  bessemer node " + v.name + " n1 --watch\n  bessemer node " + v.name + " --where resource_class=big --dry-run"
	m := c.many(cmd)
	var w waiting
	w.add(cmd)
	var look bool
	var manageable bool
	if v.event == state.VerbProvide || v.event == state.VerbInspect {
		cmd.Flags().BoolVar(&manageable, "all-manageable", false, "the same as --where state=manageable")
	}
	if v.by == fault.FlowAborted {
		cmd.Long += "\n\nFirst it says what the abort will do right now, and which steps stop at a safe point; with --look it does no more."
		cmd.Flags().BoolVar(&look, "look", false, "only say what an abort would do")
	}
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if manageable {
			if m.where != "" || len(args) > 0 {
				return usage("--all-manageable stands alone")
			}
			m.where = "state=manageable"
		}
		return m.verb(ctx, a, args, v, w, func(ctx context.Context, t *turn, node string) error {
			if v.by == fault.FlowAborted && t.alone {
				err := c.abortPlan(ctx, a, node)
				switch {
				case err != nil || look:
					return err
				case c.Format != "table" && !w.stays(): // one document, for programs
					return a.Provision(ctx, node, api.Provision{Target: v.target})
				}
			}
			return t.provision(ctx, node, v, api.Provision{}, w)
		})
	})
	return cmd
}

// verb runs a verb's command: over nodes that are in a state from which it leads on, for as long as w says.
func (m *many) verb(ctx context.Context, a *client.Client, args []string, v verb, w waiting, each func(ctx context.Context, t *turn, node string) error) error {
	ctx, done := w.bound(ctx)
	defer done()
	return m.run(ctx, a, args, act{name: v.name, destroys: v.destroys, fits: from(v.name, v.event), each: each})
}

// provision asks for a verb and watches it when wanted.
func (t *turn) provision(ctx context.Context, node string, v verb, p api.Provision, w waiting) error {
	p.Target = v.target
	if err := t.a.Provision(ctx, node, p); err != nil {
		return err
	}
	switch {
	case w.stays():
		return follow(ctx, t.printer, t.a, t.display, node, v)
	case v.event == state.VerbAbort:
		return t.aborting(ctx, node)
	}
	return t.done(nil, "%s of node %s has begun; bessemer node show %s says how it goes, --watch shows it live", v.name, t.label, t.label)
}

// aborting tells what an abort that was just accepted has to wait for.
func (t *turn) aborting(ctx context.Context, node string) error {
	s, err := t.a.Steps(ctx, node, "")
	if err != nil {
		return err
	}
	for _, x := range s.Steps {
		if x.Started.IsZero() || !x.Ended.IsZero() {
			continue
		}
		if !x.Abortable {
			return t.done(nil, "abort of node %s is noted: step %s can't be cut off and ends first, at the latest at %s", t.label, x.Step, cmp.Or(t.clock(x.Deadline), "its own end"))
		}
		what := "step " + x.Step + " to stop"
		if s.Wait != nil {
			what = t.waitText(*s.Wait)
		}
		return t.done(nil, "abort of node %s has begun: it waits for %s", t.label, what)
	}
	return t.done(nil, "abort of node %s has begun; no step had to be stopped; bessemer node show %s says how it goes", t.label, t.label)
}

// nodeManual is clean or service: both run an operator's list of steps.
func (c *command) nodeManual(v verb) *cobra.Command {
	var file, runbook string
	var steps []string
	var noRamdisk bool
	cmd := &cobra.Command{Use: v.name + " [NODE ...]", Short: "Run " + v.name + " steps by name"}
	cmd.Long = `Runs the steps in the order given; the node must be manageable, and is so again at the end. A wrong step or argument is
refused before anything is begun. bessemer node steps --available NODE lists the steps with their arguments;
bessemer node plan NODE --clean --steps FILE shows what the list would do.`
	cmd.Example = `  bessemer node clean n1 --step deploy.erase_devices:method=overwrite,verify=full --watch
  bessemer node clean n1 --step management.reset_bmc --step bios.factory_reset
  bessemer node clean --where state=manageable,resource_class=big --steps steps.yaml`
	if v.name == verbService.name {
		cmd.Long = `Runs the steps in the order given on a machine that is active, which it is again at the end. Its instance stays; the
ramdisk is booted only if a step needs it. bessemer node plan NODE --service --steps FILE shows what the list would do.`
		cmd.Example = "  bessemer node service n1 --step bios.apply_configuration:settings=@settings.json --watch\n" +
			`  bessemer node service n1 --step bios.apply_configuration:settings='[{"name": "BootMode", "value": "Uefi"}]' --step power.reboot`
	}
	cmd.Long += "\n\n" + nodesHelp
	m := c.many(cmd)
	var w waiting
	w.add(cmd)
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		wanted, err := c.wanted(file, steps)
		if err != nil {
			return err
		}
		if len(wanted) == 0 && runbook == "" {
			return usage("give --step or --steps; bessemer node steps --available NODE lists them")
		}
		if len(wanted) > 0 && runbook != "" {
			return usage("give steps or --runbook, not both")
		}
		p := api.Provision{Target: v.target, Runbook: runbook}
		if v.name == verbService.name {
			p.ServiceSteps = wanted
		} else {
			p.CleanSteps = wanted
		}
		if noRamdisk {
			p.DisableRamdisk = &noRamdisk
		}
		v := v
		if slices.ContainsFunc(wanted, destroysData) || runbook != "" {
			v.destroys = "the steps may destroy what is on the disks"
		}
		return m.verb(ctx, a, args, v, w, func(ctx context.Context, t *turn, node string) error {
			if v.name == verbClean.name && runbook == "" {
				plan, err := a.Plan(ctx, node, p)
				if err != nil {
					return err
				}
				if err := refused(plan); err != nil {
					return err // before anything is begun
				}
			}
			return t.provision(ctx, node, v, p, w)
		})
	})
	f := cmd.Flags()
	stepFlags(cmd, &file, &steps)
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

// wanted reads steps from a file and from flags, in that order.
func (r *reader) wanted(file string, flags []string) ([]api.WantedStep, error) {
	var out []api.WantedStep
	if file != "" {
		content, err := r.read(file, "--steps")
		if err != nil {
			return nil, err
		}
		var list []struct {
			Interface string         `yaml:"interface"`
			Step      string         `yaml:"step"`
			Args      map[string]any `yaml:"args"`
			Priority  *int           `yaml:"priority"`
		}
		d := yaml.NewDecoder(strings.NewReader(string(content)))
		d.KnownFields(true)
		if err := d.Decode(&list); err != nil {
			return nil, usage("%s is no list of steps: %v", file, err)
		}
		for _, s := range list {
			out = append(out, api.WantedStep{Interface: s.Interface, Step: s.Step, Args: s.Args, Priority: s.Priority})
		}
	}
	for _, text := range flags {
		name, rest, _ := strings.Cut(text, ":")
		iface, short := step.Split(name)
		if iface == "" || short == "" {
			return nil, usage("--step %q is not of the form INTERFACE.STEP[:KEY=VALUE,...]", text)
		}
		w := api.WantedStep{Interface: iface, Step: short}
		if rest != "" {
			args, err := r.object(listed(rest), false)
			if err != nil {
				return nil, err
			}
			w.Args = args
		}
		out = append(out, w)
	}
	for i := range out {
		if out[i].Args == nil {
			out[i].Args = step.Args{}
		}
	}
	return out, nil
}

// deployFlags are what deploy and rebuild take.
type deployFlags struct {
	image, checksum, drive, userData, hostname, steps string
	rootDevice, sshKeys                               []string
}

// nodeDeploy is deploy or rebuild: they differ in the states they lead from and in what they promise.
func (c *command) nodeDeploy(v verb) *cobra.Command {
	var d deployFlags
	cmd := &cobra.Command{Use: v.name + " [NODE ...]", Short: v.short}
	cmd.Long = `Writes a whole-disk image to the machine's root disk, checks its digest, adds a config drive and boots it. The disk is
not bootable until the digest was right.

--image is the name of a stored image (bessemer image add) or a URL that the machine reaches; a URL needs --checksum.
Without --image, what instance_info names is deployed.`
	cmd.Example = `  bessemer node deploy n1 --image debian.raw.zst --hostname web1 --ssh-key ~/.ssh/id_ed25519.pub --watch
  bessemer node deploy n1 --image https://images.example/d.raw --checksum sha256:5891b5b5... --root-device serial=S1
  bessemer node deploy n1 --image debian.raw --configdrive drive.json`
	if v.name == verbRebuild.name {
		cmd.Long = "Deploys over an instance without cleaning first: what is on the root disk is lost.\n\n" + cmd.Long
		cmd.Example = strings.ReplaceAll(cmd.Example, "node deploy", "node rebuild")
	}
	cmd.Long += "\n\n" + nodesHelp
	m := c.many(cmd)
	var w waiting
	w.add(cmd)
	cmd.RunE = c.with(func(ctx context.Context, a *client.Client, args []string) error {
		if d.hostname != "" && (len(args) > 1 || m.where != "") {
			return usage("--hostname is of one node; several would have the same")
		}
		return m.verb(ctx, a, args, v, w, func(ctx context.Context, t *turn, node string) error { return t.deploy(ctx, node, v, d, w) })
	})
	d.addImage(cmd)
	f := cmd.Flags()
	f.StringVar(&d.drive, "configdrive", "", "JSON or YAML file with meta_data, network_data, user_data; or an ISO image; or a folder of files")
	f.StringVar(&d.steps, "steps", "", "file of further steps: a YAML or JSON list of interface, step, args and priority")
	f.StringVar(&d.hostname, "hostname", "", "host name, for the config drive")
	f.StringVar(&d.userData, "user-data", "", "file of user data (cloud-config), for the config drive")
	f.StringArrayVar(&d.sshKeys, "ssh-key", nil, "file of a public key, for the config drive")
	return cmd
}

// addImage adds the flags that say what is to be written where.
func (d *deployFlags) addImage(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.image, "image", "", "name of a stored image, or URL")
	f.StringVar(&d.checksum, "checksum", "", "sha256:HEX or sha512:HEX of the file as the URL serves it")
	f.StringArrayVar(&d.rootDevice, "root-device", nil, "hint that selects the disk: serial=S1, wwn=..., size='>= 100', rotational=false")
}

func (t *turn) deploy(ctx context.Context, node string, v verb, d deployFlags, w waiting) error {
	c, a := t.command, t.a
	n, err := a.Node(ctx, node)
	if err != nil {
		return err
	}
	if d.image == "" && n.InstanceInfo["image_source"] == nil {
		return usage("node %s names no image yet: give --image NAME or --image URL --checksum sha256:HEX", nodeName(n))
	}
	node = n.UUID // what is written next is to reach the node that was looked at, whatever the name means then
	ops, err := c.deployOps(ctx, a, n, d)
	if err != nil {
		return err
	}
	drive, err := c.configDrive(d)
	if err != nil {
		return err
	}
	steps, err := c.wanted(d.steps, nil)
	if err != nil {
		return err
	}
	if len(ops) > 0 {
		if _, err := a.PatchNode(ctx, node, ops); err != nil {
			return err
		}
	}
	return t.provision(ctx, node, v, api.Provision{ConfigDrive: drive, DeploySteps: steps}, w)
}

// deployOps says in instance_info what is to be deployed, and how.
func (c *command) deployOps(ctx context.Context, a *client.Client, n api.Node, d deployFlags) ([]api.PatchOp, error) {
	ops, err := c.imageOps(ctx, a, n, d)
	if err != nil {
		return nil, err
	}
	if len(d.rootDevice) > 0 {
		hints, err := c.object(d.rootDevice, false)
		if err != nil {
			return nil, err
		}
		ops = append(ops, api.PatchOp{Op: "add", Path: "/instance_info/root_device", Value: hints})
	}
	if d.hostname != "" {
		ops = append(ops, api.PatchOp{Op: "add", Path: "/instance_info/display_name", Value: d.hostname})
	}
	return ops, nil
}

// imageOps says in instance_info what is to be deployed.
func (c *command) imageOps(ctx context.Context, a *client.Client, n api.Node, d deployFlags) ([]api.PatchOp, error) {
	if d.image == "" {
		if d.checksum != "" {
			return nil, usage("--checksum goes with --image")
		}
		return nil, nil
	}
	source, format := d.image, ""
	algo, digest, _ := strings.Cut(d.checksum, ":")
	if !strings.Contains(d.image, "://") {
		i, err := a.Image(ctx, d.image)
		if err != nil {
			return nil, err
		}
		source, format = i.URL, i.Format
		if d.checksum == "" {
			algo, digest = "sha256", i.SHA256
		}
	}
	want := map[string]int{"sha256": 64, "sha512": 128}
	switch {
	case digest == "" && d.checksum == "":
		return nil, usage("an image by URL needs --checksum sha256:HEX; sha256sum FILE makes the digest")
	case want[algo] == 0 || len(digest) != want[algo]:
		return nil, usage("--checksum is %q, expected sha256:HEX with 64 digits or sha512:HEX with 128", d.checksum)
	}
	ops := []api.PatchOp{
		{Op: "add", Path: "/instance_info/image_source", Value: source},
		{Op: "add", Path: "/instance_info/image_os_hash_algo", Value: algo},
		{Op: "add", Path: "/instance_info/image_os_hash_value", Value: strings.ToLower(digest)},
	}
	switch {
	case format != "":
		ops = append(ops, api.PatchOp{Op: "add", Path: "/instance_info/image_disk_format", Value: format})
	case n.InstanceInfo["image_disk_format"] != nil:
		ops = append(ops, api.PatchOp{Op: "remove", Path: "/instance_info/image_disk_format"})
	}
	if n.InstanceInfo["image_checksum"] != nil {
		ops = append(ops, api.PatchOp{Op: "remove", Path: "/instance_info/image_checksum"})
	}
	return ops, nil
}

var driveKeys = []string{"meta_data", "network_data", "user_data", "vendor_data"}

// configDrive makes the config drive of a deploy: a finished image, or the object it is made from.
func (c *command) configDrive(d deployFlags) (json.RawMessage, error) {
	drive, image, err := c.readDrive(d.drive)
	if err != nil {
		return nil, err
	}
	if image != nil {
		if d.hostname != "" || d.userData != "" || len(d.sshKeys) > 0 {
			return nil, usage("--hostname, --user-data and --ssh-key can't be added to a finished image; give --configdrive a file or folder")
		}
		return image, nil
	}
	for _, k := range slices.Sorted(maps.Keys(drive)) {
		if !slices.Contains(driveKeys, k) {
			return nil, usage("%s: %q is not known; a config drive has %s", d.drive, k, strings.Join(driveKeys, ", "))
		}
	}
	meta, _ := drive["meta_data"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	if d.hostname != "" {
		meta["hostname"], meta["name"] = d.hostname, d.hostname
	}
	keys := map[string]any{}
	for i, file := range d.sshKeys {
		content, err := c.read(file, "--ssh-key")
		if err != nil {
			return nil, err
		}
		keys[fmt.Sprintf("key%d", i+1)] = strings.TrimSpace(string(content))
	}
	if len(keys) > 0 {
		meta["public_keys"] = keys
	}
	if d.userData != "" {
		content, err := c.read(d.userData, "--user-data")
		if err != nil {
			return nil, err
		}
		drive["user_data"] = string(content)
	}
	if len(meta) > 0 {
		drive["meta_data"] = meta
	}
	if len(drive) == 0 {
		return nil, nil
	}
	return json.Marshal(drive)
}
