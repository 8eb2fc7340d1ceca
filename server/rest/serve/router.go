package serve

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
)

// Router is the paths of a table of routes, as mux matches them. It holds nothing of a Handler: what serves a route is found
// through the request.
type Router struct {
	all  *mux.Router
	open *mux.Router // of the routes that ask for no credentials: only asked whether it has one
}

// Compile makes the router. mux makes regular expressions of each path, hundreds in all, so a process does it once; only
// methods, paths and rights are looked at.
func Compile(routes []Route) *Router {
	rs := &Router{mux.NewRouter(), mux.NewRouter()}
	found := func(handler func(h *Handler) http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler(r.Context().Value(contextKey{}).(*Call).h).ServeHTTP(w, r)
		})
	}
	rs.all.NotFoundHandler = found(func(h *Handler) http.Handler { return h.nothing })
	rs.all.MethodNotAllowedHandler = found(func(h *Handler) http.Handler { return h.otherMethod })
	for i, rt := range routes {
		rs.all.Handle(rt.Path, found(func(h *Handler) http.Handler { return h.handlers[i] })).Methods(rt.Method)
		if rt.Need == access.Open {
			rs.open.Handle(rt.Path, rs.all).Methods(rt.Method)
		}
	}
	return rs
}

// methods are those that are served at the path of a request which is not served itself.
func (rs *Router) methods(r *http.Request) (out []string) {
	for _, m := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch, http.MethodPost, http.MethodPut} {
		as := r.Clone(context.Background())
		as.Method = m
		var found mux.RouteMatch
		if m != r.Method && rs.all.Match(as, &found) && found.MatchErr == nil {
			out = append(out, m)
		}
	}
	return out
}
