package redfish

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// changing counts the requests that change anything at the BMC beside our log-in.
func changing(log []string) (n int) {
	for _, r := range log {
		if method, path, _ := strings.Cut(r, " "); method != http.MethodGet && !strings.HasSuffix(path, "/Sessions") {
			n++
		}
	}
	return n
}

// A server whose lease of its store is in doubt sends nothing that acts, also in the middle of a step, and reads on. The step
// ends at once and says why, instead of waiting for a power state that nobody ordered.
func TestF30_I16_NoActLeavesWhileTheLeaseIsInDoubt(t *testing.T) {
	for name, args := range map[string]step.Args{
		applyStep: settings(setting("NumCores", 4)), resetStep: nil, bmcStep: nil, jobsStep: nil, "management.known_good_state": nil,
		firmwareStep: image("http://192.0.2.9/bios"),
	} {
		for allowed := range int64(3) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.tasks["1"], l.tasks["2"], l.tasks["3"] = "Running", "Running", "Running"
				var asked atomic.Int64
				b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(), Secrets: map[string]string{target.KeyPassword: password}, Held: func() error {
					if asked.Add(1) > allowed {
						return fault.New(fault.StorageUnavailable, "in doubt")
					}
					return nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				_, err = runStep(t, t.Context(), b, state.Clean, name, args)
				if asked.Load() <= allowed {
					return // the whole step needs no more
				}
				if !fault.Has(err, fault.StorageUnavailable) || asked.Load() != allowed+1 {
					t.Errorf("%s after %d acts: %v; asked %d times", name, allowed, err, asked.Load())
				}
				if got := changing(l.log); got != int(allowed) {
					t.Errorf("%s: %d acts were allowed, %d left: %v", name, allowed, got, l.log)
				}
				if _, err := b.Power(t.Context()); err != nil {
					t.Errorf("reading: %v", err)
				}
			})
		}
	}
}

// First aid that is aborted ends between two of its parts, and begins no other: a BMC is not restarted for it, and its queue not read
// anew (F40).
func TestF40_FirstAidEndsBetweenItsParts(t *testing.T) {
	const jobs, restart = "DELETE /redfish/v1/TaskService/Tasks/JID_2", "Manager.Reset"
	for name, c := range map[string]struct {
		stubborn bool
		stop     int // after so many points
		restarts bool
	}{
		"a queue that is empty":               {false, 0, false},
		"a job that stays":                    {true, 0, false},
		"a job that stays, after the restart": {true, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.tasks, l.stubborn = map[string]string{"JID_2": "Running"}, map[string]bool{"JID_2": c.stubborn}
			b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(), Secrets: map[string]string{target.KeyPassword: password}})
			if err != nil {
				t.Fatal(err)
			}
			all, err := b.Steps(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			aborted, points := errors.New("aborted"), 0
			i := slices.IndexFunc(all, func(s step.Bound) bool { return s.Name == "management.known_good_state" })
			_, err = all[i].Run(t.Context(), step.Call{
				ID: "s", Flow: state.Clean, Report: func(step.Progress) {}, Log: slog.New(slog.DiscardHandler),
				Settled: func() error {
					if points++; points > c.stop {
						return aborted
					}
					return nil
				},
			})
			did := strings.Join(l.log, "\n")
			if !errors.Is(err, aborted) || points != c.stop+1 || !strings.Contains(did, jobs) || strings.Contains(did, restart) != c.restarts {
				t.Errorf("%s: %v after %d points: %s", name, err, points, did)
			}
		})
	}
}
