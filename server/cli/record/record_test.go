package record_test

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func TestGolden(t *testing.T) {
	failed := clitest.Machine()
	failed.Name, failed.Maintenance, failed.ProvisionState, failed.LastError = nil, false, new("deploy failed"), new(strings.Repeat("long ", 30))
	failed.DriverInternalInfo = map[string]any{"owed": "the machine is to be powered off since 2026-11-20T12:00:00Z"}
	sick, broken := clitest.Failed()
	server := clitest.Canned(t, map[string]any{
		"/v1/nodes":          api.NodeList{Nodes: []api.Node{clitest.Machine(), failed}},
		"/v1/nodes/n1":       clitest.Machine(),
		"/v1/nodes/n3":       failed,
		"/v1/nodes/n5":       sick,
		"/v1/ports":          api.PortList{Ports: []api.Port{{UUID: "5d1f8f5e-6f0e-4c2d-8d5c-6a8c6f6a8f01", Address: "52:54:00:12:34:56", NodeUUID: clitest.ID, PXEEnabled: true}}},
		"/v1/nodes/n1/steps": clitest.Waiting(),
		"/v1/nodes/n3/steps": clitest.Ended(state.DeployFail, "long", fault.StepFailed),
		"/v1/nodes/n5/steps": broken,
	})
	for name, args := range map[string][]string{
		"list.txt": {"node", "list"}, "show.txt": {"node", "show", "n1"}, "show-failed.txt": {"node", "show", "n3"}, "show-log.txt": {"node", "show", "n5"},
		"missing.txt": {"node", "show", "n2"},
	} {
		t.Run(name, func(t *testing.T) { clitest.Golden(t, name, clitest.Run(t, server, false, args...)) })
	}
}
