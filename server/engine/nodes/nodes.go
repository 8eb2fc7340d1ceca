// Package nodes keeps the records of nodes: it finds, lists, makes, changes and deletes them for operators, by the rules of
// what may be changed in which state. It touches no machine and runs no flow; what else follows from a record that has come
// or gone is its caller's.
//
// Start at Keeper; rules.go says what a state lets change, related.go what of a node leads elsewhere.
package nodes

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Keeper keeps the nodes of a store.
type Keeper struct{ cfg Config }

// New makes a keeper.
func New(cfg Config) *Keeper { return &Keeper{cfg} }

// Config is what a keeper is made with. All fields but ResourceClass are required.
type Config struct {
	Store         conductor.Store
	Now           func() time.Time
	Drivers       map[string]conductor.Driver // by the name of the hardware type
	ResourceClass string                      // of a node that is created without one; "": none
	// What is told after a commit: a record changed, one is new, one is gone (both before Notify).
	Notify           func(conductor.NodeID)
	Created, Deleted func(conductor.NodeID)
}

// Node finds a node by UUID or name.
func (k *Keeper) Node(ctx context.Context, ident string) (n conductor.Node, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error { n, err = Find(tx, ident); return err })
	return n, err
}

// Nodes lists nodes.
func (k *Keeper) Nodes(ctx context.Context, f conductor.NodeFilter) (out []conductor.Node, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Nodes(f); return err })
	return out, err
}

// PreparedNodes lists nodes for who shows them. begin is called again when the store has to be read again.
func (k *Keeper) PreparedNodes(ctx context.Context, f conductor.NodeFilter, form string, begin func() (each func(p conductor.PreparedNode) error)) error {
	return k.cfg.Store.View(ctx, func(tx conductor.Tx) error { return tx.PreparedNodes(f, form, begin()) })
}

// CreateNode stores a new node in enroll. secrets are values that are sealed, by conductor.DriverSecret and InstanceSecret; the
// node's DriverInfo and InstanceInfo show Masked in their place.
func (k *Keeper) CreateNode(ctx context.Context, who conductor.Caller, n conductor.Node, secrets map[string]string) (conductor.Node, error) {
	if n.UUID == "" {
		n.UUID = conductor.NodeID(NewID())
	}
	if !IsUUID(string(n.UUID)) {
		return n, fault.New(fault.RequestInvalid, "uuid %q is not a UUID", n.UUID)
	}
	n.UUID = conductor.NodeID(strings.ToLower(string(n.UUID)))
	now := k.cfg.Now()
	n.State, n.StateSince, n.Created = state.Enroll, now, now
	n.ResourceClass = cmp.Or(n.ResourceClass, k.cfg.ResourceClass)
	var stored conductor.Node
	err := k.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, floor := n, uint64(0)
		if err := k.sound(&n); err != nil {
			return err
		}
		if err := related(tx, conductor.Node{}, &n); err != nil {
			return err
		}
		epoch, err := tx.Setting(conductor.SettingEpoch)
		if err != nil {
			return err
		}
		if epoch != "" { // a record of the same UUID may have been lost with a database that was newer
			n, err := strconv.ParseUint(epoch, 10, 32)
			if err != nil {
				return err
			}
			floor = n * conductor.PerEpoch
		}
		n.Generation = floor
		if err := tx.CreateNode(&n); err != nil {
			return err
		}
		stored = n
		if err := keepSecrets(tx, n.UUID, secrets); err != nil {
			return err
		}
		if err := tx.AppendHistory(conductor.Entry{UUID: NewID(), Node: n.UUID, Time: now, Severity: "INFO", Type: "enroll", Event: "enrolled by " + cmp.Or(who.Name, "an operator"), State: n.State, Actor: who.Name, Request: who.Request}); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: now, Actor: who.Name, Request: who.Request, Node: n.UUID, Act: "node.create"})
	})
	if err != nil {
		return n, err
	}
	k.cfg.Created(n.UUID)
	k.cfg.Notify(n.UUID)
	return stored, nil
}

// signsIn tells whether secrets of driver_info are among these.
func signsIn(secrets map[string]string) bool {
	for field := range secrets {
		if strings.HasPrefix(field, conductor.DriverSecret("")) {
			return true
		}
	}
	return false
}

func keepSecrets(tx conductor.Tx, id conductor.NodeID, secrets map[string]string) error {
	for field, v := range secrets {
		if !strings.HasPrefix(field, conductor.DriverSecret("")) && !strings.HasPrefix(field, conductor.InstanceSecret("")) {
			return fault.New(fault.InternalError, "a secret is to be kept as %q, where nobody would look for it", field)
		}
		var raw []byte
		if v != "" {
			raw = []byte(v)
		}
		if err := tx.PutSecret(id, field, raw); err != nil {
			return err
		}
	}
	return nil
}

// sound checks a whole node: names, hardware type, hints, the skip list.
func (k *Keeper) sound(n *conductor.Node) error {
	if n.Name != "" && (!IsName(n.Name) || IsUUID(n.Name) || slices.Contains(reserved, n.Name)) {
		return fault.New(fault.RequestInvalid, "%q can't be a node's name", n.Name).
			WithHint("1 to 255 letters, digits and - . _ ~; not a UUID, not one of %s", strings.Join(reserved, ", "))
	}
	d, ok := k.cfg.Drivers[n.Driver]
	if !ok {
		return fault.New(fault.DriverUnknown, "hardware type %q is not known here", n.Driver).
			WithHint("the hardware types are %s", strings.Join(slices.Sorted(maps.Keys(k.cfg.Drivers)), ", "))
	}
	if err := fitting(d, n.Interfaces); err != nil {
		return err
	}
	for _, where := range []map[string]any{n.Properties, n.InstanceInfo} {
		if v, ok := where["root_device"]; ok && v != nil {
			hints, ok := v.(map[string]any)
			if !ok {
				return fault.New(fault.RequestInvalid, "root_device must be an object of hints")
			}
			if _, err := inventory.ParseHints(hints); err != nil {
				return err
			}
		}
	}
	skip, err := inventory.List(n.Properties, "skip_block_devices")
	if err != nil {
		return err
	}
	if err := inventory.CheckSkip(skip); err != nil {
		return err
	}
	if _, err := inventory.Allowed(n.Properties); err != nil {
		return err
	}
	if _, err := fit.MinimumFirmware(n.Properties); err != nil {
		return err
	}
	for _, m := range []*map[string]any{&n.DriverInfo, &n.Properties, &n.InstanceInfo, &n.Extra} {
		if *m == nil {
			*m = map[string]any{}
		}
	}
	return nil
}

// UpdateNode changes what an operator may change: change edits a copy, and puts new values of what is sealed into the map,
// as for CreateNode ("" forgets one). What belongs to the server (state, flow, boot) is not taken over.
func (k *Keeper) UpdateNode(ctx context.Context, who conductor.Caller, ident string, change func(n *conductor.Node, secrets map[string]string) error) (conductor.Node, error) {
	var out conductor.Node
	err := k.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, err := Find(tx, ident)
		if err != nil {
			return err
		}
		if err := MayChange(n); err != nil && !n.Maintenance { // told before what is wrong with the change, as upstream does
			return err
		}
		was, err := deepCopy(n)
		if err != nil {
			return err
		}
		secrets := map[string]string{}
		if err := change(&n, secrets); err != nil {
			return err
		}
		n.UUID, n.Version, n.Flow, n.Boot, n.Generation, n.Unverified, n.Owed, n.Lease, n.Leases, n.DisksChanged = was.UUID, was.Version, was.Flow, was.Boot, was.Generation, was.Unverified, was.Owed, was.Lease, was.Leases, was.DisksChanged
		n.State, n.Target, n.StateSince, n.Power, n.PowerTarget = was.State, was.Target, was.StateSince, was.Power, was.PowerTarget
		n.Act, n.Media, n.Console, n.RAID, n.TargetRAID, n.Root = was.Act, was.Media, was.Console, was.RAID, was.TargetRAID, was.Root
		n.Created, n.LastError, n.LastReason, n.Fault, n.BMC, n.Machine = was.Created, was.LastError, was.LastReason, was.Fault, was.BMC, was.Machine
		if err := mayUpdate(was, n, secrets); err != nil {
			return err
		}
		n.AutomaticLessee = was.AutomaticLessee && n.Lessee == was.Lessee
		if was.Maintenance && !n.Maintenance {
			n.MaintenanceReason, n.Fault = "", ""
		}
		if n.Maintenance && n.MaintenanceReason != was.MaintenanceReason {
			n.Fault = "" // it is the operator's maintenance from now on: the server does not end it
		}
		if signsIn(secrets) || !reflect.DeepEqual(n.DriverInfo, was.DriverInfo) {
			n.BMC = nil // what another BMC said
		}
		if err := k.sound(&n); err != nil {
			return err
		}
		if err := coherent(was, &n); err != nil {
			return err
		}
		if n.LiveISO != "" && !fit.BootsISO(drivers.Resolve(k.cfg.Drivers[n.Driver].Interfaces(), n.Interfaces)) {
			n.LiveISO, n.LiveHTTP = "", false // from now on the disk is booted
		}
		if err := related(tx, was, &n); err != nil {
			return err
		}
		n.Updated = k.cfg.Now()
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		out = n
		if err := keepSecrets(tx, n.UUID, secrets); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: k.cfg.Now(), Actor: who.Name, Request: who.Request, Node: n.UUID, Act: "node.update"})
	})
	if err == nil {
		k.cfg.Notify(out.UUID)
	}
	return out, err
}

// ChangeTraits changes a node's traits: what a flow waits for is no hindrance.
func (k *Keeper) ChangeTraits(ctx context.Context, who conductor.Caller, ident string, change func(traits []string) ([]string, error)) error {
	return k.Edit(ctx, who, ident, conductor.Audit{Act: "node.traits"}, func(n *conductor.Node) error {
		if err := Locked(*n); err != nil {
			return err
		}
		traits, err := change(slices.Clone(n.Traits))
		n.Traits = traits
		return err
	})
}

func deepCopy(n conductor.Node) (conductor.Node, error) {
	raw, err := json.Marshal(n)
	if err != nil {
		return conductor.Node{}, err
	}
	var out conductor.Node
	err = json.Unmarshal(raw, &out)
	out.Version = n.Version
	return out, err
}

// DeleteNode removes a node with all that belongs to it. While a step is started, or the
// machine of an ended one is not off yet, it is refused, also in maintenance: a running eraser keeps its owner (F40).
func (k *Keeper) DeleteNode(ctx context.Context, who conductor.Caller, ident string) error {
	var id conductor.NodeID
	err := k.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, err := Find(tx, ident)
		if err != nil {
			return err
		}
		id = n.UUID
		open, err := tx.OpenSteps(n.UUID)
		if err != nil {
			return err
		}
		for _, r := range open {
			if r.State == conductor.StepStarted {
				return fault.New(fault.NodeBusy, "step %s is running", r.Step.Name).
					WithHint("bessemer node abort %s or bessemer node power off %[1]s first", cmp.Or(n.Name, string(id))).At(string(id), r.Step.Name)
			}
		}
		effects, err := tx.Effects()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(effects, func(e conductor.Effect) bool { return e.Node == n.UUID && e.Kind == conductor.EffectFinish }) {
			return fault.New(fault.NodeBusy, "the machine is being powered off, so that nothing runs on it without an owner").
				WithHint("wait until that has ended: bessemer node history %s tells it", cmp.Or(n.Name, string(id))).At(string(id), "")
		}
		if err := mayDelete(n); err != nil {
			return err
		}
		detail := map[string]any{"name": n.Name, "state": n.State}
		if n.Owed != nil {
			detail["owed"] = n.Owed.String()
		}
		if err := childless(tx, n); err != nil {
			return err
		}
		if err := tx.DeleteNode(n.UUID); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: k.cfg.Now(), Actor: who.Name, Request: who.Request, Node: n.UUID, Act: "node.delete", Detail: detail})
	})
	if err != nil {
		return err
	}
	k.cfg.Deleted(id)
	k.cfg.Notify(id)
	return nil
}
