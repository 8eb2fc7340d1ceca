package redfish

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// The machine is restarted for its new BIOS, politely where it is at work, and has the power that it had.
func TestUpdateRestartsTheMachineAndLeavesItsPower(t *testing.T) {
	for _, power := range []string{"On", "Off"} {
		for _, flow := range []state.Flow{state.Clean, state.Deploy, state.Service} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.power = power
				if _, err := runStep(t, t.Context(), l.bmc(t), flow, firmwareStep, image("http://192.0.2.9/bios")); err != nil {
					t.Fatal(err)
				}
				want := []string{"ForceOff", "On"}
				if flow == state.Service {
					want = slices.Insert(want, 0, "GracefulShutdown")
				}
				if power == "Off" {
					want = append(want, "ForceOff")
				}
				if l.firmware != "2.2" || l.power != power || !slices.Equal(l.resets, want) {
					t.Errorf("%s in %s: version %s, power %s, sent %v", power, flow, l.firmware, l.power, l.resets)
				}
			})
		}
	}
}

// What the BMC is sent: the address, the protocol, and the machine's own path only where there are several.
func TestUpdateSaysWhatItHasTo(t *testing.T) {
	for _, several := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			var got map[string]any
			l.before = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "SimpleUpdate") {
					raw, err := io.ReadAll(r.Body)
					if err != nil || json.Unmarshal(raw, &got) != nil {
						t.Errorf("%s, %v", raw, err)
					}
				}
				return false
			}
			want := map[string]any{"ImageURI": "https://192.0.2.9/bios?sig=1", "TransferProtocol": "HTTPS"}
			if several {
				l.neighbours = map[string]map[string]any{"2": {}}
				want["Targets"] = []any{"/redfish/v1/Systems/1"}
			}
			if _, err := runStep(t, t.Context(), l.bmc(t, target.KeySystem, "/redfish/v1/Systems/1"), state.Clean, firmwareStep, image("https://192.0.2.9/bios?sig=1")); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("sent %v, expected %v", got, want)
			}
		})
	}
}

// I22: neither log nor progress nor fault tells an image's address, whoever repeats it.
func TestI22_UpdateKeepsTheAddressToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const canary = "canary-c0ffee11"
		address := "http://192.0.2.9/bios?sig=" + canary
		l := newLab(t)
		l.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "SimpleUpdate") {
				return false
			}
			l.fail(w, http.StatusBadRequest, "no image at "+address+", sig="+canary)
			return true
		}
		all, err := l.bmc(t).Steps(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		run := all[slices.IndexFunc(all, func(s step.Bound) bool { return s.Name == firmwareStep })].Run
		told := &strings.Builder{}
		_, err = run(t.Context(), step.Call{ID: "1", Flow: state.Clean, Args: image(address), Power: "power off", Log: slog.New(slog.NewTextHandler(told, nil)),
			Report: func(p step.Progress) { fmt.Fprintln(told, p.Item) },
			Note: func(_ context.Context, v any) error {
				raw, err := json.Marshal(v)
				fmt.Fprintf(told, "%s\n", raw)
				return err
			}})
		if !fault.Has(err, fault.BMCError) || !strings.Contains(err.Error(), "no image at") {
			t.Fatal(err)
		}
		if all := err.Error() + told.String() + l.logged.String(); strings.Contains(all, canary) {
			t.Errorf("told is %s", all)
		}
	})
}

// I22: a BMC that makes its task's link of the image's address does not get it shown by that.
func TestI22_ATaskOfTheAddressDoesNotTellIt(t *testing.T) {
	links := map[string]string{"relative": "FW?of=", "ambiguous": "//FW?of=", "unreadable": "%zz?of=", "foreign": "http://evil.test/"}
	for name, answer := range map[string]func(l *lab, w http.ResponseWriter){
		"failed":    func(_ *lab, w http.ResponseWriter) { fmt.Fprint(w, `{"TaskState":"Exception"}`) },
		"refused":   func(l *lab, w http.ResponseWriter) { l.fail(w, http.StatusForbidden, "no") },
		"redirect":  func(_ *lab, w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(http.StatusFound) },
		"too large": func(_ *lab, w http.ResponseWriter) { _, _ = w.Write(make([]byte, maxBody+2)) },
		"relative":  nil, "ambiguous": nil, "unreadable": nil, "foreign": nil,
		"no answer": func(*lab, http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const canary = "canary-c0ffee11"
				l := newLab(t)
				l.before = func(w http.ResponseWriter, r *http.Request) bool {
					switch {
					case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "SimpleUpdate"):
						w.Header().Set("Location", cmp.Or(links[name], "/redfish/v1/TaskService/Tasks/FW?of=http://192.0.2.9/bios?sig=")+canary)
						w.WriteHeader(http.StatusAccepted)
					case strings.Contains(r.URL.RawQuery, canary):
						answer(l, w)
					default:
						return false
					}
					return true
				}
				told := &strings.Builder{}
				all, err := l.bmc(t).Steps(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				run := all[slices.IndexFunc(all, func(s step.Bound) bool { return s.Name == firmwareStep })].Run
				_, err = run(t.Context(), step.Call{ID: "1", Flow: state.Clean, Args: image("http://192.0.2.9/bios?sig=" + canary), Power: "power off",
					Log: slog.New(slog.NewTextHandler(told, nil)), Report: func(p step.Progress) { fmt.Fprintln(told, p.Item) }})
				if err == nil {
					t.Fatal("it went well")
				}
				if all := fmt.Sprintf("%v\n%+v\n%s\n%s", err, fault.From(err), told, l.logged.String()); strings.Contains(all, canary) {
					t.Errorf("told is %s", all)
				}
			})
		})
	}
}

// What an answer says decides whether the image may have arrived.
func TestI08_WhichAnswersSayThatNothingWasDone(t *testing.T) {
	for status, refused := range map[int]bool{400: true, 403: true, 404: true, 405: true, 408: false, 409: true, 412: true, 429: true, 500: false, 501: true, 502: false, 503: true, 504: false} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.before = failing(-1, "POST /redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate", status)
			_, err := runStep(t, t.Context(), l.bmc(t), state.Clean, firmwareStep, image("http://192.0.2.9/bios"))
			if err == nil || fault.Has(err, fault.FirmwareUnknown) == refused {
				t.Errorf("%d gives %v", status, err)
			}
			if posts := l.count("POST /redfish/v1/UpdateService"); !refused && posts != 1 {
				t.Errorf("%d: sent %d times", status, posts)
			}
		})
	}
}
