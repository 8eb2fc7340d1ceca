//go:build vm

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/apiversions"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/drivers"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"

	"github.com/bessemer-metal/bessemer/integration/crash"
)

// metal3 is one host as Metal3's operator sees it. Each method is one of the operator's provisioner calls and makes its
// requests, in its order, with what they rely on (baremetal-operator, pkg/provisioner/ironic).
type metal3 struct {
	t      *testing.T
	ctx    context.Context
	client *gophercloud.ServiceClient
	minor  int
	name   string // namespace~name
	mac    string
	create nodes.CreateOpts
	id     string
	erase  bool // automated cleaning
}

// The versions that the operator knows; it takes the newest that the server has.
var operatorVersions = []int{89, 93, 95, 109, 110}

// connect makes a client of a version; 0 is the operator's own choice.
func connect(t *testing.T, url string, minor int) *metal3 {
	t.Helper()
	client, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: url + "/v1/"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	m := &metal3{t: t, ctx: ctx, client: client}
	root := *client
	root.Endpoint = strings.TrimSuffix(client.Endpoint, "v1/")
	v, err := apiversions.Get(ctx, &root, "v1").Extract()
	if err != nil {
		t.Fatal(err)
	}
	var newest int
	if _, err := fmt.Sscanf(v.Version, "1.%d", &newest); err != nil {
		t.Fatalf("version %q: %v", v.Version, err)
	}
	for _, n := range operatorVersions {
		if n <= newest {
			m.minor = n
		}
	}
	if m.minor != 110 {
		t.Errorf("the operator takes 1.%d", m.minor)
	}
	if minor != 0 {
		m.minor = minor
	}
	client.Microversion = fmt.Sprintf("1.%d", m.minor)
	page, err := drivers.ListDrivers(client, drivers.ListDriversOpts{Detail: false}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := drivers.ExtractDrivers(page); err != nil || len(all) == 0 {
		t.Fatalf("the operator waits until there are drivers: %v, %v", all, err)
	}
	return m
}

func (m *metal3) must(err error, what string) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
}

func (m *metal3) node() *nodes.Node {
	m.t.Helper()
	n, err := nodes.Get(m.ctx, m.client, m.id).Extract()
	m.must(err, "get the node")
	return n
}

func (m *metal3) patch(ops ...nodes.UpdateOperation) *nodes.Node {
	m.t.Helper()
	opts := nodes.UpdateOpts{}
	for _, o := range ops {
		opts = append(opts, o)
	}
	n, err := nodes.Update(m.ctx, m.client, m.id, opts).Extract()
	m.must(err, fmt.Sprintf("update %+v", ops))
	return n
}

func add(path string, value any) nodes.UpdateOperation {
	return nodes.UpdateOperation{Op: nodes.AddOp, Path: path, Value: value}
}

func remove(path string) nodes.UpdateOperation {
	return nodes.UpdateOperation{Op: nodes.RemoveOp, Path: path}
}

// provision asks for a verb and polls for one of the states. Others that it may pass are given as via; any else fails.
func (m *metal3) provision(opts nodes.ProvisionStateOpts, want nodes.ProvisionState, via ...nodes.ProvisionState) *nodes.Node {
	m.t.Helper()
	m.must(nodes.ChangeProvisionState(m.ctx, m.client, m.id, opts).ExtractErr(), string(opts.Target))
	return m.reach(string(opts.Target), want, via...)
}

func (m *metal3) reach(what string, want nodes.ProvisionState, via ...nodes.ProvisionState) *nodes.Node {
	m.t.Helper()
	for began := time.Now(); ; {
		n := m.node()
		state := nodes.ProvisionState(n.ProvisionState)
		switch {
		case state == want:
			if n.TargetProvisionState != "" {
				m.t.Errorf("%s: in %s the target is %q", what, want, n.TargetProvisionState)
			}
			return n
		case !slices.Contains(via, state):
			m.t.Fatalf("%s: the node is %s (%s), on the way to %s", what, state, n.LastError, want)
		case time.Since(began) > 3*time.Minute:
			m.t.Fatalf("%s: still %s (%s) after three minutes", what, state, n.LastError)
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-m.ctx.Done():
			m.t.Fatal(m.ctx.Err())
		case <-timer.C:
		}
	}
}

// find looks for the host in the operator's three ways. Nothing is found when a 404 comes, and nothing else.
func (m *metal3) find() bool {
	m.t.Helper()
	_, plain, _ := strings.Cut(m.name, "~")
	for _, ident := range []string{m.id, m.name, plain} {
		if ident == "" {
			continue
		}
		n, err := nodes.Get(m.ctx, m.client, ident).Extract()
		if err == nil {
			m.id = n.UUID
			return true
		}
		if !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
			m.t.Fatalf("look for %s: %v", ident, err)
		}
	}
	return len(m.ports(ports.ListOpts{Address: m.mac})) > 0
}

func (m *metal3) ports(opts ports.ListOpts) []ports.Port {
	m.t.Helper()
	opts.Fields = []string{"node_uuid", "uuid", "address"}
	page, err := ports.List(m.client, opts).AllPages(m.ctx)
	m.must(err, "list ports")
	all, err := ports.ExtractPorts(page)
	m.must(err, "list ports")
	return all
}

func (m *metal3) register() {
	m.t.Helper()
	if m.find() {
		m.t.Fatalf("%s is there already", m.name)
	}
	opts := m.create
	opts.Name = m.name
	opts.InspectInterface = "agent"
	opts.Properties = map[string]any{"capabilities": "boot_mode:uefi", "cpu_arch": "x86_64"}
	if m.minor >= 95 {
		opts.DisablePowerOff = new(bool)
	}
	n, err := nodes.Create(m.ctx, m.client, opts).Extract()
	m.must(err, "create the node")
	m.id = n.UUID
	if n.ProvisionState != "enroll" || n.CreatedAt.IsZero() || n.Name != m.name {
		m.t.Errorf("created: %+v", n)
	}
	if _, err := nodes.Create(m.ctx, m.client, opts).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		m.t.Errorf("the operator tries again later on a conflict: %v", err)
	}
	if all := m.ports(ports.ListOpts{NodeUUID: m.id}); len(all) != 0 {
		m.t.Errorf("ports of a new node: %v", all)
	}
	if all := m.ports(ports.ListOpts{Address: m.mac}); len(all) != 0 {
		m.t.Errorf("ports of the address: %v", all)
	}
	pxe := true
	_, err = ports.Create(m.ctx, m.client, ports.CreateOpts{NodeUUID: m.id, Address: m.mac, PXEEnabled: &pxe}).Extract()
	m.must(err, "create the port")
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable, nodes.Enroll, nodes.Verifying)
	// The next reconciliation finds it, and changes nothing or what is new.
	if !m.find() {
		m.t.Fatal("a registered host is not found")
	}
	if all := m.ports(ports.ListOpts{NodeUUID: m.id}); len(all) != 1 || all[0].NodeUUID != m.id || all[0].Address != m.mac {
		m.t.Errorf("ports %+v", all)
	}
	m.patch(add("/driver_info", m.create.DriverInfo))
	if m.minor >= 95 {
		m.patch(add("/disable_power_off", false))
	}
	m.configure()
}

// configure sets what the ramdisk boots from.
func (m *metal3) configure() {
	m.t.Helper()
	m.patch(add("/driver_info/deploy_kernel", "http://192.0.2.1/kernel"), add("/driver_info/deploy_ramdisk", "http://192.0.2.1/ramdisk"),
		add("/driver_info/kernel_append_params", "%default% nofb"), add("/automated_clean", m.erase), add("/properties/capabilities", "boot_mode:uefi"))
	n := m.patch(remove("/driver_info/kernel_append_params"), remove("/driver_info/deploy_kernel"), remove("/driver_info/deploy_ramdisk"))
	for _, key := range []string{"kernel_append_params", "deploy_kernel", "deploy_ramdisk"} {
		if _, there := n.DriverInfo[key]; there {
			m.t.Errorf("%s is still there: %v", key, n.DriverInfo)
		}
	}
	if n.AutomatedClean == nil || *n.AutomatedClean != m.erase {
		m.t.Errorf("automated_clean %v", n.AutomatedClean)
	}
}

// inspect starts an inspection as there is no inventory yet. Fake hardware leaves none.
func (m *metal3) inspect(fake bool) {
	m.t.Helper()
	if _, err := nodes.GetInventory(m.ctx, m.client, m.id).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		m.t.Fatalf("the operator starts an inspection on 404: %v", err)
	}
	m.patch(add("/properties/capabilities", "boot_mode:uefi"), add("/properties/cpu_arch", "x86_64"), add("/inspect_interface", "agent"))
	if fake {
		m.patch(add("/inspect_interface", "fake"))
	}
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetInspect}, nodes.Manageable, nodes.Inspecting, nodes.InspectWait)
	inv, err := nodes.GetInventory(m.ctx, m.client, m.id).Extract()
	if fake && gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return
	}
	m.must(err, "get the inventory")
	if inv.Inventory.CPU.Architecture != "x86_64" {
		m.t.Errorf("inventory %+v", inv.Inventory)
	}
}

// prepare cleans by hand, as it does for firmware settings, and makes the host available.
func (m *metal3) prepare(steps []nodes.CleanStep) {
	m.t.Helper()
	busy := []nodes.ProvisionState{nodes.Cleaning, nodes.CleanWait, nodes.Manageable}
	if len(steps) > 0 {
		m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetClean, CleanSteps: steps}, nodes.Manageable, busy...)
	}
	page, err := nodes.List(m.client, nodes.ListOpts{Fields: []string{"uuid", "name", "provision_state", "boot_interface"}}).AllPages(m.ctx)
	m.must(err, "list the nodes for the capacity")
	if all, err := nodes.ExtractNodes(page); err != nil || len(all) == 0 || all[0].BootInterface == "" {
		m.t.Errorf("nodes %+v, %v", all, err)
	}
	_, err = nodes.ListBIOSSettings(m.ctx, m.client, m.id, nodes.ListBIOSSettingsOpts{Detail: true}).Extract()
	m.must(err, "list the BIOS settings")
	_, err = nodes.ListFirmware(m.ctx, m.client, m.id).Extract()
	m.must(err, "list the firmware")
}

// deploy writes an image of a format, as the operator names it.
func (m *metal3) deploy(format string) {
	m.t.Helper()
	image := map[string]any{"image_source": "http://127.0.0.1:9/os.img", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64), "image_disk_format": format}
	ops := []nodes.UpdateOperation{add("/instance_uuid", "5b3c2e6a-1111-4222-8333-444455556666")}
	for _, key := range slices.Sorted(maps.Keys(image)) {
		ops = append(ops, add("/instance_info/"+key, image[key]))
	}
	ops = append(ops, add("/instance_info/capabilities", map[string]string{}), add("/driver_info/force_persistent_boot_device", "Default"))
	n := m.patch(ops...)
	for key, want := range image {
		if n.InstanceInfo[key] != want {
			m.t.Errorf("instance_info.%s is %v: the operator would write it again and again", key, n.InstanceInfo[key])
		}
	}
	n = m.patch(add("/instance_info/image_checksum", "x"), remove("/instance_info/image_checksum"))
	if v, there := n.InstanceInfo["image_checksum"]; there {
		m.t.Errorf("a removed key is still there: %v", v)
	}
	// It offers the host first, and validates then.
	busy := []nodes.ProvisionState{nodes.Manageable, nodes.Cleaning, nodes.CleanWait}
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available, busy...)
	v, err := nodes.Validate(m.ctx, m.client, m.id).Extract()
	m.must(err, "validate")
	if !v.Boot.Result || !v.Deploy.Result {
		m.t.Fatalf("validation: boot %+v, deploy %+v", v.Boot, v.Deploy)
	}
	drive := nodes.ConfigDrive{MetaData: map[string]any{"uuid": m.id, "metal3-name": m.name}, NetworkData: map[string]any{}, UserData: "#cloud-config\n"}
	n = m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetActive, ConfigDrive: drive}, nodes.Active,
		nodes.Available, nodes.Deploying, nodes.DeployWait)
	if n.InstanceInfo["image_source"] != image["image_source"] || n.InstanceUUID == "" {
		m.t.Errorf("an active host: %+v", n)
	}
	m.must(nodes.ChangePowerState(m.ctx, m.client, m.id, nodes.PowerStateOpts{Target: nodes.SoftPowerOff, Timeout: 180}).ExtractErr(), "soft power off")
	m.power("power off")
	m.must(nodes.ChangePowerState(m.ctx, m.client, m.id, nodes.PowerStateOpts{Target: nodes.PowerOn}).ExtractErr(), "power on")
	m.power("power on")
}

// power polls until no power act runs.
func (m *metal3) power(want string) {
	m.t.Helper()
	for began := time.Now(); ; {
		n := m.node()
		if n.TargetPowerState == "" {
			if n.PowerState != want || n.LastError != "" {
				m.t.Fatalf("power is %q, expected %s (%s)", n.PowerState, want, n.LastError)
			}
			return
		}
		if time.Since(began) > 3*time.Minute {
			m.t.Fatalf("still on the way to %s", n.TargetPowerState)
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-m.ctx.Done():
			m.t.Fatal(m.ctx.Err())
		case <-timer.C:
		}
	}
}

func (m *metal3) deprovision() {
	m.t.Helper()
	m.patch(add("/automated_clean", m.erase))
	n := m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetDeleted}, nodes.Available,
		nodes.Active, nodes.Deleting, nodes.Cleaning, nodes.CleanWait)
	if n.InstanceUUID != "" || len(n.InstanceInfo) != 0 {
		m.t.Errorf("after deprovisioning: %q, %v", n.InstanceUUID, n.InstanceInfo)
	}
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable, nodes.Available)
}

func (m *metal3) delete() {
	m.t.Helper()
	m.must(nodes.SetMaintenance(m.ctx, m.client, m.id, nodes.MaintenanceOpts{Reason: "forced by the operator"}).ExtractErr(), "maintenance")
	m.must(nodes.Delete(m.ctx, m.client, m.id).ExtractErr(), "delete")
	if m.find() {
		m.t.Error("a deleted host is found")
	}
}

// TestMetal3DrivesFakeHardware is the whole sequence in each version that the operator may take.
func TestMetal3DrivesFakeHardware(t *testing.T) {
	t.Parallel()
	url := server(t, "--allow-origin", "127.0.0.0/8").URL // that is where its images are
	for i, minor := range []int{0, 95, 89} {
		t.Run(fmt.Sprint(minor), func(t *testing.T) {
			m := connect(t, url, minor)
			m.name, m.mac, m.erase = fmt.Sprintf("metal3~host-%d", i), fmt.Sprintf("52:54:00:bb:00:%02x", i), true
			m.create = nodes.CreateOpts{Driver: "fake-hardware", DriverInfo: map[string]any{"fake_address": "x"}}
			m.register()
			m.inspect(true)
			m.prepare([]nodes.CleanStep{{Interface: nodes.InterfaceBIOS, Step: "factory_reset"}})
			m.deploy([]string{"raw", "qcow2", "raw"}[i])
			m.deprovision()
			m.delete()
		})
	}
}

// TestMetal3DrivesARedfishMachine is the same on an emulated Redfish machine, in which the real agent runs when it boots
// the ramdisk: from virtual media, and as its firmware loads it over HTTPS.
func TestMetal3DrivesARedfishMachine(t *testing.T) {
	t.Parallel()
	s, _ := machine(t, 20*time.Millisecond)
	m := connect(t, s.URL(), 0)
	m.id = "m001" // the site has enrolled it already; here the operator does
	m.delete()
	for i, boot := range []string{"redfish-virtual-media", "redfish-https"} {
		t.Run(boot, func(t *testing.T) {
			m := connect(t, s.URL(), 0)
			m.name, m.mac, m.erase = "metal3~host", "52:54:00:bc:00:01", true
			m.create = nodes.CreateOpts{Driver: "redfish", BootInterface: boot, FirmwareInterface: "redfish", RAIDInterface: "no-raid", DriverInfo: s.BMC(0)}
			m.register()
			m.inspect(false)
			m.patch(add("/properties/root_device", map[string]any{"serial": "m001-A"}))
			// The emulated machine keeps what the host before it was given: each gets versions of its own.
			bios, bmc, nic, next := fmt.Sprint("2.", i), fmt.Sprint("3.", i), fmt.Sprint("23.", i), fmt.Sprint("2.1", i)
			m.prepare([]nodes.CleanStep{setting("NumLock", "Off"), {Interface: "firmware", Step: "update", Args: firmware(s, "bmc", bmc, "bios", bios, "nic:1", nic)}})
			m.firmware("bios "+bios+" "+bios, "bmc "+bmc+" "+bmc, "nic:1 "+nic+" "+nic)
			m.deploy([]string{"raw", "qcow2"}[i])
			m.service([]nodes.ServiceStep{nodes.ServiceStep(setting("PowerProfile", "Performance")), {Interface: "firmware", Step: "update", Args: firmware(s, "bios", next)}})
			m.firmware("bios "+next+" "+next, "bmc "+bmc+" "+bmc, "nic:1 "+nic+" "+nic)
			m.power("power on")
			m.deprovision()
			m.delete()
		})
	}
}

// live deploys an ISO, as for an image of the format live-iso, and switches the machine. reads tells how often the ISO was read.
func (m *metal3) live(iso string, reads *atomic.Int64) {
	m.t.Helper()
	n := m.patch(add("/instance_uuid", "5b3c2e6a-1111-4222-8333-444455556666"), add("/instance_info/boot_iso", iso), add("/deploy_interface", "ramdisk"),
		add("/instance_info/capabilities", map[string]string{}), add("/driver_info/force_persistent_boot_device", "Default"))
	if n.InstanceInfo["boot_iso"] != iso || n.DeployInterface != "ramdisk" {
		m.t.Errorf("the operator would write it again and again: %v, %s", n.InstanceInfo, n.DeployInterface)
	}
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available, nodes.Manageable, nodes.Cleaning, nodes.CleanWait)
	v, err := nodes.Validate(m.ctx, m.client, m.id).Extract()
	m.must(err, "validate")
	if !v.Boot.Result || !v.Deploy.Result {
		m.t.Fatalf("validation: boot %+v, deploy %+v", v.Boot, v.Deploy)
	}
	if n := reads.Load(); n != 0 {
		m.t.Errorf("the ISO is read before its deployment, %d times", n)
	}
	n = m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetActive, ConfigDrive: nodes.ConfigDrive{}}, nodes.Active, nodes.Available, nodes.Deploying, nodes.DeployWait)
	if n.PowerState != "power on" || n.InstanceInfo["boot_iso"] != iso {
		m.t.Errorf("an active host: power %q, %v", n.PowerState, n.InstanceInfo)
	}
	m.stands(true, iso)
	m.must(nodes.ChangePowerState(m.ctx, m.client, m.id, nodes.PowerStateOpts{Target: nodes.SoftPowerOff, Timeout: 180}).ExtractErr(), "soft power off")
	m.power("power off")
	m.stands(false, iso)
	m.must(nodes.ChangePowerState(m.ctx, m.client, m.id, nodes.PowerStateOpts{Target: nodes.PowerOn}).ExtractErr(), "power on")
	m.power("power on")
	m.stands(true, iso)
}

// stands checks what the host's BMC says: whether the machine is on, and what is in its drive. While the ISO is in, it is booted at
// each start.
func (m *metal3) stands(on bool, medium string) {
	m.t.Helper()
	read := func(path string, into any) {
		m.t.Helper()
		q, err := http.NewRequestWithContext(m.ctx, http.MethodGet, fmt.Sprint(m.create.DriverInfo["redfish_address"])+path, nil)
		m.must(err, path)
		q.SetBasicAuth(fmt.Sprint(m.create.DriverInfo["redfish_username"]), fmt.Sprint(m.create.DriverInfo["redfish_password"]))
		a, err := http.DefaultClient.Do(q)
		m.must(err, path)
		defer a.Body.Close()
		m.must(json.NewDecoder(a.Body).Decode(into), path)
	}
	var system struct {
		PowerState string
		Boot       struct{ BootSourceOverrideTarget, BootSourceOverrideEnabled string }
		Links      struct {
			ManagedBy []struct {
				ID string `json:"@odata.id"`
			}
		}
	}
	read(fmt.Sprint(m.create.DriverInfo["redfish_system_id"]), &system)
	if len(system.Links.ManagedBy) != 1 {
		m.t.Fatalf("the machine is %+v", system)
	}
	var drive struct{ Image string }
	read(system.Links.ManagedBy[0].ID+"/VirtualMedia/Cd", &drive)
	boots := system.Boot.BootSourceOverrideTarget == "Cd" && system.Boot.BootSourceOverrideEnabled == "Continuous"
	if (system.PowerState == "On") != on || drive.Image != medium || boots != (medium != "") {
		m.t.Errorf("the machine is %s, boots %+v and has %q in its drive; expected on %v, %q", system.PowerState, system.Boot, drive.Image, on, medium)
	}
}

// TestMetal3DrivesALiveISO is the sequence for a host that boots an ISO, on the emulated machine, which fetches the ISO as a BMC
// does; it is cleaned by the real agent before and after.
func TestMetal3DrivesALiveISO(t *testing.T) {
	t.Parallel()
	s, _ := machine(t, 20*time.Millisecond)
	var reads atomic.Int64
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads.Add(1)
		http.ServeContent(w, r, "live.iso", time.Time{}, bytes.NewReader(make([]byte, 1<<20)))
	}))
	t.Cleanup(images.Close)
	m := connect(t, s.URL(), 0)
	m.id = "m001"
	m.delete()
	m.id, m.name, m.mac, m.erase = "", "metal3~live", "52:54:00:bc:00:02", true
	m.create = nodes.CreateOpts{Driver: "redfish", BootInterface: "redfish-virtual-media", FirmwareInterface: "redfish", RAIDInterface: "no-raid", DriverInfo: s.BMC(0)}
	m.register()
	m.inspect(false)
	m.prepare(nil)
	m.live(images.URL+"/get?file=live.iso", &reads)
	if reads.Load() == 0 {
		t.Error("nobody has read the ISO")
	}
	m.deprovision()
	m.stands(false, "")
	m.delete()
}

// setting is the step by which the operator sets BIOS settings, and firmware the argument of the one by which it updates
// firmware, with images for components and versions in turn.
func setting(name, value string) nodes.CleanStep {
	return nodes.CleanStep{Interface: nodes.InterfaceBIOS, Step: "apply_configuration", Args: map[string]any{"settings": []map[string]any{{"name": name, "value": value}}}}
}

func firmware(s *crash.Site, of ...string) map[string]any {
	var all []map[string]any
	for i := 0; i < len(of); i += 2 {
		all = append(all, map[string]any{"component": of[i], "url": s.Images() + "/" + of[i] + "/" + of[i+1]})
	}
	return map[string]any{"settings": all}
}

// firmware compares the components with what was installed: component, current version, and the one flashed last.
func (m *metal3) firmware(want ...string) {
	m.t.Helper()
	all, err := nodes.ListFirmware(m.ctx, m.client, m.id).Extract()
	m.must(err, "list the firmware")
	var got []string
	for _, f := range all {
		got = append(got, strings.TrimSpace(f.Component+" "+f.CurrentVersion+" "+f.LastVersionFlashed))
	}
	if !slices.Equal(got, want) {
		m.t.Errorf("the firmware is %q, expected %q", got, want)
	}
}

// service changes what serves, as the operator does for a host with an image.
func (m *metal3) service(steps []nodes.ServiceStep) {
	m.t.Helper()
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetService, ServiceSteps: steps}, nodes.Active, nodes.Active, nodes.Servicing, nodes.ServiceWait)
}

// machine is a server of ours with one emulated Redfish machine, m001, whose steps take work on each of its disks; program
// is the bessemer command.
func machine(t *testing.T, work time.Duration) (s *crash.Site, program string) {
	t.Helper()
	bin := t.TempDir()
	for name, pkg := range map[string]string{"bessemer": "./server", "crash-agent": "./integration/cmd/crash-agent"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(bin, name), pkg)
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	s, err := crash.Open(t.Context(), crash.Config{Dir: t.TempDir(), Server: filepath.Join(bin, "bessemer"), Agent: filepath.Join(bin, "crash-agent"),
		Nodes: 1, Work: work, Rand: rand.New(rand.NewPCG(rand.Uint64(), 1))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, filepath.Join(bin, "bessemer")
}
