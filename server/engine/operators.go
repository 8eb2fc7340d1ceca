package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Provision asks a verb of a node. A nil error means that it was accepted and stored; the rest is seen by Watch.
func (eng *Engine) Provision(ctx context.Context, who conductor.Caller, ident string, p conductor.Provision) error {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return err
	}
	deploys := p.Verb == state.VerbDeploy || p.Verb == state.VerbRebuild
	iso := fit.BootsISO(eng.machines.Interfaces(n))
	fetches := deploys || iso && p.Verb == state.VerbAdopt // from then on power acts put the ISO in
	checked := eng.instanceURL(n)
	if fetches && checked != "" && eng.cfg.CheckOrigin != nil {
		if err := eng.cfg.CheckOrigin(ctx, checked); err != nil {
			return err
		}
	}
	if deploys || p.Verb == state.VerbRescue { // nothing is fetched, and no hash worked out, which takes long on purpose, for what is refused anyway
		if err := decide.Allowed(n, p.Verb); err != nil {
			return err
		}
	}
	if err := eng.readDigest(ctx, n, &p); err != nil {
		return err
	}
	var drive []byte
	if iso && deploys && p.ConfigDrive != nil && p.ConfigDrive.Image == nil && len(p.ConfigDrive.Files) == 0 {
		p.ConfigDrive = nil // Metal3 sends {} with a live ISO, and means none
	}
	if p.ConfigDrive != nil {
		if !deploys {
			return fault.New(fault.RequestInvalid, "a config drive goes with active or rebuild only")
		}
		if drive, err = eng.configDrive(n, *p.ConfigDrive); err != nil {
			return err
		}
	}
	hash, err := rescueHash(&p)
	if err != nil {
		return err
	}
	ask := func(now conductor.Node) (conductor.Event, error) {
		adoptsISO := p.Verb == state.VerbAdopt && fit.BootsISO(eng.machines.Interfaces(now))
		if adoptsISO && !fetches || fetches && eng.instanceURL(now) != checked { // what is deployed is what was checked (T4)
			return nil, fault.New(fault.StateConflict, "the image was changed meanwhile").At(string(n.UUID), "")
		}
		return conductor.VerbAsked{Caller: who, Ask: p, ConfigDrive: drive != nil}, nil
	}
	keep := func(tx conductor.Tx, _ conductor.Node) error {
		if hash != nil {
			return tx.PutSecret(n.UUID, conductor.SecretRescue, hash)
		}
		if drive == nil {
			return nil
		}
		return tx.PutSecret(n.UUID, "configdrive", drive)
	}
	return eng.patiently(ctx, n.UUID, func() error { return eng.applyWith(ctx, n.UUID, ask, keep) })
}

// readDigest reads the digest of the image that a deployment is to write, where instance_info gives the URL of a file of
// checksums. What is deployed is what the file says now: a later attempt has the digest, and no file.
func (eng *Engine) readDigest(ctx context.Context, n conductor.Node, p *conductor.Provision) error {
	list, interfaces := fit.Checksums(n.InstanceInfo), eng.machines.Interfaces(n)
	writes := fit.WritesImage(interfaces) || slices.ContainsFunc(p.DeploySteps, func(w step.Wanted) bool { return w.Name == catalog.WriteStep })
	if list == "" || !writes || p.Verb != state.VerbDeploy && p.Verb != state.VerbRebuild || eng.cfg.Digest == nil {
		return nil
	}
	args, err := fit.ImageArgs(n.InstanceInfo, nil)
	if err != nil {
		return nil //nolint:nilerr // the plan tells it, with all else that is wrong
	}
	read := conductor.ImageDigest{List: list, Source: args.Text("url")}
	p.Image = &read
	if read.Algorithm, read.Digest, err = eng.cfg.Digest(ctx, list, read.Source); err != nil {
		read.Fault = fault.From(err).At(string(n.UUID), catalog.WriteStep)
		return read.Fault
	}
	return nil
}

// instanceURL is where a node's image or ISO comes from; "" when instance_info does not say.
func (eng *Engine) instanceURL(n conductor.Node) string {
	if fit.BootsISO(eng.machines.Interfaces(n)) {
		iso, err := fit.BootISO(n.InstanceInfo)
		if err != nil {
			return ""
		}
		return iso
	}
	args, err := fit.ImageArgs(n.InstanceInfo, nil)
	if err != nil {
		return ""
	}
	return args.Text("url")
}

// maxConfigDrive is Ironic's bound on a config drive's image.
const maxConfigDrive = 64 << 20

// configDrive makes the image: from files, with the node's own UUID and name where meta_data lacks them, or as given.
func (eng *Engine) configDrive(n conductor.Node, cd conductor.ConfigDrive) ([]byte, error) {
	image := cd.Image
	if image == nil {
		const meta = "openstack/latest/meta_data.json"
		m := map[string]any{}
		if raw, ok := cd.Files[meta]; ok {
			if err := json.Unmarshal(raw, &m); err != nil {
				return nil, fault.New(fault.ConfigDrive, "meta_data is not a JSON object").Because(err)
			}
		}
		name := cmp.Or(n.Name, string(n.UUID))
		for k, v := range map[string]string{"uuid": cmp.Or(n.InstanceUUID, string(n.UUID)), "name": name, "hostname": name} {
			if _, ok := m[k]; !ok {
				m[k] = v
			}
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		files := map[string][]byte{meta: raw}
		for k, v := range cd.Files {
			if k != meta {
				files[k] = v
			}
		}
		if image, err = eng.cfg.ConfigDrives.ConfigDrive(files); err != nil {
			return nil, fault.New(fault.ConfigDrive, "the config drive can't be made").Because(err)
		}
	}
	if len(image) == 0 || len(image) > maxConfigDrive {
		return nil, fault.New(fault.ConfigDrive, "the config drive has %d bytes, expected 1 to %d", len(image), maxConfigDrive)
	}
	return image, nil
}

// SetPower asks for a power act; the outcome is seen in power_state and last_error.
func (eng *Engine) SetPower(ctx context.Context, who conductor.Caller, ident string, p conductor.PowerRequest) error {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return err
	}
	return eng.patiently(ctx, n.UUID, func() error { return eng.apply(ctx, n.UUID, conductor.PowerAsked{Caller: who, Ask: p}, nil) })
}

// Steps lists the attempts of a run, "" meaning the current or last one, with progress as fresh as it is known.
func (eng *Engine) Steps(ctx context.Context, ident, run string) (out []conductor.StepRecord, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := nodes.Find(tx, ident)
		if err != nil {
			return err
		}
		if run == "" {
			if n.Flow == nil {
				return nil
			}
			run = n.Flow.Run
		}
		out, err = tx.Steps(n.UUID, run)
		return err
	})
	eng.freshen(out)
	return out, err
}

// freshen gives running steps the progress that was told since it was stored.
func (eng *Engine) freshen(records []conductor.StepRecord) {
	for i := range records {
		if records[i].State == conductor.StepStarted {
			if p := eng.progress(records[i].Node, records[i].ID); p != nil {
				records[i].Progress = p
			}
		}
	}
}

// OpenLog reads an agent's log from offset; generation 0 means the newest. It also lists the generations kept.
func (eng *Engine) OpenLog(ctx context.Context, ident string, generation uint64, offset int64) (io.ReadCloser, []uint64, error) {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return nil, nil, err
	}
	kept, err := eng.cfg.Logs.Generations(n.UUID)
	if err != nil {
		return nil, nil, err
	}
	if generation == 0 && len(kept) > 0 {
		generation = kept[len(kept)-1]
	}
	if !slices.Contains(kept, generation) {
		return io.NopCloser(strings.NewReader("")), kept, nil
	}
	r, err := eng.cfg.Logs.Open(n.UUID, generation, offset)
	return r, kept, err
}
