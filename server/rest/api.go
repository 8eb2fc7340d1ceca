package rest

import (
	"net/netip"
	"sync"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// API is the handler of everything below / on the API listener.
type API struct {
	*serve.Handler
	cfg     Config
	budgets *limit.Buckets[netip.Addr] // of who asks without credentials
	sealed  mask.Drivers
	// interfaces is what each driver supports, by driver and interface, the default first.
	interfaces map[string]map[string][]string
	form       string // of the prepared rows that may be shown
	buffers    sync.Pool
	node       *shape.Shape
	beside     []*collection
}

// New makes the handler.
func New(cfg Config) *API {
	a := described(cfg)
	a.budgets = limit.NewBuckets[netip.Addr](openRate, openBurst, cfg.Now)
	a.learn(cfg.Backend.Drivers())
	a.form = cfg.Form
	a.Handler = serve.New(serve.Config{Backend: cfg.Backend, Auth: cfg.Auth, Public: cfg.Public, Now: cfg.Now, Log: cfg.Log}, compiled[cfg.Images != nil](), a.routes())
	return a
}

// described is an API as far as its tables go: it can be described, and nothing asked of it.
func described(cfg Config) *API {
	a := &API{cfg: cfg, node: shape.New(api.Node{}, api.NodeFields())}
	a.beside = a.collections()
	return a
}

// learn keeps what the hardware types say of themselves.
func (a *API) learn(drivers []conductor.Driver) {
	a.sealed, a.interfaces = mask.Of(drivers), map[string]map[string][]string{}
	for _, d := range drivers {
		a.interfaces[d.Name()] = d.Interfaces()
	}
}

// compiled are the routers with and without the routes of images.
var compiled = map[bool]func() *serve.Router{
	false: sync.OnceValue(func() *serve.Router { return serve.Compile(described(Config{}).routes()) }),
	true:  sync.OnceValue(func() *serve.Router { return serve.Compile(described(withImages).routes()) }),
}

// withImages is what a table of routes with all rows needs.
var withImages = Config{Images: struct{ Images }{}}

// Compile does what takes New longest, for who has time for it before: images tells whether New is given a store of them.
func Compile(images bool) { compiled[images]() }

// Description is the OpenAPI document of a server with everything (openapi.go), for the reference pages.
func Description() map[string]any { return described(withImages).describe() }
