package decide

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A node back in enroll is in a state that it stays in, so it has no target: clients of Ironic's change no power while
// there is one.
func TestFailedVerificationLeavesNoTarget(t *testing.T) {
	l := newLife(t)
	l.verb(state.VerbManage)
	l.want(state.Verifying)
	if l.s.Node.Target != state.Manageable {
		t.Fatalf("on the way to %q", l.s.Node.Target)
	}
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectVerify), Fault: fault.New(fault.BMCUnreachable, "no answer")})
	l.want(state.Enroll)
	if n := l.s.Node; n.Target != "" || n.LastError == "" {
		t.Errorf("target %q, last error %q", n.Target, n.LastError)
	}
	l.manageable()
}
