package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// A client finds upstream's vendor calls: what an asynchronous one finds out goes nowhere, and each is refused without what
// it needs; those that take the lock are refused while the node is in use.
func TestVendorCallsOfFakeHardware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "fake-hardware"}, fake.New(fake.Config{}))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		call := func(method string, args map[string]any) (bool, any, error) {
			return s.c.Pass(t.Context(), recordtest.Op, "n1", "POST", method, args)
		}
		for _, x := range []struct {
			method, word string
			async        bool
			answer       any
		}{{"second_method", "kazoo", true, nil}, {"third_method_sync", "meow", false, true}, {"third_method_sync", "kazoo", false, false}, {"fourth_method_shared_lock", "woof", true, nil}} {
			if async, answer, err := call(x.method, map[string]any{"bar": x.word}); async != x.async || answer != x.answer || err != nil {
				t.Errorf("%s of %s: %t, %v, %v; expected %t, %v", x.method, x.word, async, answer, err, x.async, x.answer)
			}
			if _, _, err := call(x.method, map[string]any{}); !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("%s without bar: %v", x.method, err)
			}
		}
		if async, answer, err := call("log_passthrough", nil); !async || answer != nil || err != nil {
			t.Errorf("log_passthrough: %t, %v, %v", async, answer, err)
		}
		if _, _, err := call("first_method", map[string]any{"bar": "baz"}); !fault.Has(err, fault.NoMethod) {
			t.Errorf("first_method, which no hardware type offers: %v", err)
		}
	})
}

// trigger_servicewait keeps a node in service wait: until it is aborted, or for half an hour.
func TestAFakeServiceWaits(t *testing.T) {
	for name, aborted := range map[string]bool{"abort": true, "time": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := withTypes(t, conductor.Node{Driver: "fake-hardware"}, fake.New(fake.Config{}))
				s.provision(conductor.Provision{Verb: state.VerbManage})
				s.until(state.Manageable)
				s.provision(conductor.Provision{Verb: state.VerbProvide})
				s.until(state.Available)
				s.provision(conductor.Provision{Verb: state.VerbDeploy})
				s.until(state.Active)
				s.provision(conductor.Provision{Verb: state.VerbService, ServiceSteps: []step.Wanted{{Name: "vendor.trigger_servicewait"}}})
				s.until(state.ServiceWait)
				time.Sleep(29 * time.Minute)
				if got := s.node().State; got != state.ServiceWait {
					t.Fatalf("after 29 minutes it is %s", got)
				}
				if !aborted {
					s.until(state.ServiceFail)
					return
				}
				s.provision(conductor.Provision{Verb: state.VerbAbort})
				s.until(state.Active)
			})
		})
	}
}
