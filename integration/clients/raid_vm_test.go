//go:build vm

package clients

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/crash"
)

// TestMain lets more sites run at once than there are processors: what runs in parallel waits for the most part.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("12"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// raidMarks are on either side of each order to a RAID controller, and before the end of a step is stored.
var raidMarks = []string{"", "raid.delete.before", "raid.delete.after", "raid.create.before", "raid.create.after", "step.after"}

// TestI08_F01_F15_Metal3PreparesRAIDAndTheServerIsKilled: the operator's *Prepare* with hardware RAID, against a server process and
// BMCs that keep a ledger of their own. The server is killed at each order; the controller is told each thing once, and the
// host is manageable with what is wanted and nothing else.
func TestI08_F01_F15_Metal3PreparesRAIDAndTheServerIsKilled(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for name, pkg := range map[string]string{"bessemer": "./server", "crash-agent": "./integration/cmd/crash-agent"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "failpoint", "-o", filepath.Join(bin, name), pkg)
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	for _, at := range []string{bmc.Immediate, bmc.OnReset} {
		for _, mark := range raidMarks {
			t.Run(fmt.Sprintf("%s/%s", at, cmp.Or(mark, "no kill")), func(t *testing.T) {
				t.Parallel()
				prepareKilled(t, bin, at, mark)
			})
		}
	}
}

// prepareKilled has a host prepared by a server of its own, which is killed at the mark; "": it lives.
func prepareKilled(t *testing.T, bin, at, mark string) {
	s, err := crash.Open(t.Context(), crash.Config{Dir: t.TempDir(), Server: filepath.Join(bin, "bessemer"), Agent: filepath.Join(bin, "crash-agent"),
		Nodes: 1, Rand: rand.New(rand.NewPCG(rand.Uint64(), 1)), Fake: func(int) *bmc.Parts {
			return &bmc.Parts{CPUs: 4, MemoryMB: 8192, RAID: &bmc.RAID{Apply: at, Volumes: []bmc.Volume{{Name: "old", Type: "RAID1", Drives: []int{1, 2}}}}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if mark != "" {
		if _, err := s.Died(0); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), mark+":1"); err != nil {
			t.Fatal(err)
		}
	}
	m := connect(t, s.URL(), 0)
	m.id = "m001"
	m.prepareRAID("root", "data")
	if mark != "" {
		if byItself, err := s.Died(2 * time.Minute); err != nil || !byItself {
			t.Fatalf("the server did not come by %s: %v", mark, err)
		}
		if err := s.Start(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	n := m.rests()
	if n.ProvisionState != string(nodes.Manageable) || n.LastError != "" {
		t.Fatalf("%s (%s)", n.ProvisionState, n.LastError)
	}
	var have []string
	for _, v := range s.Volumes(0) {
		have = append(have, v.Name)
	}
	slices.Sort(have)
	if !slices.Equal(have, []string{"data", "root"}) {
		t.Errorf("the controller has %v", have)
	}
	acts, err := s.Acts(0, bmc.ActCreateVolume)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root", "data"} {
		made := slices.DeleteFunc(slices.Clone(acts), func(v string) bool { return !strings.Contains(v, fmt.Sprintf("%q", name)) })
		if len(made) != 1 {
			t.Errorf("the controller was told to make %s %d times", name, len(made))
		}
	}
	var built []string
	list, _ := n.RAIDConfig["logical_disks"].([]any)
	for _, d := range list {
		disk, _ := d.(map[string]any)
		built = append(built, fmt.Sprintf("%v %v %v", disk["name"], disk["raid_level"], disk["is_root_volume"]))
	}
	if want := []string{"root 1 true", "data 0 <nil>"}; !slices.Equal(built, want) || n.TargetRAIDConfig["logical_disks"] == nil {
		t.Errorf("raid_config is %v, expected %v", built, want)
	}
	deleted, err := s.Acts(0, bmc.ActDeleteVolume)
	if err != nil || len(deleted) != 1 {
		t.Errorf("the controller was told to delete %v, %v; expected one volume", deleted, err)
	}
	broken, err := s.Check(t.Context(), false)
	if err != nil || len(broken) > 0 {
		t.Errorf("%v, %v", broken, err)
	}
}

// prepareRAID is what the operator asks of a host with two hardware volumes.
func (m *metal3) prepareRAID(root, data string) {
	m.t.Helper()
	if m.node().ProvisionState == string(nodes.Enroll) {
		m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable, nodes.Verifying)
	}
	m.patch(add("/raid_interface", "redfish"))
	v, err := nodes.Validate(m.ctx, m.client, m.id).Extract()
	m.must(err, "validate")
	if !v.RAID.Result {
		m.t.Errorf("validate says of RAID: %s", v.RAID.Reason)
	}
	isRoot, small, large := true, 50, 100
	err = nodes.SetRAIDConfig(m.ctx, m.client, m.id, nodes.RAIDConfigOpts{LogicalDisks: []nodes.LogicalDisk{
		{SizeGB: &small, RAIDLevel: nodes.RAID1, VolumeName: root, IsRootVolume: &isRoot, DiskType: nodes.SSD},
		{SizeGB: &large, RAIDLevel: nodes.RAID0, VolumeName: data, NumberOfPhysicalDisks: 2},
	}}).ExtractErr()
	m.must(err, "set the RAID configuration")
	err = nodes.ChangeProvisionState(m.ctx, m.client, m.id, nodes.ProvisionStateOpts{Target: nodes.TargetClean, CleanSteps: []nodes.CleanStep{
		{Interface: nodes.InterfaceRAID, Step: "delete_configuration"}, {Interface: nodes.InterfaceRAID, Step: "create_configuration"},
	}}).ExtractErr()
	m.must(err, "clean")
}

// rests polls until nothing is under way.
func (m *metal3) rests() *nodes.Node {
	m.t.Helper()
	for {
		n, err := nodes.Get(m.ctx, m.client, m.id).Extract()
		if err == nil && n.TargetProvisionState == "" || err == nil && n.ProvisionState == string(nodes.CleanFail) {
			return n
		}
		select {
		case <-m.ctx.Done():
			m.t.Fatalf("it does not come to rest: %v, %+v", err, n)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
