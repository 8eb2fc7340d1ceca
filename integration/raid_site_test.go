package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const (
	volumesPath = "/redfish/v1/Systems/m1/Storage/RAID/Volumes"
	wantedRAID  = `{"logical_disks": [{"raid_level": "1", "size_gb": 50, "volume_name": "root", "is_root_volume": true}, {"raid_level": "0", "size_gb": 100, "volume_name": "data"}]}`
)

// raidSite is a node whose machine has a RAID controller with four drives of 64 GiB, and a volume of before on two of them.
func raidSite(t *testing.T, change func(*bmc.RAID)) *manager {
	t.Helper()
	r := &bmc.RAID{Volumes: []bmc.Volume{{Name: "old", Type: "RAID1", Drives: []int{1, 2}}}}
	if change != nil {
		change(r)
	}
	m := newManagerOf(t, &bmc.Parts{CPUs: 4, MemoryMB: 8192, Drives: []bmc.Drive{{Serial: "PLAIN1", Bytes: 32 << 30}}, RAID: r})
	m.call("PATCH", "", `[{"op": "add", "path": "/raid_interface", "value": "redfish"}]`, 200)
	m.call("PUT", "/states/raid", wantedRAID, 204)
	return m
}

func (m *manager) clean(steps ...string) conductor.Node {
	m.t.Helper()
	m.ordered(steps...)
	return m.until(state.Manageable, state.CleanFail)
}

func (m *manager) ordered(steps ...string) {
	m.t.Helper()
	m.call("PUT", "/states/provision", `{"target": "clean", "clean_steps": [`+strings.Join(steps, ",")+`]}`, 202)
}

const (
	deleteRAID = `{"interface": "raid", "step": "delete_configuration"}`
	createRAID = `{"interface": "raid", "step": "create_configuration"}`
)

// volumes are those of the controller: name, type and drives.
func (m *manager) volumes() string {
	out := []string{}
	for _, v := range m.machine.Volumes() {
		out = append(out, fmt.Sprintf("%s %s %v", v.Name, v.Type, v.Drives))
	}
	return strings.Join(out, "; ")
}

func (m *manager) asked(what string) int {
	_, counts := m.machine.Requests()
	n := 0
	for k, c := range counts {
		if strings.HasPrefix(k, what) {
			n += c
		}
	}
	return n
}

// built is raid_config as the API shows it, without the time.
func (m *manager) built() string {
	m.t.Helper()
	var s struct {
		RAID struct {
			Disks []struct {
				ID, Name, Controller string
				Level                string         `json:"raid_level"`
				Size                 float64        `json:"size_gb"`
				Root                 bool           `json:"is_root_volume"`
				Hint                 map[string]any `json:"root_device_hint"`
			} `json:"logical_disks"`
			Updated string `json:"last_updated"`
		} `json:"raid_config"`
		Target json.RawMessage `json:"target_raid_config"`
	}
	if err := json.Unmarshal([]byte(m.call("GET", "/states", "", 200)), &s); err != nil {
		m.t.Fatal(err)
	}
	var out []string
	for _, d := range s.RAID.Disks {
		line := fmt.Sprintf("%s %s %v on %s", d.Name, d.Level, d.Size, d.Controller)
		if d.Root {
			line += fmt.Sprintf(" root %v", d.Hint["wwn"])
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

const (
	asWanted = "root RAID1 [1 2]; data RAID0 [3 4]"
	config   = "root 1 50 on RAID root 0x6b0551e5000000000000000000000002; data 0 100 on RAID"
)

// What Metal3 asks for, on controllers of each kind: raid_config is what was read back, the volume of before is gone, and the
// machine has the power that it had.
func TestRAIDThroughTheBMC(t *testing.T) {
	for name, c := range map[string]struct {
		raid    func(*bmc.RAID)
		faults  []emulator.Fault
		on      bool
		volumes string // "" is asWanted
	}{
		"at once":           {},
		"at a reset":        {raid: func(r *bmc.RAID) { r.Apply = bmc.OnReset }},
		"at a reset, on":    {raid: func(r *bmc.RAID) { r.Apply = bmc.OnReset }, on: true},
		"it does not say":   {raid: func(r *bmc.RAID) { r.Apply = "none" }, on: true},
		"as tasks":          {faults: []emulator.Fault{{Kind: emulator.Async, Match: "POST " + volumesPath, Delay: minute(9)}, {Kind: emulator.Async, Match: "DELETE " + volumesPath, Delay: minute(9)}}},
		"absolute links":    {raid: func(r *bmc.RAID) { r.Apply = bmc.OnReset }, faults: []emulator.Fault{{Kind: emulator.AbsoluteLocation, Value: "http://192.0.2.10"}}},
		"names of its own":  {raid: func(r *bmc.RAID) { r.Names = new(bool) }, volumes: "Virtual Disk 2 RAID1 [1 2]; Virtual Disk 3 RAID0 [3 4]"},
		"answers are lost":  {faults: []emulator.Fault{{Kind: emulator.CutAfter, Match: "POST " + volumesPath}, {Kind: emulator.CutAfter, Match: "DELETE " + volumesPath}}},
		"busy for a while":  {faults: []emulator.Fault{{Kind: emulator.Status, Status: 503, Match: "POST " + volumesPath, Count: 3}}},
		"done, and refused": {faults: []emulator.Fault{{Kind: emulator.Twice, Match: "DELETE " + volumesPath}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := raidSite(t, c.raid)
				want := conductor.PowerOff
				if c.on {
					want = conductor.PowerOn
					m.call("PUT", "/states/power", `{"target": "power on"}`, 202)
					m.settled()
				}
				for _, f := range c.faults {
					m.inject(f)
				}
				n := m.clean(deleteRAID, createRAID)
				if n.State != state.Manageable {
					t.Fatalf("%s: %s", n.State, n.LastError)
				}
				if c.volumes == "" {
					if got := m.built(); got != config {
						t.Errorf("raid_config is %s", got)
					}
					c.volumes = asWanted
				}
				if got := m.volumes(); got != c.volumes {
					t.Errorf("the controller has %s", got)
				}
				if n := m.settled(); n.Power != want || m.machine.On() != c.on {
					t.Errorf("the power is %q", n.Power)
				}
				p := m.node().Properties
				if p["local_gb"] != 50.0 || p["capabilities"] != "raid_level:1" {
					t.Errorf("properties are %v", p)
				}
				// Once more: it is there already, and the BMC is told nothing.
				m.machine.Heal("")
				before := m.orders()
				if n := m.clean(createRAID); n.State != state.Manageable && c.volumes == asWanted || m.orders() != before {
					t.Errorf("again: %s (%s), %d orders", n.State, n.LastError, m.orders()-before)
				}
			})
		})
	}
}

// An order is given once. Where nothing tells what came of it, the step fails and says so; raid_config is what there is.
func TestF25_NoVolumeIsAskedForTwice(t *testing.T) {
	for name, c := range map[string]struct {
		fault  emulator.Fault
		reason fault.Reason
		says   string
		built  string
	}{
		"the connection breaks":    {emulator.Fault{Kind: emulator.HangUp, Match: "POST " + volumesPath}, fault.StepFailed, "whether it will is not known", ""},
		"the BMC restarts":         {emulator.Fault{Kind: emulator.Restart, Match: "POST " + volumesPath, Count: 1}, fault.StepFailed, "whether it will is not known", ""},
		"it is ill":                {emulator.Fault{Kind: emulator.Status, Status: 500, Match: "POST " + volumesPath}, fault.StepFailed, "whether it will is not known", ""},
		"it refuses":               {emulator.Fault{Kind: emulator.Status, Status: 400, Match: "POST " + volumesPath}, fault.BMCError, "400", ""},
		"it takes it and does not": {emulator.Fault{Kind: emulator.Ignore, Match: "POST " + volumesPath}, fault.StepFailed, "the BMC took it, and it has not come about", ""},
		"the task fails":           {emulator.Fault{Kind: emulator.TaskFails, Match: "POST " + volumesPath, Delay: minute(3)}, fault.BMCTask, "task_fails", ""},
		"the second one breaks":    {emulator.Fault{Kind: emulator.HangUp, Match: "POST " + volumesPath, Skip: 1}, fault.StepFailed, "creating volume data", "root 1 50 on RAID root 0x6b0551e5000000000000000000000002"},
		"one can't be deleted":     {emulator.Fault{Kind: emulator.Ignore, Match: "DELETE " + volumesPath}, fault.StepFailed, "deleting volume 1 (old)", "old 1 64 on RAID"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := raidSite(t, nil)
				m.inject(c.fault)
				n := m.clean(deleteRAID, createRAID)
				if n.State != state.CleanFail || n.LastReason != c.reason || !strings.Contains(n.LastError, c.says) {
					t.Errorf("%s, %s: %s", n.State, n.LastReason, n.LastError)
				}
				if got := m.built(); got != c.built {
					t.Errorf("raid_config is %s, expected %s", got, c.built)
				}
				if posts, deletes := m.asked("POST "+volumesPath), m.asked("DELETE "+volumesPath); posts > 2 || posts == 2 && c.built == "" || deletes != 1 {
					t.Errorf("%d POST, %d DELETE", posts, deletes)
				}
				// The verb again, with the trouble gone, goes on from what there is.
				m.machine.Heal("")
				m.call("DELETE", "/maintenance", "", 202)
				m.call("PUT", "/states/provision", `{"target": "manage"}`, 202)
				m.until(state.Manageable)
				if n := m.clean(deleteRAID, createRAID); n.State != state.Manageable || m.volumes() == "" {
					t.Errorf("after it: %s (%s), %s", n.State, n.LastError, m.volumes())
				}
			})
		})
	}
}

func minute(n int) emulator.Duration { return emulator.Duration(n) * 60e9 }

// I02: what skip_block_devices keeps is neither deleted nor built over, named as a volume, or by a drive that it is made of; and
// where the BMC does not tell whether a volume is meant, none is touched.
func TestI02_RAIDKeepsWhatIsSkipped(t *testing.T) {
	for skip, c := range map[string]struct {
		reason fault.Reason
		after  string
	}{
		`[{"volume_name": "old"}]`:                        {"", "old RAID1 [1 2]"},
		`[{"serial": "RAID0002"}]`:                        {"", "old RAID1 [1 2]"},
		`[{"volume_name": "other"}]`:                      {"", ""},
		`[{"serial": "PLAIN1"}]`:                          {"", ""},
		`[{"serial": "not told by this BMC"}]`:            {fault.DiskProtected, "old RAID1 [1 2]"},
		`[{"name": "/dev/sda"}]`:                          {fault.DiskProtected, "old RAID1 [1 2]"},
		`[{"wwn": "0x6b0551e5000000000000000000000001"}]`: {"", "old RAID1 [1 2]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := raidSite(t, nil)
			m.call("PATCH", "", `[{"op": "add", "path": "/properties/skip_block_devices", "value": `+skip+`}]`, 200)
			n := m.clean(deleteRAID)
			if n.LastReason != c.reason || (n.State == state.CleanFail) != (c.reason != "") || m.volumes() != c.after {
				t.Errorf("%s: %s, %s (%s); left is %s", skip, n.State, n.LastReason, n.LastError, m.volumes())
			}
			if c.reason != "" && m.orders() != 0 {
				t.Errorf("%s: the BMC was given %d orders", skip, m.orders())
			}
			if c.reason != "" || c.after == "" {
				return
			}
			// Two drives are left, and both volumes do not fit onto them.
			if n := m.clean(createRAID); n.LastReason != fault.StepArgument || m.volumes() != c.after || m.asked("POST "+volumesPath) != 0 {
				t.Errorf("%s: built over it: %s (%s), %s", skip, n.State, n.LastError, m.volumes())
			}
		})
	}
}

// I03: all of what is wanted is possible, or nothing is begun. I01: no step but in a cleaning or a deployment.
func TestI01_I03_RAIDIsRefusedBeforeAnyAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := raidSite(t, nil)
		for config, says := range map[string]string{
			`{"raid_level": "1", "size_gb": 50, "controller": "software"}`:                                                  "raid_interface agent",
			`{"raid_level": "JBOD", "size_gb": 50}`:                                                                         "JBOD",
			`{"raid_level": "1", "size_gb": "MAX"}`:                                                                         "physical_disks",
			`{"raid_level": "1", "size_gb": 50, "interface_type": "scsi"}`:                                                  "scsi",
			`{"raid_level": "1", "size_gb": 50, "volume_name": "a"}, {"raid_level": "1", "size_gb": 5, "volume_name": "a"}`: "twice",
		} {
			if got := m.call("PUT", "/states/raid", `{"logical_disks": [`+config+`]}`, 400); !strings.Contains(got, says) {
				t.Errorf("%s: %s", config, got)
			}
		}
		for config, says := range map[string]string{
			`{"raid_level": "5", "size_gb": 900}`:                                                                        "no drives are left",
			`{"raid_level": "1", "size_gb": 50, "controller": "other"}`:                                                  "no RAID controller",
			`{"raid_level": "0", "size_gb": "MAX", "controller": "RAID", "physical_disks": ["3", "9"]}`:                  "9",
			`{"raid_level": "1", "size_gb": 50, "disk_type": "hdd"}`:                                                     "no drives are left",
			`{"raid_level": "1", "size_gb": 50}, {"raid_level": "1", "size_gb": 50}, {"raid_level": "1", "size_gb": 50}`: "no drives are left",
		} {
			m.call("PUT", "/states/raid", `{"logical_disks": [`+config+`]}`, 204)
			n := m.clean(`{"interface": "raid", "step": "create_configuration", "args": {"delete_existing": true}}`)
			if n.State != state.CleanFail || n.LastReason != fault.StepArgument || !strings.Contains(n.LastError, says) || m.orders() != 0 {
				t.Errorf("%s: %s (%s), %d orders", config, n.State, n.LastError, m.orders())
			}
			m.call("DELETE", "/maintenance", "", 202)
			m.call("PUT", "/states/provision", `{"target": "manage"}`, 202)
			m.until(state.Manageable)
		}
		if m.volumes() != "old RAID1 [1 2]" {
			t.Errorf("left is %s", m.volumes())
		}
		m.call("PUT", "/states/raid", `{}`, 204)
		for steps, says := range map[string]string{
			createRAID: "no target_raid_config",
			`{"interface": "raid", "step": "apply_configuration", "args": {"raid_config": ` + wantedRAID + `}}`:                                                                "not offered for clean",
			`{"interface": "raid", "step": "create_configuration", "args": {"raid_config": ` + wantedRAID + `, "create_root_volume": false, "create_nonroot_volumes": false}}`: "none is left to build",
		} {
			if n := m.clean(steps); n.State != state.CleanFail || !strings.Contains(n.LastError, says) || m.orders() != 0 {
				t.Errorf("%s: %s (%s)", steps, n.State, n.LastError)
			}
			m.call("PUT", "/states/provision", `{"target": "manage"}`, 202)
			m.until(state.Manageable)
		}
		// Nor in service, whose machine holds an instance's data.
		m.call("PUT", "/states/provision", `{"target": "adopt"}`, 202)
		if n := m.until(state.Active, state.AdoptFail); n.State != state.Active {
			t.Fatalf("%s: %s", n.State, n.LastError)
		}
		for _, steps := range []string{deleteRAID, `{"interface": "raid", "step": "apply_configuration", "args": {"raid_config": ` + wantedRAID + `}}`} {
			m.call("PUT", "/states/provision", `{"target": "clean", "clean_steps": [`+deleteRAID+`]}`, 400)
			m.call("PUT", "/states/provision", `{"target": "service", "service_steps": [`+steps+`]}`, 202)
			if n := m.until(state.ServiceFail, state.Active); n.State != state.ServiceFail || !strings.Contains(n.LastError, "not offered for service") || m.orders() != 0 {
				t.Errorf("in service: %s (%s)", n.State, n.LastError)
			}
			m.call("PUT", "/states/provision", `{"target": "abort"}`, 202)
			m.until(state.Active)
		}
		if m.volumes() != "old RAID1 [1 2]" {
			t.Errorf("left is %s", m.volumes())
		}
	})
}

// A jammed queue is not added to: the step waits, and says what helps.
func TestF24_RAIDWaitsForTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := raidSite(t, nil)
		m.inject(emulator.Fault{Kind: emulator.Jam})
		n := m.clean(deleteRAID)
		if n.LastReason != fault.BMCTask || !strings.Contains(n.LastError, "management.clear_job_queue") || m.asked("DELETE "+volumesPath) != 0 {
			t.Errorf("%s: %s", n.State, n.LastError)
		}
	})
}

// delete_existing makes room, and what is wanted and there stays.
func TestRAIDWithDeleteExisting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := raidSite(t, nil)
		m.call("PUT", "/states/raid", `{"logical_disks": [{"raid_level": "5", "size_gb": "MAX", "controller": "RAID", "physical_disks": [{"serial": "RAID0004"}, {"size": "> 60"}, {"size": "> 60"}], "volume_name": "all"}]}`, 204)
		for range 2 {
			n := m.clean(`{"interface": "raid", "step": "create_configuration", "args": {"delete_existing": true}}`)
			if n.State != state.Manageable || m.volumes() != "all RAID5 [4 1 2]" || m.asked("POST "+volumesPath) != 1 || m.asked("DELETE "+volumesPath) != 1 {
				t.Fatalf("%s (%s): %s", n.State, n.LastError, m.volumes())
			}
		}
		if got := m.built(); got != "all 5 128 on RAID" {
			t.Errorf("raid_config is %s", got)
		}
	})
}
