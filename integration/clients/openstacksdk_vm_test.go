//go:build vm

package clients

import (
	"os/exec"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/servers"
)

// TestOpenstackSDK: Debian's openstacksdk, unchanged. It asks for another version with each kind of record, the one that had it first.
func TestOpenstackSDK(t *testing.T) {
	t.Parallel()
	s := server(t, "--allow-origin", "127.0.0.0/8")
	if out, err := exec.CommandContext(t.Context(), servers.Python, "openstacksdk.py", s.URL).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
