// Package generic is the hardware manager of any Linux machine: it binds the in-band steps of shared/catalog to code.
// It decides neither which disks a step touches nor whether they may be written: the server names them, the guard
// judges them. Start at New.
package generic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/agent/raid"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Guard hands out disks that may be written; see disk.Guard.
type Guard interface {
	Check(ctx context.Context, ids []inventory.DeviceID, node map[string]any) ([]*disk.Disk, error)
	Covers(ctx context.Context, ids []inventory.DeviceID, node map[string]any) error
}

// Eraser erases disks; see erase.Eraser.
type Eraser interface {
	Metadata(ctx context.Context, disks []*disk.Disk, report func(step.Progress)) ([]erase.Record, error)
	Erase(ctx context.Context, disks []*disk.Disk, opt erase.Options, report func(step.Progress)) ([]erase.Record, error)
}

// Writer writes images; see image.Writer.
type Writer interface {
	Write(ctx context.Context, s image.Spec, to *disk.Disk, report func(step.Progress)) (image.Written, error)
}

// Arrays builds, opens and deletes arrays of software RAID; see raid.Builder.
type Arrays interface {
	Create(ctx context.Context, o raid.Order) (map[string]any, error)
	Delete(ctx context.Context, o raid.Order) ([]string, error)
	Open(ctx context.Context, id inventory.DeviceID, node map[string]any) (*raid.Opened, error)
	Release(ctx context.Context) error
}

// Rescuer lets people log in at the machine; see system.RescueLogin.
type Rescuer interface {
	Admit(ctx context.Context, hash string) error
}

// Manager is the generic hardware manager.
type Manager struct {
	guard   Guard
	eraser  Eraser
	writer  Writer
	arrays  Arrays
	rescuer Rescuer
}

// New makes the manager of its five tools.
func New(g Guard, e Eraser, w Writer, a Arrays, r Rescuer) *Manager { return &Manager{g, e, w, a, r} }

// Name is the manager's name.
func (*Manager) Name() string { return "generic" }

// Version changes with what the steps do.
func (*Manager) Version() string { return "1" }

// Support is generic on every machine.
func (*Manager) Support(context.Context, *hardware.Machine) (hardware.Level, error) {
	return hardware.Generic, nil
}

// Steps binds the catalog's in-band steps. A row without code is an error: it would be offered and could not run.
func (m *Manager) Steps(context.Context, *hardware.Machine) ([]step.Bound, error) {
	code := map[string]func(context.Context, step.Call) (step.Result, error){
		"deploy.erase_devices_metadata": m.eraseMetadata,
		"deploy.erase_devices":          m.erase,
		"deploy.write_image":            m.writeImage,
		catalog.DeleteRAID:              m.deleteRAID,
		catalog.CreateRAID:              m.createRAID,
		catalog.ApplyRAID:               m.createRAID,
		"rescue.finalize_rescue":        m.finalizeRescue,
	}
	var out []step.Bound
	for _, s := range catalog.InBand {
		run, ok := code[s.Name]
		if !ok {
			return nil, fmt.Errorf("step %s of the catalog has no code", s.Name)
		}
		out = append(out, step.Bound{Step: s, Run: run})
	}
	return out, nil
}

func (m *Manager) eraseMetadata(ctx context.Context, c step.Call) (step.Result, error) {
	return m.all(ctx, c, func(disks []*disk.Disk) ([]erase.Record, error) { return m.eraser.Metadata(ctx, disks, c.Report) })
}

func (m *Manager) erase(ctx context.Context, c step.Call) (step.Result, error) {
	opt := erase.Options{Overwrite: c.Args.Text("method") == "overwrite", Full: c.Args.Text("verify") == "full", Resume: c.Resume}
	return m.all(ctx, c, func(disks []*disk.Disk) ([]erase.Record, error) { return m.eraser.Erase(ctx, disks, opt, c.Report) })
}

// all runs an erase on the disks of the call, which must be all that this machine has to erase.
func (m *Manager) all(ctx context.Context, c step.Call, fn func([]*disk.Disk) ([]erase.Record, error)) (_ step.Result, err error) {
	if err := m.arrays.Release(ctx); err != nil {
		return step.Result{}, err
	}
	if err := m.guard.Covers(ctx, c.Devices, c.Node); err != nil {
		return step.Result{}, err
	}
	disks, err := m.guard.Check(ctx, c.Devices, c.Node)
	if err != nil {
		return step.Result{}, err
	}
	defer func() { err = errors.Join(err, disk.Close(disks)) }()
	records, err := fn(disks)
	data, e := plain(map[string]any{"devices": records})
	return step.Result{Data: data}, errors.Join(err, e)
}

func (m *Manager) writeImage(ctx context.Context, c step.Call) (_ step.Result, err error) {
	if len(c.Devices) != 1 {
		return step.Result{}, fault.New(fault.DiskAmbiguous, "an image goes to one disk, the step names %d", len(c.Devices))
	}
	s := image.Spec{
		URL: c.Args.Text("url"), Format: c.Args.Text("format"), Algorithm: c.Args.Text("digest_algorithm"), Digest: c.Args.Text("digest"),
	}
	if c.Args.Bool("configdrive") {
		s.ConfigDrive = func(ctx context.Context) ([]byte, error) { return c.Secret(ctx, "configdrive") }
	}
	to, done, err := m.root(ctx, c, &s)
	if err != nil {
		return step.Result{}, err
	}
	defer func() { err = errors.Join(err, done()) }()
	written, err := m.writer.Write(ctx, s, to, c.Report)
	data, e := plain(written)
	return step.Result{Data: data}, errors.Join(err, e)
}

// root opens the disk that the image goes to, or the array.
func (m *Manager) root(ctx context.Context, c step.Call, s *image.Spec) (to *disk.Disk, done func() error, err error) {
	if c.Devices[0].Class == inventory.MDRAID {
		o, err := m.arrays.Open(ctx, c.Devices[0], c.Node)
		if err != nil {
			return nil, nil, err
		}
		s.Boot = o.Boot
		return o.Disk, func() error { return o.Close(context.WithoutCancel(ctx)) }, nil
	}
	if err := m.arrays.Release(ctx); err != nil {
		return nil, nil, err
	}
	disks, err := m.guard.Check(ctx, c.Devices, c.Node)
	if err != nil {
		return nil, nil, err
	}
	return disks[0], disks[0].Close, nil
}

// createRAID builds what the server wants of it: the node's target or the step's own configuration, without the volumes
// that are not to be built. The result is empty when there is nothing to build.
func (m *Manager) createRAID(ctx context.Context, c step.Call) (step.Result, error) {
	config, _ := c.Node[catalog.TargetRAID].(map[string]any)
	run, _ := c.Node[catalog.RunOf].(string)
	built, err := m.arrays.Create(ctx, raid.Order{
		Devices: c.Devices, Node: c.Node, Config: config, Run: run, Delete: c.Args.Bool("delete_existing"), Report: c.Report,
	})
	if err != nil || built == nil {
		return step.Result{}, err
	}
	data, err := plain(map[string]any{catalog.BuiltRAID: built})
	return step.Result{Data: data}, err
}

func (m *Manager) deleteRAID(ctx context.Context, c step.Call) (step.Result, error) {
	deleted, err := m.arrays.Delete(ctx, raid.Order{Devices: c.Devices, Node: c.Node, Report: c.Report})
	if err != nil {
		return step.Result{}, err
	}
	data, err := plain(map[string]any{catalog.BuiltRAID: map[string]any{"logical_disks": []any{}}, "deleted": deleted})
	return step.Result{Data: data}, err
}

// finalizeRescue gets the hash of the rescue's password; the password itself never comes here.
func (m *Manager) finalizeRescue(ctx context.Context, c step.Call) (step.Result, error) {
	hash, err := c.Secret(ctx, "rescue_password")
	if err != nil {
		return step.Result{}, err
	}
	return step.Result{}, m.rescuer.Admit(ctx, string(hash))
}

// plain turns a value into what a step's result may hold: that which survives JSON.
func plain(v any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the step's result: %w", err)
	}
	var out map[string]any
	return out, json.Unmarshal(b, &out)
}
