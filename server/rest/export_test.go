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
		out = append(out, Served{r.method, r.path, r.need})
	}
	return out
}

// Owned are the path variables that name objects with an owner.
func Owned() []string {
	var out []string
	for _, o := range ownedObjects {
		out = append(out, o.variable)
	}
	return out
}
