package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A failed step is told in last_error with its reason in front and the log behind it, and in the history with step,
// reason, actor, request, duration and log (rows 24, 79 and 99 of the requirements).
func TestI14_AFailureSaysWhatWhereAndWhereToRead(t *testing.T) {
	l := newLife(t)
	l.available()
	l.ok(conductor.VerbAsked{Caller: conductor.Caller{Name: "ann", Request: "req-1"}, Ask: conductor.Provision{Verb: state.VerbDeploy}})
	l.boot()
	r := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
	l.now = l.now.Add(90 * time.Second)
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Failed, Fault: fault.New(fault.ImageDigest, "sha256 is 12, expected 34")})
	l.want(state.DeployFail)
	log := "/v1/nodes/" + string(l.s.Node.UUID) + "/logs?generation=2"
	if e := l.s.Node.LastError; !strings.HasPrefix(e, "image.digest_mismatch: deploy.write_image: sha256 is 12") || !strings.HasSuffix(e, "[log: "+log+"]") {
		t.Errorf("last_error is %q", e)
	}
	var step, failure *conductor.Entry
	for i, e := range l.history {
		switch {
		case e.Type == "step" && e.Severity == "ERROR":
			step = &l.history[i]
		case e.Severity == "ERROR":
			failure = &l.history[i]
		}
	}
	for _, e := range []*conductor.Entry{step, failure} {
		if e == nil {
			t.Fatalf("the history lacks the failure: %+v", l.history)
		}
		if e.Step != "deploy.write_image" || e.Reason != fault.ImageDigest || e.Actor != "ann" || e.Request != "req-1" || e.Duration < 90*time.Second || e.Log != log || e.Run == "" {
			t.Errorf("entry %+v", e)
		}
	}
}

// What an operator asks for is told and audited as that operator's, not as the one's who started the work (I27).
func TestI27_AnActIsItsOwnCallers(t *testing.T) {
	ann, bob := conductor.Caller{Name: "ann", Request: "req-1"}, conductor.Caller{Name: "bob", Request: "req-2"}
	for name, ask := range map[string]conductor.Event{
		"abort":     conductor.VerbAsked{Caller: bob, Ask: conductor.Provision{Verb: state.VerbAbort}},
		"power off": conductor.PowerAsked{Caller: bob, Ask: conductor.PowerRequest{Target: "power off"}},
	} {
		l := newLife(t)
		l.available()
		l.ok(conductor.VerbAsked{Caller: ann, Ask: conductor.Provision{Verb: state.VerbDeploy}})
		l.boot()
		history, audit := len(l.history), len(l.audit)
		l.ok(ask)
		l.want(state.DeployFail)
		for _, e := range l.history[history:] {
			if e.Actor != "bob" || e.Request != "req-2" {
				t.Errorf("%s: entry %+v is not bob's", name, e)
			}
		}
		if len(l.audit) == audit {
			t.Errorf("%s is not audited", name)
		}
		for _, a := range l.audit[audit:] {
			if a.Actor != "bob" || a.Request != "req-2" {
				t.Errorf("%s: audit %+v is not bob's", name, a)
			}
		}
	}
	l := newLife(t)
	l.available()
	l.ok(conductor.VerbAsked{Caller: bob, Ask: conductor.Provision{Verb: state.VerbManage}})
	if a := l.audit[len(l.audit)-1]; a.Act != "verb.manage" || a.Actor != "bob" || a.Detail["from"] != state.Available || a.Detail["to"] != state.Manageable {
		t.Errorf("a verb is audited as %+v", a)
	}
}
