package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/drivers"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
)

// TestGophercloudChoosesInterfaces sets each kind of interface, as gophercloud names them, to each implementation that the
// driver says it has, and back to the default; any other is refused with a list of those that fit (requirements row 18).
func TestGophercloudChoosesInterfaces(t *testing.T) {
	ctx, client := t.Context(), ironicClient(t, "1.110")
	d, err := drivers.GetDriverDetails(ctx, client, "fake-hardware").Extract()
	if err != nil {
		t.Fatal(err)
	}
	n, err := nodes.Create(ctx, client, nodes.CreateOpts{Name: "n1", Driver: "fake-hardware"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	patch := func(op nodes.UpdateOp, field, value string) (*nodes.Node, error) {
		o := nodes.UpdateOperation{Op: op, Path: "/" + field}
		if value != "" {
			o.Value = value
		}
		return nodes.Update(ctx, client, n.UUID, nodes.UpdateOpts{o}).Extract()
	}
	for field, k := range map[string]struct {
		have  []string
		usual string
		now   func(*nodes.Node) string
	}{
		"bios_interface":       {d.EnabledBiosInterfaces, d.DefaultBiosInterface, func(n *nodes.Node) string { return n.BIOSInterface }},
		"boot_interface":       {d.EnabledBootInterfaces, d.DefaultBootInterface, func(n *nodes.Node) string { return n.BootInterface }},
		"console_interface":    {d.EnabledConsoleInterface, d.DefaultConsoleInterface, func(n *nodes.Node) string { return n.ConsoleInterface }},
		"deploy_interface":     {d.EnabledDeployInterfaces, d.DefaultDeployInterface, func(n *nodes.Node) string { return n.DeployInterface }},
		"firmware_interface":   {d.EnabledFirmwareInterfaces, d.DefaultFirmwareInterface, func(n *nodes.Node) string { return n.FirmwareInterface }},
		"inspect_interface":    {d.EnabledInspectInterfaces, d.DefaultInspectInterface, func(n *nodes.Node) string { return n.InspectInterface }},
		"management_interface": {d.EnabledManagementInterfaces, d.DefaultManagementInterface, func(n *nodes.Node) string { return n.ManagementInterface }},
		"network_interface":    {d.EnabledNetworkInterfaces, d.DefaultNetworkInterface, func(n *nodes.Node) string { return n.NetworkInterface }},
		"power_interface":      {d.EnabledPowerInterfaces, d.DefaultPowerInterface, func(n *nodes.Node) string { return n.PowerInterface }},
		"raid_interface":       {d.EnabledRaidInterfaces, d.DefaultRaidInterface, func(n *nodes.Node) string { return n.RAIDInterface }},
		"rescue_interface":     {d.EnabledRescueInterfaces, d.DefaultRescueInterface, func(n *nodes.Node) string { return n.RescueInterface }},
		"storage_interface":    {d.EnabledStorageInterfaces, d.DefaultStorageInterface, func(n *nodes.Node) string { return n.StorageInterface }},
		"vendor_interface":     {d.EnabledVendorInterfaces, d.DefaultVendorInterface, func(n *nodes.Node) string { return n.VendorInterface }},
	} {
		if !slices.Contains(k.have, k.usual) {
			t.Errorf("%s: the default %q is not among %v", field, k.usual, k.have)
		}
		for _, value := range k.have {
			if got, err := patch(nodes.AddOp, field, value); err != nil || k.now(got) != value {
				t.Errorf("%s set to %s: %v, %v", field, value, got, err)
			}
		}
		if _, err := patch(nodes.ReplaceOp, field, "nosuch"); !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) || !strings.Contains(err.Error(), strings.Join(k.have, ", ")) {
			t.Errorf("%s set to what the driver has not: %v, expected 400 with %v", field, err, k.have)
		}
		if got, err := patch(nodes.RemoveOp, field, ""); err != nil || k.now(got) != k.usual {
			t.Errorf("%s removed: %v, %v, expected the default %s", field, got, err, k.usual)
		}
	}
}
