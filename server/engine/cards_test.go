package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// wired is a machine with these cards.
func wired(macs ...string) inventory.Inventory {
	inv := inventory.Inventory{Disks: []inventory.Disk{disk}, CPU: inventory.CPU{Architecture: "aarch64"}, Boot: inventory.Boot{CurrentBootMode: "uefi"}}
	for i, mac := range macs {
		inv.Interfaces = append(inv.Interfaces, inventory.Interface{Name: fmt.Sprintf("eth%d", i), MACAddress: mac})
	}
	return inv
}

// cards are the node's ports, by address: whether it boots from it, and what its client is called.
func (s *site) cards() map[string]string {
	s.t.Helper()
	all, err := s.c.Records(s.t.Context(), conductor.KindPort, conductor.RecordFilter{Node: s.node().UUID})
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range all {
		p := r.(*conductor.Port)
		out[p.Address] = fmt.Sprint(p.PXE)
		if id := p.Extra["client-id"]; id != nil {
			out[p.Address] += fmt.Sprint(" ", id)
		}
	}
	return out
}

func (s *site) wantCards(what string, want map[string]string) {
	s.t.Helper()
	if got := s.cards(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("%s: ports %v, expected %v", what, got, want)
	}
}

// plug makes a port as an operator does.
func (s *site) plug(node string, p conductor.Port) {
	s.t.Helper()
	n, err := s.c.Node(s.t.Context(), node)
	if err == nil {
		p.Node = n.UUID
		_, err = s.c.CreateRecord(s.t.Context(), conductor.Caller{Name: "op"}, &p)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// told tells whether the node's history has an entry with these words, and how many.
func (s *site) toldOf(words string) (n int) {
	s.t.Helper()
	history, err := s.c.History(s.t.Context(), "n1", conductor.HistoryFilter{Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range history {
		if strings.Contains(e.Event, words) {
			n++
		}
	}
	return n
}

// An inspection by the ramdisk makes ports of the cards that Ironic's default hooks make ports of, and leaves those that are there.
// A card that has a port on another node is not taken from it.
func TestAnInspectionByTheRamdiskMakesPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		if _, err := s.c.CreateNode(t.Context(), conductor.Caller{}, conductor.Node{Name: "n2", Driver: "rack"}, nil); err != nil {
			t.Fatal(err)
		}
		s.plug("n2", conductor.Port{Address: cardMACs[2], PXE: true})
		s.plug("n1", conductor.Port{Address: cardMACs[1], Extra: map[string]any{"rack": "r1"}})
		s.plug("n1", conductor.Port{Address: "52:54:00:00:00:99", PXE: true}) // a card that is not told of stays
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		look := s.claiming()
		inv := wired(strings.ToUpper(cardMACs[0]), cardMACs[1], cardMACs[2], cardMACs[0], "", "none", "01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff",
			"52:54:00:00:00:04", "52:54:00:00:00:05", "52:54:00:00:00:06", "a0:00:02:20:fe:80:00:00:00:00:00:00:e4:1d:2d:03:00:1f:77:61")
		here, six := "127.0.0.1", "::1%lo"
		inv.Interfaces[9].IPv4Address, inv.Interfaces[10].IPv6Address, inv.Interfaces[11].Name = &here, &six, "lo"
		inv.Interfaces = append(inv.Interfaces, inventory.Interface{MACAddress: "52:54:00:00:00:07"}) // without a name
		want := map[string]string{cardMACs[0]: "true", cardMACs[1]: "false", "52:54:00:00:00:99": "true"}
		look(inv)
		s.wantCards("looked up", want)
		a := look(inv)
		s.wantCards("looked up again", want)
		if other, err := s.c.Records(t.Context(), conductor.KindPort, conductor.RecordFilter{Mark: cardMACs[2]}); err != nil || len(other) != 1 || other[0].Keys().Node == s.node().UUID {
			t.Errorf("the other node's card is %v, %v", other, err)
		}
		if s.toldOf(cardMACs[2]+" has a port on node") == 0 {
			t.Error("nothing says that another node has the card")
		}
		if !slices.ContainsFunc(s.Audited(), func(a conductor.Audit) bool {
			return a.Act == "port.create" && a.Actor == "server" && a.Request == "req-1" && a.Detail["mark"] == cardMACs[0]
		}) {
			t.Error("the port is not audited")
		}
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		n := s.until(state.Manageable)
		if n.Properties["cpu_arch"] != "aarch64" || n.Properties["capabilities"] != "boot_mode:uefi" {
			t.Errorf("properties %v", n.Properties)
		}

		// Work that is no inspection makes none.
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.claiming()(wired("52:54:00:00:00:08"))
		s.wantCards("cleaned", want)
	})
}

// The card that the machine was booted from is the one that gets a port, and that is marked, as Ironic has it by default.
func TestTheCardThatWasBootedFromGetsThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		if err := s.Change("n1", func(n *conductor.Node) { n.Properties = map[string]any{"capabilities": "gpu:2"} }); err != nil {
			t.Fatal(err)
		}
		s.plug("n1", conductor.Port{Address: cardMACs[1], PXE: true, Extra: map[string]any{"client-id": "older", "rack": "r1"}})
		s.plug("n1", conductor.Port{Address: cardMACs[2], PXE: true})
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		look := s.claiming()
		inv := wired(cardMACs[0], cardMACs[1], "52:54:00:00:00:04")
		boot, id := "01-52-54-00-00-00-77", "ff:00:01"
		inv.Boot.PXEInterface, inv.Interfaces[1].ClientID = &boot, &id
		inv.Interfaces = inv.Interfaces[:2]
		look(inv) // none of its cards: as if it were not told
		s.wantCards("booted from none of them", map[string]string{cardMACs[0]: "true", cardMACs[1]: "true ff:00:01", cardMACs[2]: "true"})
		inv = wired(cardMACs[0], cardMACs[1], "52:54:00:00:00:04", "52:54:00:00:00:05")
		boot = "01-52-54-00-00-00-04"
		inv.Boot.PXEInterface = &boot
		look(inv)
		s.wantCards("booted from the third", map[string]string{cardMACs[0]: "false", cardMACs[1]: "false ff:00:01", cardMACs[2]: "false", "52:54:00:00:00:04": "true"})
		boot = cardMACs[1] // as another boot loader writes it
		a := look(inv)
		s.wantCards("booted from the second", map[string]string{cardMACs[0]: "false", cardMACs[1]: "true ff:00:01", cardMACs[2]: "false", "52:54:00:00:00:04": "false"})
		all, err := s.c.Records(t.Context(), conductor.KindPort, conductor.RecordFilter{Mark: cardMACs[1]})
		if err != nil || all[0].(*conductor.Port).Extra["rack"] != "r1" || all[0].Top().Updated.IsZero() {
			t.Errorf("the operator's extra: %+v, %v", all, err)
		}
		if !slices.ContainsFunc(s.Audited(), func(a conductor.Audit) bool {
			return a.Act == "port.update" && a.Actor == "server" && a.Detail["mark"] == cardMACs[1]
		}) {
			t.Error("the change is not audited")
		}
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		if n := s.until(state.Manageable); n.Properties["capabilities"] != "gpu:2,boot_mode:uefi" {
			t.Errorf("an operator's capabilities became %v", n.Properties["capabilities"])
		}
	})
}

// T1: who runs on the machine may tell of any number of cards, in any number of inspections; a node gets so many ports and no more,
// by whichever way it is inspected.
func TestI25_InspectionsMakeABoundedNumberOfPorts(t *testing.T) {
	const most = 128
	many := func(from, n int) (macs []string) {
		for i := range n {
			macs = append(macs, fmt.Sprintf("52:54:01:00:%02x:%02x", (from+i)>>8, (from+i)&0xff))
		}
		return macs
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		look := s.claiming()
		look(wired(many(0, 100)...))
		if n := len(s.cards()); n != 100 || s.toldOf("more ports") != 0 {
			t.Errorf("100 cards make %d ports", n)
		}
		long := wired(many(100, 300)...)
		id := strings.Repeat("x", 4096)
		long.Interfaces[0].ClientID = &id
		look(long)
		a := look(long)
		if n := len(s.cards()); n != most || s.toldOf("more ports") == 0 {
			t.Errorf("400 cards make %d ports, which is told %d times", n, s.toldOf("more ports"))
		}
		for mac, p := range s.cards() {
			if len(p) > 300 {
				t.Errorf("%s: %d characters", mac, len(p))
			}
		}
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		s.until(state.Manageable)
		s.board.parts = conductor.Found{Ports: many(1000, 64), Inventory: inventory.Inventory{CPU: inventory.CPU{Architecture: "x86_64"}, Memory: inventory.Memory{PhysicalMB: 1024}}}
		s.byBMC()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		s.until(state.Manageable)
		if n := len(s.cards()); n != most {
			t.Errorf("after the BMC told of more: %d ports", n)
		}
	})
}

// T1: the boot mode that a ramdisk tells becomes a capability where it is UEFI, and no other words of it do.
func TestT01_NoOtherCapabilitiesComeOfABootMode(t *testing.T) {
	for _, mode := range []string{"", "bios", "UEFI", "uefi,gpu:8", "legacy,trusted:true"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			s.provision(conductor.Provision{Verb: state.VerbInspect})
			inv := wired(cardMACs[0])
			inv.Boot.CurrentBootMode = mode
			s.claiming()(inv).beat(api.HeartbeatRequest{Steps: catalog.InBand})
			if n := s.until(state.Manageable); n.Properties["capabilities"] != nil {
				t.Errorf("%q becomes %v", mode, n.Properties["capabilities"])
			}
		})
	}
}

// T1: a claim that does not prove the boot makes nothing.
func TestT01_AClaimThatProvesNothingMakesNoPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		synctest.Wait()
		inv := wired(cardMACs[0])
		_, err := s.c.Lookup(t.Context(), conductor.Peer{Key: "other"}, api.LookupRequest{Node: s.node().UUID, Generation: s.node().Generation, Secret: "guessed", BootID: "b", Seq: 1, Inventory: []byte(`{}`)}, inv)
		if !fault.Has(err, fault.ChannelClaim) {
			t.Errorf("looked up: %v", err)
		}
		s.wantCards("guessed", map[string]string{})
	})
}
