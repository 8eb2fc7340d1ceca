// Package nodes is the part of the API for nodes themselves: their list, what changed in it, making, changing and deleting one,
// and what is known of one: traits, inventory, history, whether it is valid. It decides nothing about them; what may happen to
// a node is the conductor's to say, and nodewire knows how one looks.
package nodes

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/watch"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// API is the routes' handlers.
type API struct {
	backend  Backend
	wire     *nodewire.Wire
	hostname string
}

// New makes them. hostname is shown as the conductor.
func New(b Backend, w *nodewire.Wire, hostname string) *API { return &API{b, w, hostname} }

// Backend is the part of the conductor behind them. Every ident is a UUID or a name; errors are faults.
type Backend interface {
	Node(ctx context.Context, ident string) (conductor.Node, error)
	Nodes(ctx context.Context, f conductor.NodeFilter) ([]conductor.Node, error)
	CreateNode(ctx context.Context, who conductor.Caller, n conductor.Node, secrets map[string]string) (conductor.Node, error)
	UpdateNode(ctx context.Context, who conductor.Caller, ident string, change func(n *conductor.Node, secrets map[string]string) error) (conductor.Node, error)
	ChangeTraits(ctx context.Context, who conductor.Caller, ident string, change func(traits []string) ([]string, error)) error
	DeleteNode(ctx context.Context, who conductor.Caller, ident string) error
	ConfirmNode(ctx context.Context, who conductor.Caller, ident string) error
	SetMaintenance(ctx context.Context, who conductor.Caller, ident string, on bool, reason string) error
	Validate(ctx context.Context, ident string) (map[string]string, error)
	Inventory(ctx context.Context, ident string) (conductor.StoredInventory, error)
	History(ctx context.Context, ident string, f conductor.HistoryFilter) ([]conductor.Entry, error)
	Record(ctx context.Context, kind conductor.Kind, ident string) (conductor.Record, error)
	Shards(ctx context.Context) ([]conductor.Shard, error)
	watch.Journal
}

// Routes is the rows of the table of routes.
func (a *API) Routes() []serve.Route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const node = "/v1/nodes/{node}"
	chassis := &serve.Records{Kind: conductor.KindChassis}
	return []serve.Route{
		{Method: get, Path: "/v1/nodes", Need: access.NodeList, Query: listArguments(false, changedSince), Handle: func(c *serve.Call) error { return a.listNodes(c, false) }},
		{Method: get, Path: "/v1/nodes/detail", Need: access.NodeList, Query: listArguments(true, changedSince), Handle: func(c *serve.Call) error { return a.listNodes(c, true) }},
		{Method: post, Path: "/v1/nodes", Need: access.NodeCreate, Body: serve.MaxBody, Handle: a.createNode},
		{Method: get, Path: node, Need: access.NodeRead, Query: []serve.Argument{serve.FieldsArgument}, Handle: a.showNode},
		{Method: patch, Path: node, Need: access.NodeChange, Body: serve.MaxBody, Handle: a.patchNode, Query: []serve.Argument{
			{Name: "reset_interfaces", Kind: api.Flag, Since: 45, Doc: "with another driver, give it its own default interfaces"},
		}},
		{Method: del, Path: node, Need: access.NodeDelete, Handle: a.deleteNode},
		{Method: get, Path: node + "/validate", Need: access.NodeValidate, Handle: a.validate},
		{Method: put, Path: node + "/maintenance", Need: access.NodeMaintenance, Body: serve.MaxBody, Handle: a.setMaintenance},
		{Method: del, Path: node + "/maintenance", Need: access.NodeMaintenance, Handle: a.unsetMaintenance},
		{Method: get, Path: node + "/traits", Need: access.NodeRead, Since: 37, Handle: a.traits},
		{Method: put, Path: node + "/traits", Need: access.NodeTraits, Since: 37, Body: serve.MaxBody, Handle: a.setTraits},
		{Method: del, Path: node + "/traits", Need: access.NodeTraits, Since: 37, Handle: a.removeTraits},
		{Method: put, Path: node + "/traits/{trait}", Need: access.NodeTraits, Since: 37, Body: serve.MaxBody, Handle: a.addTrait},
		{Method: del, Path: node + "/traits/{trait}", Need: access.NodeTraits, Since: 37, Handle: a.removeTrait},
		{Method: get, Path: node + "/inventory", Need: access.NodeInside, Since: 81, Handle: a.inventory},
		{Method: get, Path: node + "/history", Need: access.NodeInside, Since: 78, Query: historyArguments(), Handle: a.history},
		{Method: get, Path: node + "/history/{entry}", Need: access.NodeInside, Since: 78, Query: []serve.Argument{moreArgument}, Handle: a.historyEntry},
		{Method: get, Path: node + "/children", Need: access.NodeRead, Since: 83, Handle: a.children},
		{Method: get, Path: "/v1/shards", Need: access.ShardRead, Since: 82, Handle: a.shards},
		{Method: get, Path: "/v1/chassis/{record}/nodes", Need: access.ChassisRead, Record: chassis, Query: listArguments(false), Handle: func(c *serve.Call) error { return a.chassisNodes(c, false) }},
		{Method: get, Path: "/v1/chassis/{record}/nodes/detail", Need: access.ChassisRead, Record: chassis, Query: listArguments(true), Handle: func(c *serve.Call) error { return a.chassisNodes(c, true) }},
		// Beside Ironic's.
		{Method: put, Path: node + "/confirm", Need: access.NodeConfirm, Handle: a.confirmNode},
		{Method: post, Path: "/v1/nodes:batchGet", Need: access.NodeList, Body: serve.MaxBody, Handle: a.batchGet},
	}
}
