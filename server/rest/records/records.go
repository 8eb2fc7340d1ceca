// Package records is the part of the API for what stands beside nodes: ports, port groups, allocations, deploy templates,
// runbooks, chassis, volume connectors and targets. All are collections, served in one way; what is particular to a kind is in
// the values of its collection. It decides nothing: rules of a kind are the conductor's.
//
// Start at the type collection.
package records

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// API is the routes' handlers.
type API struct {
	backend Backend
	all     []*collection
}

// New makes them.
func New(b Backend) *API {
	a := &API{backend: b}
	a.all = a.collections()
	return a
}

// Backend is the part of the conductor behind them. Every ident is a UUID or a name; errors are faults.
type Backend interface {
	Node(ctx context.Context, ident string) (conductor.Node, error)
	NodeAllocation(ctx context.Context, ident string) (conductor.Allocation, error)
	Record(ctx context.Context, kind conductor.Kind, ident string) (conductor.Record, error)
	Records(ctx context.Context, kind conductor.Kind, f conductor.RecordFilter) ([]conductor.Record, error)
	CreateRecord(ctx context.Context, who conductor.Caller, r conductor.Record) (conductor.Record, error)
	UpdateRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string, change func(r conductor.Record) error) (conductor.Record, error)
	DeleteRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string) error
}

// Routes is the rows of the table of routes.
func (a *API) Routes() []serve.Route { return append(a.recordRoutes(), a.besideRoutes()...) }

// Table is a collection as the API's description has it.
type Table struct {
	Kind   conductor.Kind
	Path   string // below /v1
	List   string // the key of the list
	Fields []api.Field
}

// Tables are the collections.
func (a *API) Tables() []Table {
	var out []Table
	for _, k := range a.all {
		out = append(out, Table{k.Kind, k.path, k.key(), k.shape.Fields})
	}
	return out
}
