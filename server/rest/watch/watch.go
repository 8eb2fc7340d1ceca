// Package watch is the part of the API that one follows a fleet by: the stream of changes and the cursors into their
// journal, the destinations that changes are sent to, and the logs of agents as they grow. What is taken from a caller while
// a stream is open ends it (safety.md I26).
package watch

import (
	"context"
	"io"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// API is the routes' handlers.
type API struct {
	backend Backend
	origins []string // where webhooks may be
}

// New makes them. Webhooks may be at the origins (origin.ParseOrigin); with none, there can't be any.
func New(b Backend, origins []string) *API { return &API{b, origins} }

// Backend is the part of the conductor behind them. Every ident is a UUID or a name; errors are faults.
type Backend interface {
	Journal
	Webhooks
	Node(ctx context.Context, ident string) (conductor.Node, error)
	Nodes(ctx context.Context, f conductor.NodeFilter) ([]conductor.Node, error)
	Watch(ctx context.Context, ident string) <-chan struct{}
	OpenLog(ctx context.Context, ident string, generation uint64, offset int64) (io.ReadCloser, []uint64, error)
}

// Routes is the rows of the table of routes, all beside Ironic's.
func (a *API) Routes() []serve.Route {
	return append(a.webhookRoutes(),
		serve.Route{Method: http.MethodGet, Path: "/v1/events", Need: access.EventsRead, Handle: a.events, Query: []serve.Argument{
			{Name: "node", Doc: "only what happens to this one"},
			{Name: "cursor", Doc: "go on after it; in place of the header Last-Event-ID"},
		}},
		serve.Route{Method: http.MethodGet, Path: "/v1/nodes/{node}/logs", Need: access.NodeInside, Handle: a.logs, Query: []serve.Argument{
			{Name: "generation", Kind: api.Integer, Doc: "of this boot; the latest unless given"},
			{Name: "offset", Kind: api.Integer, Doc: "bytes to leave out at the beginning"},
			{Name: "follow", Kind: api.Flag, Doc: "go on with what is added"},
		}},
	)
}
