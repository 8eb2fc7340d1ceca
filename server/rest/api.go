package rest

import (
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/rest/machine"
	"github.com/bessemer-metal/bessemer/server/rest/nodes"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/server/rest/provision"
	"github.com/bessemer-metal/bessemer/server/rest/ramdisk"
	"github.com/bessemer-metal/bessemer/server/rest/records"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/watch"
)

// API is the handler of everything below / on the API listener.
type API struct {
	*serve.Handler
	cfg       Config
	wire      *nodewire.Wire
	nodes     *nodes.API
	provision *provision.API
	records   *records.API
	machine   *machine.API
	watch     *watch.API
	ramdisk   *ramdisk.API
}

// New makes the handler.
func New(cfg Config) *API {
	a := tables(cfg, nodewire.New(cfg.Backend, cfg.Hostname, cfg.Form))
	a.Handler = serve.New(serve.Config{Backend: cfg.Backend, Auth: cfg.Auth, Public: cfg.Public, Now: cfg.Now, Log: cfg.Log}, compiled[cfg.Images != nil](), a.routes())
	return a
}

// tables is an API as far as its tables go: it can be described; to be asked something it needs a backend and a wire.
func tables(cfg Config, w *nodewire.Wire) *API {
	b := cfg.Backend
	return &API{
		cfg: cfg, wire: w, nodes: nodes.New(b, w, cfg.Hostname), provision: provision.New(b, w), records: records.New(b), machine: machine.New(b),
		watch: watch.New(b, cfg.WebhookOrigins), ramdisk: ramdisk.New(b, w, cfg.Now),
	}
}

// compiled are the routers with and without the routes of images.
var compiled = map[bool]func() *serve.Router{
	false: sync.OnceValue(func() *serve.Router { return serve.Compile(tables(bare, nil).routes()) }),
	true:  sync.OnceValue(func() *serve.Router { return serve.Compile(tables(bareWithImages, nil).routes()) }),
}

// bare is all that a table of routes needs, without the routes of images and with them.
var (
	bare           = Config{Now: func() time.Time { return time.Time{} }}
	bareWithImages = Config{Now: bare.Now, Images: struct{ Images }{}}
)

// Compile does what takes New longest, for who has time for it before: images tells whether New is given a store of them.
func Compile(images bool) { compiled[images]() }

// Description is the OpenAPI document of a server with everything (openapi.go), for the reference pages.
func Description() map[string]any { return tables(bareWithImages, nil).describe() }
