package decide

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// The two times are Ironic's: one that runs has a start, one that succeeded an end, one that failed neither.
func TestTimesOfAnInspection(t *testing.T) {
	l := newLife(t)
	times := func(when string, started, finished bool) {
		t.Helper()
		if n := l.s.Node; n.InspectionStarted.IsZero() == started || n.InspectionFinished.IsZero() == finished {
			t.Errorf("%s: started %v, finished %v", when, n.InspectionStarted, n.InspectionFinished)
		}
	}
	l.manageable()
	times("before", false, false)
	l.verb(state.VerbInspect)
	times("begun", true, false)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	if err := l.lookup(agentA); err != nil {
		t.Fatal(err)
	}
	l.take(conductor.EffectEject)
	l.ok(conductor.AgentReady{Steps: catalog.InBand})
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
	l.want(state.Manageable)
	times("done", false, true)

	l.verb(state.VerbInspect)
	times("begun again", true, false)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	l.now = l.s.Node.Boot.Closes.Add(time.Second)
	l.ok(conductor.DeadlinePassed{})
	l.want(state.InspectFail)
	times("failed", false, false)
}
