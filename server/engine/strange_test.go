package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// withoutTheType starts the server anew with other hardware types than that of its node.
func (s *site) withoutTheType() {
	s.stop()
	s.gone = true
	s.start()
	synctest.Wait()
}

// A server that was started without the hardware type of a node at work still has a way out for it: the doctor says what
// is missing, an abort is taken, the deadline is kept, and the record can be deleted. Nothing is done to the machine.
func TestI13_I14_F40_AHardwareTypeThatIsGone(t *testing.T) {
	for _, abort := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.erasing()
			s.withoutTheType()
			acts := len(s.board.log())
			if acts == 0 {
				t.Fatal("the machine was not booted")
			}
			if err := s.c.DeleteNode(t.Context(), conductor.Caller{Name: "op"}, "n1"); !fault.Has(err, fault.NodeBusy) && !fault.Has(err, fault.NodeInUse) {
				t.Errorf("deleted while a step is started: %v", err)
			}
			d := s.diagnose()
			if d.Problems[0].Reason != string(fault.DriverUnknown) || !strings.Contains(d.Problems[0].Message, `"rack"`) || len(d.Exits) != 1 || d.Exits[0].Act != "verb.abort" {
				t.Fatalf("problems %+v, exits %+v", d.Problems, d.Exits)
			}
			want := fault.FlowSilent
			if abort {
				want = fault.FlowSilent // nobody answers the order to stop
				s.provision(conductor.Provision{Verb: state.VerbAbort})
			}
			s.mail.listen(func() time.Time { return s.now() })
			n := s.until(state.CleanFail)
			if !abort {
				want = fault.StepTimeout
			}
			if n.LastReason != want {
				t.Errorf("abort %v: %s", abort, n.LastError)
			}
			time.Sleep(time.Hour)
			if got := s.board.log(); len(got) != 0 {
				t.Errorf("done to the machine: %q", got)
			}
			if err := s.store.View(t.Context(), func(tx conductor.Tx) error {
				left, err := tx.Effects()
				if len(left) != 0 {
					t.Errorf("effects that nobody carries out: %+v", left)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := s.c.DeleteNode(t.Context(), conductor.Caller{Name: "op"}, "n1"); err != nil {
				t.Errorf("the record can't be deleted: %v", err)
			}
		})
	}
}

// What the server itself was doing ends at once: it can't be done.
func TestI13_AHardwareTypeThatIsGoneEndsWhatTheServerDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.answer(fault.New(fault.BMCUnreachable, "busy"))
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		time.Sleep(time.Second)
		s.withoutTheType()
		if n := s.until(state.InspectFail); n.LastReason != fault.DriverUnknown {
			t.Errorf("%s", n.LastError)
		}
	})
}
