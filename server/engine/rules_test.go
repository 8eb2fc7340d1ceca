package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What Ironic lets change, written down by hand. Columns: a description; resource_class from one value to another; an
// interface; the hardware type; owner; protected set; retired set; an instance taken off; the record deleted. x: done; -: 409
// without maintenance and done in it; N: 409 either way.
const rules = `
state            desc class iface driver owner prot ret inst del
enroll           x    x     x     x      x     N    x   x    x
manageable       x    x     x     x      x     N    x   x    x
available        x    x     x     x      x     N    N   x    x
active           x    N     -     -      N     x    x   x    -
rescue           x    N     -     -      x     x    x   x    -
error            x    N     -     -      x     N    x   x    -
verifying        x    N     -     -      x     N    x   x    -
inspecting       x    x     x     x      x     N    x   x    -
inspect_wait     x    x     x     x      x     N    x   x    -
inspect_failed   x    N     -     -      x     N    x   x    -
cleaning         N    N     N     N      N     N    N   -    -
clean_wait       N    N     N     N      N     N    N   -    -
clean_hold       N    N     N     N      N     N    N   -    -
clean_failed     x    N     -     -      x     N    x   x    -
deploying        N    N     N     N      N     N    N   -    -
wait_call-back   N    N     N     N      N     N    N   -    -
deploy_hold      N    N     N     N      N     N    N   -    -
deploy_failed    x    N     -     -      x     N    x   x    -
servicing        N    N     N     N      N     N    N   -    -
service_wait     N    N     N     N      N     N    N   -    -
service_hold     x    N     -     -      x     N    x   x    -
service_failed   x    N     -     -      x     N    x   x    -
rescuing         N    N     N     N      N     N    N   -    -
rescue_wait      N    N     N     N      N     N    N   -    -
rescue_failed    x    N     -     -      x     N    x   x    -
unrescuing       N    N     N     N      N     N    N   -    -
unrescue_failed  x    N     -     -      x     N    x   x    -
adopting         N    N     N     N      N     N    N   -    -
adopt_failed     x    N     -     -      x     N    x   x    x
deleting         N    N     N     N      N     N    N   -    -
`

// changes are what the columns stand for.
var changes = map[string]func(*conductor.Node){
	"desc":   func(n *conductor.Node) { n.Description = "changed" },
	"class":  func(n *conductor.Node) { n.ResourceClass = "small" },
	"iface":  func(n *conductor.Node) { n.Interfaces = map[string]string{"power": "redfish"} },
	"driver": func(n *conductor.Node) { n.Driver = "rack2" },
	"owner":  func(n *conductor.Node) { n.Owner = "somebody else" },
	"prot":   func(n *conductor.Node) { n.Protected = true },
	"ret":    func(n *conductor.Node) { n.Retired = true },
	"inst":   func(n *conductor.Node) { n.InstanceUUID = "" },
}

// renamed is the rack as another hardware type.
type renamed struct{ rack }

func (renamed) Name() string { return "rack2" }

// The erasure of a machine can't be pretended by making its node one of fake-hardware for that long, nor the other way.
func TestI5NoNodeBecomesOneWithoutAMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "rack"}, fake.New(fake.Config{}))
		for _, way := range [][2]string{{"rack", "fake-hardware"}, {"fake-hardware", "rack"}} {
			for _, at := range state.All() {
				for _, maintenance := range []bool{false, true} {
					s.Stand("n1", func(n *conductor.Node) { n.Driver, n.State, n.Maintenance = way[0], at, maintenance })
					err := s.Change("n1", func(n *conductor.Node) { n.Driver = way[1] })
					if at == state.Enroll {
						if err != nil {
							t.Errorf("%s to %s in %q: %v", way[0], way[1], at, err)
						}
					} else if err == nil || fault.From(err).Code.Status() != 409 {
						t.Errorf("%s to %s in %q (maintenance %v): %v, expected a refusal", way[0], way[1], at, maintenance, err)
					}
				}
			}
		}
	})
}

// What a clean without an erasure is audited with is why there was none.
func TestI5AuditOfACleanThatErasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		off := false
		for want, n := range map[string]conductor.Node{
			"the deploy interface fake has no machine: nothing was erased": {Driver: "fake-hardware"},
			"automated cleaning is off for this node: nothing was erased":  {Driver: "fake-hardware", AutomatedClean: &off},
		} {
			s := withTypes(t, n, fake.New(fake.Config{}))
			s.put(state.Manageable, kinds[0], false)
			s.provision(conductor.Provision{Verb: state.VerbProvide})
			s.until(state.Available)
			i := slices.IndexFunc(s.Audited(), func(a conductor.Audit) bool { return a.Act == "clean.skipped" })
			if i < 0 {
				t.Fatal("no audit entry")
			}
			got := s.Audited()[i].Detail
			if _, said := got["automated_clean"]; got["why"] != want || said != (n.AutomatedClean != nil) {
				t.Errorf("audited %v, expected %q", got, want)
			}
			s.stop()
		}
	})
}

func TestWhatMayChangeInWhichState(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(rules), "\n")
	columns := strings.Fields(lines[0])[1:]
	seen := map[state.State]bool{}
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		at := state.State(strings.ReplaceAll(cells[0], "_", " "))
		if !slices.Contains(state.All(), at) || seen[at] || len(cells) != len(columns)+1 {
			t.Fatalf("line %q", line)
		}
		seen[at] = true
		synctest.Test(t, func(t *testing.T) {
			s := withTypes(t, conductor.Node{Driver: "rack"}, renamed{rack{&board{}}})
			s.instance()
			for i, column := range columns {
				for _, maintenance := range []bool{false, true} {
					done := cells[i+1] == "x" || cells[i+1] == "-" && maintenance
					s.fresh()
					s.put(at, kinds[0], maintenance)
					s.belongs(column == "inst")
					what := fmt.Sprintf("%s in %q (maintenance %v)", column, at, maintenance)
					var err error
					if change := changes[column]; change != nil {
						_, err = s.c.UpdateNode(t.Context(), conductor.Caller{Name: "ann"}, "n1", func(n *conductor.Node, _ map[string]string) error { change(n); return nil })
					} else {
						err = s.c.DeleteNode(t.Context(), conductor.Caller{Name: "ann"}, "n1")
					}
					if (err == nil) != done || err != nil && fault.From(err).Code.Status() != 409 {
						t.Errorf("%s: %v; the table says %q", what, err, cells[i+1])
					}
				}
			}
		})
	}
	if len(seen) != len(state.All()) {
		t.Errorf("the table has %d states, there are %d", len(seen), len(state.All()))
	}
}

// What the server signs in to the BMC with stays as it is while a flow uses it: taking an instance off in maintenance is no
// way around that.
func TestF40_NoCredentialsChangeUnderAFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for _, instance := range []bool{false, true} {
			for _, secret := range []bool{false, true} {
				s.fresh()
				s.put(state.CleanWait, kinds[0], true)
				s.belongs(instance)
				_, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "ann"}, "n1", func(n *conductor.Node, secrets map[string]string) error {
					n.InstanceUUID = ""
					if secret {
						secrets[conductor.DriverSecret("password")] = "another"
					}
					return nil
				})
				if allowed := instance && !secret; (err == nil) != allowed || err != nil && !fault.Has(err, fault.NodeBusy) {
					t.Errorf("an instance taken off: %v, a secret set: %v: %v", instance, secret, err)
				}
			}
		}
	})
}

// belongs gives the node what the changes change, past all rules.
func (s *site) belongs(instance bool) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName("n1")
		if err != nil {
			return err
		}
		n.ResourceClass, n.Owner = "big", "somebody"
		if instance {
			n.InstanceUUID = "33333333-3333-4333-8333-333333333333"
		}
		return tx.PutNode(&n)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// A node with an instance, or a protected one, is not deleted; and a resource class that is given first is no change.
func TestDeletionAndFirstValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.fresh()
		s.put(state.Active, kinds[0], false)
		set := func(change func(*conductor.Node)) error {
			_, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "ann"}, "n1", func(n *conductor.Node, _ map[string]string) error { change(n); return nil })
			return err
		}
		if err := set(func(n *conductor.Node) { n.ResourceClass = "first" }); err != nil {
			t.Errorf("the first resource class of an active node: %v", err)
		}
		s.put(state.Manageable, kinds[0], false)
		s.belongs(true)
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); !fault.Has(err, fault.NodeInUse) {
			t.Errorf("a node with an instance: %v", err)
		}
		s.put(state.Active, kinds[0], true)
		if err := set(func(n *conductor.Node) { n.Protected = true }); err != nil {
			t.Fatal(err)
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); !fault.Has(err, fault.NodeProtected) {
			t.Errorf("a protected node in maintenance: %v", err)
		}
	})
}

// instance_name is display_name until somebody gives another, and an automatic lessee that somebody changes is theirs.
func TestInstanceNameAndLessee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.fresh()
		set := func(change func(*conductor.Node)) conductor.Node {
			t.Helper()
			n, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "ann"}, "n1", func(n *conductor.Node, _ map[string]string) error { change(n); return nil })
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		name := func(v string) func(*conductor.Node) {
			return func(n *conductor.Node) { n.InstanceInfo = map[string]any{"display_name": v} }
		}
		if n := set(name("web1")); n.InstanceName != "web1" {
			t.Errorf("instance_name %q", n.InstanceName)
		}
		if n := set(name("web2")); n.InstanceName != "web1" {
			t.Errorf("instance_name follows a second display_name: %q", n.InstanceName)
		}
		if n := set(func(n *conductor.Node) { n.InstanceName = "" }); n.InstanceName != "" {
			t.Errorf("instance_name that was taken away is %q", n.InstanceName)
		}
		err := s.store.Update(t.Context(), func(tx conductor.Tx) error {
			n, err := tx.NodeByName("n1")
			n.Lessee, n.AutomaticLessee = "p1", true
			if err != nil {
				return err
			}
			return tx.PutNode(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := set(func(n *conductor.Node) { n.AutomaticLessee = false; n.Description = "x" }); !n.AutomaticLessee {
			t.Error("a change of another field makes the lessee somebody's own")
		}
		if n := set(func(n *conductor.Node) { n.Lessee = "p2" }); n.AutomaticLessee {
			t.Error("a lessee that an operator gave is still automatic")
		}
	})
}
