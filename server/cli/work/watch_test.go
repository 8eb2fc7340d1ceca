package work_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func TestGoldenWatch(t *testing.T) {
	for name, work := range map[string][]api.StepsAnswer{
		"watch.txt":        {clitest.Waiting(), clitest.Waiting(), clitest.Erasing(0), clitest.Erasing(5), clitest.Erasing(33), clitest.Erasing(38), clitest.Erasing(71), clitest.Ended(state.Available, "", "")},
		"watch-failed.txt": {clitest.Erasing(33), clitest.Ended(state.CleanFail, "disk wwn:5000c500a1b2c3d4 returned an error at byte 4096", fault.DiskIO)},
	} {
		t.Run(name, func(t *testing.T) {
			clitest.Golden(t, name, clitest.Run(t, clitest.Canned(t, nil, work...), false, "node", "provide", "n1", "--watch", "--yes"))
		})
	}
}

// An abort is done when the work ended by it. What failed by itself, or ended well before, is told and exits with 1.
func TestWatchedAbort(t *testing.T) {
	aborting := clitest.Erasing(33)
	aborting.Run.Aborting = true
	end := func(st state.State, lastError string, reason fault.Reason) api.StepsAnswer {
		s := clitest.Ended(st, lastError, reason)
		s.Target = state.Available // a failure leaves the target where it was
		if reason == fault.FlowAborted {
			s.Steps[1].State = "aborted"
		}
		return s
	}
	for name, work := range map[string][]api.StepsAnswer{
		"abort.txt":        {aborting, end(state.CleanFail, "Cleaning was aborted by request.", fault.FlowAborted)},
		"abort-silent.txt": {aborting, end(state.CleanFail, "the agent was last heard of at 14:31:02", fault.FlowSilent)},
		"abort-late.txt":   {aborting, clitest.Ended(state.Available, "", "")},
	} {
		t.Run(name, func(t *testing.T) {
			clitest.Golden(t, name, clitest.Run(t, clitest.Canned(t, nil, work...), false, "node", "abort", "n1", "--watch"))
		})
	}
}

// On a terminal each disk has a bar, and the lines stand above them.
func TestWatchOnATerminal(t *testing.T) {
	var work []api.StepsAnswer
	work = append(work, clitest.Waiting())
	for p := range 40 {
		work = append(work, clitest.Erasing(float64(p)))
	}
	contested := clitest.Erasing(50)
	contested.Boot.Contested = true
	work = append(work, contested, clitest.Ended(state.Available, "", ""))
	got := clitest.Run(t, clitest.Canned(t, nil, work...), true, "node", "provide", "n1", "--watch", "--yes")
	for _, want := range []string{"n1  clean wait -> available", "deploy.erase_devices started", "CONTESTED", "succeeded in 1m5s", "n1  available"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not shown:\n%s", want, got)
		}
	}
	if strings.Contains(got, "deploy.erase_devices 1") {
		t.Errorf("the percent stand in lines and in bars:\n%s", got)
	}
}

// A node that manage moves without any work is not told of the work that it had before.
func TestManageTellsNoOlderSteps(t *testing.T) {
	done := clitest.Ended(state.Manageable, "", "") // its last run is a cleaning
	if got := clitest.Run(t, clitest.Canned(t, nil, done), false, "node", "manage", "n1", "--watch"); got != "14:39:08Z n1  manageable\n" {
		t.Errorf("it says %q", got)
	}
	if got := clitest.Run(t, clitest.Canned(t, nil, clitest.Ended(state.Available, "", "")), false, "node", "provide", "n1", "--watch", "--yes"); !strings.Contains(got, "deploy.erase_devices succeeded") {
		t.Errorf("provide says %q", got)
	}
}

// A watch that is stopped says that the work goes on.
func TestStoppedWatch(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var out, errs bytes.Buffer
	server := clitest.Canned(t, nil, clitest.Waiting())
	seen := &tellWhen{Buffer: &out, text: "waits for", then: func() { cancel(errors.New("interrupt")) }}
	code := cli.Run(ctx, []string{"node", "provide", "n1", "--watch", "--yes"}, cli.Streams{In: strings.NewReader(""), Out: seen, Err: &errs, Now: func() time.Time { return clitest.Now },
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
