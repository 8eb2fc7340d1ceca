package integration

import (
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// TestMetal3sLiveISOIsBooted is what Metal3's operator asks of an Ironic for a host with an image of the format live-iso, in
// its order, by its client, on an emulated Redfish machine: register, name the ISO, validate, deploy with an empty config
// drive, switch, deprovision.
func TestMetal3sLiveISOIsBooted(t *testing.T) {
	t.Parallel()
	b := newBench(t, emulator.Config{Transport: mediaTransport{}})
	ctx, client := t.Context(), ironicClient(t, "1.110", conductor.Driver(b.driver))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n, err := nodes.Create(ctx, client, nodes.CreateOpts{Name: "metal3~host", Driver: "redfish", BootInterface: "redfish-virtual-media", RAIDInterface: "no-raid",
		FirmwareInterface: "redfish", InspectInterface: "agent", Properties: map[string]any{"capabilities": "boot_mode:uefi", "cpu_arch": "x86_64"}, DisablePowerOff: new(bool),
		DriverInfo: map[string]any{"redfish_address": b.machine.URL(), "redfish_username": "admin", "redfish_password": "password", "redfish_verify_ca": false}}).Extract()
	must(err)
	provision := func(o nodes.ProvisionStateOpts, want nodes.ProvisionState) {
		t.Helper()
		must(nodes.ChangeProvisionState(ctx, client, n.UUID, o).ExtractErr())
		reached(t, client, n.UUID, want)
	}
	patch := func(op nodes.UpdateOp, path string, value any) *nodes.Node {
		t.Helper()
		n, err := nodes.Update(ctx, client, n.UUID, nodes.UpdateOpts{nodes.UpdateOperation{Op: op, Path: path, Value: value}}).Extract()
		must(err)
		return n
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)
	patch(nodes.AddOp, "/automated_clean", false)

	patch(nodes.AddOp, "/instance_uuid", "5b3c2e6a-1111-4222-8333-444455556666")
	patch(nodes.AddOp, "/instance_info/boot_iso", b.medium)
	patch(nodes.AddOp, "/instance_info/capabilities", map[string]string{})
	patch(nodes.AddOp, "/driver_info/force_persistent_boot_device", "Default")
	if got := patch(nodes.AddOp, "/deploy_interface", "ramdisk"); got.InstanceInfo["boot_iso"] != b.medium || got.DeployInterface != "ramdisk" {
		t.Errorf("the operator would write it again and again: %v, %s", got.InstanceInfo, got.DeployInterface)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available)
	v, err := nodes.Validate(ctx, client, n.UUID).Extract()
	must(err)
	if !v.Boot.Result || !v.Deploy.Result {
		t.Fatalf("validation: boot %+v, deploy %+v", v.Boot, v.Deploy)
	}

	drive := nodes.ProvisionStateOpts{Target: nodes.TargetActive, ConfigDrive: nodes.ConfigDrive{UserData: "#cloud-config\n"}}
	if err := nodes.ChangeProvisionState(ctx, client, n.UUID, drive).ExtractErr(); !gophercloud.ResponseCodeIs(err, 400) {
		t.Errorf("a config drive that could not be given to the machine: %v", err)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetActive, ConfigDrive: nodes.ConfigDrive{}}, nodes.Active)
	if s := b.machine.State(); !s.On || s.Medium != b.medium || s.Override != "Continuous Cd" {
		t.Errorf("the machine is %+v", s)
	}
	for _, target := range []nodes.TargetPowerState{nodes.SoftPowerOff, nodes.PowerOn} {
		must(nodes.ChangePowerState(ctx, client, n.UUID, nodes.PowerStateOpts{Target: target}).ExtractErr())
		reachedPower(t, client, n.UUID)
		if b.machine.On() != (target == nodes.PowerOn) || b.machine.Medium() != b.medium {
			t.Errorf("%s: on %v, with %q in the drive", target, b.machine.On(), b.machine.Medium())
		}
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetDeleted}, nodes.Available)
	got, err := nodes.Get(ctx, client, n.UUID).Extract()
	must(err)
	if b.machine.On() || b.machine.Medium() != "" || got.InstanceUUID != "" || len(got.InstanceInfo) != 0 {
		t.Errorf("deprovisioned: on %v, %q in the drive, %q, %v", b.machine.On(), b.machine.Medium(), got.InstanceUUID, got.InstanceInfo)
	}

	// Without the ISO the operator is told why at both interfaces, before it asks for anything.
	if v, err = nodes.Validate(ctx, client, n.UUID).Extract(); err != nil || v.Boot.Result || v.Deploy.Result || v.Boot.Reason == "" || v.Deploy.Reason == "" {
		t.Errorf("validation without an ISO: %+v, %v", v, err)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)
	must(nodes.Delete(ctx, client, n.UUID).ExtractErr())
}
