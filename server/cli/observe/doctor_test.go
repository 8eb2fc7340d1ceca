package observe_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// The doctor says of the server and of each node what is wrong and what leads on, and fails when something is wrong.
func TestGoldenDoctor(t *testing.T) {
	abort := api.Exit{Act: "verb.abort", Command: "bessemer node abort n1", To: state.CleanFail, Ends: true}
	stuck := api.Diagnosis{Node: clitest.ID, Name: "n1", Verdict: api.VerdictWrong, State: state.CleanWait, Target: state.Available, Since: clitest.Before(10 * time.Minute),
		Wait:  &api.Wait{For: "step deploy.erase_devices to end", Owner: "agent", Since: clitest.Before(9 * time.Minute), Deadline: clitest.Before(-time.Hour), Evidence: "the agent started it", Seen: clitest.Before(9 * time.Minute)},
		Heard: clitest.Before(4 * time.Minute), Step: &api.StepBrief{Step: "deploy.erase_devices", State: "started", Deadline: clitest.Before(-time.Hour), Abort: "step deploy.erase_devices stops at a safe point within 10s"},
		Problems: []api.Problem{{Reason: "agent.silent", Message: "the agent was last heard 4m0s ago", Hint: "look at the machine's console"}},
		Exits:    []api.Exit{abort}, Fix: &abort}
	manage := api.Exit{Act: "verb.manage", Command: "bessemer node manage n2", To: state.Manageable}
	failed := api.Diagnosis{Node: clitest.ID, Name: "n2", Verdict: api.VerdictWrong, State: state.CleanFail, Since: clitest.Before(time.Minute),
		Problems: []api.Problem{{Reason: "disk.io", Message: "disk.io: deploy.erase_devices: read failed", Hint: "replace the disk"},
			{Reason: "bmc.unreachable", Message: "the last 4 requests to the BMC came to nothing: no answer in time", Hint: "is it on?", Evidence: "GET /redfish/v1/Systems/1: no answer in time", Seen: clitest.Before(2 * time.Minute)}}, Exits: []api.Exit{manage}, Fix: &manage}
	checks := []api.Check{{Name: "clock", OK: true, Found: "not set since the start"}, {Name: "disk space", Found: "0.1 of 10.0 GB free in /srv", Hint: "make room"}}
	server := clitest.Canned(t, map[string]any{
		"/v1/doctor": api.Doctor{Server: checks, Nodes: []api.Diagnosis{stuck, failed}, Well: 17, Wrong: 3}, "/v1/nodes/n1/doctor": stuck, "/v1/nodes/" + clitest.ID + "/doctor": stuck,
		"/v1/nodes/n3/doctor": api.Diagnosis{Node: clitest.ID, Name: "n3", Verdict: api.VerdictWell, State: state.Available, Since: clitest.Before(time.Hour)},
	})
	for name, args := range map[string][]string{
		"doctor.txt": {"doctor"}, "doctor-node.txt": {"doctor", "n1"}, "doctor-well.txt": {"doctor", "n3"}, "doctor.json": {"doctor", "n1", "-o", "json"},
		"doctor-fix.txt": {"doctor", "n1", "--fix"}, "doctor-yes.txt": {"doctor", "n1", "--fix", "--yes"}, "doctor-missing.txt": {"doctor", "n9"},
	} {
		t.Run(name, func(t *testing.T) { clitest.Golden(t, name, clitest.Run(t, server, false, args...)) })
	}
}

// When the server does not answer, doctor says what is in its data directory, in each format.
func TestDoctorWithoutAServer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	dir := t.TempDir()
	for format, want := range map[string]string{
		"table": "what is in the data directory " + dir + ":\nok     database  is sound\nWRONG  lock      held by process 7\n                 what to do: end it\n",
		"json":  "\"found\": \"held by process 7\"", "yaml": "found: held by process 7",
	} {
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), []string{"doctor", "--data-dir", dir, "-o", format}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + gone.URL}}}, host.Programs{
			Examine: func(_ context.Context, s config.Server) []api.Check {
				if s.DataDir != dir {
					t.Errorf("%s is examined", s.DataDir)
				}
				return []api.Check{{Name: "database", OK: true, Found: "is sound"}, {Name: "lock", Found: "held by process 7", Hint: "end it"}}
			}})
		if code != cli.Failed || !strings.Contains(out.String(), want) || !strings.Contains(errs.String(), "does not answer") {
			t.Errorf("%s: %d %s%s", format, code, out.String(), errs.String())
		}
	}
}
