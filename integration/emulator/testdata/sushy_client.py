"""Drives the emulator the way OpenStack Ironic does, through its Redfish library sushy.

Arguments: the service's URL, a system's path, the URL of a CD image. Prints one line for each thing that was checked.
"""
import sys

import sushy
from sushy import auth

url, path, image = sys.argv[1:4]


def check(what, got, want):
    if got != want:
        sys.exit("%s: got %r, want %r" % (what, got, want))
    print("ok", what)


def refused(what, kind, do):
    try:
        do()
    except kind as e:
        print("ok", what, "refused:", e)
        return e
    sys.exit(what + ": accepted")


refused("wrong password", sushy.exceptions.AccessError,
        lambda: sushy.Sushy(url, auth=auth.SessionAuth("admin", "wrong")).get_system(path))
check("basic authentication",
      sushy.Sushy(url, auth=auth.BasicAuth("admin", "password")).get_system(path).identity, path.rsplit("/", 1)[1])

root = sushy.Sushy(url, auth=auth.SessionAuth("admin", "password"))
system = root.get_system(path)
check("one system", len(root.get_system_collection().get_members()), 1)
check("uuid", system.uuid, "9d3f1f0e-64d8-4a55-a7a1-0d9a4f2b7c11")
check("power", system.power_state, sushy.PowerState.OFF)
check("cards", dict(system.ethernet_interfaces.summary), {"52:54:00:00:00:01": sushy.STATE_ENABLED})
check("chassis", system.chassis[0].chassis_type, sushy.CHASSIS_TYPE_RACK_MOUNT)
check("temperatures", [t.name for t in system.chassis[0].thermal.temperatures], ["CPU temperature", "Inlet temperature"])
check("fans", [f.reading for f in system.chassis[0].thermal.fans], [0, 0])
check("power supplies", len(system.chassis[0].power.power_supplies), 1)
check("manager", system.managers[0].manager_type, sushy.MANAGER_TYPE_BMC)

cd = system.managers[0].virtual_media.get_members()[0]
check("media", cd.media_types, [sushy.VIRTUAL_MEDIA_CD, sushy.VIRTUAL_MEDIA_DVD])
e = refused("medium that is not there", sushy.exceptions.BadRequestError, lambda: cd.insert_media(image + ".absent"))
check("why it was refused", "404" in str(e), True)
cd.insert_media(image)
cd.refresh()
check("medium", (cd.inserted, cd.image), (True, image))

check("boot devices", sushy.BOOT_SOURCE_TARGET_CD in system.get_allowed_system_boot_source_values(), True)
system.set_system_boot_options(target=sushy.BOOT_SOURCE_TARGET_CD, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE,
                               mode=sushy.BOOT_SOURCE_MODE_UEFI)
system.refresh()
check("boot override", (system.boot.target, system.boot.enabled), (sushy.BootSource.CD, sushy.BootSourceOverrideEnabled.ONCE))

check("BIOS", system.bios.attributes["ProcVirtualization"], "Enabled")
system.bios.set_attributes({"ProcVirtualization": "Disabled", "BootTimeout": 5})
check("BIOS to come", system.bios.pending_attributes["ProcVirtualization"], "Disabled")
check("BIOS still", root.get_system(path).bios.attributes["ProcVirtualization"], "Enabled")
refused("BIOS attribute that does not exist", sushy.exceptions.BadRequestError,
        lambda: system.bios.set_attributes({"NoSuch": 1}))

system.secure_boot.set_enabled(True)
check("secure boot still", root.get_system(path).secure_boot.current_boot, sushy.SECURE_BOOT_DISABLED)

system.reset_system(sushy.RESET_ON)
system.refresh()
check("power", system.power_state, sushy.PowerState.ON)
check("override used up", system.boot.enabled, sushy.BootSourceOverrideEnabled.DISABLED)
fresh = root.get_system(path)
check("BIOS applied", (fresh.bios.attributes["ProcVirtualization"], fresh.bios.attributes["BootTimeout"]), ("Disabled", 5))
check("secure boot", fresh.secure_boot.current_boot, sushy.SECURE_BOOT_ENABLED)
fresh.bios.reset_bios()
system.reset_system(sushy.RESET_FORCE_RESTART)
check("BIOS reset", root.get_system(path).bios.attributes["ProcVirtualization"], "Enabled")

cd.eject_media()
cd.refresh()
check("medium out", (cd.inserted, cd.image), (False, None))
system.reset_system(sushy.RESET_FORCE_OFF)
system.refresh()
check("power", system.power_state, sushy.PowerState.OFF)

refused("restart of a system that is off", sushy.exceptions.HTTPError,
        lambda: system.reset_system(sushy.RESET_FORCE_RESTART))
tasks = root._conn.get("/redfish/v1/TaskService/Tasks").json()
check("tasks", len(tasks["Members"]), 2)
system.managers[0].reset_manager(sushy.RESET_MANAGER_GRACEFUL_RESTART)
refused("manager that restarts", sushy.exceptions.ConnectionError, lambda: root.get_system(path))
