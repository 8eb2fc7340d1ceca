// Package rest is the operators' API over HTTP: the table of its routes, and their description. What is behind a route
// stands in a package below it, by subject; what has few lines stands here. It decides nothing about nodes; what may happen
// to one is the conductor's to say.
//
// Start at the table in routes.go: what is not in it is not served (safety.md T16), and each row names the right that a
// caller needs. Every request goes through serve; fields are shown and accepted by the tables of shared/api alone (shape),
// and secrets are masked (mask).
package rest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/server/rest/machine"
	"github.com/bessemer-metal/bessemer/server/rest/nodes"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/server/rest/provision"
	"github.com/bessemer-metal/bessemer/server/rest/ramdisk"
	"github.com/bessemer-metal/bessemer/server/rest/records"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/watch"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Backend is the part of the conductor that operators reach. Every ident is a UUID or a name; errors are faults.
type Backend interface {
	serve.Backend
	nodewire.Backend
	nodes.Backend
	provision.Backend
	records.Backend
	machine.Backend
	watch.Backend
	ramdisk.Backend
	Usages
	Catalog(driver string) *step.Registry
	Diagnose(ctx context.Context, ident string) (api.Diagnosis, error)
	DiagnoseAll(ctx context.Context) (out []api.Diagnosis, well int, err error)
	Treat(ctx context.Context, who conductor.Caller, ident, act string) error
}

// Images is the image store. Put reads the image to its end, keeps it only when it is whole, and replaces one of the
// same name; a missing image is the image.not_found fault.
type Images interface {
	Put(ctx context.Context, name string, image io.Reader) (api.Image, error)
	Image(ctx context.Context, name string) (api.Image, error)
	List(ctx context.Context) ([]api.Image, error)
	Delete(ctx context.Context, name string) error
}

// Config is what the API is made of.
type Config struct {
	Backend  Backend
	Images   Images // nil: no image store, its routes answer 404
	Auth     login.Authenticator
	Hostname string                                // shown as the conductor
	Form     string                                // of the prepared rows in the store (Preparer.Form)
	Public   string                                // base URL in links; "" takes scheme and host of each request
	Now      func() time.Time                      // wall time
	Started  time.Time                             // shown as the conductor's age
	Checks   func(ctx context.Context) []api.Check // looks at the server itself; nil: none are made
	// WebhookOrigins are those that webhooks may be at (origin.ParseOrigin); none: there can't be any.
	WebhookOrigins []string
	Log            *slog.Logger
}

// Server wraps a handler in a server whose time-outs end slow and idle clients (safety.md T6). How long an answer may
// take is the handler's to say: the API gives each one serve.AnswerTime, and what is long more as long as it moves.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
