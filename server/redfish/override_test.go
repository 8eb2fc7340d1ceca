package redfish

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// A BMC that can't be told "Disabled" is told another thing that boots nothing over HTTP, and the address goes with it. What it
// refuses of that is told, but for the address: the boot that it was for has ended.
func TestAnOverrideIsTakenAwayFromABMCThatKnowsNoDisabled(t *testing.T) {
	const none, hdd, uri = `"BootSourceOverrideTarget":"None"`, `"BootSourceOverrideTarget":"Hdd"`, `"HttpBootUri":null`
	for name, c := range map[string]struct {
		status  int
		refuses []string // besides "Disabled"
		offers  []string // nil: the targets are not listed
		ignores string   // accepted, and nothing comes of it
		target  string
		enabled string
		keeps   bool // the address
		fails   fault.Reason
	}{
		"400":                        {status: 400, target: "None", enabled: "Once"},
		"403":                        {status: 403, target: "None", enabled: "Once"},
		"405":                        {status: 405, target: "None", enabled: "Once"},
		"501":                        {status: 501, target: "None", enabled: "Once"},
		"nor None":                   {status: 400, refuses: []string{none}, target: "Hdd", enabled: "Once"},
		"nor lists None":             {status: 400, offers: []string{"Pxe", "Hdd", "UefiHttp"}, target: "Hdd", enabled: "Once"},
		"None does nothing":          {status: 400, ignores: none, target: "Hdd", enabled: "Once"},
		"Disabled does nothing":      {status: 400, ignores: "Disabled", target: "None", enabled: "Continuous"},
		"the address stays":          {status: 400, refuses: []string{uri}, target: "None", enabled: "Once", keeps: true},
		"nothing":                    {status: 403, refuses: []string{none, hdd}, target: "UefiHttp", enabled: "Once", keeps: true, fails: fault.BMCError},
		"nothing is there":           {status: 501, refuses: []string{none, hdd}, target: "UefiHttp", enabled: "Once", keeps: true, fails: fault.BMCUnsupported},
		"lists nothing that is left": {status: 400, offers: []string{"UefiHttp"}, target: "UefiHttp", enabled: "Once", keeps: true, fails: fault.BMCError},
		"another failure":            {status: 409, target: "UefiHttp", enabled: "Once", keeps: true, fails: fault.BMCBusy},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				b := l.bmc(t)
				if c.offers != nil {
					l.boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = c.offers
				} else {
					delete(l.boot, "BootSourceOverrideTarget@Redfish.AllowableValues")
				}
				always := c.enabled == "Continuous"
				if err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "uefihttp", Always: always, UEFI: true, URL: medium}); err != nil {
					t.Fatal(err)
				}
				l.do(func() {
					l.before = func(w http.ResponseWriter, r *http.Request) bool {
						if r.Method != http.MethodPatch {
							return false
						}
						body, err := io.ReadAll(r.Body)
						if err != nil {
							t.Error(err)
						}
						r.Body = io.NopCloser(bytes.NewReader(body))
						says := func(what string) bool { return strings.Contains(string(body), what) }
						switch {
						case c.ignores != "" && says(c.ignores):
							w.WriteHeader(http.StatusNoContent)
						case says("Disabled"), slices.ContainsFunc(c.refuses, says):
							l.fail(w, c.status, "no such value")
						default:
							return false
						}
						return true
					}
				})
				err := b.SetBoot(t.Context(), conductor.BootTarget{})
				if c.fails == "" && err != nil || c.fails != "" && !fault.Has(err, c.fails) || strings.Contains(fmt.Sprint(err), "canary") {
					t.Errorf("got %v, expected %q", err, c.fails)
				}
				now, err := b.Boot(t.Context())
				if err != nil || (now.Device == "uefihttp") != (c.fails != "") || l.boot["BootSourceOverrideTarget"] != c.target || l.boot["BootSourceOverrideEnabled"] != c.enabled {
					t.Errorf("it boots %+v next, by %v, %v (%v)", now.Device, l.boot["BootSourceOverrideTarget"], l.boot["BootSourceOverrideEnabled"], err)
				}
				if kept := l.boot["HttpBootUri"] != nil; kept != c.keeps {
					t.Errorf("the address is kept: %v, expected %v", kept, c.keeps)
				}
			})
		})
	}
}

// The address of a boot over HTTP is not left readable by what boots from now on: not by no override, nor by the disk for good. A
// boot device for once leaves it, as the address may be the one for good.
func TestTheAddressOfABootGoesWithIt(t *testing.T) {
	for name, c := range map[string]struct {
		next  conductor.BootTarget
		keeps bool
	}{
		"nothing":  {conductor.BootTarget{}, false},
		"the disk": {conductor.BootTarget{Device: "disk", Always: true, UEFI: true}, false},
		"PXE once": {conductor.BootTarget{Device: "pxe", UEFI: true}, true},
	} {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprint(name, used), func(t *testing.T) {
				l := newLab(t)
				b := l.bmc(t)
				if err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "uefihttp", UEFI: true, URL: medium}); err != nil {
					t.Fatal(err)
				}
				if used {
					l.do(func() { l.boot["BootSourceOverrideEnabled"] = "Disabled" })
				}
				if err := b.SetBoot(t.Context(), c.next); err != nil || (l.boot["HttpBootUri"] != nil) != c.keeps {
					t.Errorf("it keeps %v (%v)", l.boot["HttpBootUri"] != nil, err)
				}
			})
		}
	}
}
