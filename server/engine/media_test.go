package engine_test

import (
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A disk or floppy that was attached for an instance would be the next one's config drive.
func TestI1_TheNextInstanceFindsNoForeignMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "fake-hardware"}, fake.New(fake.Config{}))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.until(state.Available)
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		for _, device := range []string{"disk", "floppy"} {
			if err := s.c.Manage(t.Context(), recordtest.Op, "n1", conductor.Act{Kind: conductor.ActAttach, Device: device, URL: "http://192.0.2.1/" + device}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		inserted := func() (out []string) {
			all, err := s.c.Drives(t.Context(), "n1")
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range all {
				if d.Inserted {
					out = append(out, d.Image)
				}
			}
			return out
		}
		if got := inserted(); len(got) != 2 || len(s.node().Media) != 2 {
			t.Fatalf("attached: %v, %+v", got, s.node().Media)
		}
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		s.until(state.Available)
		synctest.Wait()
		if got := inserted(); len(got) != 0 || len(s.node().Media) != 0 {
			t.Errorf("the next instance finds %v, on record %+v", got, s.node().Media)
		}
	})
}
