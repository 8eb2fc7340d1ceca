// Package provision is the part of the API for a node's way through its states: what a verb takes and what it would do, how
// far a flow has come, what happens to steps by default, and taking a machine out of service. Forms are checked here; whether
// a verb is legal and which steps there are is the conductor's to say.
//
// Start at API.provision in states.go.
package provision

import (
	"context"
	"net/http"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// API is the routes' handlers.
type API struct {
	backend Backend
	wire    *nodewire.Wire
}

// New makes them.
func New(b Backend, w *nodewire.Wire) *API { return &API{b, w} }

// Backend is the part of the conductor behind them. Every ident is a UUID or a name; errors are faults.
type Backend interface {
	Node(ctx context.Context, ident string) (conductor.Node, error)
	Nodes(ctx context.Context, f conductor.NodeFilter) ([]conductor.Node, error)
	Heard(n conductor.Node) time.Time // when the agent of the node's current boot was heard last; zero: not since the start
	Record(ctx context.Context, kind conductor.Kind, ident string) (conductor.Record, error)
	Provision(ctx context.Context, who conductor.Caller, ident string, p conductor.Provision) error
	Plan(ctx context.Context, ident string, p conductor.Provision) (plan.Plan, error)
	Steps(ctx context.Context, ident, run string) ([]conductor.StepRecord, error)
	Defaults(ctx context.Context, scope string) ([]conductor.Default, error)
	SetDefaults(ctx context.Context, who conductor.Caller, scope string, f state.Flow, step string, values map[string]any) error
	UnsetDefaults(ctx context.Context, who conductor.Caller, scope string, f state.Flow, step string, keys []string) error
	ExplainDefaults(ctx context.Context, ident string) ([]conductor.Scope, []defaults.Explained, error)
	// OutOfService is the one verb that Ironic lacks.
	OutOfService(ctx context.Context, who conductor.Caller, ident, reason string) error
}

// scopeArgument says whose defaults are meant.
var scopeArgument = serve.Argument{Name: "scope", Doc: "whose defaults: those of all nodes, of a driver, of a node, ..."}

// Routes is the rows of the table of routes.
func (a *API) Routes() []serve.Route {
	const get, put, del = http.MethodGet, http.MethodPut, http.MethodDelete
	const node = "/v1/nodes/{node}"
	return []serve.Route{
		{Method: get, Path: node + "/states", Need: access.NodeRead, Handle: a.states},
		{Method: put, Path: node + "/states/provision", Need: access.NodeProvision, Body: serve.MaxProvision, Handle: a.provision},
		// Beside Ironic's.
		{Method: get, Path: node + "/steps", Need: access.NodeInside, Handle: a.steps, Query: []serve.Argument{{Name: "run", Doc: "the steps of this run; the last one's unless given"}}},
		{Method: get, Path: node + "/plan", Need: access.NodeInside, Handle: a.plan, Query: []serve.Argument{
			{Name: "target", Doc: "the verb"}, {Name: "steps", Doc: "the steps that go with it, as a list in JSON"},
			{Name: "disable_ramdisk", Kind: api.Flag, Doc: "as with the verb"},
		}},
		{Method: get, Path: node + "/default_config", Need: access.NodeInside, Handle: a.explainDefaults},
		{Method: get, Path: "/v1/default_config", Need: access.DefaultsRead, Handle: a.defaults, Query: []serve.Argument{scopeArgument}},
		{Method: put, Path: "/v1/default_config", Need: access.DefaultsChange, Body: serve.MaxBody, Handle: a.setDefaults},
		{Method: del, Path: "/v1/default_config", Need: access.DefaultsChange, Handle: a.unsetDefaults, Query: []serve.Argument{
			scopeArgument, {Name: "flow", Doc: "of this flow"}, {Name: "step", Doc: "of this step"}, {Name: "key", Doc: "this one alone, priority or an argument as args.NAME; all of the step unless given"},
		}},
		{Method: put, Path: node + "/states/out_of_service", Need: access.NodeProvision, Since: 87, Body: serve.MaxBody, Handle: a.outOfService},
	}
}
