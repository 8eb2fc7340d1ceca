package resources_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
)

// A command that waits for an allocation ends with it: well when there is a machine, with what the server says when there
// will be none, and when it has waited for long enough.
func TestAllocationIsWaitedFor(t *testing.T) {
	for name, x := range map[string]struct{ flag, becomes, says, exit string }{
		"a machine": {"--wait", `{"uuid": "a1", "state": "active", "node_uuid": "n1"}`, "allocation a1 is made", ""},
		"none":      {"--wait=1m", `{"uuid": "a1", "state": "error", "last_error": "no node fits"}`, "no node fits", "exit 1\n"},
		"too long":  {"--wait=1ms", `{"uuid": "a1", "state": "allocating"}`, "longer than --wait 1ms", "exit 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := clitest.Recording(t, func(*http.Request, string) {}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					fmt.Fprint(w, `{"uuid": "a1", "state": "allocating"}`)
					return
				}
				fmt.Fprint(w, x.becomes)
			})
			if got := clitest.Run(t, server.URL, false, "allocation", "create", "--resource-class", "big", x.flag); !strings.Contains(got, x.says) || !strings.HasSuffix(got, x.exit) || x.exit == "" && strings.Contains(got, "exit") {
				t.Errorf("it says %q, expected %q and %q", got, x.says, x.exit)
			}
		})
	}
}

// When the server does not answer while an allocation is waited for, the one that was made is named: who asks again has two.
func TestAnAllocationThatWasMadeIsNamed(t *testing.T) {
	server := clitest.Recording(t, func(*http.Request, string) {}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			fmt.Fprint(w, `{"uuid": "a1", "state": "allocating"}`)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	})
	got := clitest.Run(t, server.URL, false, "allocation", "create", "--resource-class", "big", "--wait")
	if !strings.Contains(got, "allocation a1 is made") || !strings.Contains(got, "bessemer allocation show a1") || !strings.HasSuffix(got, "exit 1\n") {
		t.Errorf("it says %q, expected the allocation, what to do and exit 1", got)
	}
}
