package engine_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/server/ipmi"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// withTypes is a site whose node n1 is of another hardware type.
func withTypes(t *testing.T, n conductor.Node, more ...conductor.Driver) *site {
	t.Helper()
	s := newSite(t)
	s.stop()
	s.more = more
	s.start()
	if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); err != nil {
		t.Fatal(err)
	}
	n.Name = "n1"
	if _, err := s.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, n, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// A client's whole life with a node of fake-hardware, as Ironic's fake interfaces have it: no machine, no image, no power.
func TestALifeOnFakeHardware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "fake-hardware"}, fake.New(fake.Config{}))
		s.canBoot.Store(fault.New(fault.FlowListener, "no listener")) // nothing is booted, so nothing lacks
		if v, err := s.c.Validate(t.Context(), "n1"); err != nil || v["boot"] != "" {
			t.Errorf("validate says %v, %v", v, err)
		}
		began := time.Now()
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		if n := s.until(state.Manageable); n.InspectionFinished.IsZero() {
			t.Error("the inspection has no end")
		}
		if _, err := s.c.Inventory(t.Context(), "n1"); !fault.Has(err, fault.InventoryNotFound) {
			t.Errorf("an inventory of nothing: %v", err)
		}
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{
			{Name: "bios.apply_configuration", Args: step.Args{"settings": []any{map[string]any{"name": "A", "value": "1"}}}},
			{Name: "firmware.update", Args: step.Args{"settings": []any{map[string]any{"component": "bmc", "url": "http://192.0.2.1/x"}}}}}})
		s.until(state.Manageable)
		if _, all, err := s.c.BIOSSettings(t.Context(), "n1"); err != nil || len(all) != 1 || all[0].Name != "A" || *all[0].Value != "1" {
			t.Errorf("settings after a step that sets one: %+v, %v", all, err)
		}
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.until(state.Available)
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		n := s.until(state.Available)
		if n.Power != "" || n.LastError != "" || n.BootMode != "" {
			t.Errorf("power %q, boot mode %q, last error %q: nobody asked for any", n.Power, n.BootMode, n.LastError)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s, expected no time", took)
		}
		if err := s.c.SetPower(t.Context(), conductor.Caller{}, "n1", conductor.PowerRequest{Target: "power on"}); err != nil {
			t.Fatal(err)
		}
		for s.node().PowerTarget != "" {
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := s.node(); n.Power != conductor.PowerOn {
			t.Errorf("power is %q after it was asked for", n.Power)
		}
		for _, act := range []conductor.Act{{Kind: conductor.ActBootMode, Mode: "bios"}, {Kind: conductor.ActSecureBoot, On: true}} {
			if err := s.c.Manage(t.Context(), conductor.Caller{}, "n1", act); err != nil {
				t.Fatal(err)
			}
			for s.node().Act != nil {
				synctest.Wait()
				time.Sleep(time.Second)
			}
		}
		if n := s.node(); n.BootMode != "bios" || n.SecureBoot == nil || !*n.SecureBoot || n.Power != conductor.PowerOn || n.LastError != "" {
			t.Errorf("boot mode %q, secure boot %v, power %q, %s: not what was asked for", n.BootMode, n.SecureBoot, n.Power, n.LastError)
		}
		err := s.c.Provision(t.Context(), conductor.Caller{}, "n1", conductor.Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{{Name: "deploy.write_image", Priority: 80}}})
		if !fault.Has(err, fault.StepUnknown) {
			t.Errorf("a step of a ramdisk that nobody boots: %v", err)
		}
		valid, err := s.c.Validate(t.Context(), "n1")
		for kind, reason := range valid {
			if reason != "" {
				t.Errorf("%s: %s", kind, reason)
			}
		}
		if err != nil || len(valid) != 12 {
			t.Errorf("%v, %v", valid, err)
		}
	})
}

func TestFakeHardwareTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "fake-hardware"},
			fake.New(fake.Config{Delays: map[string]drivers.Delay{"deploy": {Least: 20 * time.Second, Most: 40 * time.Second}}}))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.until(state.Available)
		began := time.Now()
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		if took := time.Since(began); took < 20*time.Second || took > 41*time.Second {
			t.Errorf("the deployment took %s, expected 20 to 40 seconds", took)
		}
	})
}

// Whatever interface may be given a time has an act that takes it.
func TestEachDelayOfFakeHardwareIsTaken(t *testing.T) {
	for _, kind := range drivers.StepKinds {
		delays, err := drivers.ParseDelays([]string{kind + "=10"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			b, err := fake.New(fake.Config{Delays: delays}).Open(t.Context(), conductor.Access{Node: "n"})
			if err != nil {
				t.Fatal(err)
			}
			acts := map[string]func() error{}
			steps, err := b.Steps(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range steps {
				if s.Interface() == kind && s.Name != catalog.Waits { // which ends when it is aborted
					acts[s.Name] = func() error {
						_, err := s.Run(t.Context(), step.Call{Args: step.Args{}, Report: func(step.Progress) {}, Log: slog.New(slog.DiscardHandler)})
						return err
					}
				}
			}
			switch kind {
			case drivers.Power:
				acts["power on"] = func() error { return b.SetPower(t.Context(), conductor.On) }
			case drivers.Management:
				acts["boot device"] = func() error { return b.SetBoot(t.Context(), conductor.BootTarget{Device: "pxe"}) }
			case drivers.Vendor:
				acts["a call"] = func() error {
					_, err := b.(conductor.Passer).Pass(t.Context(), "third_method_sync", map[string]any{"bar": "meow"})
					return err
				}
			}
			if len(acts) == 0 {
				t.Errorf("%s may be given a time, and no act takes it", kind)
			}
			for name, act := range acts {
				began := time.Now()
				if err := act(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); took != 10*time.Second {
					t.Errorf("%s takes %s with a delay of 10 s for %s", name, took, kind)
				}
			}
		})
	}
}

func TestInterfacesAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "ipmi", DriverInfo: map[string]any{"ipmi_address": "192.0.2.7"}}, fake.New(fake.Config{}), ipmi.New(nil))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		n := s.until(state.Enroll)
		for n.LastError == "" {
			time.Sleep(time.Second)
			n = s.node()
		}
		if !strings.HasPrefix(n.LastError, string(fault.DriverInterface)) || !strings.Contains(n.LastError, "IPMI") {
			t.Errorf("manage ends with %q", n.LastError)
		}
		err := s.c.SetPower(t.Context(), conductor.Caller{}, "n1", conductor.PowerRequest{Target: "power off"})
		if f := fault.From(err); f == nil || f.Reason != fault.DriverInterface || f.Code.Status() != 400 {
			t.Errorf("a power act: %v", err)
		}
		// Of virtual media it is told on the node, as Ironic does it: gophercloud's own tests rely on the 204.
		for _, a := range []conductor.Act{{Kind: conductor.ActAttach, Device: "cdrom", URL: "http://192.0.2.1/a.iso"}, {Kind: conductor.ActDetach}} {
			if err := s.c.Manage(t.Context(), conductor.Caller{}, "n1", a); err != nil {
				t.Errorf("%s: %v", a, err)
			}
			synctest.Wait()
			if n := s.node(); n.Act != nil || !strings.HasPrefix(n.LastError, string(fault.DriverInterface)) || len(n.Media) != 0 {
				t.Errorf("%s ends with %q, media %+v", a, n.LastError, n.Media)
			}
		}
		if err := s.c.Manage(t.Context(), conductor.Caller{}, "n1", conductor.Act{Kind: conductor.ActBootMode, Mode: "uefi"}); !fault.Has(err, fault.DriverInterface) {
			t.Errorf("a boot mode: %v", err)
		}
		if _, err := s.c.Drives(t.Context(), "n1"); !fault.Has(err, fault.DriverInterface) {
			t.Errorf("the drives: %v", err)
		}
		_, err = s.c.CreateNode(t.Context(), conductor.Caller{}, conductor.Node{Name: "n2", Driver: "fake-hardware", Interfaces: map[string]string{"boot": "redfish-https"}}, nil)
		if !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), "fake, ipxe, pxe, http-ipxe, http") {
			t.Errorf("an interface that does not fit: %v", err)
		}
		// Another driver has other interfaces: those of the old one must go with it.
		_, err = s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
			n.Interfaces = map[string]string{"boot": "ipxe", "power": "ipmitool"}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		change := func(n *conductor.Node, _ map[string]string) error { n.Driver = "fake-hardware"; return nil }
		if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", change); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("another driver with the old one's power interface: %v", err)
		}
	})
}

// TestI22_FakePasswordsOfTheBIOSAreMasked: what a step has set is read after it, and of a password it is only told that it is there.
func TestI22_FakePasswordsOfTheBIOSAreMasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "fake-hardware"}, fake.New(fake.Config{}))
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "bios.apply_configuration",
			Args: step.Args{"settings": []any{map[string]any{"name": "AdminPassword", "value": "canary-bios"}, map[string]any{"name": "Quiet", "value": "1"}}}}}})
		s.until(state.Manageable)
		_, all, err := s.c.BIOSSettings(t.Context(), "n1")
		if err != nil || len(all) != 2 || *all[0].Value != conductor.Masked || *all[1].Value != "1" {
			t.Errorf("settings %+v, %v", all, err)
		}
	})
}

// unread is a hardware type that can't tell from a node's record where its machine is.
type unread struct{ conductor.Driver }

func (unread) Open(context.Context, conductor.Access) (conductor.BMC, error) {
	return nil, fault.New(fault.RequestInvalid, "no address")
}

// That a node has no drives is told on it; what else is wrong with a request is its answer.
func TestAMediumIsRefusedWhereNoMachineIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withTypes(t, conductor.Node{Driver: "fake-hardware"}, unread{fake.New(fake.Config{})})
		for _, a := range []conductor.Act{{Kind: conductor.ActAttach, Device: "cdrom", URL: "http://192.0.2.1/a.iso"}, {Kind: conductor.ActDetach}} {
			if err := s.c.Manage(t.Context(), conductor.Caller{}, "n1", a); !fault.Has(err, fault.RequestInvalid) || s.node().Act != nil {
				t.Errorf("%s: %v", a, err)
			}
		}
	})
}
