package flows_test

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Before an abort it is said what it would do now.
func TestAbortLooksFirst(t *testing.T) {
	server := clitest.Canned(t, map[string]any{"/v1/nodes/n1/steps": clitest.Erasing(33)})
	for name, args := range map[string][]string{"abort-look.txt": {"node", "abort", "n1", "--look"}, "abort-look.json": {"node", "abort", "n1", "--look", "-o", "json"}} {
		t.Run(name, func(t *testing.T) { clitest.Golden(t, name, clitest.Run(t, server, false, args...)) })
	}
}

// An abort that is accepted says what it has to wait for, and whether the step can be cut off at all.
func TestAbortSaysWhatItWaitsFor(t *testing.T) {
	stops := clitest.Erasing(33)
	stops.Steps[1].Abortable = true
	stops.Wait = &api.Wait{For: "step deploy.erase_devices to stop at a safe point", Owner: "agent", Since: clitest.Before(0), Deadline: clitest.Before(-2 * time.Minute)}
	format := clitest.Erasing(33)
	format.Steps[1].Abortable = true
	format.Wait = &api.Wait{For: "nvme-format-crypto of serial S0 to end, which can't be cut off; step deploy.erase_devices then stops", Owner: "agent", Since: clitest.Before(0), Deadline: clitest.Before(-71 * time.Hour)}
	for name, s := range map[string]api.StepsAnswer{"abort-stops.txt": stops, "abort-uncut.txt": format, "abort-finishes.txt": clitest.Erasing(33), "abort-nothing.txt": clitest.Waiting()} {
		t.Run(name, func(t *testing.T) {
			clitest.Golden(t, name, clitest.Run(t, clitest.Canned(t, map[string]any{"/v1/nodes/n1/steps": s}), false, "node", "abort", "n1"))
		})
	}
}
