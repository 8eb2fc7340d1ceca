package rest

import (
	"net/http"
	"sync"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
)

// routers are the paths of all routes, as mux matches them. They hold nothing of an API: what serves a route is found through
// the request.
type routers struct {
	all  *mux.Router
	open *mux.Router // of the routes that ask for no credentials: only asked whether it has one
}

// compiled are the routers with and without the routes of images. mux makes regular expressions of each path, hundreds in
// all, so a process does it once.
var compiled = map[bool]func() routers{
	false: sync.OnceValue(func() routers { return compile(&API{beside: collections()}) }),
	true:  sync.OnceValue(func() routers { return compile(&API{beside: collections(), cfg: Config{Images: struct{ Images }{}}}) }),
}

// Compile does what takes New longest, for who has time for it before: images tells whether New is given a store of them.
func Compile(images bool) { compiled[images]() }

func compile(a *API) routers {
	rs := routers{mux.NewRouter(), mux.NewRouter()}
	found := func(handler func(a *API) http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler(r.Context().Value(contextKey{}).(*call).api).ServeHTTP(w, r)
		})
	}
	rs.all.NotFoundHandler = found(func(a *API) http.Handler { return a.nothing })
	rs.all.MethodNotAllowedHandler = found(func(a *API) http.Handler { return a.otherMethod })
	for i, rt := range a.routes() {
		rs.all.Handle(rt.path, found(func(a *API) http.Handler { return a.handlers[i] })).Methods(rt.method)
		if rt.need == access.Open {
			rs.open.Handle(rt.path, rs.all).Methods(rt.method)
		}
	}
	return rs
}
