package machine

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// BIOS settings and firmware versions, as they were read last: no request here waits for a BMC.

// Parts is the part of the Backend behind it.
type Parts interface {
	BIOSSettings(ctx context.Context, ident string) (conductor.Node, []conductor.BIOSSetting, error)
	Firmware(ctx context.Context, ident string) (conductor.Node, []conductor.FirmwareComponent, error)
}

func (a *API) partsRoutes() []serve.Route {
	const node = "/v1/nodes/{node}"
	return []serve.Route{
		{Method: http.MethodGet, Path: node + "/bios", Need: access.NodeRead, Since: 40, Query: chosen(74), Handle: a.bios},
		{Method: http.MethodGet, Path: node + "/bios/{setting}", Need: access.NodeRead, Since: 40, Handle: a.biosSetting},
		{Method: http.MethodGet, Path: node + "/firmware", Need: access.NodeRead, Since: 86, Query: chosen(86), Handle: a.firmware},
	}
}

// biosFields is what fields= may name (1.74); the first two are shown without it.
var biosFields = []api.Field{
	{Name: "name", Since: 40, Short: true}, {Name: "value", Since: 40, Short: true}, {Name: "attribute_type", Since: 74}, {Name: "allowable_values", Since: 74},
	{Name: "lower_bound", Since: 74}, {Name: "upper_bound", Since: 74}, {Name: "min_length", Since: 74}, {Name: "max_length", Since: 74},
	{Name: "read_only", Since: 74}, {Name: "reset_required", Since: 74}, {Name: "unique", Since: 74},
	{Name: "created_at", Since: 40, Short: true}, {Name: "updated_at", Since: 40, Short: true}, {Name: "links", Since: 40, Short: true},
}

// biosView is a setting on the wire; its order is that of biosFields.
type biosView struct {
	Name          string     `json:"name"`
	Value         *string    `json:"value"`
	Type          *string    `json:"attribute_type"`
	Allowed       []string   `json:"allowable_values"` // empty, never null, where any value will do, as Ironic has it
	Lower         *int64     `json:"lower_bound"`
	Upper         *int64     `json:"upper_bound"`
	Shortest      *int64     `json:"min_length"`
	Longest       *int64     `json:"max_length"`
	ReadOnly      *bool      `json:"read_only"`
	ResetRequired *bool      `json:"reset_required"`
	Unique        *bool      `json:"unique"`
	Created       api.Time   `json:"created_at"`
	Updated       api.Time   `json:"updated_at"`
	Links         []api.Link `json:"links"`
}

func viewOf(c *serve.Call, n conductor.Node, s conductor.BIOSSetting) biosView {
	s = s.Shown() // a row that an older release stored may be bare
	return biosView{
		Name: s.Name, Value: s.Value, Type: shape.OrNull(s.Type), Allowed: append([]string{}, s.Allowed...), Lower: s.Lower, Upper: s.Upper, Shortest: s.Shortest, Longest: s.Longest,
		ReadOnly: s.ReadOnly, ResetRequired: s.ResetRequired, Unique: s.Unique, Created: api.Time{Time: s.Created}, Updated: api.Time{Time: s.Updated},
		Links: api.LinkPair(c.Base, fmt.Sprintf("nodes/%s/bios/%s", n.UUID, url.PathEscape(s.Name))),
	}
}

func (a *API) bios(c *serve.Call) error {
	return listParts(c, "bios", biosFields, a.backend.BIOSSettings, viewOf)
}

// chosen is the arguments by which a client chooses what is shown of parts, from a version on.
func chosen(since api.Version) []serve.Argument {
	return []serve.Argument{{Name: "fields", Kind: api.List, Since: since, Doc: serve.FieldsArgument.Doc}, {Name: "detail", Kind: api.Flag, Since: since, Doc: "show every field"}}
}

// listParts answers with the parts of a node that are read. When they were read is always told.
func listParts[P, V any](c *serve.Call, name string, fields []api.Field,
	read func(ctx context.Context, ident string) (conductor.Node, []P, error), view func(*serve.Call, conductor.Node, P) V) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	detail := c.Flag("detail")
	form := shape.New(*new(V), fields)
	sel := form.All(c.Version, !detail)
	if detail && c.Given("fields") {
		return fault.New(fault.RequestInvalid, "Can't fetch a subset of fields with 'detail' set")
	}
	if list := c.Arg("fields"); len(shape.Items(list)) > 0 {
		if sel, err = form.Wanted(list+",created_at,updated_at", c.Version); err != nil {
			return err
		}
	}
	n, all, err := read(c.R.Context(), id)
	if err != nil {
		return err
	}
	out := []any{}
	for _, part := range all {
		text, err := form.Encode(view(c, n, part), sel)
		if err != nil {
			return err
		}
		out = append(out, text)
	}
	return c.JSON(http.StatusOK, map[string]any{name: out})
}

func (a *API) biosSetting(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	n, all, err := a.backend.BIOSSettings(c.R.Context(), id)
	if err != nil {
		return err
	}
	name := c.Var("setting")
	form := shape.New(biosView{}, biosFields)
	for _, s := range all {
		if s.Name != name {
			continue
		}
		text, err := form.Encode(viewOf(c, n, s), form.All(c.Version, false))
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, map[string]any{name: text})
	}
	return fault.New(fault.SettingNotFound, "Node %s has no BIOS setting %.100q.", n.UUID, name)
}

var firmwareFields = []api.Field{
	{Name: "component", Since: 86, Short: true}, {Name: "initial_version", Since: 86, Short: true}, {Name: "current_version", Since: 86, Short: true},
	{Name: "last_version_flashed", Since: 86, Short: true}, {Name: "created_at", Since: 86, Short: true}, {Name: "updated_at", Since: 86, Short: true},
}

type firmwareView struct {
	Component string   `json:"component"`
	Initial   string   `json:"initial_version"`
	Current   string   `json:"current_version"`
	Flashed   *string  `json:"last_version_flashed"`
	Created   api.Time `json:"created_at"`
	Updated   api.Time `json:"updated_at"`
}

func (a *API) firmware(c *serve.Call) error {
	return listParts(c, "firmware", firmwareFields, a.backend.Firmware, func(_ *serve.Call, _ conductor.Node, f conductor.FirmwareComponent) firmwareView {
		return firmwareView{f.Component, f.Initial, f.Current, shape.OrNull(f.Flashed), api.Time{Time: f.Created}, api.Time{Time: f.Updated}}
	})
}
