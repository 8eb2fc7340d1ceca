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
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Guard hands out disks that may be written; see disk.Guard.
type Guard interface {
	Check(ctx context.Context, ids []inventory.DeviceID, node map[string]any) ([]*disk.Disk, error)
	Covers(ids []inventory.DeviceID, node map[string]any) error
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

// Rescuer lets people log in at the machine; see system.RescueLogin.
type Rescuer interface {
	Admit(ctx context.Context, hash string) error
}

// Manager is the generic hardware manager.
type Manager struct {
	guard   Guard
	eraser  Eraser
	writer  Writer
	rescuer Rescuer
}

// New makes the manager of its four tools.
func New(g Guard, e Eraser, w Writer, r Rescuer) *Manager { return &Manager{g, e, w, r} }

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
	if err := m.guard.Covers(c.Devices, c.Node); err != nil {
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
	disks, err := m.guard.Check(ctx, c.Devices, c.Node)
	if err != nil {
		return step.Result{}, err
	}
	defer func() { err = errors.Join(err, disk.Close(disks)) }()
	s := image.Spec{
		URL: c.Args.Text("url"), Format: c.Args.Text("format"), Algorithm: c.Args.Text("digest_algorithm"), Digest: c.Args.Text("digest"),
	}
	if c.Args.Bool("configdrive") {
		s.ConfigDrive = func(ctx context.Context) ([]byte, error) { return c.Secret(ctx, "configdrive") }
	}
	written, err := m.writer.Write(ctx, s, disks[0], c.Report)
	data, e := plain(written)
	return step.Result{Data: data}, errors.Join(err, e)
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
