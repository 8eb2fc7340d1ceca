package integration

import (
	"net/http"
	"slices"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/allocations"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"

	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/server/ipmi"
)

// What gophercloud's own acceptance tests do with a node of the ipmi driver, in the versions that they ask for. They send it
// to no BMC: most of it is only kept.
func TestGophercloudsAcceptanceOfIPMINodes(t *testing.T) {
	client := ironicClient(t, "1.50", fake.New(fake.Config{}), ipmi.New(nil))
	ctx, name := t.Context(), "ACPTTEST"
	n, err := nodes.Create(ctx, client, nodes.CreateOpts{Name: name, Driver: "ipmi", BootInterface: "ipxe", RAIDInterface: "agent", DriverInfo: map[string]any{
		"ipmi_port": "6230", "ipmi_username": "admin", "ipmi_address": "192.168.122.1", "ipmi_password": "admin",
		"deploy_kernel": "http://172.22.0.1/images/tinyipa.vmlinuz", "deploy_ramdisk": "http://172.22.0.1/images/tinyipa.gz"}}).Extract()
	if err != nil || n.Name != name || n.Driver != "ipmi" || n.BootInterface != "ipxe" || n.RAIDInterface != "agent" {
		t.Fatalf("created %+v, %v", n, err)
	}
	page, err := nodes.List(client, nodes.ListOpts{Fields: []string{"uuid", "deploy_interface"}}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := nodes.ExtractNodes(page); err != nil || len(all) != 1 || all[0].UUID == "" || all[0].DeployInterface == "" || all[0].BootInterface != "" {
		t.Errorf("fields %+v, %v", all, err)
	}
	size, root := 100, true
	hints := []any{map[string]string{"size": "> 100"}, map[string]string{"size": "> 100"}}
	for _, d := range []nodes.LogicalDisk{
		{SizeGB: &size, IsRootVolume: &root, RAIDLevel: nodes.RAID5, Controller: "software", PhysicalDisks: hints},
		{SizeGB: &size, IsRootVolume: &root, RAIDLevel: nodes.RAID5, DiskType: nodes.HDD, NumberOfPhysicalDisks: 5},
	} {
		if err := nodes.SetRAIDConfig(ctx, client, n.UUID, nodes.RAIDConfigOpts{LogicalDisks: []nodes.LogicalDisk{d}}).ExtractErr(); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
	client.Microversion = "1.86"
	if n, err = nodes.Get(ctx, client, n.UUID).Extract(); err != nil || n.FirmwareInterface != "no-firmware" {
		t.Errorf("firmware interface %q, %v", n.FirmwareInterface, err)
	}
	if parts, err := nodes.ListFirmware(ctx, client, n.UUID).Extract(); err != nil || parts == nil || len(parts) != 0 {
		t.Errorf("firmware %#v, %v", parts, err)
	}
	client.Microversion = "1.93"
	if err := nodes.AttachVirtualMedia(ctx, client, n.UUID, nodes.AttachVirtualMediaOpts{DeviceType: nodes.VirtualMediaCD, ImageURL: "http://127.0.0.1:17"}).ExtractErr(); err != nil {
		t.Errorf("attach: %v", err)
	}
	for _, opts := range []nodes.DetachVirtualMediaOpts{{DeviceTypes: []nodes.VirtualMediaDeviceType{nodes.VirtualMediaCD}}, {}} {
		if err := nodes.DetachVirtualMedia(ctx, client, n.UUID, opts).ExtractErr(); err != nil {
			t.Errorf("detach %+v: %v", opts, err)
		}
	}
	if err := nodes.GetVirtualMedia(ctx, client, n.UUID).Err; !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
		t.Errorf("the drives: %v", err)
	}
	client.Microversion = "1.38"
	if vifs, err := nodes.ListVirtualInterfaces(ctx, client, n.UUID).Extract(); err != nil || len(vifs) != 0 {
		t.Errorf("virtual interfaces %v, %v", vifs, err)
	}
	if err := nodes.AttachVirtualInterface(ctx, client, n.UUID, nodes.VirtualInterfaceOpts{ID: "1974dcfa-836f-41b2-b541-686c100900e5"}).ExtractErr(); err == nil {
		t.Error("a virtual interface is attached to a node without ports")
	}
	forced(t, client, n.UUID)
}

// The same with a node of fake-hardware: deployed, serviced, allocated, deleted by force.
func TestGophercloudsAcceptanceOfFakeNodes(t *testing.T) {
	client := ironicClient(t, "1.87")
	ctx := t.Context()
	n, err := nodes.Create(ctx, client, nodes.CreateOpts{Name: "ACPTTEST", Driver: "fake-hardware", BootInterface: "fake", DeployInterface: "fake", ResourceClass: "baremetal"}).Extract()
	if err != nil || n.ProvisionState != string(nodes.Enroll) {
		t.Fatalf("created %+v, %v", n, err)
	}
	verb := func(opts nodes.ProvisionStateOpts, want nodes.ProvisionState) {
		t.Helper()
		if err := nodes.ChangeProvisionState(ctx, client, n.UUID, opts).ExtractErr(); err != nil {
			t.Fatal(err)
		}
		reached(t, client, n.UUID, want)
	}
	methods, err := nodes.ListVendorPassthruMethods(ctx, client, n.UUID).Extract()
	if err != nil || len(methods) == 0 {
		t.Errorf("vendor methods %v, %v", methods, err)
	}
	missing := nodes.VendorPassthruCallOpts{Method: "gophercloud_acceptance_missing_method", Body: map[string]any{"noop": true}}
	if err := nodes.CallVendorPassthru(ctx, client, n.UUID, http.MethodPost, missing).Err; err == nil {
		t.Error("a vendor method that is not there is called")
	}
	verb(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)
	verb(nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available)
	if err := nodes.ChangePowerState(ctx, client, n.UUID, nodes.PowerStateOpts{Target: nodes.PowerOn}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	reachedPower(t, client, n.UUID)

	client.Microversion = "1.52"
	a, err := allocations.Create(ctx, client, allocations.CreateOpts{Name: "ACPTTEST-A", ResourceClass: "baremetal"}).Extract()
	if err != nil || a.Name != "ACPTTEST-A" {
		t.Fatalf("allocated %+v, %v", a, err)
	}
	for a.State != string(allocations.Active) {
		if a, err = allocations.Get(ctx, client, a.UUID).Extract(); err != nil || a.State == string(allocations.Error) {
			t.Fatalf("allocated %+v, %v", a, err)
		}
	}
	for _, path := range []string{"", "?fields=uuid,node_uuid"} {
		var got struct {
			Node string `json:"node_uuid"`
		}
		if _, err := client.Get(ctx, client.ServiceURL("nodes", n.UUID, "allocation")+path, &got, nil); err != nil || got.Node != n.UUID { //nolint:bodyclose // gophercloud reads it
			t.Errorf("the node's allocation: %+v, %v", got, err)
		}
	}
	if _, err := client.Delete(ctx, client.ServiceURL("nodes", n.UUID, "allocation"), nil); err != nil { //nolint:bodyclose // gophercloud reads it
		t.Error(err)
	}
	if err := allocations.Delete(ctx, client, a.UUID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("the allocation after that: %v", err)
	}

	client.Microversion = "1.53"
	p, err := ports.Create(ctx, client, ports.CreateOpts{NodeUUID: n.UUID, Address: "e6:72:1f:52:00:f4", PXEEnabled: new(bool)}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	if p, err = ports.Update(ctx, client, p.UUID, ports.UpdateOpts{ports.UpdateOperation{Op: ports.ReplaceOp, Path: "/address", Value: "aa:bb:cc:dd:ee:ff"}}).Extract(); err != nil || p.Address != "aa:bb:cc:dd:ee:ff" {
		t.Errorf("port %+v, %v", p, err)
	}
	client.Microversion = "1.87"
	verb(nodes.ProvisionStateOpts{Target: nodes.TargetActive}, nodes.Active)
	verb(nodes.ProvisionStateOpts{Target: nodes.TargetService, ServiceSteps: []nodes.ServiceStep{{Interface: nodes.InterfaceDeploy, Step: nodes.StepReboot}}}, nodes.Active)
	if page, err := nodes.List(client, nodes.ListOpts{}).AllPages(ctx); err != nil {
		t.Error(err)
	} else if all, err := nodes.ExtractNodes(page); err != nil || !slices.ContainsFunc(all, func(x nodes.Node) bool { return x.UUID == n.UUID }) {
		t.Errorf("listed %+v, %v", all, err)
	}
	forced(t, client, n.UUID)
}

// forced deletes a node as those tests do, whatever its state: in maintenance.
func forced(t *testing.T, client *gophercloud.ServiceClient, id string) {
	t.Helper()
	if err := nodes.SetMaintenance(t.Context(), client, id, nodes.MaintenanceOpts{Reason: "forced deletion"}).ExtractErr(); err != nil {
		t.Errorf("maintenance: %v", err)
	}
	if err := nodes.Delete(t.Context(), client, id).ExtractErr(); err != nil {
		t.Errorf("delete: %v", err)
	}
}
