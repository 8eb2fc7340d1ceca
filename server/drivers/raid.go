package drivers

// DiskField is a key of a logical disk in target_raid_config.
type DiskField struct{ Name, Doc string }

// LogicalDisk lists the keys, whatever builds the volume.
var LogicalDisk = []DiskField{
	{"raid_level", "RAID level: JBOD, 0, 1, 2, 5, 6, 1+0, 5+0 or 6+0. Required."},
	{"size_gb", "size in GiB, a whole number, or MAX for all the room that is left. Required."},
	{"volume_name", "name of the volume; made up if it is left out."},
	{"is_root_volume", "true: the image goes here; one at most. Default false."},
	{"share_physical_disks", "true: other logical disks may use the same physical disks. Default false."},
	{"disk_type", "hdd or ssd; any if it is left out."},
	{"interface_type", "sata, scsi or sas; any if it is left out."},
	{"number_of_physical_disks", "how many disks to use; as few as the level allows if it is left out."},
	{"controller", "the RAID controller, or software; any if it is left out."},
	{"physical_disks", "the disks to use: names, or two or more objects of root device hints. It needs controller."},
}
