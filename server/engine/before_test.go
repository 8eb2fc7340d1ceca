package engine_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// restarts is the beginning of a step that restarts the machine: off.
func (b *board) restarts(before string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = append(b.before, before)
	b.power = conductor.PowerOff
}

func (b *board) told() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.before)
}

// A server that is killed between a step's power off and on runs the step again after its start, and tells it what power
// the machine had before the first attempt (F1).
func TestF1_EachAttemptKnowsThePowerBeforeTheFirst(t *testing.T) {
	for _, power := range []conductor.Power{conductor.PowerOn, conductor.PowerOff} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			s.board.mu.Lock()
			s.board.power, s.board.hang = power, true
			s.board.mu.Unlock()
			s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "bios.factory_reset"}}, NoRamdisk: true})
			synctest.Wait()
			s.stop()
			s.board.mu.Lock()
			s.board.hang = false
			s.board.mu.Unlock()
			s.start()
			s.until(state.Manageable)
			if got, want := s.board.told(), []string{string(power), string(power)}; !slices.Equal(got, want) {
				t.Errorf("the attempts were told %v, expected %v", got, want)
			}
		})
	}
}

// TestF23_AStepIsToldThePowerThatWasReadInItsLine: the act before it brought the machine there, which nobody knew when the step was
// put in line, and the BMC is between two states when its turn comes.
func TestF23_AStepIsToldThePowerThatWasReadInItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.behind("bios.factory_reset")
		s.board.mu.Lock()
		s.board.look = func(context.Context) {
			if s.node().Owed == nil { // the power off before it was stored
				s.board.mu.Lock()
				defer s.board.mu.Unlock()
				s.board.power = ""
			}
		}
		s.board.mu.Unlock()
		s.board.answer(nil)
		s.until(state.Manageable)
		if got := s.board.told(); !slices.Equal(got, []string{string(conductor.PowerOff)}) {
			t.Errorf("the step was told %q, expected %q", got, conductor.PowerOff)
		}
	})
}
