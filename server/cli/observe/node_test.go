package observe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestGoldenNode(t *testing.T) {
	_, broken := clitest.Failed()
	server := clitest.Canned(t, map[string]any{
		"/v1/nodes/n1/history": api.HistoryList{History: []api.HistoryEntry{{CreatedAt: clitest.Before(time.Minute), Severity: "ERROR", EventType: "step", User: "ann", Event: "step deploy.erase_devices failed",
			HistoryMore: &api.HistoryMore{Duration: 75, Reason: "disk.io", Step: "deploy.erase_devices", Request: "req-7", Log: "/v1/nodes/" + clitest.ID + "/logs?generation=3"}},
			{CreatedAt: clitest.Before(30 * time.Hour), Severity: "INFO", EventType: "enroll", Event: "enrolled"}}},
		"/v1/nodes/n1/steps": clitest.Waiting(),
		"/v1/nodes/n4/steps": clitest.Erasing(33),
		"/v1/nodes/n5/steps": broken,
	})
	for name, args := range map[string][]string{
		"steps.txt": {"node", "steps", "n1"}, "steps-disks.txt": {"node", "steps", "n4"}, "steps-failed.txt": {"node", "steps", "n5"}, "steps.yaml": {"node", "steps", "n1", "-o", "yaml"},
		"history.txt": {"node", "history", "n1"},
	} {
		t.Run(name, func(t *testing.T) { clitest.Golden(t, name, clitest.Run(t, server, false, args...)) })
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
	got := clitest.Run(t, server.URL, false, "node", "logs", "n1")
	if !strings.Contains(got, "14:39:08.500Z INFO  disk found  device=S1 size=5") || strings.ContainsAny(got, "\x1b\x07\u009b") {
		t.Errorf("log %q", got)
	}
}
