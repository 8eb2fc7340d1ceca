package rest

import "github.com/bessemer-metal/bessemer/server/access"

// Served is a row of the table of routes, for tests.
type Served struct {
	Method, Path string
	Need         access.Right
}

// Served lists the table of routes.
func (a *API) Served() []Served {
	var out []Served
	for _, r := range a.routes() {
		out = append(out, Served{r.Method, r.Path, r.Need})
	}
	return out
}
