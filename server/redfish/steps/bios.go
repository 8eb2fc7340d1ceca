package steps

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/machine"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	biosTime  = 15 * time.Minute // from power on until the attributes show: memory is trained meanwhile
	biosPause = 5 * time.Second
)

// wantedSettings reads the argument settings: a list of objects with name and value.
func wantedSettings(args step.Args) (map[string]any, error) {
	list, _ := args["settings"].([]any)
	out := map[string]any{}
	var bad []string
	for i, e := range list {
		entry, _ := e.(map[string]any)
		name, _ := entry["name"].(string)
		switch value := entry["value"].(type) {
		case string, bool, float64, int, int64:
			if name == "" || len(entry) != 2 {
				bad = append(bad, fmt.Sprintf("entry %d must have name and value and nothing else", i+1))
			} else if _, twice := out[name]; twice {
				bad = append(bad, fmt.Sprintf("%s is given twice", name))
			}
			out[name] = value
		default:
			bad = append(bad, fmt.Sprintf("entry %d must have a name, and a value that is a string, number or boolean", i+1))
		}
	}
	if len(list) == 0 {
		bad = append(bad, "settings is empty")
	}
	if len(bad) > 0 {
		return nil, fault.New(fault.StepArgument, "%s", strings.Join(bad, "; "))
	}
	return out, nil
}

// difference names each attribute that is not as wanted.
func difference(have schemas.SettingsAttributes, want map[string]any) (names []string, words string) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got, ok := have[name]; !ok || !same(got, want[name]) {
			names = append(names, name)
			out = append(out, fmt.Sprintf("%s is %s, expected %v", name, wire.Clean(fmt.Sprint(got), 80), want[name]))
		}
	}
	return names, strings.Join(out, "; ")
}

// same compares as JSON does: all numbers are one type.
func same(a, b any) bool {
	number := func(v any) any {
		if n := reflect.ValueOf(v); n.IsValid() && n.CanInt() {
			return float64(n.Int())
		}
		return v
	}
	return reflect.DeepEqual(number(a), number(b))
}

// applyBIOS sets attributes, restarts the machine and reads them back. Attributes that are as wanted are not sent;
// when all are, the machine is not touched, unless an attempt that was cut off left it with another power.
func (b stepper) applyBIOS(ctx context.Context, w *work) (step.Result, error) {
	want, err := wantedSettings(w.Args)
	if err != nil {
		return step.Result{}, err
	}
	w.at(0, "reading the attributes")
	var changed []string
	var power conductor.Power
	var task string
	err = b.persist(ctx, w, func(o *wire.Operation) error {
		found, m, err := b.BIOS(o)
		if err != nil {
			return err
		}
		power = machine.PowerOf(m.PowerState)
		if err := b.checkSettings(found, want); err != nil {
			return err
		}
		if changed, _ = difference(found.Attributes, want); len(changed) == 0 {
			return nil
		}
		w.at(10, "writing %d attributes", len(changed))
		task, err = writeSettings(o, found, want, changed)
		return err
	})
	if err == nil && len(changed) == 0 {
		if err = b.restore(ctx, w, power); err == nil {
			w.at(100, "the attributes are as wanted already")
		}
	}
	if err != nil || len(changed) == 0 {
		return step.Result{Data: map[string]any{"changed": []string{}}}, err
	}
	err = b.restartAndWait(ctx, w, w.before(power), task, func(f *machine.BIOS) string {
		_, words := difference(f.Attributes, want)
		return words
	})
	return step.Result{Data: map[string]any{"changed": changed}}, err
}

// checkSettings refuses names that the BIOS does not have and values of another type, all at once.
func (b stepper) checkSettings(found *machine.BIOS, want map[string]any) error {
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		got, ok := found.Attributes[name]
		_, gotText := got.(string)
		_, gotBool := got.(bool)
		_, text := want[name].(string)
		_, boolean := want[name].(bool)
		switch {
		case !ok:
			bad = append(bad, fmt.Sprintf("the BIOS has no attribute %s", name))
		case got != nil && (gotText != text || gotBool != boolean):
			bad = append(bad, fmt.Sprintf("%s is %s, which is of another type than %v", name, wire.Clean(fmt.Sprint(got), 80), want[name]))
		}
	}
	if len(bad) > 0 {
		return fault.New(fault.StepArgument, "%s", strings.Join(bad, "; ")).
			WithHint("bessemer node bios setting list NODE shows the attributes")
	}
	return nil
}

// writeSettings sends the changes and gives the task that applies them, if there is one.
func writeSettings(o *wire.Operation, found *machine.BIOS, want map[string]any, changed []string) (task string, err error) {
	attributes := map[string]any{}
	for _, name := range changed {
		attributes[name] = want[name]
	}
	payload := map[string]any{"Attributes": attributes}
	if slices.Contains(found.More.Settings.SupportedApplyTimes, schemas.OnResetSettingsApplyTime) {
		payload["@Redfish.SettingsApplyTime"] = map[string]any{"ApplyTime": schemas.OnResetSettingsApplyTime}
	}
	to := found.More.Settings.SettingsObject.String()
	if to == "" {
		to = found.ODataID
	}
	var resp *http.Response
	// Writing the same values again does no harm, and nothing tells whether they arrived: so it is repeated.
	err = machine.Act(o, func() (err error) {
		failpoint.Here("bios.write.before")
		resp, err = o.PatchTagged(to, payload)
		failpoint.Here("bios.write.after")
		return err
	}, func() (bool, error) { return false, nil })
	if err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusAccepted {
		return resp.Header.Get("Location"), nil
	}
	return "", nil
}

// resetBIOS asks for the maker's defaults, restarts the machine and waits until nothing is pending.
func (b stepper) resetBIOS(ctx context.Context, w *work) (step.Result, error) {
	w.at(0, "asking for the maker's defaults")
	var power conductor.Power
	var task string
	err := b.persist(ctx, w, func(o *wire.Operation) error {
		found, m, err := b.BIOS(o)
		if err != nil {
			return err
		}
		power = machine.PowerOf(m.PowerState)
		return machine.Act(o, func() error {
			failpoint.Here("bios.reset.before")
			info, err := found.ResetBios()
			failpoint.Here("bios.reset.after")
			if err == nil && info != nil {
				task = info.TaskMonitor
			}
			return err
		}, func() (bool, error) {
			now, err := machine.ReadBIOS(o, m)
			return err == nil && now.More.Pending != nil && *now.More.Pending, err
		})
	})
	if err != nil {
		return step.Result{}, err
	}
	return step.Result{}, b.restartAndWait(ctx, w, w.before(power), task, func(f *machine.BIOS) string {
		if f.More.Pending != nil && *f.More.Pending {
			return "the reset to defaults is still pending"
		}
		return ""
	})
}

// restartAndWait restarts the machine so that the BIOS applies what is pending, and waits until missing finds nothing
// missing and the task has ended. A machine that was off is off afterwards.
func (b stepper) restartAndWait(ctx context.Context, w *work, before conductor.Power, task string, missing func(*machine.BIOS) string) error {
	// A task that has failed already is no reason to restart the machine.
	err := b.Run(ctx, false, func(o *wire.Operation) error { _, _, err := o.TaskDone(task); return err })
	if err != nil && !passing(ctx, err) {
		return err
	}
	if err := b.cycle(ctx, w); err != nil {
		return err
	}
	var words string
	end := time.Now().Add(biosTime)
	told := 0.0 // percent, by the BMC's task
	for good := false; !good; {
		if time.Now().After(end) {
			return fault.New(fault.StepFailed, "%s after the restart: %s", biosTime, words).
				WithHint("look at the machine's console, and at the BMC's job queue: management.clear_job_queue may help")
		}
		if told > 0 {
			w.at(50+40*told/100, "the BMC's task is at %.0f %%", told)
		} else {
			w.at(50+40*(1-float64(time.Until(end))/float64(biosTime)), "waiting for the BIOS")
		}
		err := b.Run(ctx, false, func(o *wire.Operation) error {
			done, percent, err := o.TaskDone(task)
			if err != nil {
				return err
			}
			if task != "" && !done {
				told = percent
			}
			found, _, err := b.BIOS(o)
			if err != nil {
				return err
			}
			if words = missing(found); words == "" && !done {
				words = "the task at " + task + " has not ended"
			}
			good = words == ""
			return nil
		})
		if err != nil {
			if !passing(ctx, err) {
				return err
			}
			words = fault.From(err).Message
		}
		if good {
			break
		}
		if err := wire.Sleep(ctx, biosPause); err != nil {
			return err
		}
	}
	if before == conductor.PowerOff {
		w.at(95, "switching the machine off again")
		if err := b.reach(ctx, conductor.ForceOff, powerTime); err != nil {
			return err
		}
	}
	w.at(100, "the BIOS has taken the settings")
	return nil
}

// before is the power that the machine had before the step: before its first attempt, where that is known. What this
// attempt finds may be what one that was cut off left in the middle.
func (w *work) before(now conductor.Power) conductor.Power {
	return cmp.Or(conductor.Power(w.Power), now)
}

// restore gives the machine the power that it had before the step, where it has another one now.
func (b stepper) restore(ctx context.Context, w *work, now conductor.Power) error {
	switch want := w.before(now); {
	case want == now:
		return nil
	case want == conductor.PowerOn:
		w.at(50, "switching the machine on again")
		return b.reach(ctx, conductor.On, powerTime)
	default:
		w.at(50, "switching the machine off again")
		return b.reach(ctx, conductor.ForceOff, powerTime)
	}
}
