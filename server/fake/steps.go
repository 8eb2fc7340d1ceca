package fake

import (
	"context"
	"fmt"
	"maps"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Steps binds the rows of catalog.Fake.
func (m *machine) Steps(context.Context) ([]step.Bound, error) {
	well := func(step.Call) (map[string]any, error) { return nil, nil } // there is nothing to be done to, and nothing that could be ill
	runs := map[string]func(step.Call) (map[string]any, error){
		"management.reset_bmc":        well,
		"management.clear_job_queue":  well,
		"management.known_good_state": well,
		"bios.apply_configuration":    m.applyBIOS,
		"bios.factory_reset":          m.resetBIOS,
		"bios.cache_bios_settings":    well, // they are read after each step of the BIOS
		catalog.DeleteRAID:            noRAID,
		catalog.CreateRAID:            pretendRAID,
		catalog.ApplyRAID:             pretendRAID,
		"firmware.update":             well,
		"vendor.log_passthrough":      logPassthrough,
		"deploy.deploy":               well,
		catalog.Waits:                 well, // never comes to it
	}
	out := make([]step.Bound, 0, len(catalog.Fake))
	for _, s := range catalog.Fake {
		run, ok := runs[s.Name]
		if !ok {
			return nil, fmt.Errorf("step %s is in the catalog but has no code", s.Name)
		}
		out = append(out, step.Bound{Step: s, Run: func(ctx context.Context, c step.Call) (step.Result, error) {
			if s.Name == catalog.Waits {
				<-ctx.Done() // an abort, or the step's end of time
				return step.Result{}, ctx.Err()
			}
			if err := m.take(ctx, s.Interface()); err != nil {
				return step.Result{}, err
			}
			data, err := run(c)
			if err != nil {
				return step.Result{}, err
			}
			c.Report(step.Progress{Percent: 100})
			return step.Result{Data: data}, nil
		}})
	}
	return out, nil
}

// applyBIOS sets the attributes that settings names; all entries are checked before one is set.
func (m *machine) applyBIOS(c step.Call) (map[string]any, error) {
	list, _ := c.Args["settings"].([]any)
	wanted := map[string]any{}
	for i, e := range list {
		entry, _ := e.(map[string]any)
		name, _ := entry["name"].(string)
		value, ok := entry["value"]
		if name == "" || !ok || len(entry) != 2 {
			return nil, fault.New(fault.StepArgument, "entry %d of settings must have name and value and nothing else", i+1)
		}
		wanted[name] = value
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, value := range wanted {
		m.bios[name] = value
	}
	return map[string]any{"changed": len(wanted)}, nil
}

// resetBIOS forgets all attributes: a fake machine's maker set none.
func (m *machine) resetBIOS(step.Call) (map[string]any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.bios)
	return nil, nil
}

func noRAID(step.Call) (map[string]any, error) {
	return pretended([]any{}), nil
}

// pretendRAID says that what is wanted was built.
func pretendRAID(c step.Call) (map[string]any, error) {
	config, _ := c.Args[catalog.ArgRAID].(map[string]any)
	wanted, _ := config["logical_disks"].([]any)
	built := []any{}
	for i, w := range wanted {
		disk, _ := w.(map[string]any)
		disk = maps.Clone(disk)
		disk["id"], disk["name"] = fmt.Sprint(i+1), disk["volume_name"]
		delete(disk, "volume_name")
		built = append(built, disk)
	}
	return pretended(built), nil
}

// pretended is a result that changed no disk.
func pretended(disks []any) map[string]any {
	return map[string]any{catalog.BuiltRAID: map[string]any{"logical_disks": disks}, "created": 0.0, "deleted": 0.0}
}

// logPassthrough writes a line to the log.
func logPassthrough(c step.Call) (map[string]any, error) {
	c.Log.Info("fake-hardware: log_passthrough ran", "step", c.ID)
	return nil, nil
}
