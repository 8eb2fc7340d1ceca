package rest

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Usages is the backend of GET /v1/usage; project "" is all.
type Usages interface {
	Usage(ctx context.Context, project string) ([]conductor.Usage, error)
}

// usageRoutes are beside Ironic's.
func (a *API) usageRoutes() []serve.Route {
	return []serve.Route{{Method: http.MethodGet, Path: "/v1/usage", Need: access.UsageRead, Handle: a.usage}}
}

func (a *API) usage(c *serve.Call) error {
	all, err := a.cfg.Backend.Usage(c.R.Context(), c.VisibleTo())
	if err != nil {
		return err
	}
	out := api.UsageList{Usage: []api.Usage{}}
	for _, u := range all {
		out.Usage = append(out.Usage, api.Usage{Project: u.Project, ResourceClass: u.Class, Nodes: u.Nodes, Used: u.Used, Available: u.Available, Lent: u.Lent})
	}
	return c.JSON(http.StatusOK, out)
}
