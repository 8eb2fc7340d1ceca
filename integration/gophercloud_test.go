package integration

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/apiversions"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/conductors"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/drivers"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/server/logs"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// unsealed keeps secrets as they are; sealing has its own tests.
type unsealed struct{}

func (unsealed) Seal(_, _ string, v []byte) (string, []byte, error) { return "k", slices.Clone(v), nil }
func (unsealed) Open(_, _, _ string, v []byte) ([]byte, error)      { return v, nil }

// noAgents is a dispatcher that no agent ever calls.
type noAgents struct{}

func (noAgents) Offer(conductor.NodeID, uint64, api.Command)     {}
func (noAgents) Withdraw(conductor.NodeID, step.ID)              {}
func (noAgents) Drop(conductor.NodeID)                           {}
func (noAgents) Heard(conductor.NodeID, uint64) (seen time.Time) { return seen }

// oneFile makes config drives that hold their meta data and nothing else.
type oneFile struct{}

func (oneFile) ConfigDrive(files map[string][]byte) ([]byte, error) {
	return files["openstack/latest/meta_data.json"], nil
}

// ironicClient is gophercloud's client of a whole server whose machines are in memory, or of the types given.
func ironicClient(t *testing.T, microversion string, types ...conductor.Driver) *gophercloud.ServiceClient {
	t.Helper()
	log, dir := slog.New(slog.DiscardHandler), t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "bessemer.db"), Sealer: unsealed{}, Log: log, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := logs.Open(filepath.Join(dir, "logs"), log)
	if err != nil {
		t.Fatal(err)
	}
	if types == nil {
		types = []conductor.Driver{fake.New(fake.Config{})}
	}
	c, err := engine.New(engine.Config{
		Store: store, Drivers: types, Dispatcher: noAgents{}, Logs: kept, ConfigDrives: oneFile{}, BootKey: bytes.Repeat([]byte{1}, 32),
		AgentURL: func() string { return "https://192.0.2.1:6386" }, MediumURL: func(token string) string { return "http://192.0.2.1:6387/" + token },
		ProgramURL: func(token string) string { return "https://192.0.2.1:6388/" + token }, BootChain: [][]byte{bootCertificate()},
		Now: time.Now, Log: log, Timeouts: conductor.DefaultTimeouts(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	h := httptest.NewServer(rest.New(rest.Config{Backend: c, Auth: login.None{}, Hostname: "lab", Now: time.Now, Started: time.Now(), Log: log}))
	t.Cleanup(func() {
		cancel()
		h.CloseClientConnections()
		h.Close()
		<-ended
		_ = kept.Close()
		_ = store.Close()
	})
	client, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: h.URL + "/v1/"})
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = microversion
	return client
}

// reached polls, as gophercloud's users do, until the node is in the state.
func reached(t *testing.T, client *gophercloud.ServiceClient, id string, want nodes.ProvisionState) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		n, err := nodes.Get(ctx, client, id).Extract()
		if err != nil {
			t.Fatal(err)
		}
		if n.ProvisionState == string(want) {
			return
		}
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Fatalf("the node is %s (%s) and not %s", n.ProvisionState, n.LastError, want)
		case <-timer.C:
		}
	}
}

// TestGophercloudIsServed takes a machine through what a server without a ramdisk can do with it, by the calls of
// gophercloud, which is strict about statuses and types. It does so in the versions that its users ask for.
func TestGophercloudIsServed(t *testing.T) {
	for _, version := range []string{"1.89", "1.95", "1.109", "1.110"} {
		t.Run(version, func(t *testing.T) {
			ctx, client := t.Context(), ironicClient(t, version)
			root := *client
			root.Endpoint = strings.TrimSuffix(client.Endpoint, "v1/")
			versions, err := apiversions.Get(ctx, &root, "v1").Extract()
			if err != nil || versions.Version != api.MaxVersion.String() || versions.MinVersion != "1.1" {
				t.Fatalf("versions %+v, %v", versions, err)
			}
			page, err := drivers.ListDrivers(client, drivers.ListDriversOpts{}).AllPages(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if all, err := drivers.ExtractDrivers(page); err != nil || len(all) != 1 || all[0].Name != "fake-hardware" {
				t.Fatalf("drivers %+v, %v", all, err)
			}
			if d, err := drivers.GetDriverDetails(ctx, client, "fake-hardware").Extract(); err != nil || d.DefaultPowerInterface != "fake" {
				t.Errorf("driver %+v, %v", d, err)
			}
			if page, err = conductors.List(client, conductors.ListOpts{}).AllPages(ctx); err != nil {
				t.Fatal(err)
			}
			if all, err := conductors.ExtractConductors(page); err != nil || len(all) != 1 || !all[0].Alive {
				t.Errorf("conductors %+v, %v", all, err)
			}

			opts := nodes.CreateOpts{Name: "metal~n1", Driver: "fake-hardware", DriverInfo: map[string]any{"fake_password": "canary"},
				Properties: map[string]any{"cpu_arch": "x86_64"}, AutomatedClean: new(bool)}
			if version != "1.89" {
				opts.DisablePowerOff = new(bool)
			}
			n, err := nodes.Create(ctx, client, opts).Extract()
			if err != nil || n.ProvisionState != "enroll" || n.DriverInfo["fake_password"] != "******" || n.CreatedAt.IsZero() {
				t.Fatalf("created %+v, %v", n, err)
			}
			if _, err := nodes.Create(ctx, client, opts).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
				t.Errorf("the same name again: %v", err)
			}
			if n, err = nodes.Get(ctx, client, "metal~n1").Extract(); err != nil || n.Name != "metal~n1" {
				t.Fatalf("by name: %+v, %v", n, err)
			}
			n, err = nodes.Update(ctx, client, n.UUID, nodes.UpdateOpts{
				nodes.UpdateOperation{Op: nodes.AddOp, Path: "/properties/capabilities", Value: "boot_mode:uefi"},
				nodes.UpdateOperation{Op: nodes.AddOp, Path: "/maintenance", Value: "true"},
				nodes.UpdateOperation{Op: nodes.RemoveOp, Path: "/deploy_interface"},
			}).Extract()
			if err != nil || !n.Maintenance || n.Properties["capabilities"] != "boot_mode:uefi" || n.AutomatedClean == nil || *n.AutomatedClean {
				t.Fatalf("updated %+v, %v", n, err)
			}
			if err := nodes.UnsetMaintenance(ctx, client, n.UUID).ExtractErr(); err != nil {
				t.Error(err)
			}
			if err := nodes.SetMaintenance(ctx, client, n.UUID, nodes.MaintenanceOpts{Reason: "fan"}).ExtractErr(); err != nil {
				t.Error(err)
			}
			if err := nodes.UnsetMaintenance(ctx, client, n.UUID).ExtractErr(); err != nil {
				t.Error(err)
			}

			p, err := ports.Create(ctx, client, ports.CreateOpts{NodeUUID: n.UUID, Address: "52:54:00:AA:00:01", PXEEnabled: new(bool)}).Extract()
			if err != nil || p.Address != "52:54:00:aa:00:01" || p.PXEEnabled {
				t.Fatalf("port %+v, %v", p, err)
			}
			if page, err = ports.List(client, ports.ListOpts{Address: "52:54:00:aa:00:01", Fields: []string{"node_uuid", "uuid", "address"}}).AllPages(ctx); err != nil {
				t.Fatal(err)
			}
			if all, err := ports.ExtractPorts(page); err != nil || len(all) != 1 || all[0].NodeUUID != n.UUID {
				t.Errorf("ports %+v, %v", all, err)
			}
			if p, err = ports.Update(ctx, client, p.UUID, ports.UpdateOpts{ports.UpdateOperation{Op: ports.ReplaceOp, Path: "/pxe_enabled", Value: true}}).Extract(); err != nil || !p.PXEEnabled {
				t.Errorf("port %+v, %v", p, err)
			}

			provision := func(o nodes.ProvisionStateOpts, want nodes.ProvisionState) {
				t.Helper()
				if err := nodes.ChangeProvisionState(ctx, client, n.UUID, o).ExtractErr(); err != nil {
					t.Fatal(err)
				}
				reached(t, client, n.UUID, want)
			}
			provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable)
			if _, err := nodes.GetInventory(ctx, client, n.UUID).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
				t.Errorf("the inventory before an inspection: %v", err)
			}
			provision(nodes.ProvisionStateOpts{Target: nodes.TargetClean, CleanSteps: []nodes.CleanStep{{Interface: nodes.InterfaceBIOS, Step: "factory_reset"}}}, nodes.Manageable)
			provision(nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available)
			// The fake deploy interface needs no image; this one does.
			direct := nodes.UpdateOpts{nodes.UpdateOperation{Op: nodes.AddOp, Path: "/deploy_interface", Value: "direct"}}
			if _, err := nodes.Update(ctx, client, n.UUID, direct).Extract(); err != nil {
				t.Fatal(err)
			}
			err = nodes.ChangeProvisionState(ctx, client, n.UUID, nodes.ProvisionStateOpts{Target: nodes.TargetActive,
				ConfigDrive: nodes.ConfigDrive{MetaData: map[string]any{"hostname": "h"}, UserData: map[string]any{"a": 1}}}).ExtractErr()
			if !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
				t.Errorf("a deployment without an image: %v", err)
			}
			v, err := nodes.Validate(ctx, client, n.UUID).Extract()
			if err != nil || !v.Boot.Result || v.Deploy.Result || v.Deploy.Reason == "" {
				t.Errorf("validation %+v, %v", v, err)
			}
			if err := nodes.ChangePowerState(ctx, client, n.UUID, nodes.PowerStateOpts{Target: nodes.PowerOff}).ExtractErr(); err != nil {
				t.Error(err)
			}
			if err := nodes.ChangePowerState(ctx, client, n.UUID, nodes.PowerStateOpts{Target: "sideways"}).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
				t.Errorf("an unknown power target: %v", err)
			}
			reachedPower(t, client, n.UUID) // the act holds the node until it has ended
			if d, err := nodes.GetSupportedBootDevices(ctx, client, n.UUID).Extract(); err != nil || !slices.Contains(d, "pxe") {
				t.Errorf("boot devices %v, %v", d, err)
			}
			if err := nodes.SetBootDevice(ctx, client, n.UUID, nodes.BootDeviceOpts{BootDevice: "pxe", Persistent: true}).ExtractErr(); err != nil {
				t.Error(err)
			}
			if d, err := nodes.GetBootDevice(ctx, client, n.UUID).Extract(); err != nil || d.BootDevice != "pxe" {
				t.Errorf("boot device %+v, %v", d, err)
			}
			if page, err = nodes.List(client, nodes.ListOpts{Fields: []string{"uuid", "name", "provision_state", "boot_interface"}}).AllPages(ctx); err != nil {
				t.Fatal(err)
			}
			if all, err := nodes.ExtractNodes(page); err != nil || len(all) != 1 || all[0].ProvisionState != "available" {
				t.Errorf("nodes %+v, %v", all, err)
			}
			if page, err = nodes.ListDetail(client, nodes.ListOpts{ProvisionState: nodes.Available}).AllPages(ctx); err != nil {
				t.Fatal(err)
			}
			if all, err := nodes.ExtractNodes(page); err != nil || len(all) != 1 || all[0].Driver != "fake-hardware" {
				t.Errorf("nodes in detail %+v, %v", all, err)
			}
			if err := ports.Delete(ctx, client, p.UUID).ExtractErr(); err != nil {
				t.Error(err)
			}
			reachedPower(t, client, n.UUID)
			if err := nodes.Delete(ctx, client, n.UUID).ExtractErr(); err != nil {
				t.Error(err)
			}
			if _, err := nodes.Get(ctx, client, n.UUID).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
				t.Errorf("a deleted node: %v", err)
			}
		})
	}
}

// reachedPower polls until no power act runs.
func reachedPower(t *testing.T, client *gophercloud.ServiceClient, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		n, err := nodes.Get(ctx, client, id).Extract()
		if err != nil {
			t.Fatal(err)
		}
		if n.TargetPowerState == "" {
			return
		}
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Fatalf("the node is still on its way to %s", n.TargetPowerState)
		case <-timer.C:
		}
	}
}
