package engine_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/crypt"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A deployment takes the steps of the deploy templates that its instance's traits name; the plan shows the same.
func TestADeploymentTakesTheTemplatesOfItsTraits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.fresh()
		s.put(state.Available, kinds[0], false)
		if _, err := s.c.CreateRecord(t.Context(), conductor.Caller{Name: "ann"}, &conductor.Template{Head: conductor.Head{Name: "CUSTOM_RESET"},
			Steps: []conductor.RequestedStep{{Interface: "management", Step: "reset_bmc", Args: map[string]any{}, Priority: 150}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Change("n1", func(n *conductor.Node) {
			n.Traits = []string{"CUSTOM_RESET", "CUSTOM_OTHER"}
			n.InstanceInfo["traits"] = []any{"CUSTOM_OTHER", "CUSTOM_RESET"}
		}); err != nil {
			t.Fatal(err)
		}
		plan, err := s.c.Plan(t.Context(), "n1", conductor.Provision{Verb: state.VerbDeploy})
		if err != nil || len(plan.Items) != 2 || plan.Items[0].Step.Name != "management.reset_bmc" {
			t.Errorf("plan %+v, %v", plan.Items, err)
		}
		if err := s.c.Provision(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.Provision{Verb: state.VerbDeploy}); err != nil {
			t.Fatal(err)
		}
		if r := s.steps(); len(r) != 2 || r[0].Step.Name != "management.reset_bmc" || r[1].Step.Name != "deploy.write_image" {
			t.Errorf("steps %+v", r)
		}
	})
}

// What goes with an instance goes in one transaction: its networks come off the ports.
func TestAnInstancesNetworksGoWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.fresh()
		s.put(state.Active, kinds[0], false)
		n := s.node()
		r, err := s.c.CreateRecord(t.Context(), conductor.Caller{Name: "ann"}, &conductor.Port{Node: n.UUID, Address: "52:54:00:00:00:01", PXE: true})
		if err != nil {
			t.Fatal(err)
		}
		p := r.(*conductor.Port)
		p.InternalInfo = map[string]any{"tenant_vif_port_id": "vif-1", "kept": "this"}
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutRecord(p) }); err != nil {
			t.Fatal(err)
		}
		if err := s.c.Provision(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.Provision{Verb: state.VerbDelete}); err != nil {
			t.Fatal(err)
		}
		after, err := s.c.Record(t.Context(), conductor.KindPort, p.UUID)
		if err != nil {
			t.Fatal(err)
		}
		if info := after.(*conductor.Port).InternalInfo; len(info) != 1 || info["kept"] != "this" {
			t.Errorf("the port keeps %v", info)
		}
	})
}

// TestI22_OnlyTheHashOfARescuePasswordIsStored, sealed and beside the node; a blank one is refused and nothing changes.
func TestI22_OnlyTheHashOfARescuePasswordIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.fresh()
		s.put(state.Active, kinds[0], false)
		for _, blank := range []string{"", " \t\n"} {
			err := s.c.Provision(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.Provision{Verb: state.VerbRescue, RescuePassword: blank})
			if !fault.Has(err, fault.RequestInvalid) || s.node().State != state.Active {
				t.Errorf("%q: %v, the node is %s", blank, err, s.node().State)
			}
		}
		if err := s.c.Provision(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.Provision{Verb: state.VerbRescue, RescuePassword: "canary-rescue"}); err != nil {
			t.Fatal(err)
		}
		var hash []byte
		var fields []string
		err := s.store.View(t.Context(), func(tx conductor.Tx) (err error) {
			if hash, err = tx.Secret(s.node().UUID, conductor.SecretRescue); err != nil {
				return err
			}
			fields, err = tx.SecretFields(s.node().UUID)
			return err
		})
		if err != nil || !crypt.Match(string(hash), "canary-rescue") || !slices.Contains(fields, conductor.SecretRescue) {
			t.Errorf("%q, fields %v, %v", hash, fields, err)
		}
		if err := s.c.OutOfService(t.Context(), conductor.Caller{Name: "ann"}, "n1", "x"); !fault.Has(err, fault.NodeBusy) {
			t.Errorf("out of service in %s: %v", s.node().State, err)
		}
	})
}

// A rescue's password is one that somebody can type at a console.
func TestRescuePasswordCanBeTyped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		rescue := func(password string) error {
			return s.c.Provision(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.Provision{Verb: state.VerbRescue, RescuePassword: password})
		}
		if err := rescue("two\nlines"); err == nil || fault.Has(err, fault.RequestInvalid) && strings.Contains(err.Error(), "rescue_password") {
			t.Errorf("where no rescue is possible: %v, expected to be told so", err)
		}
		s.put(state.Active, kinds[0], false)
		for _, password := range []string{strings.Repeat("x", 256), "two\nlines", "tab\tbed", "nul\x00", "esc\x1b[A", "c1\u0085", "del\x7f"} {
			err := rescue(password)
			if !fault.Has(err, fault.RequestInvalid) || fault.From(err).Code.Status() != 400 || strings.Contains(err.Error(), password) {
				t.Errorf("%q: %v", password, err)
			}
		}
		if err := rescue(strings.Repeat("x", 255)); fault.Has(err, fault.RequestInvalid) {
			t.Errorf("255 bytes: %v", err)
		}
	})
}

// TestI22_SecretsOfTheInstanceGoWithIt: an undeployed node keeps nothing of what was sealed for its instance, and all of what it
// signs in to its BMC with.
func TestI22_SecretsOfTheInstanceGoWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.fresh()
		pull, password := conductor.InstanceSecret("image_pull_secret"), conductor.DriverSecret("password")
		if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "ann"}, "n1", func(n *conductor.Node, secrets map[string]string) error {
			n.InstanceInfo = map[string]any{"image_pull_secret": conductor.Masked}
			secrets[pull], secrets[password] = "canary", "canary"
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		s.put(state.Active, kinds[0], false)
		kept := func() (fields []string) {
			if err := s.store.View(t.Context(), func(tx conductor.Tx) (err error) { fields, err = tx.SecretFields(s.node().UUID); return err }); err != nil {
				t.Fatal(err)
			}
			return fields
		}
		if before := kept(); !slices.Contains(before, pull) || !slices.Contains(before, password) {
			t.Fatalf("sealed are %v", before)
		}
		if err := s.c.Provision(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.Provision{Verb: state.VerbDelete}); err != nil {
			t.Fatal(err)
		}
		if after := kept(); slices.Contains(after, pull) || !slices.Contains(after, password) {
			t.Errorf("sealed are %v, expected the BMC's alone", after)
		}
	})
}
