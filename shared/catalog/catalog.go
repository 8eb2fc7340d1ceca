// Package catalog is the step registry's content: every step that Bessemer itself offers, in band and out of band,
// as data. The managers and drivers bind code to these rows; plans, argument checks, the command's lists and the
// reference page are read from them. A vendor's steps come with the ramdisk that holds them.
package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// The steps that a flow can't do without: only they leave the evidence that ends it (safety.md I5, I6).
const (
	EraseStep = "deploy.erase_devices"
	WriteStep = "deploy.write_image"
)

// TargetRAID is the key of Call.Node under which the server gives a step of RAID in band what to build: an object with
// logical_disks. RunOf is the key of Call.Node that is the same for every attempt of one step of a run.
const (
	TargetRAID = "target_raid_config"
	RunOf      = "step_run"
)

var (
	rootVolume   = step.Arg{Name: "create_root_volume", Type: step.Boolean, Default: true, Doc: "whether the root volume is built"}
	otherVolumes = step.Arg{Name: "create_nonroot_volumes", Type: step.Boolean, Default: true, Doc: "whether the other volumes are built"}
)

// InBand is what the stock ramdisk's generic manager offers.
var InBand = []step.Step{
	{
		Name: "deploy.erase_devices_metadata", Where: step.InBand,
		Doc:      "Removes partition tables, file system and RAID signatures from every disk and partition that is not skipped.",
		Priority: map[state.Flow]int{state.Clean: 99, state.Deploy: 0},
		Touches:  step.AllDisks, Abortable: true, Repeat: step.Again, Timeout: 30 * time.Minute,
	},
	{
		Name: EraseStep, Where: step.InBand,
		Doc:      "Erases every disk that is not skipped, by the best method it has, and verifies the result by reading it back.",
		Priority: map[state.Flow]int{state.Clean: 10},
		Args: []step.Arg{
			{Name: "method", Type: step.String, Enum: []string{"auto", "overwrite"}, Default: "auto",
				Doc: "auto takes the device's own erase where it has one, else overwriting with zeros; overwrite always overwrites"},
			{Name: "verify", Type: step.String, Enum: []string{"sample", "full"}, Default: "sample",
				Doc: "sample reads 10 % of each disk at places chosen anew each run, first and last block included; full reads all of it"},
		},
		Touches: step.AllDisks, Abortable: true, Repeat: step.Again, Timeout: 72 * time.Hour,
	},
	{
		Name: WriteStep, Where: step.InBand,
		Doc:      "Writes a whole-disk image to the root disk, checks its digest, and only then makes the disk bootable; adds the config drive and the firmware's boot entry.",
		Priority: map[state.Flow]int{state.Deploy: 80},
		Args: []step.Arg{
			{Name: "url", Type: step.String, Required: true, Doc: "http or https URL of the image"},
			{Name: "format", Type: step.String, Enum: Formats, Doc: "what the URL serves; default: by the name's ending, or else by the first bytes"},
			{Name: "digest_algorithm", Type: step.String, Required: true, Enum: []string{"sha256", "sha512"}, Doc: "algorithm of digest"},
			{Name: "digest", Type: step.String, Required: true, Doc: "hex digest of the file as the URL serves it"},
			{Name: "configdrive", Type: step.Boolean, Default: false, Doc: "whether a config drive is stored for the node"},
		},
		Secrets: []string{"configdrive"}, Touches: step.RootDisk, Abortable: true, Repeat: step.Again, Timeout: 4 * time.Hour,
	},
	{
		Name: DeleteRAID, Where: step.InBand,
		Doc:      "Removes every array of software RAID from the disks that are not skipped, with the partition tables of their members.",
		Priority: map[state.Flow]int{state.Clean: 0},
		Touches:  step.AllDisks, Abortable: true, Repeat: step.Again, Timeout: 30 * time.Minute,
	},
	{
		Name: CreateRAID, Where: step.InBand,
		Doc:      "Builds the arrays of the node's target RAID configuration of its disks, by software, and reads back what was built.",
		Priority: map[state.Flow]int{state.Clean: 0},
		Args: []step.Arg{rootVolume, otherVolumes,
			{Name: "delete_existing", Type: step.Boolean, Default: false, Doc: "remove the arrays that are there before"}},
		Touches: step.AllDisks, Abortable: true, Repeat: step.Again, Timeout: 30 * time.Minute,
	},
	{
		Name: ApplyRAID, Where: step.InBand,
		Doc:      "Builds the arrays of the RAID configuration that it is given, by software, before the image is written.",
		Priority: map[state.Flow]int{state.Deploy: 0},
		Args: []step.Arg{
			{Name: ArgRAID, Type: step.Object, Required: true, Doc: "the configuration: an object with logical_disks"},
			rootVolume, otherVolumes,
			{Name: "delete_existing", Type: step.Boolean, Default: true, Doc: "remove the arrays that are there before"}},
		Touches: step.AllDisks, Abortable: true, Repeat: step.Again, Timeout: 30 * time.Minute,
	},
	{
		Name: "rescue.finalize_rescue", Where: step.InBand,
		Doc:      "Lets a person with the rescue's password log in at the machine's console, as rescue; the disks are left alone.",
		Priority: map[state.Flow]int{state.RescueFlow: 100},
		Secrets:  []string{"rescue_password"}, Repeat: step.Again, Timeout: 2 * time.Minute,
	},
}

// Erased is one disk's entry in the result of deploy.erase_devices (Result.Data["devices"]): what a node must bring for
// each of its disks to be recorded as clean (safety.md I5). Other keys are for people.
type Erased struct {
	ID     inventory.DeviceID `json:"id"`
	Method string             `json:"method"`
	From   int64              `json:"from"` // first byte erased
	To     int64              `json:"to"`   // first byte after
	Verify struct {
		Mode string `json:"mode"` // "sample" or "full"; "" when nothing was read back
	} `json:"verify"`
	Error string `json:"error,omitempty"`
}

// Whole tells whether all of the disk was erased and read back.
func (e Erased) Whole() bool {
	return e.Error == "" && e.Method != "" && e.Verify.Mode != "" && e.From == 0 && e.To == e.ID.Size
}

// Written is the result of deploy.write_image: what a node must bring to be recorded as active (safety.md I6). Other keys are
// for people.
type Written struct {
	ID        inventory.DeviceID `json:"id"`
	Format    string             `json:"format"` // one of Formats: what was served
	Algorithm string             `json:"digest_algorithm"`
	Digest    string             `json:"digest"` // met by the file as served
	Bytes     int64              `json:"written_bytes"`
	SHA256    string             `json:"written_sha256"` // of the bytes written, made in the same pass
}

// Lacks says what is missing for w to prove that the image of the step's arguments is on the disk; "" when nothing is.
func (w Written) Lacks(args step.Args, disk inventory.DeviceID) string {
	sum, err := hex.DecodeString(w.SHA256)
	algorithm, digest := args.Text("digest_algorithm"), args.Text("digest")
	switch {
	case w.ID != disk:
		return fmt.Sprintf("it is of the disk with %s, expected %s", w.ID, disk)
	case digest == "" || w.Algorithm != algorithm || !strings.EqualFold(w.Digest, digest):
		return fmt.Sprintf("its digest is %q by %q, expected %q by %q", w.Digest, w.Algorithm, digest, algorithm)
	case w.Bytes <= 0 || w.Bytes > disk.Size:
		return fmt.Sprintf("%d bytes were written to a disk of %d", w.Bytes, disk.Size)
	case err != nil || len(sum) != sha256.Size:
		return "it has no SHA-256 of the bytes written"
	case w.Format == Raw && w.Algorithm == "sha256" && !strings.EqualFold(w.SHA256, w.Digest):
		return "the bytes written are not those served"
	case w.Format != "" && w.Format != Raw && strings.EqualFold(w.SHA256, w.Digest):
		return fmt.Sprintf("the %.20q file was written as it was served, not unpacked", w.Format)
	}
	return ""
}

// Redfish is what the redfish hardware type offers out of band. Each can be stopped until it tells the BMC to change anything.
var Redfish = append([]step.Step{
	{
		Name: "management.reset_bmc", Where: step.OutOfBand,
		Doc:      "Restarts the BMC and waits until it answers again.",
		Priority: map[state.Flow]int{state.Clean: 0, state.Deploy: 0, state.Service: 0, state.Verify: 0},
		Repeat:   step.Again, Abortable: true, Timeout: 15 * time.Minute,
	},
	{
		Name: "management.clear_job_queue", Where: step.OutOfBand,
		Doc:      "Removes waiting and stuck tasks from the BMC's queue.",
		Priority: map[state.Flow]int{state.Clean: 0, state.Deploy: 0, state.Service: 0, state.Verify: 0},
		Repeat:   step.Again, Abortable: true, Timeout: 10 * time.Minute,
	},
	{
		Name: "management.known_good_state", Where: step.OutOfBand,
		Doc:      "First aid for a BMC that jams: empties its job queue, restarts it where jobs stay or it answers badly, and sets its clock.",
		Priority: map[state.Flow]int{state.Clean: 0, state.Deploy: 0, state.Service: 0, state.Verify: 0},
		Repeat:   step.Again, Abortable: true, Timeout: 40 * time.Minute,
	},
	{
		Name: "bios.apply_configuration", Where: step.OutOfBand,
		Doc:      "Sets BIOS attributes, restarts the machine so that they take effect, and reads them back.",
		Priority: map[state.Flow]int{state.Clean: 0, state.Deploy: 0, state.Service: 0},
		Args: []step.Arg{{Name: "settings", Type: step.List, Required: true,
			Doc: "list of objects with name and value"}},
		Repeat: step.Again, Abortable: true, Reboot: true, Timeout: 30 * time.Minute,
	},
	{
		Name: "bios.factory_reset", Where: step.OutOfBand,
		Doc:      "Resets all BIOS attributes to the maker's defaults and restarts the machine.",
		Priority: map[state.Flow]int{state.Clean: 0, state.Deploy: 0, state.Service: 0},
		Repeat:   step.Again, Abortable: true, Reboot: true, Timeout: 30 * time.Minute,
	},
	{
		Name: "firmware.update", Where: step.OutOfBand,
		Doc:      "Has the BMC fetch and install firmware, one image after the other, restarts the machine where that is needed, and reads the versions again.",
		Priority: map[state.Flow]int{state.Clean: 0, state.Deploy: 0, state.Service: 0},
		Args: []step.Arg{{Name: "settings", Type: step.List, Required: true,
			Doc:   "list of objects with component (bios, bmc or nic:ID), url (http or https) and, if wanted, wait (seconds after the update)",
			Check: func(v any) error { _, err := FirmwareSettings(v); return err }}},
		Repeat: step.Again, Abortable: true, Reboot: true, Timeout: 6 * time.Hour,
	},
}, raidSteps...)

// Fake is what the fake-hardware type offers: the steps of Ironic's fake interfaces, and beside them redfish's on a BMC in
// memory.
var Fake = append(slices.Clone(Redfish),
	step.Step{
		Name: "deploy.deploy", Where: step.OutOfBand,
		Doc:      "Pretends to deploy: the whole of what the deploy interface fake does.",
		Priority: map[state.Flow]int{state.Deploy: 100},
		Repeat:   step.Again, Timeout: 15 * time.Minute,
	},
	step.Step{
		Name: "bios.cache_bios_settings", Where: step.OutOfBand,
		Doc:      "Pretends to read the BIOS attributes anew.",
		Priority: map[state.Flow]int{state.Clean: 0},
		Repeat:   step.Again, Timeout: 15 * time.Minute,
	},
	step.Step{
		Name: "vendor.log_passthrough", Where: step.OutOfBand,
		Doc:      "Writes a line to the server's log.",
		Priority: map[state.Flow]int{state.Clean: 1, state.Service: 0},
		Repeat:   step.Again, Timeout: 15 * time.Minute,
	},
	step.Step{
		Name: Waits, Where: step.OutOfBand,
		Doc:      "Keeps the node in service wait until it is aborted, for half an hour at most.",
		Priority: map[state.Flow]int{state.Service: 0},
		Repeat:   step.Again, Abortable: true, Timeout: 30 * time.Minute,
	})

// Waits is the step of fake-hardware that does not end by itself.
const Waits = "vendor.trigger_servicewait"

// Reserved is what the server runs by itself at its place in an operator's list, under any interface: hold, wait and
// the power acts (Ironic has them from version 1.85 on). A row's name is the part after the dot.
var Reserved = []step.Step{
	{
		Name: "hold", Where: step.Server,
		Doc:      "Keeps the node in its hold state until unhold or abort is asked for.",
		Priority: onRequest, Repeat: step.Again, Abortable: true, Timeout: 7 * 24 * time.Hour,
	},
	{
		Name: "wait", Where: step.Server,
		Doc:      "Waits for some seconds or, without the argument, for the agent's next heartbeat.",
		Priority: onRequest, Repeat: step.Again, Abortable: true, Timeout: 5 * time.Minute,
		Args: []step.Arg{{Name: "seconds", Type: step.Integer, Doc: "how long, 0 to 30", Check: func(v any) error {
			if n := (step.Args{"seconds": v}).Int("seconds"); n < 0 || n > 30 {
				return fmt.Errorf("%d is not between 0 and 30; for longer give several, or hold", n)
			}
			return nil
		}}},
	},
	{
		Name: "power_on", Where: step.Server,
		Doc:      "Switches the machine on, and waits until the BMC says that it is.",
		Priority: onRequest, Repeat: step.Again, Timeout: 10 * time.Minute,
	},
	{
		Name: "power_off", Where: step.Server,
		Doc:      "Switches the machine off at once, and waits until the BMC says that it is; a ramdisk that runs ends with it.",
		Priority: onRequest, Repeat: step.Again, Reboot: true, Timeout: 10 * time.Minute,
	},
	{
		Name: "reboot", Where: step.Server,
		Doc:      "Switches the machine off and on again; a ramdisk that runs ends with it.",
		Priority: onRequest, Repeat: step.Again, Reboot: true, Timeout: 10 * time.Minute,
	},
}

// With are the steps of a hardware type that has steps of its own: these, and the stock ramdisk's. Of a name that both have
// its own stands; which of them a node has is for its interfaces to say.
func With(own []step.Step) []step.Step {
	out := slices.Clone(own)
	for _, s := range InBand {
		if !slices.ContainsFunc(own, func(o step.Step) bool { return o.Name == s.Name }) {
			out = append(out, s)
		}
	}
	return out
}

var onRequest = map[state.Flow]int{state.Clean: 0, state.Deploy: 0, state.Service: 0}

// ReservedStep finds the reserved step that a name ends in ("deploy.hold"), under that name.
func ReservedStep(name string) (step.Step, bool) {
	iface, short := step.Split(name)
	i := slices.IndexFunc(Reserved, func(s step.Step) bool { return s.Name == short })
	if iface == "" || i < 0 {
		return step.Step{}, false
	}
	s := Reserved[i]
	s.Name = name
	return s, true
}
