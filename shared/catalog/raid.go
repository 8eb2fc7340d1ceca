package catalog

import (
	"time"

	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// The steps that build RAID volumes by a configuration. That of CreateRAID is the node's target_raid_config, as it is when the
// plan is made.
const (
	DeleteRAID = "raid.delete_configuration"
	CreateRAID = "raid.create_configuration"
	ApplyRAID  = "raid.apply_configuration"
	// ArgRAID is the argument that is the configuration; BuiltRAID is the key of Result.Data under which a step tells what it
	// has built, read back: an object with logical_disks.
	ArgRAID   = "raid_config"
	BuiltRAID = "raid_config"
)

// raidSteps are out of band. A restart of the machine may be part of each, and the disks that a ramdisk saw before are not
// those that there are afterwards.
var raidSteps = []step.Step{
	{
		Name: DeleteRAID, Where: step.OutOfBand,
		Doc:      "Deletes the RAID volumes, and all that is on them, but for those that skip_block_devices keeps.",
		Priority: map[state.Flow]int{state.Clean: 0, state.Deploy: 0},
		Touches:  step.Volumes, Repeat: step.Again, Abortable: true, Reboot: true, Timeout: 4 * time.Hour,
	},
	{
		Name: CreateRAID, Where: step.OutOfBand,
		Doc:      "Builds the RAID volumes of target_raid_config that are not there yet; what is on the drives that they are made of is lost.",
		Priority: map[state.Flow]int{state.Clean: 0},
		Args:     append([]step.Arg{{Name: ArgRAID, Type: step.Object, Doc: "the configuration; the node's target_raid_config if it is left out"}}, raidArgs(true)...),
		Touches:  step.Volumes, Repeat: step.Again, Abortable: true, Reboot: true, Timeout: 4 * time.Hour,
	},
	{
		Name: ApplyRAID, Where: step.OutOfBand,
		Doc:      "Builds the RAID volumes of raid_config that are not there yet; what is on the drives that they are made of is lost.",
		Priority: map[state.Flow]int{state.Deploy: 0},
		Args:     append([]step.Arg{{Name: ArgRAID, Type: step.Object, Required: true, Doc: "the configuration, which becomes the node's target_raid_config"}}, raidArgs(false)...),
		Touches:  step.Volumes, Repeat: step.Again, Abortable: true, Reboot: true, Timeout: 4 * time.Hour,
	},
}

func raidArgs(nonroot bool) []step.Arg {
	return []step.Arg{
		{Name: "create_root_volume", Type: step.Boolean, Default: true, Doc: "whether to build the volume with is_root_volume"},
		{Name: "create_nonroot_volumes", Type: step.Boolean, Default: nonroot, Doc: "whether to build the others"},
		{Name: "delete_existing", Type: step.Boolean, Default: false,
			Doc: "whether to delete the volumes that are none of the configuration's first; those that are stay as they are"},
	}
}
