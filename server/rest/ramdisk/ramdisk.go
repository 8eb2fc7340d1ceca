// Package ramdisk is the part of the API that ramdisks of the Ironic profile call. They have no credentials: a lookup is good
// inside its window alone, and everything else needs the token that it gave (safety.md I24). Only nodes of fake-hardware are
// found here. What anybody may send is bounded (I25): in how often, how much is held, and how much is decoded at a time.
package ramdisk

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/profile"
	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// API is the routes' handlers.
type API struct {
	backend Backend
	wire    *nodewire.Wire
	budgets *limit.Buckets[netip.Addr] // of who asks
}

// New makes them.
func New(b Backend, w *nodewire.Wire, now func() time.Time) *API {
	return &API{b, w, limit.NewBuckets[netip.Addr](openRate, openBurst, now)}
}

// Backend is the part of the conductor behind them. addresses are in lower case; source is the caller's address.
type Backend interface {
	Node(ctx context.Context, ident string) (conductor.Node, error)
	RamdiskLookup(ctx context.Context, id string, addresses []string, source string, wantsToken bool) (n conductor.Node, token string, err error)
	RamdiskHeartbeat(ctx context.Context, b profile.Beat) error
	RamdiskInspection(ctx context.Context, id string, addresses []string, raw json.RawMessage, plugin map[string]any, source string, wantsToken bool) (n conductor.Node, token string, err error)
}

// The bounds of what they send (I25).
const (
	maxAddresses = 256
	maxCards     = 4096
	maxCallback  = 2048
	maxCA        = 64 << 10
	maxMessage   = 4096
	tokenSince   = 62
	beatTimeout  = 300 // seconds: the longest that a ramdisk may be silent
)

// nodeArgument names the node by the UUID that the ramdisk was told.
var nodeArgument = serve.Argument{Name: "node_uuid", Kind: api.UUID, Doc: "the node, when the ramdisk knows it"}

// Routes is the rows of the table of routes.
func (a *API) Routes() []serve.Route {
	return []serve.Route{
		{Method: http.MethodGet, Path: "/v1/lookup", Need: access.Open, Since: 22, Handle: a.budgeted(a.lookup), Query: []serve.Argument{
			{Name: "addresses", Kind: api.List, Doc: "MAC addresses of the machine's network cards"}, nodeArgument,
		}},
		{Method: http.MethodPost, Path: "/v1/heartbeat/{node}", Need: access.Open, Since: 22, Body: serve.MaxBody, Handle: a.budgeted(a.heartbeat)},
		a.inspectionRoute(),
	}
}

func (a *API) lookup(c *serve.Call) error {
	id := c.Arg("node_uuid")
	addresses, err := cards(strings.Split(c.Arg("addresses"), ","))
	if err != nil {
		return err
	}
	if id == "" && len(addresses) == 0 {
		return fault.New(fault.RequestInvalid, "the lookup names neither a node nor the address of a network card").
			WithHint("give addresses=MAC,MAC or node_uuid=UUID")
	}
	n, token, err := a.backend.RamdiskLookup(c.R.Context(), id, addresses, c.Source(), c.Version >= tokenSince)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a.lookedUp(c, n, token))
}

// cards is the addresses that are some, in lower case; the others are left out, as Ironic does.
func cards(list []string) ([]string, error) {
	if len(list) > maxCards {
		return nil, fault.New(fault.RequestInvalid, "%d addresses are given, %d are taken", len(list), maxCards)
	}
	var out []string
	for _, a := range list {
		if a = strings.ToLower(strings.TrimSpace(a)); isCard(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
		if len(out) > maxAddresses {
			return nil, fault.New(fault.RequestInvalid, "more than %d network cards are named", maxAddresses)
		}
	}
	return out, nil
}

// isCard tells whether a text is an address such as 52:54:00:12:34:56.
func isCard(s string) bool {
	mac, ok := api.MAC(s)
	return ok && mac == s
}

// lookedUp is the answer to a lookup. token is shown the one time that it is given.
func (a *API) lookedUp(c *serve.Call, n conductor.Node, token string) map[string]any {
	shown := a.wire.Show(c, n)
	var given any
	switch {
	case token != "":
		given = token
	case n.Ramdisk != nil:
		given = conductor.Masked
	}
	return map[string]any{
		"node": map[string]any{"uuid": shown.UUID, "properties": shown.Properties, "instance_info": shown.InstanceInfo,
			"driver_internal_info": shown.DriverInternalInfo, "links": shown.Links},
		"config": map[string]any{
			"heartbeat_timeout": beatTimeout, "agent_token": given, "agent_token_required": true,
			"agent_md5_checksum_enable": false, "disable_deep_image_inspection": false,
			"permitted_image_formats": []string{"raw", "gpt", "qcow2", "iso"}, "agent_skip_bmc_detect": false,
			"enable_bios_bootloader_install": false, "tls_min_version": "1.3", "tls_cipher_suites": nil,
			"agent_containers": map[string]any{"allow_arbitrary_containers": false, "allowed_containers": []string{},
				"container_steps_file": nil, "runner": "podman", "pull_options": []string{}, "run_options": []string{}},
			"metrics":        map[string]any{"backend": "noop", "prepend_host": false, "prepend_uuid": false, "prepend_host_reverse": true, "global_prefix": nil},
			"metrics_statsd": map[string]any{"statsd_host": "localhost", "statsd_port": 8125},
		},
	}
}

func (a *API) heartbeat(c *serve.Call) error {
	id, err := shape.Ident(strings.TrimSuffix(c.Var("node"), ".json"))
	if err != nil {
		return err
	}
	body, err := c.Body(false, "callback_url", "agent_version", "agent_token", "agent_verify_ca", "agent_status", "agent_status_message")
	if err != nil {
		return err
	}
	text := map[string]string{}
	for _, f := range []struct {
		name  string
		since api.Version
		most  int
	}{{"callback_url", 22, maxCallback}, {"agent_version", 36, 255}, {"agent_token", 22, 255}, {"agent_verify_ca", 68, maxCA},
		{"agent_status", 72, 255}, {"agent_status_message", 72, maxMessage}} {
		v, given := body[f.name]
		if !given || v == nil {
			continue
		}
		s, ok := v.(string)
		switch {
		case f.since > c.Version:
			return fault.New(fault.RequestInvalid, "Field %q is there from version %s on, %s was asked for", f.name, f.since, c.Version)
		case !ok:
			return fault.New(fault.RequestInvalid, "%s must be a string", f.name)
		case len(s) > f.most:
			return fault.New(fault.RequestInvalid, "%s is longer than %d bytes", f.name, f.most)
		}
		text[f.name] = s
	}
	// That the node exists, a heartbeat may learn: Ironic tells it, too. All that follows needs the token.
	if _, err := a.backend.Node(c.R.Context(), id); err != nil {
		return err
	}
	b := profile.Beat{Node: id, URL: text["callback_url"], Token: text["agent_token"], Version: text["agent_version"],
		Status: text["agent_status"], Message: text["agent_status_message"]}
	if ca, given := text["agent_verify_ca"]; given {
		ca = strings.TrimSpace(ca)
		b.CA = &ca
	}
	if err := checkBeat(b, body); err != nil {
		return err
	}
	if err := a.backend.RamdiskHeartbeat(c.R.Context(), b); err != nil {
		return err
	}
	return c.Empty(http.StatusAccepted)
}

// checkBeat checks what a heartbeat says by itself.
func checkBeat(b profile.Beat, body map[string]any) error {
	if _, given := body["callback_url"]; !given {
		return fault.New(fault.RequestInvalid, "callback_url is required")
	}
	if b.URL != "" { // a heartbeat that nobody is to call back has an empty one
		u, err := url.Parse(b.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fault.New(fault.RequestInvalid, `An issue with the supplied "callback_url" has been detected.`)
		}
	}
	switch {
	case b.Token == "":
		return fault.New(fault.RequestInvalid, "Agent token is required for heartbeat processing.")
	case b.Status != "" && !slices.Contains([]string{"start", "end", "error"}, b.Status):
		return fault.New(fault.RequestInvalid, "agent_status is %.80q, expected start, end or error", b.Status)
	case b.Version == "" && b.Status == "":
		return fault.New(fault.RequestInvalid, "agent_version is required")
	}
	return nil
}

func (a *API) continueInspection(c *serve.Call) error {
	const since = 84
	if c.Version < since && (c.Version > api.MinVersion || c.Given("node_uuid")) {
		return fault.New(fault.RequestPath, "API version %s or newer is required", api.Version(since))
	}
	id := c.Arg("node_uuid")
	body, err := c.Body(false)
	if err != nil {
		return err
	}
	inventory, addresses, err := inspectedCards(body)
	if err != nil {
		return err
	}
	if id == "" && len(addresses) == 0 {
		return fault.New(fault.RequestInvalid, "the inventory names no network card to find the node by").
			WithHint("inventory.interfaces needs a mac_address such as 52:54:00:12:34:56")
	}
	raw, err := json.Marshal(inventory)
	if err != nil {
		return err
	}
	delete(body, "inventory")
	n, token, err := a.backend.RamdiskInspection(c.R.Context(), id, addresses, raw, body, c.Source(), c.Version >= since)
	if err != nil {
		return err
	}
	if c.Version < since {
		return c.JSON(http.StatusAccepted, map[string]any{"uuid": string(n.UUID)})
	}
	return c.JSON(http.StatusAccepted, a.lookedUp(c, n, token))
}

// inspectedCards checks the part of an inspection that its node is found by.
func inspectedCards(body map[string]any) (inventory map[string]any, addresses []string, err error) {
	inventory, ok := body["inventory"].(map[string]any)
	if !ok {
		return nil, nil, fault.New(fault.RequestInvalid, "inventory is required, and must be an object")
	}
	list, ok := inventory["interfaces"].([]any)
	if !ok || len(list) == 0 {
		return nil, nil, fault.New(fault.RequestInvalid, "inventory.interfaces must be a list of at least one network card")
	}
	var all []string
	for i, v := range list {
		card, _ := v.(map[string]any)
		mac, ok := card["mac_address"].(string)
		if !ok {
			return nil, nil, fault.New(fault.RequestInvalid, "entry %d of inventory.interfaces has no mac_address", i+1)
		}
		all = append(all, mac)
	}
	for _, key := range []string{"bmc_address", "bmc_v6address"} {
		if _, text := inventory[key].(string); inventory[key] != nil && !text {
			return nil, nil, fault.New(fault.RequestInvalid, "inventory.%s must be a string or null", key)
		}
	}
	addresses, err = cards(all)
	return inventory, addresses, err
}
