package redfish

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// everything does each operation once and gives the faults; whatever the BMC does, each must end in time.
func everything(t *testing.T, b conductor.BMC) map[string]error {
	t.Helper()
	out := map[string]error{}
	for name, call := range map[string]func() error{
		"Facts":    func() error { _, err := b.Facts(t.Context()); return err },
		"Power":    func() error { _, err := b.Power(t.Context()); return err },
		"SetPower": func() error { return b.SetPower(t.Context(), conductor.ForceOff) },
		"SetBoot":  func() error { return b.SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom"}) },
		"Boot":     func() error { _, err := b.Boot(t.Context()); return err },
		"SetMedia": func() error { return b.SetMedia(t.Context(), medium) },
		"Inspect":  func() error { _, err := b.(conductor.Inspector).Inspect(t.Context()); return err },
	} {
		start := time.Now()
		out[name] = call()
		if took := time.Since(start); took > operationTime+time.Second {
			t.Errorf("%s took %s, expected at most %s", name, took, operationTime)
		}
	}
	return out
}

// someHas tells whether one of the errors has the reason; all must be faults or nil.
func someHas(t *testing.T, all map[string]error, want fault.Reason) bool {
	t.Helper()
	found := false
	for name, err := range all {
		if err != nil && !strings.HasPrefix(string(fault.From(err).Reason), "bmc.") {
			t.Errorf("%s gives %v, which is no bmc fault", name, err)
		}
		found = found || fault.Has(err, want)
	}
	return found
}

// foreign are the ways to name another place.
var foreign = []string{
	"https://evil.test/redfish/v1/Systems/1", "http://evil.test:80/x", "//evil.test/x", "https://bmc.test/x", "http://bmc.test:81/x",
	"http://user@bmc.test/x", "http://bmc.test:80@evil.test/x", "@evil.test/x", ".evil.test/x", ":8080/x", "file:///etc/passwd",
	"gopher://bmc.test/x", "mailto:x", "Systems/1", "http://127.0.0.1/x", "http://169.254.169.254/latest", "\\\\evil.test\\x", "http://[::1]:80/x",
}

func TestT08_I23_ForeignLinksAreNeverFollowed(t *testing.T) {
	const sys, cd = "/redfish/v1/Systems/1", "/redfish/v1/Managers/bmc/VirtualMedia/Cd"
	places := map[string]func(path string, o map[string]any, link string){
		"root.Systems": func(p string, o map[string]any, l string) { set(p == "/redfish/v1", o, "Systems", l) },
		"member":       func(p string, o map[string]any, l string) { setMembers(p == "/redfish/v1/Systems", o, l) },
		"next page": func(p string, o map[string]any, l string) {
			if p == "/redfish/v1/Systems" {
				o["Members@odata.nextLink"] = l
			}
		},
		"bios":    func(p string, o map[string]any, l string) { set(p == sys, o, "Bios", l) },
		"manager": func(p string, o map[string]any, l string) { setIn(p == sys, o, "Links", "ManagedBy", link{l}) },
		"reset": func(p string, o map[string]any, l string) {
			setIn(p == sys, o, "Actions", "#ComputerSystem.Reset", map[string]any{"target": l})
		},
		"insert": func(p string, o map[string]any, l string) {
			setIn(p == cd, o, "Actions", "#VirtualMedia.InsertMedia", map[string]any{"target": l})
		},
		"own id": func(p string, o map[string]any, l string) {
			if p == sys || p == cd {
				o["@odata.id"] = l
			}
		},
		"media": func(p string, o map[string]any, l string) {
			set(p == "/redfish/v1/Managers/bmc", o, "VirtualMedia", l)
		},
	}
	for place, change := range places {
		t.Run(place, func(t *testing.T) {
			for _, l := range foreign {
				synctest.Test(t, func(t *testing.T) {
					lab := newLab(t)
					lab.wire.drop["evil.test:80"] = true
					lab.lie = func(path string, o map[string]any) { change(path, o, l) }
					all := everything(t, lab.bmc(t))
					if !someHas(t, all, fault.BMCOrigin) {
						t.Errorf("link %q at %s gives no %s: %v", l, place, fault.BMCOrigin, all)
					}
					for _, addr := range lab.wire.asked {
						if addr != "bmc.test:80" {
							t.Errorf("link %q at %s made a connection to %s", l, place, addr)
						}
					}
				})
			}
		})
	}
}

type link []string

func (l link) MarshalJSON() ([]byte, error) {
	out := []map[string]string{}
	for _, s := range l {
		out = append(out, map[string]string{"@odata.id": s})
	}
	return json.Marshal(out)
}

func set(here bool, o map[string]any, key, l string) {
	if here {
		o[key] = map[string]any{"@odata.id": l}
	}
}

func setMembers(here bool, o map[string]any, l string) {
	if here {
		o["Members"] = link{l}
	}
}

func setIn(here bool, o map[string]any, outer, inner string, v any) {
	if here {
		o[outer] = map[string]any{inner: v}
	}
}

func TestT08_I23_ForeignLocationAndRedirectAreNeverFollowed(t *testing.T) {
	for _, at := range []string{"POST /redfish/v1/SessionService/Sessions", "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset", "GET /redfish/v1/", "GET /redfish/v1/Systems"} {
		for _, status := range []int{301, 302, 307, 308, 201, 202} {
			t.Run(fmt.Sprint(at, status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					lab := newLab(t)
					lab.before = func(w http.ResponseWriter, r *http.Request) bool {
						if r.Method+" "+r.URL.Path != at {
							return false
						}
						w.Header().Set("Location", "http://evil.test/steal")
						w.Header().Set("X-Auth-Token", "t")
						w.WriteHeader(status)
						return true
					}
					all := everything(t, lab.bmc(t))
					if !someHas(t, all, fault.BMCOrigin) {
						t.Errorf("no %s: %v", fault.BMCOrigin, all)
					}
					for _, addr := range lab.wire.asked {
						if addr != "bmc.test:80" {
							t.Errorf("made a connection to %s", addr)
						}
					}
				})
			})
		}
	}
}

// A redirect within the origin is told, not followed.
func TestT08_NoRedirects(t *testing.T) {
	lab := newLab(t)
	lab.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/redfish/v1/" {
			return false
		}
		http.Redirect(w, r, "/elsewhere/", http.StatusMovedPermanently)
		return true
	}
	_, err := lab.bmc(t).Power(t.Context())
	if !fault.Has(err, fault.BMCError) || !strings.Contains(err.Error(), "/elsewhere/") {
		t.Errorf("got %v", err)
	}
	if n := lab.count("GET /elsewhere"); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
}

// Absolute links of the own origin are common and fine, in bodies and in Location.
func TestF26_AbsoluteLinksOfTheOwnOriginWork(t *testing.T) {
	lab := newLab(t)
	lab.absolute = true
	lab.tasks["7"] = "Completed"
	lab.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "ComputerSystem.Reset") {
			w.Header().Set("Location", "HTTP://BMC.test/redfish/v1/TaskService/Tasks/7")
			w.WriteHeader(http.StatusAccepted)
			return true
		}
		return false
	}
	for name, err := range everything(t, lab.bmc(t)) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if lab.count("GET /redfish/v1/TaskService/Tasks/7") == 0 {
		t.Error("the task was not looked at")
	}
	lab.driver.Close(t.Context())
	if lab.count("DELETE /redfish/v1/SessionService/Sessions/token-1") != 1 {
		t.Error("the session with the absolute Location was not ended")
	}
}

// answers are bodies no sane BMC sends, and the reason expected where there is only one.
func TestF26_I25_HostileBodies(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	members := strings.Builder{}
	for i := range 5000 {
		fmt.Fprintf(&members, `{"@odata.id":"/redfish/v1/Systems/%d"},`, i)
	}
	cases := map[string]struct {
		answer http.HandlerFunc
		want   fault.Reason
	}{
		"endless":          {endless, fault.BMCTooLarge},
		"drip":             {drip, fault.BMCUnreachable},
		"never":            {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fault.BMCUnreachable},
		"null":             {text("null"), fault.BMCError},
		"list":             {text("[]"), fault.BMCError},
		"number":           {text("7"), fault.BMCError},
		"empty":            {text(""), fault.BMCError},
		"html":             {text("<html>log in</html>"), fault.BMCError},
		"cut off":          {text(`{"Members":[{"@odata.id":`), fault.BMCError},
		"deep":             {text(strings.Repeat(`{"a":`, 100_000)), fault.BMCTooLarge},
		"deep list":        {text(`{"Members":` + strings.Repeat(`[`, 100_000)), fault.BMCTooLarge},
		"many values":      {text(`{"a":[` + strings.Repeat(`0,`, 1_000_000) + `0]}`), fault.BMCTooLarge},
		"many members":     {text(`{"Members":[` + members.String() + `{}]}`), fault.BMCTooLarge},
		"cycle":            {text(`{"Members":[],"Members@odata.nextLink":"/redfish/v1/Systems"}`), fault.BMCTooLarge},
		"endless pages":    {pages, fault.BMCTooLarge},
		"members no list":  {text(`{"Members":{"a":1}}`), fault.BMCError},
		"members of null":  {text(`{"Members":[null,1,"x",[],{}]}`), fault.BMCError},
		"wrong types":      {text(`{"Members":[{"@odata.id":"/w"}]}`), fault.BMCError},
		"huge header":      {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 200<<10)) }, fault.BMCUnreachable},
		"not even HTTP":    {hijack("SSH-2.0-OpenSSH_9.2\r\n"), fault.BMCUnreachable},
		"cut body":         {hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), fault.BMCUnreachable},
		"lies about size":  {hijack("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{"), fault.BMCUnreachable},
		"ten interim ones": {hijack(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10_000)), fault.BMCUnreachable},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lab := newLab(t)
				lab.before = func(w http.ResponseWriter, r *http.Request) bool {
					switch {
					case r.URL.Path == "/w":
						_, _ = w.Write([]byte(`{"Id":7,"UUID":{},"PowerState":["On"],"Boot":"x","Links":[],"Actions":1,"Bios":[1],"Status":0}`))
					case strings.HasPrefix(r.URL.Path, "/redfish/v1/Systems"):
						c.answer(w, r)
					default:
						return false
					}
					return true
				}
				all := everything(t, lab.bmc(t))
				for op, err := range all {
					if !fault.Has(err, c.want) {
						t.Errorf("%s gives %v, expected %s", op, err, c.want)
					}
				}
			})
		})
	}
}

func TestF26_CyclesAndPagesEndBeforeTheBudget(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		most   int
	}{
		"cycle": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"Members":[],"Members@odata.nextLink":"/redfish/v1/Systems"}`))
		}, 1},
		"pages": {pages, 64},
	} {
		synctest.Test(t, func(t *testing.T) {
			lab := newLab(t)
			lab.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/redfish/v1/Systems" {
					return false
				}
				c.answer(w, r)
				return true
			}
			_, err := lab.bmc(t).Power(t.Context())
			if n := lab.count("GET /redfish/v1/Systems"); !fault.Has(err, fault.BMCTooLarge) || n > c.most {
				t.Errorf("%s: %d pages were read, %v", name, n, err)
			}
		})
	}
}

func TestT08_RequestsOfAnOperationAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t)
		lab.lie = func(path string, o map[string]any) {
			if path == "/redfish/v1/Systems/1/EthernetInterfaces" {
				o["Members"] = func() (all link) {
					for i := range 510 {
						all = append(all, fmt.Sprint("/redfish/v1/Systems/1/EthernetInterfaces/1?card=", i))
					}
					return all
				}()
			}
		}
		_, err := lab.bmc(t).Facts(t.Context())
		if n := lab.count("GET"); !fault.Has(err, fault.BMCTooLarge) || n > 500 {
			t.Errorf("%d requests, %v", n, err)
		}
	})
}

func drip(w http.ResponseWriter, r *http.Request) {
	for {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return
		}
	}
}

func pages(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, `{"Members":[],"Members@odata.nextLink":"/redfish/v1/Systems?page=%sx"}`, r.URL.Query().Get("page"))
}

func hijack(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte(raw))
	}
}

// Every part of the machine may be of a wrong type: what comes of it is a fault or an empty field.
func TestF26_WrongTypesEverywhere(t *testing.T) {
	wrong := []any{[]any{1, nil, "x"}, map[string]any{"@odata.id": 7, "target": []any{}}}
	paths := newStandIn().objects()
	for path, object := range paths {
		for key := range object {
			t.Run(path+"#"+key, func(t *testing.T) {
				for _, v := range wrong {
					synctest.Test(t, func(t *testing.T) {
						lab := newLab(t)
						lab.lie = func(p string, o map[string]any) {
							if p == path {
								o[key] = v
							}
						}
						someHas(t, everything(t, lab.bmc(t)), "")
					})
				}
			})
		}
	}
}
