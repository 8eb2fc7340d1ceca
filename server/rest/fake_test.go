package rest_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// backend is a conductor without a store: it keeps what it is given and notes what it is asked.
type backend struct {
	managed
	mu        sync.Mutex
	nodes     []conductor.Node
	secrets   map[string]string
	beside    []conductor.Record
	asked     conductor.RecordFilter
	provision []conductor.Provision
	power     []conductor.PowerRequest
	records   []conductor.StepRecord
	entries   []conductor.Entry
	paged     conductor.HistoryFilter // the last page of history asked for
	filter    conductor.NodeFilter
	inventory *conductor.StoredInventory
	boot      conductor.BootTarget
	logs      map[uint64]string
	defaults  []conductor.Default
	changed   chan struct{}
	rows      *nodewire.Preparer        // nil: lists get nodes that are not prepared
	cut       int                       // > 0: rows are cut to so many bytes
	vanish    map[conductor.NodeID]bool // lists have them, and then they are gone
	diagnosis api.Diagnosis
	treated   []string
	recorded  []conductor.Audit
	journal   []conductor.Change
	hooks     []conductor.Webhook
	pruned    int64     // entries of the journal up to here are gone
	heard     time.Time // when the agents were heard last
}

// Changes reads the journal that the test writes.
func (b *backend) Changes(_ context.Context, f conductor.ChangeFilter) (out []conductor.Change, pos conductor.Position, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pos = conductor.Position{First: b.pruned, Last: int64(len(b.journal)), Upto: max(f.After, int64(len(b.journal)))}
	for i, c := range b.journal {
		mine := f.VisibleTo == "" || slices.Contains([]string{c.Owner, c.Lessee, c.WasOwner, c.WasLessee}, f.VisibleTo)
		newer := slices.ContainsFunc(b.journal[i+1:], func(d conductor.Change) bool { return d.Node == c.Node })
		if c.Seq > f.After && mine && (c.Told || !f.Told) && (f.Node == "" || f.Node == c.Node) && !(f.Newest && newer) {
			if out = append(out, c); len(out) == f.Limit {
				pos.Upto = c.Seq
				break
			}
		}
	}
	return out, pos, nil
}

// changes appends to the journal how a node is now, or that it is gone. The caller holds the lock.
func (b *backend) changes(n conductor.Node, gone bool) {
	b.journal = append(b.journal, conductor.Change{Seq: int64(len(b.journal) + 1), Node: n.UUID, Name: n.Name, State: n.State, Target: n.Target, Power: n.Power,
		Maintenance: n.Maintenance, LastError: n.LastError, Gone: gone, Told: true, Owner: n.Owner, Lessee: n.Lessee, WasOwner: n.Owner, WasLessee: n.Lessee})
}

func (b *backend) Note(_ context.Context, who conductor.Caller, act string, node conductor.NodeID, detail map[string]any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recorded = append(b.recorded, conductor.Audit{Actor: who.Name, Request: who.Request, Act: act, Node: node, Detail: detail})
	return nil
}

func (b *backend) Diagnose(ctx context.Context, ident string) (api.Diagnosis, error) {
	_, err := b.Node(ctx, ident)
	return b.diagnosis, err
}

func (b *backend) DiagnoseAll(context.Context) ([]api.Diagnosis, int, error) {
	return []api.Diagnosis{b.diagnosis}, 4, nil
}

func (b *backend) Treat(ctx context.Context, who conductor.Caller, ident, act string) error {
	b.treated = append(b.treated, who.Name+" "+act)
	_, err := b.Node(ctx, ident)
	return err
}

func (b *backend) Heard(conductor.Node) time.Time { return b.heard }

func newBackend() *backend {
	return &backend{secrets: map[string]string{}, logs: map[uint64]string{}, changed: make(chan struct{}, 1)}
}

var now = time.Date(2026, 11, 20, 14, 39, 8, 0, time.UTC)

func (b *backend) at(ident string) int {
	return slices.IndexFunc(b.nodes, func(n conductor.Node) bool { return string(n.UUID) == ident || n.Name == ident })
}

func (b *backend) Node(_ context.Context, ident string) (conductor.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.at(ident); i >= 0 && !b.vanish[b.nodes[i].UUID] {
		return b.nodes[i], nil
	}
	return conductor.Node{}, fault.New(fault.NodeNotFound, "Node %s could not be found.", ident)
}

func (b *backend) ConfirmNode(_ context.Context, who conductor.Caller, ident string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.at(ident)
	if i < 0 {
		return fault.New(fault.NodeNotFound, "Node %s could not be found.", ident)
	}
	b.nodes[i].Unverified = nil
	return nil
}

func (b *backend) Nodes(_ context.Context, f conductor.NodeFilter) ([]conductor.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.filter = f
	from := 0
	if f.After != "" {
		if from = b.at(string(f.After)) + 1; from == 0 {
			return nil, fault.New(fault.NodeNotFound, "Node %s could not be found.", f.After)
		}
	}
	found := slices.DeleteFunc(slices.Clone(b.nodes[from:]), func(n conductor.Node) bool {
		return f.IDs != nil && !slices.Contains(f.IDs, string(n.UUID)) && !slices.Contains(f.IDs, n.Name) || f.VisibleTo != "" && n.Owner != f.VisibleTo && n.Lessee != f.VisibleTo ||
			f.Chassis != "" && n.Chassis != f.Chassis || f.Parent != "" && n.Parent != f.Parent
	})
	return found[:min(len(found), f.Limit)], nil
}

func (b *backend) CreateNode(_ context.Context, _ conductor.Caller, n conductor.Node, secrets map[string]string) (conductor.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n.UUID == "" {
		n.UUID = conductor.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", len(b.nodes)+1))
	}
	if n.Name != "" && b.at(n.Name) >= 0 {
		return n, fault.New(fault.NodeExists, "A node with name %s already exists.", n.Name)
	}
	n.State, n.Created, n.Updated, n.StateSince = state.Enroll, now, now, now
	maps.Copy(b.secrets, secrets)
	b.nodes = append(b.nodes, n)
	return n, nil
}

func (b *backend) UpdateNode(_ context.Context, _ conductor.Caller, ident string, change func(*conductor.Node, map[string]string) error) (conductor.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.at(ident)
	if i < 0 {
		return conductor.Node{}, fault.New(fault.NodeNotFound, "Node %s could not be found.", ident)
	}
	n, secrets := b.nodes[i], map[string]string{}
	if err := change(&n, secrets); err != nil {
		return n, err
	}
	n.Updated = now.Add(time.Minute)
	maps.Copy(b.secrets, secrets)
	b.nodes[i] = n
	return n, nil
}

func (b *backend) DeleteNode(_ context.Context, _ conductor.Caller, ident string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.at(ident)
	if i < 0 {
		return fault.New(fault.NodeNotFound, "Node %s could not be found.", ident)
	}
	b.nodes = slices.Delete(b.nodes, i, i+1)
	return nil
}

func (b *backend) Provision(_ context.Context, _ conductor.Caller, _ string, p conductor.Provision) error {
	b.provision = append(b.provision, p)
	return nil
}

func (b *backend) SetPower(_ context.Context, _ conductor.Caller, _ string, p conductor.PowerRequest) error {
	b.power = append(b.power, p)
	return nil
}

func (b *backend) SetMaintenance(ctx context.Context, who conductor.Caller, ident string, on bool, reason string) error {
	_, err := b.UpdateNode(ctx, who, ident, func(n *conductor.Node, _ map[string]string) error {
		n.Maintenance, n.MaintenanceReason = on, reason
		return nil
	})
	return err
}

func (b *backend) BootDevice(context.Context, string) (conductor.BootTarget, error) {
	return b.boot, nil
}

func (b *backend) SetBootDevice(_ context.Context, _ conductor.Caller, _ string, t conductor.BootTarget) error {
	b.boot = t
	return nil
}

func (b *backend) ChangeTraits(ctx context.Context, who conductor.Caller, ident string, change func([]string) ([]string, error)) error {
	_, err := b.UpdateNode(ctx, who, ident, func(n *conductor.Node, _ map[string]string) (err error) {
		n.Traits, err = change(slices.Clone(n.Traits))
		return err
	})
	return err
}

func (b *backend) Validate(context.Context, string) (map[string]string, error) {
	return map[string]string{"boot": "", "deploy": "image_source is missing", "power": "", "management": ""}, nil
}

func (b *backend) Inventory(context.Context, string) (conductor.StoredInventory, error) {
	if b.inventory == nil {
		return conductor.StoredInventory{}, fault.New(fault.InventoryNotFound, "no inventory")
	}
	return *b.inventory, nil
}

func (b *backend) History(_ context.Context, _ string, f conductor.HistoryFilter) ([]conductor.Entry, error) {
	b.paged = f
	from := slices.IndexFunc(b.entries, func(e conductor.Entry) bool { return e.UUID == f.After }) + 1
	return b.entries[from:min(len(b.entries), from+f.Limit)], nil
}

func (b *backend) Steps(context.Context, string, string) ([]conductor.StepRecord, error) {
	return b.records, nil
}

func (b *backend) OpenLog(_ context.Context, _ string, generation uint64, offset int64) (io.ReadCloser, []uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slices.Sorted(maps.Keys(b.logs))
	if generation == 0 && len(all) > 0 {
		generation = slices.Max(all)
	}
	text, ok := b.logs[generation]
	if !ok {
		return io.NopCloser(strings.NewReader("")), all, nil
	}
	return io.NopCloser(strings.NewReader(text[min(int(offset), len(text)):])), all, nil
}

func (b *backend) Drivers() []conductor.Driver { return []conductor.Driver{redfish{}} }

func (b *backend) Catalog(string) *step.Registry {
	r, _ := step.NewRegistry(catalog.With(catalog.Redfish)...)
	return r
}

// Watch gives a token for each change the test makes.
func (b *backend) Watch(ctx context.Context, _ string) <-chan struct{} { return b.changed }

// redfish is a driver's outside; it opens nothing.
type redfish struct{ conductor.Driver }

func (redfish) Name() string { return "redfish" }
func (redfish) Interfaces() map[string][]string {
	return map[string][]string{"power": {"redfish"}, "management": {"redfish"}, "boot": {"redfish-virtual-media"},
		"deploy": {"direct"}, "inspect": {"agent", "no-inspect"}}
}
func (redfish) Properties() map[string]string {
	return map[string]string{"redfish_address": "URL of the BMC", "redfish_username": "user", "redfish_password": "password"}
}
func (redfish) SecretKeys() []string { return []string{"redfish_password"} }

// store is an image store in memory.
type store struct{ images map[string]string }

func (s *store) Put(_ context.Context, name string, r io.Reader) (api.Image, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return api.Image{}, err
	}
	s.images[name] = string(text)
	return api.Image{Name: name, Size: int64(len(text))}, nil
}

func (s *store) Image(_ context.Context, name string) (api.Image, error) {
	text, ok := s.images[name]
	if !ok {
		return api.Image{}, fault.New(fault.ImageNotFound, "no image %s", name)
	}
	return api.Image{Name: name, Size: int64(len(text))}, nil
}

func (s *store) List(context.Context) ([]api.Image, error) {
	var out []api.Image
	for _, n := range slices.Sorted(maps.Keys(s.images)) {
		out = append(out, api.Image{Name: n, Size: int64(len(s.images[n]))})
	}
	return out, nil
}

func (s *store) Delete(_ context.Context, name string) error { delete(s.images, name); return nil }

func (b *backend) Plan(_ context.Context, ident string, p conductor.Provision) (plan.Plan, error) {
	b.provision = append(b.provision, p)
	return plan.Build(plan.Input{Node: b.nodes[b.at(ident)], Ask: p, Registry: b.Catalog("redfish")}), nil
}

func (b *backend) Defaults(_ context.Context, scope string) ([]conductor.Default, error) {
	if scope == "" {
		return b.defaults, nil
	}
	s, err := conductor.ParseScope(scope)
	return slices.DeleteFunc(slices.Clone(b.defaults), func(d conductor.Default) bool { return d.Scope != s }), err
}

func (b *backend) SetDefaults(_ context.Context, _ conductor.Caller, scope string, f state.Flow, name string, values map[string]any) error {
	s, err := conductor.ParseScope(scope)
	if err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		d := conductor.Default{Scope: s, Flow: f, Step: name, Key: k, Value: values[k]}
		if err := defaults.Check(d, b.Catalog("")); err != nil {
			return err
		}
		b.defaults = append(b.defaults, d)
	}
	return nil
}

func (b *backend) UnsetDefaults(_ context.Context, _ conductor.Caller, scope string, f state.Flow, name string, keys []string) error {
	before := len(b.defaults)
	b.defaults = slices.DeleteFunc(b.defaults, func(d conductor.Default) bool {
		return d.Scope.String() == scope && d.Flow == f && d.Step == name && (len(keys) == 0 || slices.Contains(keys, d.Key))
	})
	if len(b.defaults) == before {
		return fault.New(fault.DefaultNotFound, "not set")
	}
	return nil
}

func (b *backend) ExplainDefaults(_ context.Context, ident string) ([]conductor.Scope, []defaults.Explained, error) {
	return defaults.Scopes(b.nodes[b.at(ident)]), defaults.Explain(b.Catalog(""), b.defaults), nil
}

func (b *backend) OutOfService(_ context.Context, who conductor.Caller, ident, reason string) error {
	b.treated = append(b.treated, who.Name+" out of service: "+reason)
	return nil
}
