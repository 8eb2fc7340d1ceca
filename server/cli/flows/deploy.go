package flows

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/acts"
	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/cli/work"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// DeployFlags are what deploy and rebuild take.
type DeployFlags struct {
	image, checksum, iso, drive, userData, hostname, steps string
	rootDevice, sshKeys                                    []string
}

// deployCommand is deploy or rebuild: they differ in the states they lead from and in what they promise.
func deployCommand(c *command.Run, v work.Verb) *cobra.Command {
	var d DeployFlags
	cmd := &cobra.Command{Use: v.Name + " [NODE ...]", Short: v.Short}
	cmd.Long = `Writes a whole-disk image to the machine's root disk, checks its digest, adds a config drive and boots it. The disk is
not bootable until the digest was right.

--image is the name of a stored image (bessemer image add) or a URL that the machine reaches; a URL needs --checksum.
Without --image, what instance_info names is deployed.

--iso is the URL of an ISO that the machine boots instead, from its virtual CD and at each start: no disk is written, and no
config drive goes with it. The node's deploy interface becomes ramdisk; --image makes it the default again.`
	cmd.Example = `  bessemer node deploy n1 --image debian.raw.zst --hostname web1 --ssh-key ~/.ssh/id_ed25519.pub --watch
  bessemer node deploy n1 --image https://images.example/d.raw --checksum sha256:5891b5b5... --root-device serial=S1
  bessemer node deploy n1 --image debian.raw --configdrive drive.json
  bessemer node deploy n1 --iso http://images.example/live.iso --watch`
	if v.Name == work.Rebuild.Name {
		cmd.Long = "Deploys over an instance without cleaning first: what is on the root disk is lost.\n\n" + cmd.Long
		cmd.Example = strings.ReplaceAll(cmd.Example, "node deploy", "node rebuild")
	}
	cmd.Long += "\n\n" + acts.Help
	m := acts.On(c, cmd)
	var w waiting
	w.add(cmd)
	cmd.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		if d.iso != "" { // no disk is written
			if v.Destroys = ""; v.Name == work.Rebuild.Name {
				v.Destroys = "what runs there ends"
			}
		}
		if d.hostname != "" && (len(args) > 1 || m.Where != "") {
			return input.Usage("--hostname is of one node; several would have the same")
		}
		return runVerb(ctx, m, a, args, v, w, func(ctx context.Context, t *acts.Turn, node string) error { return deploy(ctx, t, node, v, d, w) })
	})
	d.AddImage(cmd)
	f := cmd.Flags()
	f.StringVar(&d.drive, "configdrive", "", "JSON or YAML file with meta_data, network_data, user_data; or an ISO image; or a folder of files")
	f.StringVar(&d.steps, "steps", "", "file of further steps: a YAML or JSON list of interface, step, args and priority")
	command.Also(cmd, "configdrive", "config-drive")
	command.Also(cmd, "steps", "deploy-steps")
	f.StringVar(&d.hostname, "hostname", "", "host name, for the config drive")
	f.StringVar(&d.userData, "user-data", "", "file of user data (cloud-config), for the config drive")
	f.StringArrayVar(&d.sshKeys, "ssh-key", nil, "file of a public key, for the config drive")
	return cmd
}

// AddImage adds the flags that say what is to be written where.
func (d *DeployFlags) AddImage(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.image, "image", "", "name of a stored image, or URL")
	f.StringVar(&d.checksum, "checksum", "", "sha256:HEX or sha512:HEX of the file as the URL serves it")
	f.StringVar(&d.iso, "iso", "", "URL of an ISO to boot instead of writing an image")
	f.StringArrayVar(&d.rootDevice, "root-device", nil, "hint that selects the disk: serial=S1, wwn=..., size='>= 100', rotational=false")
}

func deploy(ctx context.Context, t *acts.Turn, node string, v work.Verb, d DeployFlags, w waiting) error {
	c, a := t.Run, t.API
	n, err := a.Node(ctx, node)
	if err != nil {
		return err
	}
	if d.image == "" && d.iso == "" && n.InstanceInfo["image_source"] == nil && n.InstanceInfo["boot_iso"] == nil {
		return input.Usage("node %s names no image yet: give --image NAME, --image URL --checksum sha256:HEX or --iso URL", output.NodeName(n))
	}
	node = n.UUID // what is written next is to reach the node that was looked at, whatever the name means then
	ops, err := DeployOps(ctx, c, a, n, d)
	if err != nil {
		return err
	}
	drive, err := configDrive(c, d)
	if err != nil {
		return err
	}
	steps, err := c.WantedSteps(d.steps, nil)
	if err != nil {
		return err
	}
	if len(ops) > 0 {
		if _, err := a.PatchNode(ctx, node, ops); err != nil {
			return err
		}
	}
	return provision(ctx, t, node, v, api.Provision{ConfigDrive: drive, DeploySteps: steps}, w)
}

// DeployOps says in instance_info what is to be deployed, and how.
func DeployOps(ctx context.Context, c *command.Run, a *client.Client, n api.Node, d DeployFlags) ([]api.PatchOp, error) {
	ops, err := imageOps(ctx, c, a, n, d)
	if err != nil {
		return nil, err
	}
	if len(d.rootDevice) > 0 {
		hints, err := c.Object(d.rootDevice, false)
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
func imageOps(ctx context.Context, c *command.Run, a *client.Client, n api.Node, d DeployFlags) ([]api.PatchOp, error) {
	if d.image == "" {
		if d.checksum != "" {
			return nil, input.Usage("--checksum goes with --image")
		}
		return isoOps(n, d.iso), nil
	}
	if d.iso != "" {
		return nil, input.Usage("--image writes a disk and --iso boots a CD: give one of the two")
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
		return nil, input.Usage("an image by URL needs --checksum sha256:HEX; sha256sum FILE makes the digest")
	case want[algo] == 0 || len(digest) != want[algo]:
		return nil, input.Usage("--checksum is %q, expected sha256:HEX with 64 digits or sha512:HEX with 128", d.checksum)
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
	if boots := n.DeployInterface; boots != nil && *boots == interfaceISO {
		ops = append(ops, api.PatchOp{Op: "remove", Path: "/deploy_interface"})
	}
	return append(ops, without(n, "boot_iso")...), nil
}

// interfaceISO is the deploy interface that boots an ISO.
const interfaceISO = "ramdisk"

// isoOps says in instance_info which ISO is to be booted; nothing when url is "".
func isoOps(n api.Node, url string) []api.PatchOp {
	if url == "" {
		return nil
	}
	ops := []api.PatchOp{{Op: "add", Path: "/instance_info/boot_iso", Value: url}}
	if boots := n.DeployInterface; boots == nil || *boots != interfaceISO { // of an active node it can't change, and need not
		ops = append(ops, api.PatchOp{Op: "add", Path: "/deploy_interface", Value: interfaceISO})
	}
	return append(ops, without(n, "image_source", "image_os_hash_algo", "image_os_hash_value", "image_checksum", "image_disk_format")...)
}

// without takes keys of instance_info out that are there.
func without(n api.Node, keys ...string) (ops []api.PatchOp) {
	for _, k := range keys {
		if _, there := n.InstanceInfo[k]; there {
			ops = append(ops, api.PatchOp{Op: "remove", Path: "/instance_info/" + k})
		}
	}
	return ops
}

var driveKeys = []string{"meta_data", "network_data", "user_data", "vendor_data"}

// configDrive makes the config drive of a deploy: a finished image, or the object it is made from.
func configDrive(c *command.Run, d DeployFlags) (json.RawMessage, error) {
	drive, image, err := c.Drive(d.drive)
	if err != nil {
		return nil, err
	}
	if image != nil {
		if d.hostname != "" || d.userData != "" || len(d.sshKeys) > 0 {
			return nil, input.Usage("--hostname, --user-data and --ssh-key can't be added to a finished image; give --configdrive a file or folder")
		}
		return image, nil
	}
	for _, k := range slices.Sorted(maps.Keys(drive)) {
		if !slices.Contains(driveKeys, k) {
			return nil, input.Usage("%s: %q is not known; a config drive has %s", d.drive, k, strings.Join(driveKeys, ", "))
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
		content, err := c.Read(file, "--ssh-key")
		if err != nil {
			return nil, err
		}
		keys[fmt.Sprintf("key%d", i+1)] = strings.TrimSpace(string(content))
	}
	if len(keys) > 0 {
		meta["public_keys"] = keys
	}
	if d.userData != "" {
		content, err := c.Read(d.userData, "--user-data")
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
