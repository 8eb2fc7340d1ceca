package redfish

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
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	biosTime  = 15 * time.Minute // from power on until the attributes show: memory is trained meanwhile
	biosPause = 5 * time.Second
)

// bios is the BIOS object, with where its settings are written and when they may take effect.
type bios struct {
	*schemas.Bios
	links struct {
		Pending  *bool `json:"ResetBiosToDefaultsPending"`
		Settings struct {
			SettingsObject      schemas.Link
			SupportedApplyTimes []schemas.SettingsApplyTime
		} `json:"@Redfish.Settings"`
	}
}

// readBIOS gives nil when the machine has no BIOS object.
func readBIOS(o *operation, m machine) (*bios, error) {
	if m.links.Bios == "" {
		return nil, nil
	}
	out := &bios{}
	var err error
	if out.Bios, err = read[schemas.Bios](o, m.links.Bios.String(), &out.links); err != nil {
		return nil, err
	}
	if out.ODataID == "" {
		out.ODataID = m.links.Bios.String()
	}
	return out, nil
}

func (b *bmc) bios(o *operation) (*bios, machine, error) {
	m, err := b.machine(o)
	if err != nil {
		return nil, m, err
	}
	found, err := readBIOS(o, m)
	if err == nil && found == nil {
		err = fault.New(fault.BMCUnsupported, "the BMC at %s shows no BIOS of the machine", b.target.origin)
	}
	return found, m, err
}

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
			out = append(out, fmt.Sprintf("%s is %s, expected %v", name, clean(fmt.Sprint(got), 80), want[name]))
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
func (b *bmc) applyBIOS(ctx context.Context, w *work) (step.Result, error) {
	want, err := wantedSettings(w.Args)
	if err != nil {
		return step.Result{}, err
	}
	w.at(0, "reading the attributes")
	var changed []string
	var power conductor.Power
	var task string
	err = b.persist(ctx, w, func(o *operation) error {
		found, m, err := b.bios(o)
		if err != nil {
			return err
		}
		power = powerOf(m.PowerState)
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
	err = b.restartAndWait(ctx, w, w.before(power), task, func(f *bios) string {
		_, words := difference(f.Attributes, want)
		return words
	})
	return step.Result{Data: map[string]any{"changed": changed}}, err
}

// checkSettings refuses names that the BIOS does not have and values of another type, all at once.
func (b *bmc) checkSettings(found *bios, want map[string]any) error {
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
			bad = append(bad, fmt.Sprintf("%s is %s, which is of another type than %v", name, clean(fmt.Sprint(got), 80), want[name]))
		}
	}
	if len(bad) > 0 {
		return fault.New(fault.StepArgument, "%s", strings.Join(bad, "; ")).
			WithHint("bessemer node bios setting list NODE shows the attributes")
	}
	return nil
}

// writeSettings sends the changes and gives the task that applies them, if there is one.
func writeSettings(o *operation, found *bios, want map[string]any, changed []string) (task string, err error) {
	attributes := map[string]any{}
	for _, name := range changed {
		attributes[name] = want[name]
	}
	payload := map[string]any{"Attributes": attributes}
	if slices.Contains(found.links.Settings.SupportedApplyTimes, schemas.OnResetSettingsApplyTime) {
		payload["@Redfish.SettingsApplyTime"] = map[string]any{"ApplyTime": schemas.OnResetSettingsApplyTime}
	}
	to := found.links.Settings.SettingsObject.String()
	if to == "" {
		to = found.ODataID
	}
	var resp *http.Response
	// Writing the same values again does no harm, and nothing tells whether they arrived: so it is repeated.
	err = act(o, func() (err error) {
		failpoint.Here("bios.write.before")
		resp, err = patchTagged(o, to, payload)
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
func (b *bmc) resetBIOS(ctx context.Context, w *work) (step.Result, error) {
	w.at(0, "asking for the maker's defaults")
	var power conductor.Power
	var task string
	err := b.persist(ctx, w, func(o *operation) error {
		found, m, err := b.bios(o)
		if err != nil {
			return err
		}
		power = powerOf(m.PowerState)
		return act(o, func() error {
			failpoint.Here("bios.reset.before")
			info, err := found.ResetBios()
			failpoint.Here("bios.reset.after")
			if err == nil && info != nil {
				task = info.TaskMonitor
			}
			return err
		}, func() (bool, error) {
			now, err := readBIOS(o, m)
			return err == nil && now.links.Pending != nil && *now.links.Pending, err
		})
	})
	if err != nil {
		return step.Result{}, err
	}
	return step.Result{}, b.restartAndWait(ctx, w, w.before(power), task, func(f *bios) string {
		if f.links.Pending != nil && *f.links.Pending {
			return "the reset to defaults is still pending"
		}
		return ""
	})
}

// restartAndWait restarts the machine so that the BIOS applies what is pending, and waits until missing finds nothing
// missing and the task has ended. A machine that was off is off afterwards.
func (b *bmc) restartAndWait(ctx context.Context, w *work, before conductor.Power, task string, missing func(*bios) string) error {
	// A task that has failed already is no reason to restart the machine.
	err := b.run(ctx, false, func(o *operation) error { _, _, err := b.taskDone(o, task); return err })
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
		err := b.run(ctx, false, func(o *operation) error {
			done, percent, err := b.taskDone(o, task)
			if err != nil {
				return err
			}
			if task != "" && !done {
				told = percent
			}
			found, _, err := b.bios(o)
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
		if err := sleep(ctx, biosPause); err != nil {
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
func (b *bmc) restore(ctx context.Context, w *work, now conductor.Power) error {
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
