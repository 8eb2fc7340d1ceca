package clitest

import (
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// ID is the UUID of the machine.
const ID = "3b9f4a64-7f4e-4f5c-9a55-0a1f0c3c7b11"

// Machine is one that is cleaned, in maintenance.
func Machine() api.Node {
	return api.Node{UUID: ID, Name: new("n1"), Driver: "redfish", DriverInfo: map[string]any{"redfish_address": "https://192.0.2.10", "redfish_password": "******"},
		Properties: map[string]any{"cpu_arch": "x86_64", "root_device": map[string]any{"serial": "S1"}}, ProvisionState: new("clean wait"),
		TargetProvisionState: new("available"), ProvisionUpdatedAt: Before(90 * time.Second), PowerState: new("power on"), Maintenance: true,
		MaintenanceReason: new("fan"), CreatedAt: Before(50 * time.Hour), Traits: []string{"CUSTOM_A"}}
}

// Waiting is a node whose ramdisk has yet to look itself up.
func Waiting() api.StepsAnswer {
	return api.StepsAnswer{Node: ID, Name: "n1", State: state.CleanWait, Target: state.Available, Next: []string{"abort"},
		Run: &api.Run{ID: "r1", Flow: state.Clean, Phase: "lookup", Started: Before(2 * time.Minute), Actor: "ann"},
		Wait: &api.Wait{For: "the ramdisk to look itself up", Owner: "agent", Since: Before(90 * time.Second), Deadline: Before(-28 * time.Minute),
			Evidence: "the BMC read the medium", Seen: Before(20 * time.Second)},
		Boot:  &api.BootStatus{Generation: 3, Level: api.A1, Opened: Before(100 * time.Second)},
		Steps: []api.StepView{{ID: "s0", Step: "bios.factory_reset", Where: step.OutOfBand, State: "succeeded", Started: Before(110 * time.Second), Ended: Before(100 * time.Second)}, {ID: "s1", Step: "deploy.erase_devices", Where: step.InBand, State: "planned"}}}
}

// Erasing is the same node at work on two disks.
func Erasing(percent float64) api.StepsAnswer {
	s := Waiting()
	s.State, s.Wait = state.Cleaning, nil
	s.Steps[1] = api.StepView{ID: "s1", Step: "deploy.erase_devices", Where: step.InBand, State: "started", Started: Before(65 * time.Second), Deadline: Before(-72 * time.Hour),
		Progress: &step.Progress{Percent: percent, Done: int64(percent * 1e9), Total: 100e9, Unit: "bytes", Rate: 350e6, Left: 3 * time.Minute, Item: "2 disks",
			Devices: []step.DeviceProgress{{Device: "wwn:5000c500a1b2c3d4", Percent: percent, Rate: 200e6, Left: 4 * time.Minute, Method: "overwrite-zeros", Stage: "overwrite"}, {Device: "nvme-eui:0025385b71b0c2a1", Percent: 100, Method: "nvme-format-crypto", Stage: "done", Verify: step.Verified}}}}
	return s
}

// Ended is the end of it.
func Ended(st state.State, lastError string, reason fault.Reason) api.StepsAnswer {
	s := Erasing(100)
	s.State, s.Target, s.Run.Ended, s.LastError, s.LastReason = st, "", Before(0), lastError, string(reason)
	s.Steps[1].State, s.Steps[1].Ended = "succeeded", Before(0)
	s.Next = []string{"deploy"}
	if lastError != "" {
		s.Next = []string{"manage"}
		s.Steps[1].State, s.Steps[1].Fault = "failed", &api.Fault{Message: lastError, Reason: string(reason)}
	}
	return s
}

// Failed is the machine after its erase failed: what its agent said last stands beside the step.
func Failed() (api.Node, api.StepsAnswer) {
	s := Ended(state.CleanFail, "deploy.erase_devices: write to sda", fault.DiskIO)
	s.Steps[1].State, s.Steps[1].Generation = "failed", 3
	s.Steps[1].Log = []string{`{"time":"2026-08-28T14:38:59Z","level":"ERROR","msg":"erase failed","device":"wwn 5000c500a1b2c3d4"}`, "not JSON \x1b[31m", `{"level":"INFO","msg":"cut in the mid ...`}
	n := Machine()
	n.LastError = new(s.LastError)
	return n, s
}
