package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What a step out of band has noted is stored when the note returns: a server that is killed right after it tells it to the
// attempt that follows, and that one's notes take its place. A run of its own begins with none.
func TestI08_F01_TheAttemptAfterACutIsToldWhatWasNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		var told []string
		s.board.runs = func(ctx context.Context, c step.Call, _ func() error) error {
			told = append(told, string(c.Noted))
			if len(told) >= 3 {
				return nil
			}
			for _, v := range []string{"before", "sent", strings.Repeat("x", len(told))} {
				if err := c.Note(ctx, map[string]string{"at": v}); err != nil {
					t.Error(err)
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}
		reset := conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}, NoRamdisk: true}
		s.provision(reset)
		for range 2 {
			synctest.Wait()
			s.stop()
			s.start()
		}
		s.until(state.Manageable)
		s.provision(reset)
		synctest.Wait()
		s.until(state.Manageable)
		if want := []string{"", `{"at":"x"}`, `{"at":"xx"}`}; len(told) < 3 || !slices.Equal(told[:3], want) {
			t.Errorf("the attempts were told %q, expected %q", told, want)
		}
		if len(told) != 4 || told[3] != "" {
			t.Errorf("the run after them was told %q", told)
		}
	})
}

// I25: a note has a bound, and one that is over it keeps the one before.
func TestI25_ANoteThatIsTooLargeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		var err error
		s.board.runs = func(ctx context.Context, c step.Call, _ func() error) error {
			err = c.Note(ctx, strings.Repeat("x", 64<<10))
			return nil
		}
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}, NoRamdisk: true})
		s.until(state.Manageable)
		if !fault.Has(err, fault.StepFailed) {
			t.Errorf("got %v", err)
		}
	})
}
