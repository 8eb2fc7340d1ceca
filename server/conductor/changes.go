package conductor

import (
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Change is one entry of the journal of nodes: the store writes one in the transaction of each change, so that none is
// missed by whoever reads the journal from where it stopped. It holds what events tell.
type Change struct {
	Seq         int64 // grows with each change; the journal's order
	Node        NodeID
	Name        string
	State       state.State
	Target      state.State
	Power       Power
	Maintenance bool
	LastError   string
	At          time.Time // when the record was changed; zero when the node was deleted
	Gone        bool      // the node was deleted
	Told        bool      // something that events tell has changed; else it is for those alone who keep a copy of the record
	// Who owned and leased the node afterwards and before; "" is nobody.
	Owner, Lessee       string
	WasOwner, WasLessee string
}

// For is the change as a project is told of it: a node that is the project's no more is gone. "" is told all.
func (c Change) For(project string) Change {
	if project == "" || c.Owner == project || c.Lessee == project {
		return c
	}
	return Change{Seq: c.Seq, Node: c.Node, At: c.At, Gone: true, Told: true, WasOwner: c.WasOwner, WasLessee: c.WasLessee}
}

// Event is the change as the holder of a grant is told of it.
func (c Change) Event(g access.Grant) api.Event {
	c = c.For(g.Project)
	e := api.Event{Node: c.Node, Name: c.Name, State: c.State, Target: c.Target, Power: string(c.Power),
		Maintenance: c.Maintenance, LastError: c.LastError, Gone: c.Gone, At: api.Time{Time: c.At}}
	if e.LastError != "" && !g.Sees(access.Object{Owner: c.Owner, Lessee: c.Lessee}, "last_error") {
		e.LastError = access.Redaction
	}
	return e
}

// ChangeFilter selects entries of the journal, oldest first.
type ChangeFilter struct {
	After     int64 // entries after this one
	Until     int64 // and none after this one; 0 is no bound
	Limit     int   // 0: all
	Node      NodeID
	VisibleTo string // only of nodes that this project owned or leased before or after; "" is all
	Told      bool   // only those that are events
	Newest    bool   // only the last of each node
}

// Position is a place in the journal. A reader that goes on from a place before First has missed entries, and one after
// Last, or of another epoch, read a journal that was lost with its database: both begin anew.
type Position struct {
	Epoch string // of the records (SettingEpoch)
	First int64  // the least After from which nothing is missing
	Last  int64  // the newest entry
	Upto  int64  // up to here the filter's entries were given
}

// Journal is the part of Tx that reads changes; a store writes them by itself.
type Journal interface {
	Changes(f ChangeFilter) ([]Change, Position, error)
}
