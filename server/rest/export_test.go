package rest

import (
	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Served is a row of the table of routes, for tests.
type Served struct {
	Method, Path string
	Need         access.Right
	Since        api.Version
	Query        []serve.Argument
}

// Served lists the table of routes.
func (a *API) Served() []Served {
	var out []Served
	for _, r := range a.routes() {
		out = append(out, Served{r.Method, r.Path, r.Need, r.Since, r.Query})
	}
	return out
}
