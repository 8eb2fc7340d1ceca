package conductor

import (
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Kind is a sort of record that stands beside nodes. All kinds are stored, listed and changed in one way.
type Kind string

// The kinds.
const (
	KindPort       Kind = "port"
	KindPortgroup  Kind = "portgroup"
	KindAllocation Kind = "allocation"
	KindTemplate   Kind = "deploy_template"
	KindRunbook    Kind = "runbook"
	KindChassis    Kind = "chassis"
	KindConnector  Kind = "volume_connector"
	KindTarget     Kind = "volume_target"
)

// Record is a thing of some kind that the store keeps: a pointer to Port, Portgroup, Allocation, ... Its fields have
// the names of Ironic's in JSON, so that a list can be sorted and filtered by them.
type Record interface {
	// Keys is what it is found by, and what is unique about it.
	Keys() Keys
	// Top is the part that every record has.
	Top() *Head
}

// Head is what all records begin with. Updated is zero until the first change.
type Head struct {
	UUID    string    `json:"uuid"`
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at,omitzero"`
}

// Top implements Record.
func (h *Head) Top() *Head { return h }

// Keys of a record; all but Kind and UUID may be empty.
type Keys struct {
	Kind Kind
	UUID string
	Name string // unique within the kind
	Node NodeID // the node it belongs to: it is deleted with it
	Mark string // unique within the kind too, such as a port's address
	What string // Mark in words, for the caller who gave one that is taken: "MAC address 52:54:00:12:34:56"
}

// kinds is the table of the kinds: how a message calls one, how an empty one is made, which faults tell that one is
// missing or taken.
var kinds = map[Kind]struct {
	title           string
	empty           func() Record
	missing, exists fault.Reason
}{
	KindPort:       {"Port", func() Record { return &Port{} }, fault.PortNotFound, fault.PortExists},
	KindPortgroup:  {"Portgroup", func() Record { return &Portgroup{} }, fault.PortgroupNotFound, fault.RecordExists},
	KindAllocation: {"Allocation", func() Record { return &Allocation{} }, fault.AllocationNotFound, fault.RecordExists},
	KindTemplate:   {"Deploy template", func() Record { return &Template{} }, fault.TemplateNotFound, fault.RecordExists},
	KindRunbook:    {"Runbook", func() Record { return &Runbook{} }, fault.RunbookNotFound, fault.RecordExists},
	KindChassis:    {"Chassis", func() Record { return &Chassis{} }, fault.ChassisNotFound, fault.RecordExists},
	KindConnector:  {"Volume connector", func() Record { return &Connector{} }, fault.VolumeNotFound, fault.RecordExists},
	KindTarget:     {"Volume target", func() Record { return &Target{} }, fault.VolumeNotFound, fault.RecordExists},
}

// Empty makes a record of the kind without content; nil for a kind that there is not.
func (k Kind) Empty() Record {
	if row, ok := kinds[k]; ok {
		return row.empty()
	}
	return nil
}

// Missing is the fault for an ident that no record of the kind has.
func (k Kind) Missing(ident string) error {
	return fault.New(kinds[k].missing, "%s %s could not be found.", kinds[k].title, ident)
}

// Taken is the fault for what another record of the kind has already.
func (k Kind) Taken(what string) error {
	title, article := kinds[k].title, "A"
	if title[0] == 'A' {
		article = "An"
	}
	return fault.New(kinds[k].exists, "%s %s with %s already exists.", article, strings.ToLower(title), what)
}

// RecordFilter selects records of a kind; zero fields select all. After is the UUID of the last record of the page
// before.
type RecordFilter struct {
	Node       NodeID
	Mark       string              // see Keys
	Is         map[string][]string // a field's JSON name to the values it may have
	NodeIs     map[string][]string // the same of a field of the record's node
	Contains   map[string]string   // a field's JSON name to a part of it, in any case
	VisibleTo  string              // only those that this project may see; "" is all
	Owned      bool                // the project may see what it owns itself and what is public, not what is of its nodes
	After      string
	Limit      int
	SortKey    string // a field's JSON name; "" is order of creation
	Descending bool
}

// pointer is a record type behind its pointer.
type pointer[T any] interface {
	*T
	Record
}

// RecordOf reads the record of T's kind that has this UUID or name.
func RecordOf[T any, P pointer[T]](tx Tx, ident string) (T, error) {
	var none T
	r, err := tx.Record(P(&none).Keys().Kind, ident)
	if err != nil {
		return none, err
	}
	return *r.(P), nil
}

// RecordsOf lists records of T's kind.
func RecordsOf[T any, P pointer[T]](tx Tx, f RecordFilter) ([]T, error) {
	var none T
	all, err := tx.Records(P(&none).Keys().Kind, f)
	out := make([]T, 0, len(all))
	for _, r := range all {
		out = append(out, *r.(P))
	}
	return out, err
}
