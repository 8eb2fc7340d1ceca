package engine_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const programs = "https://192.0.2.9:6388/boot/"

var firmware = netip.MustParseAddr("192.0.2.50")

// overHTTPS is a site whose node boots by redfish-https, manageable. The BMC's log is empty.
func overHTTPS(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.stop()
	s.programs = func(token string) string { return programs + token + "/x.efi" }
	s.start()
	if err := s.Change("n1", func(n *conductor.Node) { n.Interfaces = map[string]string{"boot": drivers.HTTPBoot} }); err != nil {
		t.Fatal(err)
	}
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	s.board.log()
	return s
}

func programToken(t *testing.T, url string) string {
	t.Helper()
	rest, ok := strings.CutPrefix(url, programs)
	if !ok {
		t.Fatalf("the machine was to boot %s", url)
	}
	token, _, _ := strings.Cut(rest, "/")
	return token
}

// load is a ramdisk that firmware has loaded from url, and its agent.
func (s *site) load(url string) *agent {
	s.t.Helper()
	cfg, err := s.c.Program(s.t.Context(), programToken(s.t, url), firmware, true)
	if err != nil {
		s.t.Fatal(err)
	}
	peer := conductor.Peer{Key: "thumb", Addr: firmware}
	adm, err := s.c.Lookup(s.t.Context(), peer, api.LookupRequest{Node: cfg.Node, Generation: cfg.Generation, Secret: cfg.Secret, BootID: "b", Seq: 1},
		inventory.Inventory{Disks: []inventory.Disk{disk}, CPU: inventory.CPU{Count: 2, Architecture: "x86_64"}})
	if err != nil {
		s.t.Fatal(err)
	}
	if adm.Level != api.A1 {
		s.t.Errorf("the ramdisk has level A%d", adm.Level)
	}
	a := &agent{s: s, sess: conductor.Session{Peer: peer, Claims: api.Claims{Node: adm.Node, Generation: adm.Generation, Key: "thumb"}}}
	s.seq = 1
	a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
	return a
}

// A life over HTTPS: off, the address, on; an override that no boot has used up is taken away after the lookup and at the end, and
// an operator's CD leaves with the rest.
func TestLifeOverHTTPS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		s.board.keeps = true
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		url := <-s.board.booted
		a := s.load(url)
		synctest.Wait()
		if got, want := s.board.log(), []string{"ForceOff", "boot uefihttp", "On", "boot "}; !slices.Equal(got, want) {
			t.Errorf("the boot's acts are %q, expected %q", got, want)
		}
		a.run("deploy.erase_devices_metadata", nil)
		a.run("deploy.erase_devices", erased())
		s.until(state.Available)
		synctest.Wait()
		if got, want := s.board.log(), []string{"ForceOff", "eject"}; !slices.Equal(got, want) {
			t.Errorf("the end's acts are %q, expected %q", got, want)
		}
		if s.board.boot != (conductor.BootTarget{}) || strings.Contains(url, string(s.node().UUID)) { // its name is short enough to be in a random token
			t.Errorf("left to boot %+v; the address was %s", s.board.boot, url)
		}
	})
}

// A boot that nobody answered: the machine is off, and its BMC does not keep the address.
func TestAnUnusedAddressIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		s.board.keeps = true
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		<-s.board.booted
		n := s.until(state.InspectFail)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n.LastReason != fault.FlowMediaTimeout || s.board.boot != (conductor.BootTarget{}) || s.board.power != conductor.PowerOff {
			t.Errorf("%s: %s; the machine is %q and boots %+v", n.LastReason, n.LastError, s.board.power, s.board.boot)
		}
	})
}

// The ramdisk of a boot is given to the first address that asks, and to nobody after the lookup, by neither way.
func TestI17_T11_ARamdiskIsLoadedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		token := programToken(t, url)
		refused := func(what string, ask func() error) {
			t.Helper()
			if err := ask(); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		program := func(token, from string) func() error {
			return func() error { _, err := s.c.Program(t.Context(), token, netip.MustParseAddr(from), true); return err }
		}
		refused("a guessed token", program(token[:len(token)-2]+"AA", "192.0.2.66"))
		refused("as a medium, by the BMC", func() error {
			_, err := s.c.Medium(t.Context(), token, netip.MustParseAddr("192.0.2.1"))
			return err
		})
		// Who asks for its length, as a BMC that tries the address, takes it from nobody.
		if _, err := s.c.Program(t.Context(), token, netip.MustParseAddr("192.0.2.1"), false); err != nil {
			t.Fatal(err)
		}
		if b := s.node().Boot; b.Reader != "" || !b.MediumRead.IsZero() {
			t.Fatalf("a refused read counts as the firmware's: %+v", b)
		}

		// All at once: one address gets it.
		var mu sync.Mutex
		got := map[string]int{}
		var wg sync.WaitGroup
		for i := range 20 {
			from := []string{"192.0.2.50", "192.0.2.51", "192.0.2.52", "2001:db8::1"}[i%4]
			wg.Go(func() {
				if err := program(token, from)(); err == nil {
					mu.Lock()
					defer mu.Unlock()
					got[from]++
				} else if !fault.Is(err, fault.NotFound) {
					t.Errorf("%s: %v", from, err)
				}
			})
		}
		wg.Wait()
		reader := s.node().Boot.Reader
		if len(got) != 1 || got[reader] != 5 {
			t.Fatalf("it was given to %v, the reader is %s", got, reader)
		}
		refused("its length, by another address", func() error {
			_, err := s.c.Program(t.Context(), token, netip.MustParseAddr("192.0.2.66"), false)
			return err
		})
		time.Sleep(time.Minute) // the boot is over, as the BMC sees it
		synctest.Wait()
		s.stop()
		s.start() // and so it stays
		for _, from := range []string{"192.0.2.50", "192.0.2.51", "192.0.2.52"} {
			if from != reader {
				refused("another address", program(token, from))
			}
		}
		firmware = netip.MustParseAddr(reader)
		defer func() { firmware = netip.MustParseAddr("192.0.2.50") }()
		s.load(url)
		refused("after the lookup", program(token, reader))
		s.until(state.Manageable)
	})
}

// The ramdisk is gone with the lookup, while its work goes on, and with the end of work that never had one (I17).
func TestI17_ARamdiskIsGoneWithItsLookupAndWithItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		gone := func(what, url string) {
			t.Helper()
			if _, err := s.c.Program(t.Context(), programToken(t, url), firmware, true); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		url := <-s.board.booted
		s.until(state.InspectWait)
		if _, err := s.c.Program(t.Context(), programToken(t, url), firmware, true); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbAbort})
		if n := s.until(state.InspectFail); !time.Now().Before(n.Boot.Closes) || !n.Boot.Redeemed.IsZero() {
			t.Fatalf("boot %+v", n.Boot)
		}
		gone("after an abort", url)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		url = <-s.board.booted
		s.load(url)
		if n := s.node(); n.Boot.Ended || n.Boot.Redeemed.IsZero() {
			t.Fatalf("boot %+v", n.Boot)
		}
		gone("after the lookup", url)
	})
}

// A medium is not loaded as a program either: its address goes over plain HTTP.
func TestT11_AMediumIsNoProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		token := strings.Split(<-s.board.booted, "/")[4]
		if _, err := s.c.Program(t.Context(), token, firmware, true); !fault.Is(err, fault.NotFound) {
			t.Errorf("the medium was loaded as a program: %v", err)
		}
		s.agentOf("http://192.0.2.9:6387/boot/"+token, catalog.InBand)
		s.until(state.Manageable)
	})
}

// A server that does not serve ramdisks over HTTPS says so: when it is asked, and before it does anything to a machine.
func TestHTTPSBootNeedsItsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		s.stop()
		s.programs = nil
		s.start()
		v, err := s.c.Validate(t.Context(), "n1")
		if err != nil || !strings.Contains(v["boot"], "--boot-tls-listen") || !strings.Contains(v["deploy"], "--boot-tls-listen") && !strings.Contains(v["deploy"], "image_source") {
			t.Errorf("validate says %v, %v", v, err)
		}
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		n := s.until(state.InspectFail)
		if n.LastReason != fault.FlowListener || !strings.Contains(n.LastError, "redfish-https") || len(s.board.log()) > 0 {
			t.Errorf("%s: %s", n.LastReason, n.LastError)
		}
	})
}

// The BMC's own words may hold the address; the node does not (I22).
func TestI22_TheAddressOfABootIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		s.board.refuse = true
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		time.Sleep(time.Minute)
		s.board.mu.Lock()
		token := programToken(t, s.board.asked)
		s.board.refuse = false
		s.board.mu.Unlock()
		if n := s.node(); !strings.Contains(n.Flow.Wait.Evidence, "can't boot from") || strings.Contains(n.Flow.Wait.Evidence, token) {
			t.Errorf("the node waits, as is seen by: %s", n.Flow.Wait.Evidence)
		}
		s.load(<-s.board.booted)
		s.until(state.Manageable)
	})
}

// An ISO's address is what a BMC boots from always. It is taken back with the instance, also when the boot interface is another one by
// then, and nothing is booted in between that would put something else in its place.
func TestAnISOsAddressIsTakenBackUnderAnotherBootInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		off := false
		if err := s.Change("n1", func(n *conductor.Node) {
			n.Interfaces["deploy"], n.InstanceInfo, n.AutomatedClean = "ramdisk", map[string]any{"boot_iso": iso}, &off
		}); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.until(state.Available)
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		if want := (conductor.BootTarget{Device: "uefihttp", Always: true, UEFI: true, URL: iso}); s.board.boot != want {
			t.Fatalf("the instance boots %+v", s.board.boot)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.Maintenance = true; n.Interfaces["boot"] = "redfish-virtual-media" }); err != nil {
			t.Fatal(err)
		}
		s.board.log()
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		s.until(state.Available)
		if got, want := s.board.log(), []string{"ForceOff", "eject", "boot "}; !slices.Equal(got, want) || s.board.boot != (conductor.BootTarget{}) {
			t.Errorf("the deletion does %q, and leaves the machine to boot %+v", got, s.board.boot)
		}
	})
}

// A server that is started anew without the listener, in the middle of a boot, says so instead of booting.
func TestF1_HTTPSBootGoesOnWithItsListenerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := overHTTPS(t)
		s.board.refuse = true
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		time.Sleep(time.Second)
		synctest.Wait()
		if n := s.node(); n.Boot == nil || !n.Boot.HTTP || n.Flow.Phase != conductor.PhaseBoot {
			t.Fatalf("boot %+v, flow %+v", n.Boot, n.Flow)
		}
		s.stop()
		s.programs, s.board.refuse = nil, false
		s.board.log()
		s.start()
		n := s.until(state.InspectFail)
		if n.LastReason != fault.FlowListener || slices.Contains(s.board.log(), "On") {
			t.Errorf("%s: %s; the machine was started: %v", n.LastReason, n.LastError, s.board.acts)
		}
	})
}
