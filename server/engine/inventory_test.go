package engine_test

import (
	"encoding/json"
	"net/netip"
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

var disk2 = inventory.Disk{Name: "/dev/nvme1n1", Serial: "S1", Size: 8 << 30, Class: inventory.NVMePCIe}

// looking boots a machine whose agent may look itself up several times, each time with other disks.
func (s *site) looking() func(disks ...inventory.Disk) *agent {
	s.t.Helper()
	look := s.claiming()
	return func(disks ...inventory.Disk) *agent {
		s.t.Helper()
		return look(inventory.Inventory{Disks: disks})
	}
}

// claiming is looking with whole inventories.
func (s *site) claiming() func(inv inventory.Inventory) *agent {
	s.t.Helper()
	token := strings.Split(strings.TrimPrefix(<-s.board.booted, "http://192.0.2.9:6387/boot/"), "/")[0]
	cfg, err := s.c.Medium(s.t.Context(), token, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		s.t.Fatal(err)
	}
	peer := conductor.Peer{Key: "thumb", Addr: netip.MustParseAddr("192.0.2.50")}
	return func(inv inventory.Inventory) *agent {
		s.t.Helper()
		raw, err := json.Marshal(inv)
		if err != nil {
			s.t.Fatal(err)
		}
		s.seq++
		adm, err := s.c.Lookup(s.t.Context(), peer, api.LookupRequest{Node: cfg.Node, Generation: cfg.Generation, Secret: cfg.Secret, BootID: "b", Seq: s.seq, Inventory: raw}, inv)
		if err != nil {
			s.t.Fatal(err)
		}
		return &agent{s: s, sess: conductor.Session{Peer: peer, Claims: api.Claims{Node: adm.Node, Generation: adm.Generation, Key: "thumb"}}}
	}
}

// accepts are the disks of the accepted inventory.
func (s *site) accepts(want ...inventory.Disk) {
	s.t.Helper()
	stored, err := s.c.Inventory(s.t.Context(), "n1")
	if err != nil {
		s.t.Fatal(err)
	}
	var inv inventory.Inventory
	if err := json.Unmarshal(stored.Inventory, &inv); err != nil {
		s.t.Fatal(err)
	}
	if !stored.Accepted || !slices.EqualFunc(inv.Disks, want, inventory.Disk.Equal) {
		s.t.Errorf("accepted %v: %v, want %v", stored.Accepted, inv.Disks, want)
	}
}

// TestI05_ADiskThatALaterLookupOfTheBootLacksIsMissing: what was accepted stays accepted, also where the same boot brings
// another inventory, as an agent does that was started again.
func TestI05_ADiskThatALaterLookupOfTheBootLacksIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		look := s.looking()
		look(disk, disk2)
		a := look(disk)
		s.accepts(disk, disk2)
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		if n := s.until(state.CleanFail); n.LastReason != fault.DiskMissing {
			t.Errorf("%s: %s", n.LastReason, n.LastError)
		}
		s.accepts(disk, disk2)
	})
}

// TestI04_ADiskThatALaterLookupOfTheBootBringsIsErasedToo: targets are those of the machine now.
func TestI04_ADiskThatALaterLookupOfTheBootBringsIsErasedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		look := s.looking()
		look(disk)
		look(disk2) // replaced again, as it was not accepted
		a := look(disk, disk2)
		s.accepts(disk)
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		want := []inventory.DeviceID{}
		for _, d := range []inventory.Disk{disk, disk2} {
			id, _ := d.ID()
			want = append(want, id)
		}
		if cmd := <-s.mail.offers; !slices.Equal(cmd.Devices, want) {
			t.Errorf("%s of %v, want %v", cmd.Step, cmd.Devices, want)
		}
	})
}

// TestI05_OnlyAnInspectionAccepts, and one that has ended no more: its ramdisk may stay up for the work after it.
func TestI05_OnlyAnInspectionAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if err := s.Change("n1", func(n *conductor.Node) { n.DriverInfo["fast_track"] = true }); err != nil {
			t.Fatal(err)
		}
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		look := s.looking()
		look(disk)
		a := look(disk, disk2) // the inspection's last word
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		s.until(state.Manageable)
		s.accepts(disk, disk2)
		a = look(disk)
		s.accepts(disk, disk2)
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		if n := s.until(state.CleanFail); n.LastReason != fault.DiskMissing {
			t.Errorf("%s: %s", n.LastReason, n.LastError)
		}
	})
}

// TestI05_DisksThatAStepMadeOrDeletedAreNotMissed: after RAID volumes were made the next boot's disks are the accepted ones, and
// from then on each of them is missed again.
func TestI05_DisksThatAStepMadeOrDeletedAreNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		s.looking()(disk).beat(api.HeartbeatRequest{Steps: catalog.InBand})
		s.until(state.Manageable)
		s.accepts(disk)
		s.damage(func(n *conductor.Node) { n.DisksChanged = true })
		if p, err := s.c.Plan(t.Context(), "n1", conductor.Provision{Verb: state.VerbProvide}); err != nil || len(p.Items[0].Disks) > 0 {
			t.Errorf("a plan names %v, %v", p.Items[0].Disks, err)
		}
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		look := s.looking()
		look(disk2)
		s.accepts(disk2)
		a := look(disk)
		s.accepts(disk2)
		if s.node().DisksChanged {
			t.Error("the disks that there are were accepted, and are taken for others still")
		}
		a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
		if n := s.until(state.CleanFail); n.LastReason != fault.DiskMissing {
			t.Errorf("%s: %s", n.LastReason, n.LastError)
		}
	})
}

// TestI04_AnInspectionForgetsARootDiskThatIsGone, and nothing else does: not one that still sees it, no other work's lookup, no change
// of the record.
func TestI04_AnInspectionForgetsARootDiskThatIsGone(t *testing.T) {
	id, _ := disk.ID()
	for name, c := range map[string]struct {
		verb    state.Event
		sees    []inventory.Disk
		forgets bool
	}{
		"an inspection that sees it":   {state.VerbInspect, []inventory.Disk{disk2, disk}, false},
		"an inspection without it":     {state.VerbInspect, []inventory.Disk{disk2}, true},
		"a cleaning that sees another": {state.VerbProvide, []inventory.Disk{disk2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.manageable()
				s.Stand("n1", func(n *conductor.Node) { n.Root = &conductor.Root{Disk: id} })
				if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
					n.Root, n.Description = nil, "changed"
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				s.provision(conductor.Provision{Verb: c.verb})
				a := s.looking()(c.sees...)
				if c.verb == state.VerbInspect {
					a.beat(api.HeartbeatRequest{Steps: catalog.InBand})
					s.until(state.Manageable)
				}
				n, err := s.c.Node(t.Context(), "n1")
				if err != nil || (n.Root == nil) != c.forgets || n.Description != "changed" {
					t.Errorf("%+v is remembered, %v", n.Root, err)
				}
			})
		})
	}
}
