package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// TestMetal3BootsOverHTTPS is what Metal3's operator asks of an Ironic for a host whose boot interface is redfish-https, in its order and by
// its client, on an emulated Redfish machine without virtual media: register, validate, inspect, abort, and a live ISO. Each boot is
// ordered of the BMC by its address, once or for good, and none is left behind.
func TestMetal3BootsOverHTTPS(t *testing.T) {
	t.Parallel()
	boots := make(chan emulator.FakeBoot, 10)
	b := newBench(t, emulator.Config{Transport: mediaTransport{}}, func(c *emulator.MachineConfig) {
		c.OnBoot = func(_ context.Context, b emulator.FakeBoot) { boots <- b }
	})
	b.inject(t, emulator.Fault{Kind: emulator.Edit, Match: "GET /redfish/v1/Managers/m1/VirtualMedia/Cd", Value: `{"MediaTypes":["Floppy"]}`})
	ctx, client := t.Context(), ironicClient(t, "1.110", conductor.Driver(b.driver))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n, err := nodes.Create(ctx, client, nodes.CreateOpts{Name: "metal3~host", Driver: "redfish", BootInterface: "redfish-https", RAIDInterface: "no-raid",
		FirmwareInterface: "redfish", InspectInterface: "agent", Properties: map[string]any{"capabilities": "boot_mode:uefi", "cpu_arch": "x86_64"}, DisablePowerOff: new(bool),
		DriverInfo: map[string]any{"redfish_address": b.machine.URL(), "redfish_username": "admin", "redfish_password": "password", "redfish_verify_ca": false,
			"deploy_kernel": "http://192.0.2.9/ipa.kernel", "deploy_ramdisk": "http://192.0.2.9/ipa.initramfs"}}).Extract()
	must(err)
	if n.BootInterface != "redfish-https" {
		t.Errorf("the operator would write it again and again: %s", n.BootInterface)
	}
	provision := func(o nodes.ProvisionStateOpts, want nodes.ProvisionState) {
		t.Helper()
		must(nodes.ChangeProvisionState(ctx, client, n.UUID, o).ExtractErr())
		reached(t, client, n.UUID, want)
	}
	patch := func(path string, value any) {
		t.Helper()
		_, err := nodes.Update(ctx, client, n.UUID, nodes.UpdateOpts{nodes.UpdateOperation{Op: nodes.AddOp, Path: path, Value: value}}).Extract()
		must(err)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)
	v, err := nodes.Validate(ctx, client, n.UUID).Extract()
	must(err)
	if !v.Boot.Result || !v.Power.Result || !v.Management.Result {
		t.Fatalf("validation: boot %+v, power %+v, management %+v", v.Boot, v.Power, v.Management)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetInspect}, nodes.InspectWait)
	if got := (<-boots).Source; got.Target != "UefiHttp" || !strings.HasPrefix(got.URI, "https://192.0.2.1:6388/") {
		t.Errorf("the ramdisk is booted from %+v", got)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetAbort}, nodes.InspectFail)
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)

	patch("/automated_clean", false)
	patch("/instance_uuid", "5b3c2e6a-1111-4222-8333-444455556666")
	patch("/instance_info/boot_iso", b.medium)
	patch("/deploy_interface", "ramdisk")
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available)
	if v, err = nodes.Validate(ctx, client, n.UUID).Extract(); err != nil || !v.Boot.Result || !v.Deploy.Result {
		t.Fatalf("validation: %+v, %v", v, err)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetActive}, nodes.Active)
	if s, got := b.machine.State(), (<-boots).Source; !s.On || s.Override != "Continuous UefiHttp" || got.URI != b.medium {
		t.Errorf("the machine is %+v, and booted from %+v", s, got)
	}
	provision(nodes.ProvisionStateOpts{Target: nodes.TargetDeleted}, nodes.Available)
	if b.machine.On() {
		t.Error("deprovisioned, and on")
	}
}

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
