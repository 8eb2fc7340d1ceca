package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// lossy are the ways an update goes: with answers to its images, and without.
func lossy() map[string]func(*rig) {
	return map[string]func(*rig){
		"answered": func(*rig) {}, "pending": func(r *rig) { r.pending = true }, "lost": func(r *rig) { r.post = func(int) error { return errLost } },
		"lost, no task": func(r *rig) { r.tasked, r.post = false, func(int) error { return errLost } },
	}
}

// A note that is not stored, an image that may not leave, a power act that fails: whatever does not come about ends the step
// with its reason, and nothing follows it (I8, I16, F30).
func TestI08_F30_NothingFollowsAnActThatFailed(t *testing.T) {
	for name, change := range lossy() {
		for fail := 1; ; fail++ {
			over := false
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				change(r)
				r.fail, r.with = fail, errLease
				_, err := r.run(want("bios", "bmc", "nic:1")...)
				if over = r.failed == 0; over {
					return
				}
				if !fault.Has(err, fault.StorageUnavailable) || len(r.acts) != r.failed-1 {
					t.Errorf("%s, act %d: %v; %q after %d acts", name, fail, err, r.acts, r.failed-1)
				}
			})
			if over {
				if fail < 3 {
					t.Errorf("%s: %d acts", name, fail)
				}
				break
			}
		}
	}
}

// What is wrong with an answer ends the step with that reason; what may go away is asked again, and no image is sent twice.
func TestF22_F26_EachAnswerThatIsWrong(t *testing.T) {
	for name, change := range lossy() {
		for _, with := range []*fault.Fault{fault.New(fault.BMCOrigin, "it points elsewhere"), fault.New(fault.BMCBusy, "come again")} {
			for bad := 1; ; bad++ {
				over := false
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					change(r)
					r.badRead, r.with = bad, with
					components := []string{"bmc", "nic:1"}
					if !r.tasked {
						components = components[:1]
					}
					done, err := r.run(want(components...)...)
					over = r.reads < bad
					if over || with.Reason == fault.BMCBusy {
						if err != nil || len(done) != len(components) {
							t.Errorf("%s, answer %d: %+v, %v", name, bad, done, err)
						}
					} else if !fault.Has(err, with.Reason) {
						t.Errorf("%s, answer %d: %v", name, bad, err)
					}
					for _, c := range components {
						if n := countOf(r.sent, c); n > 1 {
							t.Errorf("%s, answer %d: %s was sent %d times", name, bad, c, n)
						}
					}
				})
				if over {
					break
				}
			}
		}
	}
}

// A BMC that stays busy before anything was sent is asked for a while, and one that fails otherwise is not.
func TestHowLongABMCIsAsked(t *testing.T) {
	for _, c := range []struct {
		with  *fault.Fault
		takes time.Duration
	}{{fault.New(fault.BMCBusy, "come again"), askTime}, {fault.New(fault.BMCError, "no"), 0}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			begun := time.Now()
			r.lies = func(any) { r.badRead, r.with = r.reads+1, c.with }
			_, err := r.run(want("bios")...)
			if took := time.Since(begun); !fault.Has(err, c.with.Reason) || took < c.takes || took > c.takes+longestPause || len(r.acts) > 0 {
				t.Errorf("%v after %s", err, took)
			}
		})
	}
}

// Where the context ends, the step does, with its error: between two tries, while it waits as asked, and in the answer.
func TestAnUpdateEndsWithItsContextEverywhere(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *rig, cancel func())
		after  time.Duration
		told   string // must not be
	}{
		"busy before":   {func(r *rig, _ func()) { r.state = updating }, time.Minute, "sending"},
		"busy after":    {func(r *rig, _ func()) { r.post = func(int) error { return errBusy } }, 65 * time.Second, "looking for"},
		"waiting":       {func(*rig, func()) {}, 30 * time.Minute, "looking for"},
		"in the answer": {func(r *rig, cancel func()) { r.post = func(int) error { cancel(); return errLost } }, time.Hour, "looking for"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				ctx, cancel := context.WithTimeout(t.Context(), c.after)
				defer cancel()
				c.change(r, cancel)
				begun := time.Now()
				all := want("bmc")
				all[0].Wait = 50 * time.Minute
				done, err := Run(ctx, r, all, nil, away, slog.New(slog.DiscardHandler))
				if err == nil || ctx.Err() == nil || len(done) != 0 || time.Since(begun) > c.after {
					t.Errorf("%+v, %v after %s", done, err, time.Since(begun))
				}
				if name != "in the answer" && name != "busy after" && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if name == "busy after" && len(r.acts) != 7 { // each ten seconds, and not once more at the end
					t.Errorf("sent %d times", len(r.acts))
				}
				if told := strings.Join(r.told, "\n"); strings.Contains(told, c.told) {
					t.Errorf("it went on: %s", told)
				}
			})
		})
	}
}

// Who asks for no wait is not told of one, and has none.
func TestNoWaitIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if _, err := r.run(want("bmc")...); err != nil {
			t.Fatal(err)
		}
		if told := strings.Join(r.told, "\n"); strings.Contains(told, "as asked") {
			t.Error(told)
		}
	})
}

// A BMC that does not say how it fetches images is sent one all the same; one with several machines is told which.
func TestWhatAnOrderSays(t *testing.T) {
	for _, several := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.several = several
			r.lies = func(o any) {
				if o, ok := o.(map[string]any); ok && o["Actions"] != nil {
					delete(o["Actions"].(map[string]any)["#UpdateService.SimpleUpdate"].(map[string]any), "TransferProtocol@Redfish.AllowableValues")
				}
			}
			all := want("bmc")
			all[0].URL = "https://h/bmc/2"
			if _, err := r.run(all...); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"ImageURI": "https://h/bmc/2", "TransferProtocol": "HTTPS"}
			if several {
				want["Targets"] = []string{"/s"}
			}
			if fmt.Sprint(r.bodies) != fmt.Sprint([]map[string]any{want}) {
				t.Errorf("sent %v, expected %v", r.bodies, want)
			}
		})
	}
}

// One reading of another version is no trace, and neither is none.
func TestF23_OneReadingIsNoTrace(t *testing.T) {
	for _, version := range []string{"", "7"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.post = func(int) error { return errGone }
			looks := 0
			r.lies = func(o any) {
				if o, ok := o.(map[string]any); ok && o["Controllers"] != nil && len(r.acts) > 0 {
					if looks++; version == "" || looks%2 == 0 {
						o["Controllers"] = []any{map[string]any{"FirmwarePackageVersion": version}}
					}
				}
			}
			if _, err := r.run(want("nic:1")...); !fault.Has(err, fault.FirmwareUnknown) {
				t.Errorf("%q: %v", version, err)
			}
		})
	}
}

// How long traces are looked for: two minutes of answers, an hour where the BMC says that it is at work, and a last reading
// that is another one is read again.
func TestHowLongATraceIsLookedFor(t *testing.T) {
	for name, c := range map[string]struct {
		component   string
		change      func(r *rig, sent func() time.Duration)
		least, most time.Duration
		reason      fault.Reason
	}{
		"never arrived": {"bios", func(r *rig, _ func() time.Duration) { r.post = func(int) error { return errGone } },
			traceTime - 2*longestPause, traceTime + longestPause, fault.FirmwareUnknown},
		"at work for ever": {"bios", func(r *rig, sent func() time.Duration) {
			r.post = func(int) error { r.state = updating; return errGone }
		}, taskTime, taskTime + traceTime + longestPause, fault.FirmwareUnknown},
		"the service is off while it works": {"bmc", func(r *rig, sent func() time.Duration) {
			r.tasked, r.post = false, func(int) error { return errLost }
			r.lies = func(o any) {
				if o, ok := o.(map[string]any); ok && o["Actions"] != nil && sent() > 0 {
					o["ServiceEnabled"] = false
				}
			}
		}, downloads, 20 * time.Minute, ""},
		"another version at the last moment": {"nic:1", func(r *rig, sent func() time.Duration) {
			r.post = func(int) error { return errGone }
			r.lies = func(o any) {
				if o, ok := o.(map[string]any); ok && o["Controllers"] != nil && sent() >= 110*time.Second {
					o["Controllers"] = []any{map[string]any{"FirmwarePackageVersion": "2"}}
				}
			}
		}, 110 * time.Second, 20 * time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				begun := time.Now()
				c.change(r, func() time.Duration {
					if len(r.acts) == 0 {
						return 0
					}
					return time.Since(begun) + 1
				})
				_, err := r.run(want(c.component)...)
				if c.reason == "" && err != nil || c.reason != "" && !fault.Has(err, c.reason) {
					t.Error(err)
				}
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
