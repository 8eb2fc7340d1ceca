package rest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The sub-resources of a node.

// validated is the interfaces that validate answers for.
var validated = []string{"bios", "boot", "console", "deploy", "firmware", "inspect", "management", "network", "power", "raid", "rescue", "storage"}

func (c *call) validate() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	found, err := c.api.cfg.Backend.Validate(c.r.Context(), id)
	if err != nil {
		return err
	}
	lessee := false // whom the reasons would tell what the node's record holds
	if c.grant.Project != "" {
		n, err := c.api.cfg.Backend.Node(c.r.Context(), id)
		if err != nil {
			return err
		}
		lessee = !c.grant.Sees(ownersOf(n), "driver_info")
	}
	answer := map[string]api.Validation{}
	for _, i := range validated {
		reason := found[i]
		if lessee && reason != "" && (i != "deploy" || reason == found["boot"]) {
			reason = access.Redaction
		}
		answer[i] = api.Validation{Result: reason == "", Reason: reason}
	}
	return c.json(http.StatusOK, answer)
}

// bootDeviceNames maps what is served to the conductor's words, which are the same.
var bootDeviceNames = []string{"bios", "cdrom", "disk", "floppy", "pxe", "uefihttp"}

func (c *call) bootDevice() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	b, err := c.api.cfg.Backend.BootDevice(c.r.Context(), id)
	if err != nil {
		return err
	}
	answer := api.BootDevice{}
	if slices.Contains(bootDeviceNames, b.Device) {
		answer = api.BootDevice{BootDevice: &b.Device, Persistent: &b.Always}
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) setBootDevice() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	body, err := c.body(false, "boot_device", "persistent")
	if err != nil {
		return err
	}
	b := conductor.BootTarget{}
	b.Device, _ = body["boot_device"].(string)
	if b.Device == "uefihttp" || !slices.Contains(bootDeviceNames, b.Device) {
		return fault.New(fault.RequestInvalid, "boot_device is %q, expected one of bios, cdrom, disk, floppy, pxe", b.Device)
	}
	if v := body["persistent"]; v != nil {
		if b.Always, err = api.Bool(v); err != nil {
			return fault.New(fault.RequestInvalid, "persistent: %v", err)
		}
	}
	if err := c.api.cfg.Backend.SetBootDevice(c.r.Context(), c.who, id, b); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) traits() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	n, err := c.api.cfg.Backend.Node(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"traits": append([]string{}, n.Traits...)})
}

// changeTraits edits a node's traits.
func (c *call) changeTraits(change func(traits []string) ([]string, error)) error {
	id, err := c.node()
	if err != nil {
		return err
	}
	_, err = c.api.cfg.Backend.UpdateNode(c.r.Context(), c.who, id, func(n *conductor.Node, _ map[string]string) error {
		traits, err := change(slices.Clone(n.Traits))
		if err != nil {
			return err
		}
		slices.Sort(traits)
		traits = slices.Compact(traits)
		if len(traits) > maxTraits {
			return fault.New(fault.RequestInvalid, "a node has at most %d traits, this would be %d", maxTraits, len(traits))
		}
		n.Traits = traits
		return nil
	})
	return err
}

func (c *call) setTraits() error {
	body, err := c.body(false, "traits")
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
	if err := c.changeTraits(func([]string) ([]string, error) { return traits, nil }); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) removeTraits() error {
	if err := c.changeTraits(func([]string) ([]string, error) { return nil, nil }); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) addTrait() error {
	trait := mux.Vars(c.r)["trait"]
	if _, err := c.body(true, "none"); err != nil {
		return err
	}
	if err := shape.CheckTrait(trait); err != nil {
		return err
	}
	if err := c.changeTraits(func(t []string) ([]string, error) { return append(t, trait), nil }); err != nil {
		return err
	}
	c.w.Header().Set("Location", c.base+"/v1/nodes/"+mux.Vars(c.r)["node"]+"/traits/"+trait)
	return c.empty(http.StatusNoContent)
}

func (c *call) removeTrait() error {
	trait := mux.Vars(c.r)["trait"]
	err := c.changeTraits(func(t []string) ([]string, error) {
		i := slices.Index(t, trait)
		if i < 0 {
			return nil, fault.New(fault.TraitNotFound, "The node has no trait %q.", trait)
		}
		return slices.Delete(t, i, i+1), nil
	})
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) inventory() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	inv, err := c.api.cfg.Backend.Inventory(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		Inventory json.RawMessage `json:"inventory"`
		Plugin    map[string]any  `json:"plugin_data"`
	}{inv.Inventory, shape.Object(inv.Plugin)})
}

func (c *call) history() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	q, err := c.query("detail", "limit", "marker", "more")
	if err != nil {
		return err
	}
	more, err := flag(q, "more") // what Ironic's history does not have: entries stay as Ironic's otherwise
	if err != nil {
		return err
	}
	p := page{query: q}
	if p.limit, err = limitOf(q); err != nil {
		return err
	}
	detail, err := flag(q, "detail")
	if err != nil {
		return err
	}
	if m := q.Get("marker"); m != "" {
		if err := shape.WantUUID("marker", m); err != nil {
			return err
		}
	}
	entries, err := c.api.cfg.Backend.History(c.r.Context(), id, p.limit, q.Get("marker"))
	if err != nil {
		return err
	}
	answer := api.HistoryList{History: []api.HistoryEntry{}}
	for _, e := range entries {
		answer.History = append(answer.History, c.entry(e, detail, more))
	}
	if len(entries) > 0 {
		answer.Next = c.next(p, len(entries), entries[len(entries)-1].UUID)
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) entry(e conductor.Entry, detail, more bool) api.HistoryEntry {
	out := api.HistoryEntry{UUID: e.UUID, CreatedAt: api.Time{Time: e.Time}, Severity: e.Severity, Event: e.Event,
		Links: api.LinkPair(c.base, "nodes/"+string(e.Node)+"/history/"+e.UUID)}
	if detail {
		out.EventType, out.Conductor, out.User = e.Type, c.api.cfg.Hostname, e.Actor
	} else if r := []rune(out.Event); len(r) > 255 {
		out.Event = string(r[:255])
	}
	if more {
		out.HistoryMore = &api.HistoryMore{State: string(e.State), Target: string(e.Target), Duration: e.Duration.Seconds(),
			Reason: string(e.Reason), Step: e.Step, Run: e.Run, Request: e.Request, Log: e.Log}
	}
	return out
}

func (c *call) historyEntry() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	q, err := c.query("more")
	if err != nil {
		return err
	}
	more, err := flag(q, "more") // what Ironic's history does not have: entries stay as Ironic's otherwise
	if err != nil {
		return err
	}
	want := mux.Vars(c.r)["entry"] // what is no UUID is no entry either
	for marker := ""; ; {
		entries, err := c.api.cfg.Backend.History(c.r.Context(), id, maxPage, marker)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.UUID == want {
				return c.json(http.StatusOK, c.entry(e, true, more))
			}
			marker = e.UUID
		}
		if len(entries) < maxPage {
			return fault.New(fault.EntryNotFound, "The node's history has no entry %s.", want)
		}
	}
}
