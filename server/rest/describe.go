package rest

import (
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Description is the OpenAPI document of a server with everything (openapi.go), for the reference pages.
func Description() map[string]any {
	a := &API{cfg: Config{Images: struct{ Images }{}}, node: shape.New(api.Node{}, api.NodeFields()), beside: collections()}
	return a.describe()
}
