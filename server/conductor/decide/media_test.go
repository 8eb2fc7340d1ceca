package decide

import (
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

var left = []conductor.Medium{{Device: "cdrom", URL: "http://192.0.2.1/a"}, {Device: "disk", URL: "http://192.0.2.1/b"}, {Device: "floppy", URL: "http://192.0.2.1/c"}}

// What was attached for an instance is out before the machine is anybody else's; the ramdisk's own way empties the CDs.
func TestI1_AnInstancesMediaAreTakenOutWithIt(t *testing.T) {
	l := newLife(t)
	l.active()
	l.s.Node.Media = slices.Clone(left)
	l.verb(state.VerbDelete)
	if kinds := l.kinds(); len(kinds) != 2 || kinds[0] != conductor.EffectDetach || kinds[1] != conductor.EffectBoot {
		t.Fatalf("effects %v", kinds)
	}
	if got := conductor.Left(l.s.Node); !slices.Equal(got, []string{"disk", "floppy"}) || len(l.s.Node.Media) != 2 {
		t.Errorf("to be taken out: %v of %+v", got, l.s.Node.Media)
	}
	e := l.take(conductor.EffectDetach)
	l.ok(conductor.EffectDone{Effect: e})
	l.ok(conductor.EffectDone{Effect: e}) // carried out again by the next server
	if n := l.s.Node; len(n.Media) != 0 || n.State != state.Cleaning {
		t.Errorf("%s with %+v", n.State, n.Media)
	}
}

// A machine that keeps a medium is nobody else's, and each cleaning tries again.
func TestI1_AMachineThatKeepsAMediumIsNotClean(t *testing.T) {
	l := newLife(t)
	l.active()
	l.s.Node.Media = slices.Clone(left)
	l.verb(state.VerbDelete)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectDetach), Fault: fault.New(fault.BMCError, "no")})
	l.want(state.CleanFail)
	if n := l.s.Node; n.LastReason != fault.BMCError || !strings.Contains(n.LastError, "disk, floppy") || len(conductor.Left(n)) != 2 {
		t.Errorf("last error %q, media %+v", n.LastError, n.Media)
	}
	l.effects = nil
	l.verb(state.VerbManage)
	later := conductor.Medium{Device: "cdrom", URL: "http://192.0.2.1/e"}
	l.s.Node.Media = append(l.s.Node.Media, conductor.Medium{Device: "disk", URL: "http://192.0.2.1/d"}, later) // an operator's, for later
	l.verb(state.VerbProvide)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectDetach)})
	if n := l.s.Node; n.State != state.Cleaning || !slices.Equal(n.Media, []conductor.Medium{later}) {
		t.Errorf("%s with %+v; every disk and floppy is out", n.State, n.Media)
	}
}

// A medium of which nobody knows whether it went in counts as one that is in: it is taken out with the instance.
func TestI1_AMediumThatMayBeInIsTakenOut(t *testing.T) {
	attach := conductor.Act{Kind: conductor.ActAttach, Device: "disk", URL: "http://192.0.2.1/d"}
	in := []conductor.Medium{{Device: "disk", URL: "http://192.0.2.1/d"}}
	for what, c := range map[string]struct {
		end  func(asked conductor.Decision) conductor.Event
		want []conductor.Medium
	}{
		"no answer": {func(d conductor.Decision) conductor.Event {
			return conductor.EffectDone{Effect: d.Effects[0], Fault: fault.New(fault.BMCUnreachable, "no")}
		}, in},
		"not read back": {func(d conductor.Decision) conductor.Event {
			return conductor.EffectDone{Effect: d.Effects[0], Fault: fault.New(fault.BMCError, "no")}
		}, in},
		"a failed task": {func(d conductor.Decision) conductor.Event {
			return conductor.EffectDone{Effect: d.Effects[0], Fault: fault.New(fault.BMCTask, "no")}
		}, in},
		"no drive": {func(d conductor.Decision) conductor.Event {
			return conductor.EffectDone{Effect: d.Effects[0], Fault: fault.New(fault.BMCNoMedia, "no")}
		}, nil},
		"a doubted record": {func(conductor.Decision) conductor.Event { return conductor.RecordsDoubted{Why: "older"} }, in},
	} {
		d := decideAct(actNode(), conductor.ActAsked{Ask: attach})
		if n := decideAct(d.Node, c.end(d)).Node; n.Act != nil || !slices.Equal(n.Media, c.want) {
			t.Errorf("%s: %+v, expected %+v", what, n.Media, c.want)
		}
	}
}

// It is told, too, when the work that it began with has ended meanwhile.
func TestMediaThatStayInAreTold(t *testing.T) {
	l := newLife(t)
	l.available()
	l.s.Node.Media = leftMedia(left)
	l.ok(conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectDetach, Node: l.s.Node.UUID, Run: "older", Lease: 1}, Fault: fault.New(fault.BMCError, "no")})
	if n := l.s.Node; n.LastReason != fault.BMCError || n.State != state.Available || len(conductor.Left(n)) != 2 {
		t.Errorf("%s, last error %q, media %+v", n.State, n.LastError, n.Media)
	}
	l.verb(state.VerbDeploy)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectDetach), Fault: fault.New(fault.BMCError, "no")})
	l.want(state.DeployFail)
}
