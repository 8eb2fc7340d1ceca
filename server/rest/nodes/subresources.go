package nodes

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The sub-resources of a node.

// validated is the interfaces that validate answers for.
var validated = []string{"bios", "boot", "console", "deploy", "firmware", "inspect", "management", "network", "power", "raid", "rescue", "storage"}

func (a *API) validate(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	found, err := a.backend.Validate(c.R.Context(), id)
	if err != nil {
		return err
	}
	lessee := false // whom the reasons would tell what the node's record holds
	if c.Grant.Project != "" {
		n, err := a.backend.Node(c.R.Context(), id)
		if err != nil {
			return err
		}
		lessee = !c.Grant.Sees(serve.OwnersOf(n), "driver_info")
	}
	answer := map[string]api.Validation{}
	for _, i := range validated {
		reason := found[i]
		if lessee && reason != "" && (i != "deploy" || reason == found["boot"]) {
			reason = access.Redaction
		}
		answer[i] = api.Validation{Result: reason == "", Reason: reason}
	}
	return c.JSON(http.StatusOK, answer)
}

func (a *API) traits(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"traits": append([]string{}, n.Traits...)})
}

// maxTraits bounds the traits of a node.
const maxTraits = 50

// changeTraits edits a node's traits.
func (a *API) changeTraits(c *serve.Call, change func(traits []string) ([]string, error)) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	return a.backend.ChangeTraits(c.R.Context(), c.Who, id, func(traits []string) ([]string, error) {
		traits, err := change(traits)
		if err != nil {
			return nil, err
		}
		slices.Sort(traits)
		if traits = slices.Compact(traits); len(traits) > maxTraits {
			return nil, fault.New(fault.RequestInvalid, "a node has at most %d traits, this would be %d", maxTraits, len(traits))
		}
		return traits, nil
	})
}

func (a *API) setTraits(c *serve.Call) error {
	body, err := c.Body(false, "traits")
	if err != nil {
		return err
	}
	list, ok := body["traits"].([]any)
	if !ok {
		return fault.New(fault.RequestInvalid, "traits must be a list")
	}
	var traits []string
	for _, v := range list {
		t, _ := v.(string)
		if err := shape.CheckTrait(t); err != nil {
			return err
		}
		traits = append(traits, t)
	}
	if err := a.changeTraits(c, func([]string) ([]string, error) { return traits, nil }); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) removeTraits(c *serve.Call) error {
	if err := a.changeTraits(c, func([]string) ([]string, error) { return nil, nil }); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) addTrait(c *serve.Call) error {
	trait := c.Var("trait")
	if _, err := c.Body(true, "none"); err != nil {
		return err
	}
	if err := shape.CheckTrait(trait); err != nil {
		return err
	}
	if err := a.changeTraits(c, func(t []string) ([]string, error) { return append(t, trait), nil }); err != nil {
		return err
	}
	c.W.Header().Set("Location", c.Base+"/v1/nodes/"+c.Var("node")+"/traits/"+trait)
	return c.Empty(http.StatusNoContent)
}

func (a *API) removeTrait(c *serve.Call) error {
	trait := c.Var("trait")
	err := a.changeTraits(c, func(t []string) ([]string, error) {
		i := slices.Index(t, trait)
		if i < 0 {
			return nil, fault.New(fault.TraitNotFound, "The node has no trait %q.", trait)
		}
		return slices.Delete(t, i, i+1), nil
	})
	if err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) inventory(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	inv, err := a.backend.Inventory(c.R.Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, struct {
		Inventory json.RawMessage `json:"inventory"`
		Plugin    map[string]any  `json:"plugin_data"`
	}{inv.Inventory, shape.Object(inv.Plugin)})
}

// moreArgument asks for what Ironic's history does not have: entries stay as Ironic's otherwise.
var moreArgument = serve.Argument{Name: "more", Kind: api.Flag, Doc: "show what Ironic's history does not have"}

func historyArguments() []serve.Argument {
	return append(serve.OrderArguments(), serve.Argument{Name: "detail", Kind: api.Flag, Doc: "show every field"}, moreArgument)
}

func (a *API) history(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	p, err := c.Ordered()
	if err != nil {
		return err
	}
	if p.Key == "conductor" || p.Key == "updated_at" { // the same for all
		p.Key = ""
	}
	if p.Key != "" && !slices.Contains(conductor.HistoryKeys(), p.Key) {
		return fault.New(fault.RequestInvalid, "The sort_key value %q is invalid for sorting.", p.Key).WithHint("sort by id, or one of %s", strings.Join(conductor.HistoryKeys(), ", "))
	}
	entries, err := a.backend.History(c.R.Context(), id, conductor.HistoryFilter{After: p.Marker, Limit: p.Limit, SortKey: p.Key, Descending: p.Down})
	if err != nil {
		return err
	}
	answer := api.HistoryList{History: []api.HistoryEntry{}}
	for _, e := range entries {
		answer.History = append(answer.History, a.entry(c, e, c.Flag("detail")))
	}
	if len(entries) > 0 {
		answer.Next = c.Next(p, len(entries), entries[len(entries)-1].UUID)
	}
	return c.JSON(http.StatusOK, answer)
}

// maxEvent is how long the text of an entry is without detail.
const maxEvent = 255

func (a *API) entry(c *serve.Call, e conductor.Entry, detail bool) api.HistoryEntry {
	out := api.HistoryEntry{UUID: e.UUID, CreatedAt: api.Time{Time: e.Time}, Severity: e.Severity, Event: e.Event,
		Links: api.LinkPair(c.Base, "nodes/"+string(e.Node)+"/history/"+e.UUID)}
	if detail {
		out.EventType, out.Conductor, out.User = e.Type, a.hostname, e.Actor
	} else if r := []rune(out.Event); len(r) > maxEvent {
		out.Event = string(r[:maxEvent-4]) + "..." // as Ironic cuts it: one less than there might be
	}
	if c.Flag(moreArgument.Name) {
		out.HistoryMore = &api.HistoryMore{State: string(e.State), Target: string(e.Target), Duration: e.Duration.Seconds(),
			Reason: string(e.Reason), Step: e.Step, Run: e.Run, Request: e.Request, Log: e.Log}
	}
	return out
}

func (a *API) historyEntry(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	want := strings.ToLower(c.Var("entry")) // what is no UUID is no entry either
	for marker := ""; ; {
		entries, err := a.backend.History(c.R.Context(), id, conductor.HistoryFilter{After: marker, Limit: serve.MaxPage})
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.UUID == want {
				return c.JSON(http.StatusOK, a.entry(c, e, true))
			}
			marker = e.UUID
		}
		if len(entries) < serve.MaxPage {
			return fault.New(fault.EntryNotFound, "The node's history has no entry %s.", want)
		}
	}
}
