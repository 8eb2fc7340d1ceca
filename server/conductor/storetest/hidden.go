package storetest

import (
	"errors"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// testHiddenMarkers: a page after what a project does not see begins nowhere. Where it began would tell that the object
// is there and how it sorts.
func testHiddenMarkers(t *testing.T, s suite) {
	own, foreign := Node(1), Node(2)
	own.Owner, own.Name, foreign.Owner, foreign.Name = "blue", "m", "red", "q"
	s.create(own, foreign)
	mine, theirs := port(1), port(2)
	mine.Node, theirs.Node = own.UUID, foreign.UUID
	runbook := func(id, owner string) *conductor.Runbook {
		return &conductor.Runbook{Head: conductor.Head{UUID: id, Name: "CUSTOM_" + id}, Owner: owner}
	}
	s.update(func(tx conductor.Tx) error {
		return errors.Join(tx.CreateRecord(mine), tx.CreateRecord(theirs), tx.CreateRecord(runbook("A", "blue")), tx.CreateRecord(runbook("B", "red")))
	})
	s.view(func(tx conductor.Tx) error {
		for _, key := range []string{"", "name"} {
			of := func(project string, after conductor.NodeID) conductor.NodeFilter {
				return conductor.NodeFilter{VisibleTo: project, After: after, SortKey: key}
			}
			s.has(second(tx.Nodes(of("blue", foreign.UUID))), fault.NodeNotFound)
			ports := func(project, after string) conductor.RecordFilter {
				return conductor.RecordFilter{VisibleTo: project, After: after, SortKey: key}
			}
			s.has(second(tx.Records(conductor.KindPort, ports("blue", theirs.UUID))), fault.PortNotFound)
			books := ports("blue", "B")
			books.Owned = true
			s.has(second(tx.Records(conductor.KindRunbook, books)), fault.RunbookNotFound)
			for _, seen := range []error{
				second(tx.Nodes(of("blue", own.UUID))), second(tx.Nodes(of("", foreign.UUID))),
				second(tx.Records(conductor.KindPort, ports("blue", mine.UUID))), second(tx.Records(conductor.KindPort, ports("", theirs.UUID))),
			} {
				if seen != nil {
					t.Errorf("a page after what the caller sees, by %q: %v", key, seen)
				}
			}
		}
		return nil
	})
}
