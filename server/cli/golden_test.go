package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

var now = time.Date(2026, 11, 20, 14, 39, 8, 0, time.UTC)

func before(d time.Duration) api.Time { return api.Time{Time: now.Add(-d)} }

func ptr[T any](v T) *T { return &v }

const id = "3b9f4a64-7f4e-4f5c-9a55-0a1f0c3c7b11"

func machine() api.Node {
	return api.Node{UUID: id, Name: ptr("n1"), Driver: "redfish", DriverInfo: map[string]any{"redfish_address": "https://192.0.2.10", "redfish_password": "******"},
		Properties: map[string]any{"cpu_arch": "x86_64", "root_device": map[string]any{"serial": "S1"}}, ProvisionState: ptr("clean wait"),
		TargetProvisionState: ptr("available"), ProvisionUpdatedAt: before(90 * time.Second), PowerState: ptr("power on"), Maintenance: true,
		MaintenanceReason: ptr("fan"), CreatedAt: before(50 * time.Hour), Traits: []string{"CUSTOM_A"}}
}

// waiting is a node whose ramdisk has yet to look itself up.
func waiting() api.StepsAnswer {
	return api.StepsAnswer{Node: id, Name: "n1", State: state.CleanWait, Target: state.Available, Next: []string{"abort"},
		Run: &api.Run{ID: "r1", Flow: state.Clean, Phase: "lookup", Started: before(2 * time.Minute), Actor: "ann"},
		Wait: &api.Wait{For: "the ramdisk to look itself up", Owner: "agent", Since: before(90 * time.Second), Deadline: before(-28 * time.Minute),
			Evidence: "the BMC read the medium", Seen: before(20 * time.Second)},
		Boot:  &api.BootStatus{Generation: 3, Level: api.A1, Opened: before(100 * time.Second)},
		Steps: []api.StepView{{ID: "s0", Step: "bios.factory_reset", Where: step.OutOfBand, State: "succeeded", Started: before(110 * time.Second), Ended: before(100 * time.Second)}, {ID: "s1", Step: "deploy.erase_devices", Where: step.InBand, State: "planned"}}}
}

// erasing is the same node at work on two disks.
func erasing(percent float64) api.StepsAnswer {
	s := waiting()
	s.State, s.Wait = state.Cleaning, nil
	s.Steps[1] = api.StepView{ID: "s1", Step: "deploy.erase_devices", Where: step.InBand, State: "started", Started: before(65 * time.Second), Deadline: before(-72 * time.Hour),
		Progress: &step.Progress{Percent: percent, Done: int64(percent * 1e9), Total: 100e9, Unit: "bytes", Rate: 350e6, Left: 3 * time.Minute, Item: "2 disks",
			Devices: []step.DeviceProgress{{Device: "wwn:5000c500a1b2c3d4", Percent: percent, Rate: 200e6, Left: 4 * time.Minute, Method: "overwrite-zeros", Stage: "overwrite"}, {Device: "nvme-eui:0025385b71b0c2a1", Percent: 100, Method: "nvme-format-crypto", Stage: "done", Verify: step.Verified}}}}
	return s
}

// ended is the end of it.
func ended(st state.State, lastError string, reason fault.Reason) api.StepsAnswer {
	s := erasing(100)
	s.State, s.Target, s.Run.Ended, s.LastError, s.LastReason = st, "", before(0), lastError, string(reason)
	s.Steps[1].State, s.Steps[1].Ended = "succeeded", before(0)
	s.Next = []string{"deploy"}
	if lastError != "" {
		s.Next = []string{"manage"}
		s.Steps[1].State, s.Steps[1].Fault = "failed", &api.Fault{Message: lastError, Reason: string(reason)}
	}
	return s
}

// canned answers from a table; of a list of steps answers each event takes the next.
func canned(t *testing.T, answers map[string]any, work ...api.StepsAnswer) string {
	t.Helper()
	told := make(chan int, len(work)+1) // which answer the client is to get
	told <- 0
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/steps") && len(work) > 0:
			i := <-told
			if i+1 < len(work) {
				told <- i + 1
			} else {
				told <- i
			}
			_ = json.NewEncoder(w).Encode(work[i])
		case r.URL.Path == "/v1/events":
			for range work {
				fmt.Fprintf(w, "event: node\ndata: {\"uuid\": %q}\n\n", id)
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case r.Method == "PUT":
			w.WriteHeader(202)
		default:
			v, ok := answers[r.URL.Path]
			if !ok {
				w.WriteHeader(404)
				_ = json.NewEncoder(w).Encode(api.NewErrorBody(fault.New(fault.NodeNotFound, "Node %s could not be found.", r.URL.Path), "req-1"))
				return
			}
			_ = json.NewEncoder(w).Encode(v)
		}
	}))
	t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	return h.URL
}

// run gives what a command wrote, errors last, and its exit code.
func run(t *testing.T, server string, terminal bool, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	code := cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Terminal: terminal, Now: func() time.Time { return now },
		Environment: config.Environment{Home: "/home/me", Variables: []string{"BESSEMER_SERVER=" + server}}}, host.Programs{Version: "test"})
	text := out.String() + errs.String()
	if code != cli.OK {
		text += fmt.Sprintf("exit %d\n", code)
	}
	return text
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./server/cli -update writes it anew):\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}

func TestGolden(t *testing.T) {
	failed := machine()
	failed.Name, failed.Maintenance, failed.ProvisionState, failed.LastError = nil, false, ptr("deploy failed"), ptr(strings.Repeat("long ", 30))
	answers := map[string]any{
		"/v1/nodes":    api.NodeList{Nodes: []api.Node{machine(), failed}},
		"/v1/nodes/n1": machine(),
		"/v1/ports":    api.PortList{Ports: []api.Port{{UUID: "5d1f8f5e-6f0e-4c2d-8d5c-6a8c6f6a8f01", Address: "52:54:00:12:34:56", NodeUUID: id, PXEEnabled: true}}},
		"/v1/nodes/n1/history": api.HistoryList{History: []api.HistoryEntry{{CreatedAt: before(time.Minute), Severity: "ERROR", EventType: "step", User: "ann", Event: "step deploy.erase_devices failed",
			HistoryMore: &api.HistoryMore{Duration: 75, Reason: "disk.io", Step: "deploy.erase_devices", Request: "req-7", Log: "/v1/nodes/" + id + "/logs?generation=3"}},
			{CreatedAt: before(30 * time.Hour), Severity: "INFO", EventType: "enroll", Event: "enrolled"}}},
		"/v1/nodes/n1/steps": waiting(),
		"/v1/nodes/n3":       failed,
		"/v1/nodes/n4/steps": erasing(33),
		"/v1/nodes/n3/steps": ended(state.DeployFail, "long", fault.StepFailed),
		"/v1/images":         api.ImageList{Images: []api.Image{{Name: "debian.raw.zst", Format: "raw.zst", Size: 345678901, SHA256: strings.Repeat("ab", 32), Created: now.Add(-time.Hour)}}},
	}
	broken := ended(state.CleanFail, "deploy.erase_devices: write to sda", fault.DiskIO)
	broken.Steps[1].State, broken.Steps[1].Generation = "failed", 3
	broken.Steps[1].Log = []string{`{"time":"2026-08-28T14:38:59Z","level":"ERROR","msg":"erase failed","device":"wwn 5000c500a1b2c3d4"}`, "not JSON \x1b[31m", `{"level":"INFO","msg":"cut in the mid ...`}
	sick := machine()
	sick.LastError = ptr(broken.LastError)
	answers["/v1/nodes/n5"], answers["/v1/nodes/n5/steps"] = sick, broken
	server := canned(t, answers)
	for name, args := range map[string][]string{
		"list.txt": {"node", "list"}, "show.txt": {"node", "show", "n1"}, "show-failed.txt": {"node", "show", "n3"}, "steps.txt": {"node", "steps", "n1"}, "steps-disks.txt": {"node", "steps", "n4"}, "steps-failed.txt": {"node", "steps", "n5"}, "show-log.txt": {"node", "show", "n5"}, "steps.yaml": {"node", "steps", "n1", "-o", "yaml"},
		"history.txt": {"node", "history", "n1"}, "ports.txt": {"port", "list"}, "images.txt": {"image", "list"},
		"missing.txt": {"node", "show", "n2"},
		"help.txt":    {"--help"}, "help-node.txt": {"node", "--help"}, "help-deploy.txt": {"node", "deploy", "--help"},
		"help-register.txt": {"register", "--help"}, "help-serve.txt": {"serve", "--help"},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, run(t, server, false, args...)) })
	}
}

// The doctor says of the server and of each node what is wrong and what leads on, and fails when something is wrong.
func TestGoldenDoctor(t *testing.T) {
	abort := api.Exit{Act: "verb.abort", Command: "bessemer node abort n1", To: state.CleanFail, Ends: true}
	stuck := api.Diagnosis{Node: id, Name: "n1", Verdict: api.VerdictWrong, State: state.CleanWait, Target: state.Available, Since: before(10 * time.Minute),
		Wait:  &api.Wait{For: "step deploy.erase_devices to end", Owner: "agent", Since: before(9 * time.Minute), Deadline: before(-time.Hour), Evidence: "the agent started it", Seen: before(9 * time.Minute)},
		Heard: before(4 * time.Minute), Step: &api.StepBrief{Step: "deploy.erase_devices", State: "started", Deadline: before(-time.Hour), Abort: "step deploy.erase_devices stops at a safe point within 10s"},
		Problems: []api.Problem{{Reason: "agent.silent", Message: "the agent was last heard 4m0s ago", Hint: "look at the machine's console"}},
		Exits:    []api.Exit{abort}, Fix: &abort}
	manage := api.Exit{Act: "verb.manage", Command: "bessemer node manage n2", To: state.Manageable}
	failed := api.Diagnosis{Node: id, Name: "n2", Verdict: api.VerdictWrong, State: state.CleanFail, Since: before(time.Minute),
		Problems: []api.Problem{{Reason: "disk.io", Message: "disk.io: deploy.erase_devices: read failed", Hint: "replace the disk"}}, Exits: []api.Exit{manage}, Fix: &manage}
	checks := []api.Check{{Name: "clock", OK: true, Found: "not set since the start"}, {Name: "disk space", Found: "0.1 of 10.0 GB free in /srv", Hint: "make room"}}
	server := canned(t, map[string]any{
		"/v1/doctor": api.Doctor{Server: checks, Nodes: []api.Diagnosis{stuck, failed}, Well: 17, Wrong: 3}, "/v1/nodes/n1/doctor": stuck, "/v1/nodes/" + id + "/doctor": stuck,
		"/v1/nodes/n3/doctor": api.Diagnosis{Node: id, Name: "n3", Verdict: api.VerdictWell, State: state.Available, Since: before(time.Hour)},
		"/v1/nodes/n1/steps":  erasing(33),
	})
	for name, args := range map[string][]string{
		"doctor.txt": {"doctor"}, "doctor-node.txt": {"doctor", "n1"}, "doctor-well.txt": {"doctor", "n3"}, "doctor.json": {"doctor", "n1", "-o", "json"},
		"doctor-fix.txt": {"doctor", "n1", "--fix"}, "doctor-yes.txt": {"doctor", "n1", "--fix", "--yes"}, "doctor-missing.txt": {"doctor", "n9"},
		"abort-look.txt": {"node", "abort", "n1", "--look"}, "abort-look.json": {"node", "abort", "n1", "--look", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, run(t, server, false, args...)) })
	}
}

func TestGoldenWatch(t *testing.T) {
	for name, work := range map[string][]api.StepsAnswer{
		"watch.txt":        {waiting(), waiting(), erasing(0), erasing(5), erasing(33), erasing(38), erasing(71), ended(state.Available, "", "")},
		"watch-failed.txt": {erasing(33), ended(state.CleanFail, "disk wwn:5000c500a1b2c3d4 returned an error at byte 4096", fault.DiskIO)},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, run(t, canned(t, nil, work...), false, "node", "provide", "n1", "--watch", "--yes"))
		})
	}
}

// An abort is done when the work ended by it. What failed by itself, or ended well before, is told and exits with 1.
func TestWatchedAbort(t *testing.T) {
	aborting := erasing(33)
	aborting.Run.Aborting = true
	end := func(st state.State, lastError string, reason fault.Reason) api.StepsAnswer {
		s := ended(st, lastError, reason)
		s.Target = state.Available // a failure leaves the target where it was
		if reason == fault.FlowAborted {
			s.Steps[1].State = "aborted"
		}
		return s
	}
	for name, work := range map[string][]api.StepsAnswer{
		"abort.txt":        {aborting, end(state.CleanFail, "Cleaning was aborted by request.", fault.FlowAborted)},
		"abort-silent.txt": {aborting, end(state.CleanFail, "the agent was last heard of at 14:31:02", fault.FlowSilent)},
		"abort-late.txt":   {aborting, ended(state.Available, "", "")},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, run(t, canned(t, nil, work...), false, "node", "abort", "n1", "--watch"))
		})
	}
}

// On a terminal each disk has a bar, and the lines stand above them.
func TestWatchOnATerminal(t *testing.T) {
	var work []api.StepsAnswer
	work = append(work, waiting())
	for p := range 40 {
		work = append(work, erasing(float64(p)))
	}
	contested := erasing(50)
	contested.Boot.Contested = true
	work = append(work, contested, ended(state.Available, "", ""))
	got := run(t, canned(t, nil, work...), true, "node", "provide", "n1", "--watch", "--yes")
	for _, want := range []string{"n1  clean wait -> available", "deploy.erase_devices started", "CONTESTED", "succeeded in 1m5s", "n1  available"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not shown:\n%s", want, got)
		}
	}
	if strings.Contains(got, "deploy.erase_devices 1") {
		t.Errorf("the percent stand in lines and in bars:\n%s", got)
	}
}

// Control characters of a hostile agent do not reach the terminal.
func TestLogLinesAreClean(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"time":"2026-11-20T14:39:08.5Z","level":"INFO","msg":"disk found","device":"S1","size":5}`)
		fmt.Fprintln(w, `{"time":"x","level":"WARN","msg":"evil \u001b]0;title\u0007 \u009b2J"}`)
		fmt.Fprintln(w, "no JSON \x1b[2J")
	}))
	defer server.Close()
	got := run(t, server.URL, false, "node", "logs", "n1")
	if !strings.Contains(got, "14:39:08.500Z INFO  disk found  device=S1 size=5") || strings.ContainsAny(got, "\x1b\x07\u009b") {
		t.Errorf("log %q", got)
	}
}

// Every hint that names a command names one that is there.
func TestHintsNameRealCommands(t *testing.T) {
	command := regexp.MustCompile(`bessemer ((?:[a-z]+ ?)+)`)
	n := 0
	for _, row := range fault.Reasons {
		for _, m := range command.FindAllStringSubmatch(row.Hint, -1) {
			words := strings.Fields(m[1])
			if words[0] == "node" && len(words) > 1 {
				words = words[:2]
			} else {
				words = words[:1]
			}
			n++
			if got := run(t, "http://127.0.0.1:1", false, append(words, "--help")...); !strings.Contains(got, "Usage:\n  bessemer "+strings.Join(words, " ")) {
				t.Errorf("%s: the hint %q names no command: %s", row.Reason, row.Hint, got)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d hints name a command", n)
	}
}

// A node that manage moves without any work is not told of the work that it had before.
func TestManageTellsNoOlderSteps(t *testing.T) {
	done := ended(state.Manageable, "", "") // its last run is a cleaning
	if got := run(t, canned(t, nil, done), false, "node", "manage", "n1", "--watch"); got != "14:39:08Z n1  manageable\n" {
		t.Errorf("it says %q", got)
	}
	if got := run(t, canned(t, nil, ended(state.Available, "", "")), false, "node", "provide", "n1", "--watch", "--yes"); !strings.Contains(got, "deploy.erase_devices succeeded") {
		t.Errorf("provide says %q", got)
	}
}

// A watch that is stopped says that the work goes on.
func TestStoppedWatch(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var out, errs bytes.Buffer
	server := canned(t, nil, waiting())
	seen := &tellWhen{Buffer: &out, text: "waits for", then: func() { cancel(errors.New("interrupt")) }}
	code := cli.Run(ctx, []string{"node", "provide", "n1", "--watch", "--yes"}, cli.Streams{In: strings.NewReader(""), Out: seen, Err: &errs, Now: func() time.Time { return now },
		Environment: config.Environment{Variables: []string{"BESSEMER_SERVER=" + server}}}, host.Programs{})
	if code != cli.Failed || !strings.Contains(errs.String(), "the work on node n1 goes on") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

type tellWhen struct {
	*bytes.Buffer
	text string
	then func()
}

func (w *tellWhen) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.text)) {
		w.then()
	}
	return w.Buffer.Write(b)
}

// An abort that is accepted says what it has to wait for, and whether the step can be cut off at all.
func TestAbortSaysWhatItWaitsFor(t *testing.T) {
	stops := erasing(33)
	stops.Steps[1].Abortable = true
	stops.Wait = &api.Wait{For: "step deploy.erase_devices to stop at a safe point", Owner: "agent", Since: before(0), Deadline: before(-2 * time.Minute)}
	format := erasing(33)
	format.Steps[1].Abortable = true
	format.Wait = &api.Wait{For: "nvme-format-crypto of serial S0 to end, which can't be cut off; step deploy.erase_devices then stops", Owner: "agent", Since: before(0), Deadline: before(-71 * time.Hour)}
	for name, s := range map[string]api.StepsAnswer{"abort-stops.txt": stops, "abort-uncut.txt": format, "abort-finishes.txt": erasing(33), "abort-nothing.txt": waiting()} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, run(t, canned(t, map[string]any{"/v1/nodes/n1/steps": s}), false, "node", "abort", "n1"))
		})
	}
}
