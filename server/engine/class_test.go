package engine_test

import (
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

func TestNodesHaveTheDefaultResourceClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if n := s.node(); n.ResourceClass != "" {
			t.Errorf("without a default it is %q", n.ResourceClass)
		}
		s.stop()
		s.class = "metal"
		s.start()
		for name, class := range map[string]string{"n2": "", "n3": "big"} {
			n, err := s.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, conductor.Node{Name: name, Driver: "rack", ResourceClass: class}, nil)
			if want := map[string]string{"": "metal", "big": "big"}[class]; err != nil || n.ResourceClass != want {
				t.Errorf("%q became %q, expected %q (%v)", class, n.ResourceClass, want, err)
			}
		}
		if n := s.node(); n.ResourceClass != "" {
			t.Errorf("a node that was there before has %q", n.ResourceClass)
		}
	})
}
