package redfish

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// runStep runs a step as the conductor does and keeps an eye on its progress.
func runStep(t *testing.T, ctx context.Context, b conductor.BMC, flow state.Flow, name string, args step.Args) (step.Result, error) {
	t.Helper()
	return runAttempt(t, ctx, b, flow, name, args, "")
}

// runAttempt is runStep of an attempt that is told what power the machine had before the first.
func runAttempt(t *testing.T, ctx context.Context, b conductor.BMC, flow state.Flow, name string, args step.Args, before conductor.Power) (step.Result, error) {
	t.Helper()
	all, err := b.Steps(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name != name {
			continue
		}
		checked, err := s.Check(args)
		if err != nil {
			t.Fatal(err)
		}
		last, reports := 0.0, 0
		res, err := s.Run(ctx, step.Call{ID: "1", Flow: flow, Args: checked, Power: string(before), Log: slog.New(slog.DiscardHandler), Report: func(p step.Progress) {
			if reports++; p.Percent < last || p.Percent > 100 || p.Item == "" {
				t.Errorf("progress %v %q after %v", p.Percent, p.Item, last)
			}
			last = p.Percent
		}})
		if err == nil && last != 100 {
			t.Errorf("%s succeeded at %v %%", name, last)
		}
		return res, err
	}
	t.Fatalf("no step %s", name)
	return step.Result{}, nil
}

func setting(name string, value any) map[string]any {
	return map[string]any{"name": name, "value": value}
}

func settings(all ...any) step.Args { return step.Args{"settings": all} }

const (
	applyStep = "bios.apply_configuration"
	resetStep = "bios.factory_reset"
	bmcStep   = "management.reset_bmc"
	jobsStep  = "management.clear_job_queue"

	firmwareStep = "firmware.update"
)

// image is the arguments of an update of the BIOS.
func image(url string) step.Args { return settings(map[string]any{"component": "bios", "url": url}) }

func TestResetBMC(t *testing.T) {
	for _, auth := range []string{"session", "basic"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			b := l.bmc(t, target.KeyAuth, auth)
			// The BMC goes away for two minutes as soon as it has answered, and is busy for ten seconds after that.
			var down time.Time
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "Manager.Reset") {
					down = time.Now()
					return false
				}
				switch away := time.Since(down); {
				case away < 2*time.Minute:
					panic(http.ErrAbortHandler)
				case away < 2*time.Minute+10*time.Second:
					w.WriteHeader(503)
					return true
				}
				return false
			}
			res, err := runStep(t, t.Context(), b, state.Clean, bmcStep, nil)
			if err != nil {
				t.Fatal(err)
			}
			if s, _ := res.Data["seconds"].(float64); s < 130 || s > 300 {
				t.Errorf("took %v", res.Data)
			}
			if !slices.Equal(l.resets, []string{"manager GracefulRestart"}) {
				t.Errorf("the BMC was sent %v", l.resets)
			}
			if _, err := b.Power(t.Context()); err != nil {
				t.Errorf("after the reset: %v", err)
			}
		})
	}
}

// A starting BMC may not know its accounts yet. That is waited out, but not asked for ever.
func TestF27_ResetBMCWithLogInRefusedAtFirst(t *testing.T) {
	for _, c := range []struct {
		refuse time.Duration
		ok     bool
	}{{time.Minute, true}, {time.Hour, false}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			b := l.bmc(t, target.KeyAuth, "session")
			var down time.Time
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "Manager.Reset") {
					down = time.Now()
				} else if strings.HasSuffix(r.URL.Path, "Sessions") && !down.IsZero() && time.Since(down) < c.refuse {
					w.WriteHeader(401)
					return true
				}
				return false
			}
			_, err := runStep(t, t.Context(), b, state.Clean, bmcStep, nil)
			if (err == nil) != c.ok {
				t.Errorf("refused for %s: %v", c.refuse, err)
			}
			if n := l.count("POST /redfish/v1/SessionService/Sessions"); n > resetRefusals+3 {
				t.Errorf("%d log-ins", n)
			}
		})
	}
}

func TestResetBMCThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.before = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "Manager.Reset") {
				l.do(func() { l.away = true })
			}
			return false
		}
		start := time.Now()
		_, err := runStep(t, t.Context(), l.bmc(t), state.Clean, bmcStep, nil)
		if !fault.Has(err, fault.StepTimeout) || !strings.Contains(err.Error(), "restarting") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > 16*time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

func TestClearJobQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.tasks = map[string]string{"1": "Completed", "2": "Running", "3": "Pending", "4": "Exception", "5": "New", "6": "Suspended"}
		res, err := runStep(t, t.Context(), l.bmc(t), state.Clean, jobsStep, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"1": "Completed", "4": "Exception"}; !reflect.DeepEqual(l.tasks, want) || res.Data["removed"] != 4 {
			t.Errorf("left are %v, removed %v", l.tasks, res.Data)
		}
	})
}

func TestClearJobQueueNamesWhatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.tasks, l.stubborn = map[string]string{"JID_2": "Running", "JID_3": "Pending"}, map[string]bool{"JID_2": true}
		_, err := runStep(t, t.Context(), l.bmc(t), state.Clean, jobsStep, nil)
		if !fault.Has(err, fault.BMCTask) || !strings.Contains(err.Error(), "JID_2 (Running)") || strings.Contains(err.Error(), "JID_3") {
			t.Errorf("got %v", err)
		}
	})
}

// A queue longer than one operation may ask for is cleared all the same.
func TestClearLongJobQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		for i := range 400 {
			l.tasks[time.Duration(i).String()] = "Pending"
		}
		if _, err := runStep(t, t.Context(), l.bmc(t), state.Clean, jobsStep, nil); err != nil || len(l.tasks) != 0 {
			t.Errorf("%v, %d are left", err, len(l.tasks))
		}
	})
}

func TestClearJobQueueByTheMakersAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.tasks["1"] = "Running"
		l.stubborn["1"] = true
		l.lie = func(_ string, o map[string]any) {
			if o["Manufacturer"] != nil {
				o["Manufacturer"] = "Dell Inc."
			}
		}
		l.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/redfish/v1/Dell/Managers/bmc/DellJobService/Actions/DellJobService.DeleteJobQueue" {
				return false
			}
			l.do(func() { clear(l.tasks) })
			return true
		}
		if _, err := runStep(t, t.Context(), l.bmc(t), state.Clean, jobsStep, nil); err != nil || len(l.tasks) != 0 {
			t.Errorf("%v, left %v", err, l.tasks)
		}
	})
}

func TestApplyConfiguration(t *testing.T) {
	for _, power := range []string{"On", "Off"} {
		for _, flow := range []state.Flow{state.Clean, state.Service} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.power = power
				res, err := runStep(t, t.Context(), l.bmc(t), flow, applyStep,
					settings(setting("BootMode", "Legacy"), setting("NumCores", float64(4)), setting("ProcHyperthreading", "Enabled")))
				if err != nil {
					t.Fatal(err)
				}
				if l.bios["BootMode"] != "Legacy" || l.bios["NumCores"] != float64(4) {
					t.Errorf("BIOS is %v", l.bios)
				}
				if got := res.Data["changed"]; !reflect.DeepEqual(got, []string{"BootMode", "NumCores"}) {
					t.Errorf("changed %v", got)
				}
				if l.power != power {
					t.Errorf("power is %s, it was %s before", l.power, power)
				}
				want := []string{"ForceOff", "On"}
				if flow == state.Service {
					want = slices.Insert(want, 0, "GracefulShutdown")
				}
				if power == "Off" {
					want = append(want, "ForceOff")
				}
				if !slices.Equal(l.resets, want) {
					t.Errorf("the machine was sent %v, expected %v", l.resets, want)
				}
			})
		}
	}
}

func TestApplyConfigurationThatIsThereAlreadyTouchesNothing(t *testing.T) {
	l := newLab(t)
	if _, err := runStep(t, t.Context(), l.bmc(t), state.Clean, applyStep, settings(setting("NumCores", 8))); err != nil {
		t.Fatal(err)
	}
	if len(l.resets) != 0 || l.count("PATCH") != 0 {
		t.Errorf("the BMC was sent %v, %d patches", l.resets, l.count("PATCH"))
	}
}

func TestApplyConfigurationRefusesWhatMakesNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		args step.Args
		say  []string
	}{
		"unknown and wrong type": {settings(setting("Nope", "x"), setting("NumCores", "four"), setting("Nada", true)), []string{"Nope", "NumCores", "Nada"}},
		"no name":                {settings(map[string]any{"value": "x"}, "text", setting("A", []any{})), []string{"entry 1", "entry 2", "entry 3"}},
		"empty":                  {settings(), []string{"empty"}},
		"twice":                  {settings(setting("BootMode", "a"), setting("BootMode", "b")), []string{"twice"}},
		"more keys":              {settings(map[string]any{"name": "BootMode", "value": "x", "extra": 1}), []string{"entry 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			_, err := runStep(t, t.Context(), l.bmc(t), state.Clean, applyStep, c.args)
			if !fault.Has(err, fault.StepArgument) {
				t.Fatalf("got %v", err)
			}
			for _, s := range c.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not name %s", err, s)
				}
			}
			if len(l.resets) != 0 || l.count("PATCH") != 0 {
				t.Error("the machine was touched")
			}
		})
	}
}

func TestF23_ApplyConfigurationThatIsIgnoredNamesEachAttribute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.before = failing(-1, "PATCH /redfish/v1/Systems/1/Bios/Settings", 200)
		_, err := runStep(t, t.Context(), l.bmc(t), state.Clean, applyStep, settings(setting("BootMode", "Legacy"), setting("NumCores", float64(4))))
		if !fault.Has(err, fault.StepFailed) || !strings.Contains(err.Error(), "BootMode is Uefi, expected Legacy; NumCores is 8, expected 4") {
			t.Errorf("got %v", err)
		}
	})
}

func TestApplyConfigurationWhoseTaskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.tasks["JID_1"] = "Exception"
		l.before = failing(-1, "PATCH /redfish/v1/Systems/1/Bios/Settings", 202, "Location", "/redfish/v1/TaskService/Tasks/JID_1")
		_, err := runStep(t, t.Context(), l.bmc(t), state.Clean, applyStep, settings(setting("BootMode", "Legacy")))
		if !fault.Has(err, fault.BMCTask) || !strings.Contains(err.Error(), "task JID_1") || len(l.resets) != 0 {
			t.Errorf("got %v, and the machine was sent %v", err, l.resets)
		}
	})
}

// What the BMC's task says of how far it is, whatever else a BMC says there, is no sign that it has ended.
func TestF26_ATasksPercentageIsReadAsFarAsItIsOne(t *testing.T) {
	for _, c := range []struct {
		says any
		want float64
	}{{nil, 0}, {40, 40}, {33.5, 33.5}, {250, 100}, {-3, 0}, {"lots", 0}, {[]any{7}, 0}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.tasks["JID_1"], l.percent = "Running", c.says
			b := l.bmc(t).(*bmc)
			err := b.Run(t.Context(), false, func(o *wire.Operation) error {
				done, percent, err := o.TaskDone("/redfish/v1/TaskService/Tasks/JID_1")
				if done || percent != c.want {
					t.Errorf("%v: done %t, at %v; expected %v", c.says, done, percent, c.want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A step that waits for the BMC's task tells how far that is.
func TestApplyConfigurationTellsHowFarItsTaskIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.tasks["JID_1"], l.percent = "Running", 25
		polls := 0
		l.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/Bios/Settings") {
				var body struct{ Attributes map[string]any }
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Error(err)
				}
				l.pending = body.Attributes
				w.Header().Set("Location", "/redfish/v1/TaskService/Tasks/JID_1")
				w.WriteHeader(http.StatusAccepted)
				return true
			}
			if strings.HasSuffix(r.URL.Path, "/Tasks/JID_1") {
				switch polls++; polls {
				case 4:
					l.percent = 75
				case 8:
					l.tasks["JID_1"] = "Completed"
				}
			}
			return false
		}
		told := map[string]float64{}
		all, err := l.bmc(t).Steps(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		apply := all[slices.IndexFunc(all, func(s step.Bound) bool { return s.Name == applyStep })]
		_, err = apply.Run(t.Context(), step.Call{ID: "1", Flow: state.Clean, Args: settings(setting("BootMode", "Legacy")), Power: "power on", Log: slog.New(slog.DiscardHandler),
			Report: func(p step.Progress) { told[p.Item] = p.Percent }})
		if err != nil {
			t.Fatal(err)
		}
		if told["the BMC's task is at 25 %"] != 60 || told["the BMC's task is at 75 %"] != 80 {
			t.Errorf("told %v", told)
		}
	})
}

func TestF22_StepsOutlastABusyBMC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		busy := time.Time{}
		l.before = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/Bios/Settings") && r.Method == http.MethodPatch {
				busy = time.Now()
				return false
			}
			if time.Since(busy) < time.Minute {
				w.WriteHeader(503)
				return true
			}
			return false
		}
		if _, err := runStep(t, t.Context(), l.bmc(t), state.Clean, applyStep, settings(setting("BootMode", "Legacy"))); err != nil {
			t.Error(err)
		}
	})
}

func TestFactoryReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.bios["BootMode"] = "Legacy"
		if _, err := runStep(t, t.Context(), l.bmc(t), state.Clean, resetStep, nil); err != nil {
			t.Fatal(err)
		}
		if l.bios["BootMode"] != "Uefi" || l.defaults || l.power != "Off" {
			t.Errorf("BIOS %v, pending %v, power %s", l.bios, l.defaults, l.power)
		}
	})
}

func TestF23_StuckPowerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.power, l.stuck = "On", true
		_, err := runStep(t, t.Context(), l.bmc(t), state.Clean, resetStep, nil)
		if !fault.Has(err, fault.BMCPower) || !strings.Contains(err.Error(), "power on") {
			t.Errorf("got %v", err)
		}
	})
}

// One reading is not enough: a BMC that says Off once while the machine is on does not get it switched on at once.
func TestF23_FlappingPowerIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.power = "On"
		readings := 0
		l.lie = func(_ string, o map[string]any) {
			if o["PowerState"] == nil || len(l.resets) != 1 { // it was asked for Off, and not for On
				return
			}
			if readings++; readings < 8 {
				o["PowerState"] = []string{"Off", "On"}[readings%2]
			}
		}
		if _, err := runStep(t, t.Context(), l.bmc(t), state.Clean, resetStep, nil); err != nil {
			t.Fatal(err)
		}
		if readings < 8 {
			t.Errorf("power was taken as off after %d flapping readings", readings)
		}
	})
}

func TestStepsWithoutWhatTheyNeedAreUnsupported(t *testing.T) {
	l := newLab(t)
	l.lie = func(path string, o map[string]any) {
		delete(o, "Bios")
		delete(o, "Tasks")
		delete(o, "Managers")
		delete(o, "UpdateService")
		delete(o, "Links")
	}
	b := l.bmc(t)
	for name, args := range map[string]step.Args{applyStep: settings(setting("BootMode", "Legacy")), resetStep: nil, bmcStep: nil, jobsStep: nil, firmwareStep: image("http://192.0.2.9/x")} {
		if _, err := runStep(t, t.Context(), b, state.Clean, name, args); !fault.Has(err, fault.BMCUnsupported) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if len(l.resets) != 0 {
		t.Errorf("the BMC was sent %v", l.resets)
	}
}

func TestStepsEndWithTheirContext(t *testing.T) {
	for name, args := range map[string]step.Args{applyStep: settings(setting("BootMode", "Legacy")), resetStep: nil, bmcStep: nil, jobsStep: nil, firmwareStep: image("http://192.0.2.9/x")} {
		for _, after := range []time.Duration{0, time.Second, 4 * time.Second, 20 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.tasks["1"], l.stubborn["1"] = "Running", true
				l.stuck = true
				b := l.bmc(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(after, cancel)
				start := time.Now()
				_, err := runStep(t, ctx, b, state.Clean, name, args)
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%s cancelled after %s gives %v", name, after, err)
				}
				if took := time.Since(start); took > after+time.Second && err != nil {
					t.Errorf("%s cancelled after %s ended after %s", name, after, took)
				}
			})
		}
	}
}
