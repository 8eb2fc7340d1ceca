package rest

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Usages is the backend of GET /v1/usage; project "" is all.
type Usages interface {
	Usage(ctx context.Context, project string) ([]conductor.Usage, error)
}

// usageRoutes are beside Ironic's.
func usageRoutes() []route {
	return []route{{method: http.MethodGet, path: "/v1/usage", need: access.UsageRead, handle: (*call).usage}}
}

func (c *call) usage() error {
	if _, err := c.query(); err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.Usage(c.r.Context(), c.visibleTo())
	if err != nil {
		return err
	}
	out := api.UsageList{Usage: []api.Usage{}}
	for _, u := range all {
		out.Usage = append(out.Usage, api.Usage{Project: u.Project, ResourceClass: u.Class, Nodes: u.Nodes, Used: u.Used, Available: u.Available, Lent: u.Lent})
	}
	return c.json(http.StatusOK, out)
}
