package storetest

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// testHostileStrings: what a caller gives to search, sort or page by is compared, never run (I21). A text that would widen a
// query selects nothing, one that would change the store changes nothing, and a name of a field that is none is refused.
func testHostileStrings(t *testing.T, s suite) {
	s.create(Node(1), Node(2))
	s.update(func(tx conductor.Tx) error { return tx.CreateRecord(port(1)) })
	for _, evil := range []string{"' OR '1'='1", "x' OR 1=1 --", "'; DELETE FROM nodes; --", `" OR ""="`, "x) OR (1=1", "%", "_", `\`, "?", ":a", "\x00", "$.name", `x"]') OR ('1`} {
		id := conductor.NodeID(evil)
		for _, f := range []conductor.NodeFilter{
			{State: evil}, {Driver: evil}, {ResourceClass: evil}, {Owner: evil}, {Lessee: evil}, {Project: evil}, {InstanceUUID: evil}, {InstanceName: evil}, {Fault: evil},
			{Chassis: evil}, {Parent: id}, {VisibleTo: evil}, {Group: &evil}, {Description: new("no such" + evil)}, {IDs: []string{evil}}, {Shards: []string{evil}},
		} {
			s.view(func(tx conductor.Tx) error {
				got, err := tx.Nodes(f)
				if err != nil || len(got) > 0 {
					t.Errorf("%+v selects %d nodes (%v)", f, len(got), err)
				}
				return nil
			})
		}
		for _, f := range []conductor.RecordFilter{
			{Node: id}, {Mark: evil}, {VisibleTo: evil}, {VisibleTo: evil, Owned: true}, {Is: map[string][]string{"address": {evil}}},
			{NodeIs: map[string][]string{"driver": {evil}}}, {Contains: map[string]string{"address": "no such" + evil}},
		} {
			s.view(func(tx conductor.Tx) error {
				got, err := tx.Records(conductor.KindPort, f)
				if err != nil || len(got) > 0 {
					t.Errorf("%+v selects %d ports (%v)", f, len(got), err)
				}
				return nil
			})
		}
		s.view(func(tx conductor.Tx) error {
			s.has(second(tx.Nodes(conductor.NodeFilter{SortKey: evil})), fault.RequestInvalid)
			s.has(second(tx.Nodes(conductor.NodeFilter{After: id})), fault.NodeNotFound)
			s.has(second(tx.Node(id)), fault.NodeNotFound)
			s.has(second(tx.NodeByName(evil)), fault.NodeNotFound)
			s.has(second(tx.NodeByAddress(evil)), fault.NodeNotFound)
			s.has(second(tx.Record(conductor.KindPort, evil)), fault.PortNotFound)
			s.has(second(tx.Records(conductor.KindPort, conductor.RecordFilter{After: evil})), fault.PortNotFound)
			for _, f := range []conductor.RecordFilter{{SortKey: evil}, {Is: map[string][]string{evil: {"x"}}}, {NodeIs: map[string][]string{evil: {"x"}}}, {Contains: map[string]string{evil: "x"}}} {
				if evil == "_" {
					break // as good a name as any; no record has such a field
				}
				s.has(second(tx.Records(conductor.KindPort, f)), fault.RequestInvalid)
			}
			if got, _, err := tx.Changes(conductor.ChangeFilter{Node: id}); err != nil || len(got) > 0 {
				t.Errorf("the journal of %q has %d entries (%v)", evil, len(got), err)
			}
			if got, _, err := tx.Changes(conductor.ChangeFilter{VisibleTo: evil}); err != nil || len(got) > 0 {
				t.Errorf("%q is told of %d changes (%v)", evil, len(got), err)
			}
			if got, err := tx.Usage(evil); err != nil || len(got) > 0 {
				t.Errorf("%q has %d rows of usage (%v)", evil, len(got), err)
			}
			return nil
		})
	}
	s.view(func(tx conductor.Tx) error {
		nodes, err := tx.Nodes(conductor.NodeFilter{})
		if len(nodes) != 2 {
			t.Errorf("%d nodes are left of 2", len(nodes))
		}
		return err
	})
}
