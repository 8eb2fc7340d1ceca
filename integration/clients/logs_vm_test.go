//go:build vm

package clients

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
)

// TestLogsAreFollowedDuringACleaning: who follows a machine's log sees what its agent says while the cleaning runs, and not
// only when it has ended.
func TestLogsAreFollowedDuringACleaning(t *testing.T) {
	t.Parallel()
	s, program := machine(t, 2*time.Second)
	m := connect(t, s.URL(), 0)
	m.id = "m001"
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable, nodes.Verifying)
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetInspect}, nodes.Manageable, nodes.Inspecting, nodes.InspectWait)

	follow := exec.CommandContext(m.ctx, program, "--server", s.URL(), "node", "logs", m.id, "-f")
	follow.Stderr = os.Stderr
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		follow.Process.Kill() //nolint:errcheck // it follows for ever
		follow.Wait()         //nolint:errcheck // it was killed
	}()
	lines := bufio.NewScanner(out)
	says := func(what string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), what) {
				return
			}
		}
		t.Fatalf("the log ends without %q: %v", what, lines.Err())
	}
	m.must(nodes.ChangeProvisionState(m.ctx, m.client, m.id, nodes.ProvisionStateOpts{Target: nodes.TargetProvide}).ExtractErr(), "provide")
	says("generation=2") // the inspection was the first boot
	if n := m.node(); n.ProvisionState != string(nodes.CleanWait) {
		t.Errorf("the node is %s when its agent is heard", n.ProvisionState)
	}
	m.reach("provide", nodes.Available, nodes.Cleaning, nodes.CleanWait)
}
