package update

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestEachComponentIsInstalledAsItNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		want []catalog.Firmware
		rig  func(*rig)
		acts []string
	}{
		"the BMC needs no restart of the machine": {want("bmc"), func(*rig) {}, []string{"post http://h/bmc/2"}},
		"the BIOS does":                   {want("bios"), func(*rig) {}, []string{"post http://h/bios/2", "off", "on"}},
		"a card, too":                     {want("nic:1"), func(*rig) {}, []string{"post http://h/nic:1/2", "off", "on"}},
		"one after the other":             {want("bios", "bmc", "nic:1"), func(*rig) {}, []string{"post http://h/bios/2", "off", "on", "post http://h/bmc/2", "post http://h/nic:1/2", "off", "on"}},
		"tasks that wait for the restart": {want("bios", "nic:1"), func(r *rig) { r.pending = true }, []string{"post http://h/bios/2", "off", "on", "post http://h/nic:1/2", "off", "on"}},
		"a BMC that keeps its tasks":      {want("bmc"), func(r *rig) { r.forgets = false }, []string{"post http://h/bmc/2"}},
		"a BMC without tasks":             {want("bmc"), func(r *rig) { r.tasked = false }, []string{"post http://h/bmc/2"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				c.rig(r)
				done, err := r.run(c.want...)
				if err != nil {
					t.Fatal(err)
				}
				var all []Done
				for _, f := range c.want {
					all = append(all, Done{Component: f.Component, From: "1", To: "2"})
				}
				if !reflect.DeepEqual(done, all) || !slices.Equal(r.acts, c.acts) {
					t.Errorf("done %+v by %q", done, r.acts)
				}
				if !slices.ContainsFunc(r.told, func(s string) bool {
					return strings.Contains(s, "task for "+c.want[0].Component+" is at") && !strings.Contains(s, "at 0 %")
				}) && r.tasked {
					t.Errorf("the task's percentage was not told: %q", r.told)
				}
			})
		})
	}
}

// F1, F15, I8: a server that is killed before or after any of its acts, notes and images among them, and run again until the
// step ends, sends no image twice, and never switches a machine off that is writing its flash memory. The step ends well, or,
// where nobody can know whether the image left, says so.
func TestI08_F01_F15_KilledAtEachActNothingIsSentTwice(t *testing.T) {
	for _, pending := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			kills, unknown := 0, 0
			for kill := 1; ; kill++ {
				over := false
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.pending, r.kill, r.after = pending, kill, after
					all := want("bios", "bmc", "nic:1")
					done, err := r.run(all...)
					if over = !errors.Is(err, errKilled); over {
						if err != nil || len(done) != len(all) {
							t.Errorf("not killed at %d: %+v, %v", kill, done, err)
						}
						return
					}
					kills++
					<-time.After(20 * time.Second) // the server starts
					r.dead, r.kill = false, 0
					done, err = r.run(all...)
					for _, f := range all {
						if n := countOf(r.sent, f.Component); n > 1 {
							t.Errorf("killed at %d: the image for %s was sent %d times: %q", kill, f.Component, n, r.acts)
						}
					}
					switch {
					case fault.Has(err, fault.FirmwareUnknown):
						if unknown++; len(r.sent) > len(done) {
							t.Errorf("killed at %d: the image that had arrived was not found: %q", kill, r.acts)
						}
					case err != nil:
						t.Errorf("killed at %d: %v, after %q", kill, err, r.acts)
					case len(done) != len(all) || r.versions["bios"] != "2" || r.versions["bmc"] != "2" || r.versions["nic:1"] != "2":
						t.Errorf("killed at %d: %+v, %v", kill, done, r.versions)
					}
				})
				if over {
					break
				}
			}
			// Nobody can know only where the note was stored and the image not sent.
			if kills < 20 || unknown == 0 || unknown > 6 {
				t.Errorf("%d kills, %d of them with an end that nobody knows", kills, unknown)
			}
		}
	}
}

func countOf(all []string, what string) (n int) {
	for _, s := range all {
		if s == what {
			n++
		}
	}
	return n
}

// F13, F22: an answer that is lost, or tells nothing, is no reason to send the image again: its traces are looked for.
func TestI08_F13_F22_ALostAnswerIsLookedFor(t *testing.T) {
	for name, c := range map[string]struct {
		component string
		err       error
		rig       func(*rig)
		reason    fault.Reason // "": it ends well
	}{
		"it arrived, and left a task":                      {"bios", errLost, func(*rig) {}, ""},
		"it arrived, and the answer is no answer":          {"bios", errBreaks, func(*rig) {}, ""},
		"it arrived, the BMC restarts and tells a version": {"bmc", errLost, func(r *rig) { r.tasked = false }, ""},
		"it arrived, and the BMC is away for long": {"bios", errLost, func(r *rig) {
			r.leaves, r.gone = time.Now().Add(time.Second), time.Now().Add(10*time.Minute)
		}, ""},
		"it arrived, and the BMC is at work for long": {"bmc", errLost, func(r *rig) {
			r.tasked, r.state, r.slow = false, "", 30*time.Minute
		}, ""},
		"it never arrived":                {"bios", errGone, func(*rig) {}, fault.FirmwareUnknown},
		"it arrived, and leaves no trace": {"bios", errLost, func(r *rig) { r.tasked = false }, fault.FirmwareUnknown},
		"more tasks than one are new": {"bios", errLost, func(r *rig) {
			r.links = func() []string {
				if len(r.images) > 0 {
					return []string{"/t/x"}
				}
				return nil
			}
		}, fault.FirmwareUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				c.rig(r)
				r.post = func(int) error { return c.err }
				done, err := r.run(want(c.component)...)
				if c.reason == "" && (err != nil || len(done) != 1 || done[0].To != "2") || c.reason != "" && !fault.Has(err, c.reason) {
					t.Errorf("%+v, %v; expected %q", done, err, c.reason)
				}
				if posts := countOf(r.acts, "post http://h/"+c.component+"/2"); posts != 1 {
					t.Errorf("sent %d times: %q", posts, r.acts)
				}
			})
		})
	}
}

// An answer that says that nothing was done ends the step; a busy BMC is asked again, for a while.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		post   func(n int) error
		reason fault.Reason
		posts  int
	}{
		"refused":          {func(int) error { return errRefused }, fault.BMCError, 1},
		"busy for a while": {func(n int) error { return map[bool]error{true: errBusy}[n < 4] }, "", 4},
		"busy for ever":    {func(int) error { return errBusy }, fault.BMCBusy, 20},
		"lease in doubt":   {func(int) error { return errLease }, fault.StorageUnavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.post = c.post
				_, err := r.run(want("bmc")...)
				if c.reason == "" && err != nil || c.reason != "" && !fault.Has(err, c.reason) || len(r.acts) != c.posts {
					t.Errorf("%v, after %q", err, r.acts)
				}
			})
		})
	}
}

func TestWhatCanNotBeSent(t *testing.T) {
	type object = map[string]any
	simple := func(o object) object { return o["Actions"].(object)["#UpdateService.SimpleUpdate"].(object) }
	for name, c := range map[string]struct {
		want   catalog.Firmware
		lies   func(o object)
		reason fault.Reason
		says   string
	}{
		"no such card":    {catalog.Firmware{Component: "nic:7", URL: "http://h/x/2"}, nil, fault.StepArgument, "it tells those of bios, bmc, nic:1"},
		"no https":        {catalog.Firmware{Component: "bios", URL: "https://h/bios/2"}, nil, fault.BMCUnsupported, "by HTTPS; it offers HTTP, NFS"},
		"no SimpleUpdate": {want("bios")[0], func(o object) { delete(o["Actions"].(object), "#UpdateService.SimpleUpdate") }, fault.BMCUnsupported, "lacks SimpleUpdate"},
		"switched off":    {want("bios")[0], func(o object) { o["ServiceEnabled"] = false }, fault.BMCUnsupported, "switched off"},
		"at work":         {want("bios")[0], func(o object) { o["Status"] = object{"State": "Updating"} }, fault.BMCBusy, "another image"},
		"protocols of a kind": {want("bios")[0], func(o object) {
			simple(o)["TransferProtocol@Redfish.AllowableValues"] = []string{"a\x00\n" + strings.Repeat("x", 5000)}
		}, fault.BMCUnsupported, "it offers a x"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				if c.lies != nil {
					r.lies = func(o any) {
						if o, ok := o.(object); ok && o["Actions"] != nil {
							c.lies(o)
						}
					}
				}
				_, err := r.run(c.want)
				if !fault.Has(err, c.reason) || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 1000 || len(r.acts) != 0 || r.stored != nil {
					t.Errorf("%v, after %q with the note %s", err, r.acts, r.stored)
				}
			})
		})
	}
}

// What the BMC's task says counts where the version stays: an image of the version that is there is no failure. Without
// such a word it is one.
func TestAVersionThatStaysIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		component string
		rig       func(*rig)
		ok        bool
	}{
		"the BIOS's task ended well":           {"bios", func(*rig) {}, true},
		"it ended well after the start":        {"bios", func(r *rig) { r.pending = true }, true},
		"no task":                              {"bios", func(r *rig) { r.tasked = false }, false},
		"the task was guessed":                 {"bios", func(r *rig) { r.post = func(int) error { return errLost } }, false},
		"the BMC restarted and forgot":         {"bmc", func(*rig) {}, false},
		"the BMC restarted and knows its task": {"bmc", func(r *rig) { r.forgets = false }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.stays = true
				c.rig(r)
				done, err := r.run(want(c.component)...)
				if c.ok && (err != nil || !done[0].Unchanged || done[0].To != "1") || !c.ok && !fault.Has(err, fault.FirmwareUnchanged) {
					t.Errorf("%+v, %v", done, err)
				}
			})
		})
	}
}

func TestATaskThatFailsEndsTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		done, err := r.run(catalog.Firmware{Component: "bmc", URL: "http://h/bmc/2"}, catalog.Firmware{Component: "bios", URL: "http://h/bios/broken"}, want("nic:1")[0])
		if !fault.Has(err, fault.BMCTask) || !strings.Contains(err.Error(), "broken") || len(done) != 1 || done[0].Component != "bmc" {
			t.Errorf("%+v, %v", done, err)
		}
		if !slices.Equal(r.acts, []string{"post http://h/bmc/2", "post http://h/bios/broken"}) {
			t.Errorf("the machine was restarted, or the list went on: %q", r.acts)
		}
	})
}

// A BMC that does not come back in the time it has is no endless wait; one that takes most of it is waited for.
func TestF21_F24_ABMCThatStaysAway(t *testing.T) {
	for _, c := range []struct {
		gone time.Duration
		ok   bool
	}{{away - time.Minute, true}, {away + time.Minute, false}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			begun := time.Now()
			r.leaves, r.gone = begun.Add(30*time.Second), begun.Add(30*time.Second+c.gone)
			_, err := r.run(want("bios")...)
			if c.ok && err != nil || !c.ok && (!fault.Has(err, fault.BMCUnreachable) || !strings.Contains(fault.From(err).Hint, target.KeyAway)) {
				t.Errorf("away for %s: %v", c.gone, err)
			}
			if took := time.Since(begun); took > c.gone+startTime {
				t.Errorf("away for %s: it took %s", c.gone, took)
			}
		})
	}
}

// F15: a BMC that gives no task for its image, or has forgotten it, may be fetching it still: the machine is not restarted
// under it. One whose update service is at work for ever ends the step, with the machine as it is.
func TestF15_NoRestartUnderAnImageThatIsBeingFetched(t *testing.T) {
	for name, c := range map[string]struct {
		rig    func(*rig)
		reason fault.Reason
	}{
		"it says nothing":            {func(r *rig) { r.tasked = false }, ""},
		"its update service says so": {func(r *rig) { r.tasked, r.slow = false, 20*time.Minute }, ""},
		"it says so, and was away meanwhile": {func(r *rig) {
			r.tasked, r.slow, r.leaves, r.gone = false, 20*time.Minute, time.Now().Add(time.Minute), time.Now().Add(8*time.Minute)
		}, ""},
		"its task is not known":                {func(r *rig) { r.amnesia, r.slow = true, 20*time.Minute }, ""},
		"its update service never comes to it": {func(r *rig) { r.tasked, r.slow = false, 100*time.Hour }, fault.BMCTask},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				c.rig(r)
				done, err := r.run(want("bios")...)
				if c.reason == "" && (err != nil || done[0].To != "2") || c.reason != "" && (!fault.Has(err, c.reason) || len(r.acts) != 1) {
					t.Errorf("%+v, %v after %q", done, err, r.acts)
				}
			})
		})
	}
}

// F13: a request that got no answer, before a BMC restarts with its new firmware, is not taken for that restart.
func TestF13_ALostQuestionIsNoRestart(t *testing.T) {
	for name, c := range map[string]struct {
		from time.Duration
		mute bool
	}{
		"while it fetches":                           {10 * time.Second, false},
		"while it fetches, without a time of resets": {10 * time.Second, true},
		"after the task's end":                       {90 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.later, r.forgets, r.mute = 5*time.Minute, false, c.mute
				r.leaves, r.gone = time.Now().Add(c.from), time.Now().Add(c.from+15*time.Second)
				done, err := r.run(want("bmc")...)
				if err != nil || done[0].Unchanged || done[0].To != "2" {
					t.Errorf("%+v, %v", done, err)
				}
			})
		})
	}
}

// F13: a task that came while the answer was lost may be somebody else's. Its end is no leave to restart the machine under
// an image that is being fetched, and its failure says nothing of the image.
func TestF13_F15_AGuessedTaskMayBeAnothers(t *testing.T) {
	for name, c := range map[string]struct {
		theirs func() (Task, error)
		reason fault.Reason
	}{
		"it ends well": {func() (Task, error) { return Task{State: "Completed", Over: true, Percent: 100}, nil }, ""},
		"it waits":     {func() (Task, error) { return Task{State: "Pending"}, nil }, fault.FirmwareUnknown}, // also after the start
		"it fails":     {func() (Task, error) { return Task{}, fault.New(fault.BMCTask, "no room for logs") }, fault.FirmwareUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.tasked, r.slow, r.theirs = false, 20*time.Minute, c.theirs
				r.post = func(int) error { return errLost }
				r.links = func() []string {
					if len(r.sent) == 0 {
						return nil
					}
					return []string{"/t/theirs"}
				}
				done, err := r.run(want("bios")...)
				if c.reason == "" && (err != nil || done[0].To != "2") || c.reason != "" && !fault.Has(err, c.reason) {
					t.Errorf("%+v, %v after %q", done, err, r.acts)
				}
				if at := slices.Index(r.acts, "off"); at >= 0 && r.versions["bios"] != "2" {
					t.Errorf("the machine was restarted under the image: %q", r.acts)
				}
			})
		})
	}
}

func TestTheWaitThatIsAskedForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		begun := time.Now()
		all := want("bmc")
		all[0].Wait = 40 * time.Minute
		if done, err := r.run(all...); err != nil || len(done) != 1 || done[0].To != "2" {
			t.Fatal(done, err)
		}
		if took := time.Since(begun); took < 40*time.Minute || took > 50*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// Whatever an attempt before has noted: nothing is done on what can't be read.
func TestNotesThatMakeNoSense(t *testing.T) {
	for _, noted := range []string{"{", `{"done":[{},{}]}`, `7`} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.stored = []byte(noted)
			if _, err := r.run(want("bios")...); !fault.Has(err, fault.FirmwareUnknown) || len(r.acts) != 0 {
				t.Errorf("%s: %v, %q", noted, err, r.acts)
			}
		})
	}
}

func TestAnUpdateEndsWithItsContext(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 30 * time.Second, 70 * time.Second, 3 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			begun := time.Now()
			_, err := Run(ctx, r, want("bios"), nil, away, slog.New(slog.DiscardHandler))
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > after+time.Second {
				t.Errorf("ended after %s: %v, after %s", after, err, time.Since(begun))
			}
		})
	}
}

// One component over several versions: the images go in their order, each once, and each is seen by the version before it.
func TestI08_OneComponentOverSeveralVersions(t *testing.T) {
	for _, component := range []string{"bios", "bmc"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			all := []catalog.Firmware{{Component: component, URL: "http://h/" + component + "/2"}, {Component: component, URL: "http://h/" + component + "/3"}}
			done, err := r.run(all...)
			want := []Done{{Component: component, From: "1", To: "2"}, {Component: component, From: "2", To: "3"}}
			if err != nil || !slices.Equal(done, want) || countOf(r.sent, component) != 2 || r.versions[component] != "3" {
				t.Errorf("%+v, %v; sent %v", done, err, r.sent)
			}
		})
	}
}

// A proxy before the BMC may answer 503 though it has handed the image on: before it is sent again, it is looked for. Where nothing
// shows, the answer is believed, and the image is sent again, for as long as a busy BMC is.
func TestI08_BehindAProxyAnImageIsLookedForBeforeItIsSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		answers []error // nil: the last stays
		tasked  bool
		state   string // of the update service, once the image was sent
		sent    int
		reason  fault.Reason
	}{
		"handed on":             {[]error{errHanded}, true, "", 1, ""},
		"handed on, no task":    {[]error{errHanded}, false, "", 1, ""},
		"turned back once":      {[]error{errTurned, nil}, true, "", 2, ""},
		"turned back, then on":  {[]error{errTurned, errHanded}, true, "", 2, ""},
		"turned back each time": {[]error{errTurned, errTurned, errTurned, errTurned, errTurned, errTurned}, true, "", 2, fault.BMCBusy},
		"something is at work":  {[]error{errTurned, errTurned}, true, updating, 1, fault.FirmwareUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.tasked = c.tasked
				tries := 0
				r.post = func(int) error {
					tries++
					r.state = c.state
					return c.answers[min(tries, len(c.answers))-1]
				}
				component := "bmc" // which installs its image by itself
				done, err := r.run(want(component)...)
				if tries != c.sent || len(r.sent) > 1 || c.reason == "" && (err != nil || len(done) != 1) || c.reason != "" && !fault.Has(err, c.reason) {
					t.Errorf("sent %d times, arrived %v: %+v, %v", tries, r.sent, done, err)
				}
			})
		})
	}
}

// F23: right after an update a BMC may tell the version of before once more. The image that follows is not measured by that: it
// would be taken for installed by the one before it, while it is being written.
func TestF23_F15_AStaleVersionBetweenTwoImages(t *testing.T) {
	for name, c := range map[string]struct {
		stale  int // readings
		reason fault.Reason
	}{"one": {1, ""}, "some": {3, ""}, "every other": {-1, fault.BMCBusy}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			between := 0
			r.lies = func(o any) {
				if o, ok := o.(map[string]any); ok && o["Controllers"] != nil && strings.HasPrefix(r.told[len(r.told)-1], "1/3") && len(r.sent) == 1 {
					if between++; between <= c.stale || c.stale < 0 {
						o["Controllers"] = []any{map[string]any{"FirmwarePackageVersion": []string{"1", "0"}[map[bool]int{true: between % 2}[c.stale < 0]]}}
					}
				}
			}
			done, err := r.run(catalog.Firmware{Component: "nic:1", URL: "http://h/nic:1/2"}, catalog.Firmware{Component: "nic:1", URL: "http://h/nic:1/3"}, want("bios")[0])
			if c.reason != "" {
				if !fault.Has(err, c.reason) || !strings.Contains(err.Error(), "nic:1") || fault.From(err).Hint == "" || len(done) != 1 || len(r.sent) != 1 {
					t.Errorf("%s: %+v, %v; sent %v", name, done, err, r.sent)
				}
				return
			}
			all := []Done{{Component: "nic:1", From: "1", To: "2"}, {Component: "nic:1", From: "2", To: "3"}, {Component: "bios", From: "1", To: "2"}}
			if err != nil || !slices.Equal(done, all) || between == 0 {
				t.Errorf("%s: %+v, %v; %d stale readings", name, done, err, between)
			}
		})
	}
}

// A version that stays other than the update before left it is the machine's: the step goes on from it.
func TestAVersionThatChangedBetweenTwoImagesIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.lies = func(o any) {
			if o, ok := o.(map[string]any); ok && o["Controllers"] != nil && len(r.sent) == 1 && strings.HasPrefix(r.told[len(r.told)-1], "1/2") {
				r.versions["nic:1"] = "2.0"
				o["Controllers"] = []any{map[string]any{"FirmwarePackageVersion": "2.0"}}
			}
		}
		done, err := r.run(catalog.Firmware{Component: "nic:1", URL: "http://h/nic:1/2"}, catalog.Firmware{Component: "nic:1", URL: "http://h/nic:1/3"})
		if all := []Done{{Component: "nic:1", From: "1", To: "2"}, {Component: "nic:1", From: "2.0", To: "3"}}; err != nil || !slices.Equal(done, all) {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

// I8, F1: also among several images for one component none is sent twice by a server that is killed at each act.
func TestI08_F01_KilledBetweenTheVersionsOfOneComponent(t *testing.T) {
	for _, component := range []string{"bios", "bmc"} {
		for _, after := range []bool{false, true} {
			for kill := 1; ; kill++ {
				over := false
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.kill, r.after = kill, after
					all := []catalog.Firmware{{Component: component, URL: "http://h/" + component + "/2"}, {Component: component, URL: "http://h/" + component + "/3"}}
					done, err := r.run(all...)
					if over = !errors.Is(err, errKilled); over {
						if err != nil || len(done) != 2 {
							t.Errorf("%s, not killed at %d: %+v, %v", component, kill, done, err)
						}
						return
					}
					<-time.After(20 * time.Second) // the server starts
					r.dead, r.kill = false, 0
					done, err = r.run(all...)
					for _, f := range all {
						if n := countOf(r.acts, "post "+f.URL); n > 1 {
							t.Errorf("%s, killed at %d: %s was sent %d times", component, kill, f.URL, n)
						}
					}
					if err == nil && (len(done) != 2 || r.versions[component] != "3") || err != nil && !fault.Has(err, fault.FirmwareUnknown) {
						t.Errorf("%s, killed at %d: %+v, %v, version %s", component, kill, done, err, r.versions[component])
					}
				})
				if over {
					break
				}
			}
		}
	}
}

// F24: a BMC that has just restarted with its new firmware may not yet tell what the machine is made of, or have no update service
// yet. The images that follow wait for that, for a while, and where it stays so the list ends with it.
func TestF24_ABMCThatRestartedIsGivenTimeToTellAll(t *testing.T) {
	for name, c := range map[string]struct {
		hides  time.Duration
		change func(o map[string]any)
		reason fault.Reason
	}{
		"no version, for a while":       {2 * time.Minute, func(o map[string]any) { delete(o, "Controllers") }, ""},
		"no version any more":           {time.Hour, func(o map[string]any) { delete(o, "Controllers") }, fault.StepArgument},
		"no update service for a while": {2 * time.Minute, func(o map[string]any) { delete(o, "Actions") }, ""},
		"no update service any more":    {time.Hour, func(o map[string]any) { delete(o, "Actions") }, fault.BMCUnsupported},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var done time.Time
			r.lies = func(o any) {
				if o, ok := o.(map[string]any); ok && strings.HasPrefix(r.told[len(r.told)-1], "1/2") && len(r.sent) == 1 {
					if done.IsZero() {
						done = time.Now()
					}
					if time.Since(done) < c.hides {
						c.change(o)
					}
				}
			}
			got, err := r.run(want("bmc", "nic:1")...)
			if c.reason == "" && (err != nil || len(got) != 2 || r.versions["nic:1"] != "2") || c.reason != "" && (!fault.Has(err, c.reason) || len(got) != 1 || time.Since(done) > askTime+longestPause) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
}
