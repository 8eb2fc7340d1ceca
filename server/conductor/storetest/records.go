package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func port(n int) *conductor.Port {
	return &conductor.Port{Head: conductor.Head{UUID: fmt.Sprintf("port-%d", n), Created: noon}, Node: ID(1), Address: fmt.Sprintf("02:00:00:00:00:a%d", n), PXE: true}
}

func record(n int) *conductor.StepRecord {
	return &conductor.StepRecord{ID: step.ID(fmt.Sprintf("step-%d", n)), Node: ID(1), Run: "run-1", Order: n, Attempt: 1,
		Step: step.Step{Name: "deploy.erase_devices"}, State: conductor.StepPlanned}
}

func entry(n int) conductor.Entry {
	return conductor.Entry{UUID: fmt.Sprintf("entry-%d", n), Node: ID(1), Time: noon, Severity: "INFO", Event: "moved"}
}

func stored(generation uint64, accepted bool) conductor.StoredInventory {
	return conductor.StoredInventory{Node: ID(1), Generation: generation, Accepted: accepted, Taken: noon, Inventory: json.RawMessage(`{"cpu":{"count":4}}`)}
}

func effect() *conductor.Effect {
	return &conductor.Effect{Node: ID(1), Kind: conductor.EffectBoot, Run: "run-1", Generation: 1, Created: noon}
}

func testRecords(t *testing.T, s suite) {
	shared := Node(2)
	shared.Shard = "s1"
	s.create(Node(1), shared)
	one, two, other := port(2), port(1), port(3)
	one.Description, one.Updated = "50% of 'it'", noon.Add(time.Second)
	other.Node, other.Name, other.Description, other.Updated = ID(2), "uplink", "half", noon
	s.update(func(tx conductor.Tx) error {
		return errors.Join(tx.CreateRecord(one), tx.CreateRecord(two), tx.CreateRecord(other))
	})
	ids := func(f conductor.RecordFilter) (out []string) {
		t.Helper()
		s.view(func(tx conductor.Tx) error {
			ports, err := conductor.RecordsOf[conductor.Port](tx, f)
			for _, p := range ports {
				out = append(out, p.UUID)
			}
			return err
		})
		return out
	}
	for _, c := range []struct {
		filter conductor.RecordFilter
		want   []string
	}{
		{conductor.RecordFilter{}, []string{"port-2", "port-1", "port-3"}},
		{conductor.RecordFilter{Descending: true}, []string{"port-3", "port-1", "port-2"}},
		{conductor.RecordFilter{Node: ID(1)}, []string{"port-2", "port-1"}},
		{conductor.RecordFilter{Mark: "02:00:00:00:00:a3"}, []string{"port-3"}},
		{conductor.RecordFilter{After: "port-2", Limit: 1}, []string{"port-1"}},
		{conductor.RecordFilter{SortKey: "address"}, []string{"port-1", "port-2", "port-3"}},
		{conductor.RecordFilter{SortKey: "address", Descending: true, After: "port-3"}, []string{"port-2", "port-1"}},
		{conductor.RecordFilter{SortKey: "updated_at"}, []string{"port-1", "port-3", "port-2"}},
		{conductor.RecordFilter{SortKey: "name", After: "port-2"}, []string{"port-1", "port-3"}},
		{conductor.RecordFilter{Is: map[string][]string{"name": {"uplink", "other"}}}, []string{"port-3"}},
		{conductor.RecordFilter{Is: map[string][]string{"name": {}}}, nil},
		{conductor.RecordFilter{NodeIs: map[string][]string{"shard": {"s1", "s'2"}}}, []string{"port-3"}},
		{conductor.RecordFilter{NodeIs: map[string][]string{"shard": {""}}}, []string{"port-2", "port-1"}},
		{conductor.RecordFilter{Contains: map[string]string{"description": "0% OF '"}}, []string{"port-2"}},
		{conductor.RecordFilter{Contains: map[string]string{"description": "%"}, Is: map[string][]string{"name": {""}}}, []string{"port-2"}},
	} {
		if got := ids(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("ports of %+v: got %v, want %v", c.filter, got, c.want)
		}
	}
	same, named, orphan := port(4), port(4), port(5)
	same.Address, named.Name, orphan.Node = one.Address, other.Name, ID(9)
	for _, c := range []struct {
		do   func(tx conductor.Tx) error
		want fault.Reason
	}{
		{func(tx conductor.Tx) error { return tx.CreateRecord(one) }, fault.PortExists},
		{func(tx conductor.Tx) error { return tx.CreateRecord(same) }, fault.PortExists},
		{func(tx conductor.Tx) error { return tx.CreateRecord(named) }, fault.PortExists},
		{func(tx conductor.Tx) error { return tx.CreateRecord(orphan) }, fault.NodeNotFound},
		{func(tx conductor.Tx) error { p := *two; p.Address = one.Address; return tx.PutRecord(&p) }, fault.PortExists},
		{func(tx conductor.Tx) error { p := *two; p.Node = ID(9); return tx.PutRecord(&p) }, fault.NodeNotFound},
		{func(tx conductor.Tx) error { return tx.PutRecord(port(6)) }, fault.PortNotFound},
		{func(tx conductor.Tx) error { return tx.DeleteRecord(conductor.KindPort, "nothing") }, fault.PortNotFound},
		{func(tx conductor.Tx) error { return tx.DeleteRecord(conductor.KindPort, other.Name) }, fault.PortNotFound},
		{func(tx conductor.Tx) error {
			return second(tx.Records(conductor.KindPort, conductor.RecordFilter{After: "nothing"}))
		}, fault.PortNotFound},
		{func(tx conductor.Tx) error {
			return second(tx.Records(conductor.KindPort, conductor.RecordFilter{SortKey: "x') --"}))
		}, fault.RequestInvalid},
		{func(tx conductor.Tx) error {
			return second(tx.Records(conductor.KindPort, conductor.RecordFilter{Is: map[string][]string{"x'": {"y"}}}))
		}, fault.RequestInvalid},
	} {
		s.has(s.Update(t.Context(), c.do), c.want)
	}
	two.Extra = map[string]any{"switch": "s1"}
	s.update(func(tx conductor.Tx) error { return tx.PutRecord(two) })
	s.update(func(tx conductor.Tx) error { return tx.DeleteRecord(conductor.KindPort, one.UUID) })
	s.view(func(tx conductor.Tx) error {
		got, err := conductor.RecordOf[conductor.Port](tx, two.UUID)
		s.same(got, two)
		s.has(second(tx.Record(conductor.KindPort, one.UUID)), fault.PortNotFound)
		named, nameErr := conductor.RecordOf[conductor.Port](tx, other.Name)
		s.same(named, other)
		return errors.Join(err, nameErr)
	})
}

func testSteps(t *testing.T, s suite) {
	s.create(Node(1))
	first, retried, last, later := record(1), record(2), record(3), record(4)
	retry := *retried
	retry.ID, retry.Attempt, retry.State = "retry", 2, conductor.StepOffered
	retry.Nonce = "n\x00once"
	last.State = conductor.StepStarted
	later.Run, later.Order = "run-0", 0 // a later run, though its name and order sort first
	s.update(func(tx conductor.Tx) error {
		return errors.Join(tx.PutStep(last), tx.PutStep(first), tx.PutStep(retried), tx.PutStep(later), tx.PutStep(&retry))
	})
	first.State, first.Result = conductor.StepSucceeded, &step.Result{Data: map[string]any{"erased": 2.0}}
	retried.Fault = fault.New(fault.StepFailed, "no").Because(errUndo)
	s.update(func(tx conductor.Tx) error { return errors.Join(tx.PutStep(first), tx.PutStep(retried)) })
	order := func(get func(tx conductor.Tx) ([]conductor.StepRecord, error)) (ids []step.ID) {
		t.Helper()
		s.view(func(tx conductor.Tx) error {
			got, err := get(tx)
			for _, r := range got {
				ids = append(ids, r.ID)
			}
			return err
		})
		return ids
	}
	for name, c := range map[string]struct {
		get  func(tx conductor.Tx) ([]conductor.StepRecord, error)
		want []step.ID
	}{
		"one run":  {func(tx conductor.Tx) ([]conductor.StepRecord, error) { return tx.Steps(ID(1), "run-1") }, []step.ID{"step-1", "step-2", "retry", "step-3"}},
		"all runs": {func(tx conductor.Tx) ([]conductor.StepRecord, error) { return tx.Steps(ID(1), "") }, []step.ID{"step-1", "step-2", "retry", "step-3", "step-4"}},
		"open":     {func(tx conductor.Tx) ([]conductor.StepRecord, error) { return tx.OpenSteps(ID(1)) }, []step.ID{"step-3", "retry"}},
		"no run":   {func(tx conductor.Tx) ([]conductor.StepRecord, error) { return tx.Steps(ID(1), "none") }, nil},
	} {
		if got := order(c.get); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	s.view(func(tx conductor.Tx) error {
		got, err := tx.Step(first.ID)
		s.same(got, first)
		if r, err := tx.Step("retry"); err != nil || r.Nonce != retry.Nonce {
			t.Errorf("nonce %q, %v; want %q", r.Nonce, err, retry.Nonce)
		}
		if r, err := tx.Step(retried.ID); err != nil || r.Fault == nil || r.Fault.Reason != fault.StepFailed || r.Fault.Cause != nil {
			t.Errorf("stored fault %+v, %v; want the reason without its cause", r.Fault, err)
		}
		s.has(second(tx.Step("nothing")), fault.StepNotFound)
		return err
	})
	orphan := record(5)
	orphan.Node = ID(9)
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutStep(orphan) }), fault.NodeNotFound)
}

func testSecrets(t *testing.T, s suite) {
	s.create(Node(1), Node(2))
	value := []byte("\x00\xff'; DROP TABLE secrets;--")
	s.update(func(tx conductor.Tx) error {
		return errors.Join(tx.PutSecret(ID(1), "b", []byte("old")), tx.PutSecret(ID(1), "b", value), tx.PutSecret(ID(1), "a", []byte{}))
	})
	s.view(func(tx conductor.Tx) error {
		got, err := tx.Secret(ID(1), "b")
		if err != nil {
			return err
		}
		if !bytes.Equal(got, value) {
			t.Errorf("got %q, want %q", got, value)
		}
		if got, err := tx.Secret(ID(1), "a"); err != nil || len(got) != 0 {
			t.Errorf("an empty secret came back as %q, %v", got, err)
		}
		if fields, err := tx.SecretFields(ID(1)); err != nil || !slices.Equal(fields, []string{"a", "b"}) {
			t.Errorf("fields %v, %v", fields, err)
		}
		s.has(second(tx.Secret(ID(2), "b")), fault.SecretNotFound)
		s.has(second(tx.Secret(ID(1), "c")), fault.SecretNotFound)
		return nil
	})
	s.update(func(tx conductor.Tx) error {
		return errors.Join(tx.PutSecret(ID(1), "b", nil), tx.PutSecret(ID(1), "never", nil))
	})
	s.has(s.View(t.Context(), func(tx conductor.Tx) error { return second(tx.Secret(ID(1), "b")) }), fault.SecretNotFound)
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutSecret(ID(9), "b", value) }), fault.NodeNotFound)
}

func testHistory(t *testing.T, s suite) {
	s.create(Node(1), Node(2))
	s.update(func(tx conductor.Tx) error {
		for n := range 5 {
			if err := tx.AppendHistory(entry(n)); err != nil { // all of one time: the order is that of writing
				return err
			}
		}
		foreign := entry(9)
		foreign.Node = ID(2)
		return tx.AppendHistory(foreign)
	})
	s.view(func(tx conductor.Tx) error {
		for _, c := range []struct {
			f    conductor.HistoryFilter
			want []int
		}{
			{conductor.HistoryFilter{}, []int{0, 1, 2, 3, 4}}, {conductor.HistoryFilter{Limit: 2}, []int{0, 1}},
			{conductor.HistoryFilter{Limit: 2, After: "entry-1"}, []int{2, 3}}, {conductor.HistoryFilter{After: "entry-4"}, nil},
			{conductor.HistoryFilter{Descending: true}, []int{4, 3, 2, 1, 0}},
			{conductor.HistoryFilter{Limit: 2, After: "entry-3", Descending: true}, []int{2, 1}}, {conductor.HistoryFilter{Limit: 9, After: "entry-0", Descending: true}, nil},
			{conductor.HistoryFilter{SortKey: "uuid", Limit: 2, After: "entry-1"}, []int{2, 3}},
			// Of one time, they follow each other as they were written.
			{conductor.HistoryFilter{SortKey: "created_at"}, []int{0, 1, 2, 3, 4}}, {conductor.HistoryFilter{SortKey: "created_at", Limit: 2, After: "entry-1"}, []int{2, 3}},
			{conductor.HistoryFilter{SortKey: "created_at", Limit: 2, After: "entry-3", Descending: true}, []int{2, 1}},
			{conductor.HistoryFilter{SortKey: "user"}, []int{0, 1, 2, 3, 4}},
		} {
			got, err := tx.History(ID(1), c.f)
			if err != nil {
				return err
			}
			want := []conductor.Entry(nil)
			for _, n := range c.want {
				want = append(want, entry(n))
			}
			s.same(got, want)
		}
		s.has(second(tx.History(ID(1), conductor.HistoryFilter{After: "entry-9"})), fault.EntryNotFound) // another node's
		s.has(second(tx.History(ID(1), conductor.HistoryFilter{SortKey: "run"})), fault.RequestInvalid)
		return nil
	})
	orphan := entry(7)
	orphan.Node = ID(9)
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.AppendHistory(orphan) }), fault.NodeNotFound)
}

// auditor is what a store can do besides, for those who check it: call each for every entry of a chain that verifies.
type auditor interface {
	Audited(ctx context.Context, each func(conductor.Audit) error) error
}

func testAudit(t *testing.T, s suite) {
	s.create(Node(1))
	act := func(name string, end error) error {
		return s.Update(t.Context(), func(tx conductor.Tx) error {
			if err := tx.AppendAudit(conductor.Audit{Time: noon, Actor: "ada", Node: ID(1), Act: name}); err != nil {
				return err
			}
			return end
		})
	}
	for i := range 3 {
		if err := act(fmt.Sprintf("kept.%d", i), nil); err != nil {
			t.Fatal(err)
		}
		if err := act("undone", errUndo); !errors.Is(err, errUndo) {
			t.Fatal(err)
		}
	}
	s.update(func(tx conductor.Tx) error { return tx.DeleteNode(ID(1)) }) // the audit outlives the node
	var got []string
	a, ok := s.Store.(auditor)
	if !ok {
		t.Fatal("the store has no Audited method, by which its audit is checked")
	}
	if err := a.Audited(t.Context(), func(a conductor.Audit) error { got = append(got, a.Act+" "+a.Actor); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"kept.0 ada", "kept.1 ada", "kept.2 ada"}; !slices.Equal(got, want) {
		t.Errorf("audit %v, want %v", got, want)
	}
}

func testInventories(t *testing.T, s suite) {
	s.create(Node(1))
	put := func(i conductor.StoredInventory) {
		t.Helper()
		s.update(func(tx conductor.Tx) error { return tx.PutInventory(i) })
	}
	put(stored(1, false))
	s.has(s.View(t.Context(), func(tx conductor.Tx) error { return second(tx.Inventory(ID(1))) }), fault.InventoryNotFound)
	has := func(want bool) {
		t.Helper()
		s.view(func(tx conductor.Tx) error {
			got, err := tx.HasInventory(ID(1))
			if got != want {
				t.Errorf("an accepted inventory is there: %t, want %t", got, want)
			}
			return err
		})
	}
	has(false)
	put(stored(1, true)) // the inspection accepts what the lookup brought
	has(true)
	put(stored(2, false))
	s.view(func(tx conductor.Tx) error {
		accepted, err := tx.Inventory(ID(1))
		if err != nil {
			return err
		}
		s.same(accepted, stored(1, true))
		seen, err := tx.InventoryOf(ID(1), 2)
		s.same(seen, stored(2, false))
		return err
	})
	put(stored(2, false)) // it is there already, byte for byte
	put(stored(3, true))
	again := stored(3, false)
	again.Plugin = map[string]any{"later": true}
	put(again) // as it came before, and accepted then
	s.view(func(tx conductor.Tx) error {
		accepted, err := tx.Inventory(ID(1))
		s.same(accepted, stored(3, true))
		s.has(second(tx.InventoryOf(ID(1), 7)), fault.InventoryNotFound)
		return err
	})
	s.anotherOfTheBoot(put)
	s.disksAlone()
	s.outOfBand(put)
	orphan := stored(1, false)
	orphan.Node = ID(9)
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutInventory(orphan) }), fault.NodeNotFound)
}

// anotherOfTheBoot puts others of the boot whose inventory is the accepted one: that one stays, and stays accepted.
func (s suite) anotherOfTheBoot(put func(conductor.StoredInventory)) {
	s.t.Helper()
	for _, cpus := range []string{"5", "6"} {
		other := stored(3, false)
		other.Inventory = json.RawMessage(`{"cpu":{"count":` + cpus + `}}`)
		put(other)
		s.view(func(tx conductor.Tx) error {
			accepted, err := tx.Inventory(ID(1))
			s.same(accepted, stored(3, true))
			seen, err2 := tx.InventoryOf(ID(1), 3)
			s.same(seen, other)
			_, of, err3 := tx.AcceptedDisks(ID(1))
			if of != 0 {
				s.t.Errorf("the accepted one is that of boot %d", of)
			}
			return errors.Join(err, err2, err3)
		})
	}
	put(stored(4, false)) // the next boot
	accepted := stored(4, true)
	accepted.Inventory = json.RawMessage(`{"cpu":{"count":7}}`)
	s.view(func(tx conductor.Tx) error {
		got, err := tx.Inventory(ID(1))
		s.same(got, stored(3, true))
		s.has(second(tx.InventoryOf(ID(1), 3)), fault.InventoryNotFound)
		return err
	})
	put(accepted)
	s.view(func(tx conductor.Tx) error {
		got, err := tx.Inventory(ID(1))
		s.same(got, accepted)
		_, of, err2 := tx.AcceptedDisks(ID(1))
		if of != 4 {
			s.t.Errorf("the accepted one is that of boot %d", of)
		}
		return errors.Join(err, err2)
	})
}

// outOfBand puts what the BMC told: it is shown until an inspection's inventory is accepted, and decides nothing.
func (s suite) outOfBand(put func(conductor.StoredInventory)) {
	s.t.Helper()
	s.create(Node(3))
	told := func(cpus string) conductor.StoredInventory {
		return conductor.StoredInventory{Node: ID(3), OutOfBand: true, Taken: noon, Inventory: json.RawMessage(`{"cpu":{"count":` + cpus + `}}`), Disks: []inventory.Disk{{Name: "Drive 1", Size: 9}}}
	}
	of := func(generation uint64, accepted bool) conductor.StoredInventory {
		i := stored(generation, accepted)
		i.Node, i.Disks = ID(3), []inventory.Disk{{Name: "/dev/sda", Size: 7}}
		return i
	}
	holds := func(when string, show, accepted *conductor.StoredInventory) {
		s.t.Helper()
		s.view(func(tx conductor.Tx) error {
			got, err := tx.Inventory(ID(3))
			has, err2 := tx.HasInventory(ID(3))
			disks, _, err3 := tx.AcceptedDisks(ID(3))
			if accepted == nil && fault.Has(err3, fault.InventoryNotFound) {
				err3 = nil
			}
			if show == nil && fault.Has(err, fault.InventoryNotFound) {
				err, show = nil, &got
			}
			want := *show
			want.Disks = nil // they are not read back
			s.same(got, want)
			if has != (accepted != nil) || accepted != nil && !slices.EqualFunc(disks, accepted.Disks, inventory.Disk.Equal) {
				s.t.Errorf("%s: accepted %t: %v, expected %v", when, has, disks, accepted)
			}
			return errors.Join(err, err2, err3)
		})
	}
	four, five, first, second, last := told("4"), told("5"), of(1, true), of(2, false), of(3, true)
	holds("before", nil, nil)
	put(four)
	holds("told", &four, nil)
	lied := five
	lied.Accepted, lied.Generation = true, 7 // whoever stores it says that it is accepted
	put(lied)
	five.Accepted, five.Generation = false, 0
	holds("told again", &five, nil)
	put(of(1, false))
	holds("a lookup", &five, nil)
	put(first)
	holds("accepted", &first, &first)
	put(four)
	holds("told after it", &four, &first)
	put(second)
	holds("a later boot", &four, &first)
	s.view(func(tx conductor.Tx) error {
		got, err := tx.DisksOf(ID(3), 2)
		if !slices.EqualFunc(got, second.Disks, inventory.Disk.Equal) {
			s.t.Errorf("the later boot's disks are %v", got)
		}
		return err
	})
	put(last)
	holds("accepted later", &last, &last)
}

// disksAlone reads those of an inventory that were stored with it, and those of one whose were not.
func (s suite) disksAlone() {
	s.t.Helper()
	want := []inventory.Disk{{Name: "/dev/sda", Serial: "S0", Size: 7}}
	raw, err := json.Marshal(inventory.Inventory{Disks: want, Hostname: "h"})
	if err != nil {
		s.t.Fatal(err)
	}
	for name, told := range map[string][]inventory.Disk{"told": want, "not told": nil} {
		i := stored(8, true)
		i.Inventory, i.Disks = raw, told
		s.update(func(tx conductor.Tx) error { return tx.PutInventory(i) })
		s.view(func(tx conductor.Tx) error {
			all, err := tx.Inventory(ID(1))
			accepted, of, err2 := tx.AcceptedDisks(ID(1))
			seen, err3 := tx.DisksOf(ID(1), 8)
			same := slices.EqualFunc(accepted, want, inventory.Disk.Equal) && slices.EqualFunc(seen, want, inventory.Disk.Equal)
			if !same || of != 8 || !bytes.Equal(all.Inventory, raw) {
				s.t.Errorf("disks %s: %v of %d, %v, in %s", name, accepted, of, seen, all.Inventory)
			}
			s.has(second(tx.DisksOf(ID(1), 9)), fault.InventoryNotFound)
			_, _, err4 := tx.AcceptedDisks(ID(2))
			s.has(err4, fault.InventoryNotFound)
			return errors.Join(err, err2, err3)
		})
	}
}

func testEffects(t *testing.T, s suite) {
	s.create(Node(1))
	one, two := effect(), effect()
	two.Kind = conductor.EffectEject
	s.update(func(tx conductor.Tx) error { return errors.Join(tx.AddEffect(one), tx.AddEffect(two)) })
	if one.ID == 0 || two.ID <= one.ID {
		t.Fatalf("ids %d and %d: want them to grow", one.ID, two.ID)
	}
	s.view(func(tx conductor.Tx) error {
		got, err := tx.Effects()
		s.same(got, []*conductor.Effect{one, two})
		return err
	})
	s.update(func(tx conductor.Tx) error { return errors.Join(tx.DoneEffect(two.ID), tx.DoneEffect(two.ID)) })
	three := effect()
	s.update(func(tx conductor.Tx) error { return tx.AddEffect(three) })
	if three.ID <= two.ID {
		t.Errorf("id %d was given again", three.ID)
	}
	s.view(func(tx conductor.Tx) error {
		got, err := tx.Effects()
		s.same(got, []*conductor.Effect{one, three})
		return err
	})
}

func testSettings(t *testing.T, s suite) {
	s.update(func(tx conductor.Tx) error {
		return errors.Join(tx.PutSetting("epoch", "1"), tx.PutSetting("epoch", "2' --"))
	})
	s.view(func(tx conductor.Tx) error {
		v, err := tx.Setting("epoch")
		if v != "2' --" {
			t.Errorf("setting %q", v)
		}
		if v, err := tx.Setting("none"); v != "" || err != nil {
			t.Errorf("an unset setting is %q, %v", v, err)
		}
		return err
	})
}

func priority(kind conductor.ScopeKind, name string, v float64) conductor.Default {
	return conductor.Default{Scope: conductor.Scope{Kind: kind, Name: name}, Flow: state.Clean, Step: "deploy.erase_devices", Key: conductor.KeyPriority, Value: v}
}

func testDefaults(t *testing.T, s suite) {
	s.create(Node(1))
	one, fleet, rack := priority(conductor.One, string(ID(1)), 3), priority(conductor.Fleet, "", 1), priority(conductor.Group, "rack' --", 2)
	list := fleet
	list.Key, list.Value = "args.settings", []any{map[string]any{"name": "a", "value": 1.0}, "x", nil, true}
	s.update(func(tx conductor.Tx) error {
		return errors.Join(tx.PutDefault(one), tx.PutDefault(priority(conductor.Fleet, "", 9)), tx.PutDefault(fleet), tx.PutDefault(rack), tx.PutDefault(list))
	})
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutDefault(priority(conductor.One, string(ID(7)), 1)) }), fault.NodeNotFound)
	read := func(want []conductor.Default, scopes ...conductor.Scope) {
		t.Helper()
		s.view(func(tx conductor.Tx) error {
			got, err := tx.Defaults(scopes...)
			s.same(got, want)
			return err
		})
	}
	read([]conductor.Default{list, fleet, rack, one})
	read([]conductor.Default{one, list, fleet}, one.Scope, conductor.Scope{Kind: conductor.Trait, Name: "none"}, fleet.Scope)
	read(nil, conductor.Scope{Kind: conductor.Group, Name: "rack"})
	s.update(func(tx conductor.Tx) error { return errors.Join(tx.DeleteDefault(fleet), tx.DeleteDefault(fleet)) })
	read([]conductor.Default{list}, fleet.Scope)
}
