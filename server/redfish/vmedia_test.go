package redfish

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// The address of an operator's medium may be signed. BMCs repeat what they were sent, whole or in parts.
func TestI22_TheAddressOfAnOperatorsMediumStaysOutOfErrors(t *testing.T) {
	const signed = "http://192.0.2.8/canary0123456789abcdef/tools.iso?signature=canary%2Fsig%3D&expires=1"
	for name, said := range map[string]string{
		"the address": signed, "its query": "signature=canary%2Fsig%3D&expires=1", "a value": "canary%2Fsig%3D", "a value as it is meant": "canary/sig=",
		"a part of the path": "canary0123456789abcdef", "what was sent": "",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				redirect := false
				l.before = func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/Sessions") {
						return false
					}
					raw, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					what := said
					if what == "" {
						what = string(raw)
					}
					if redirect {
						w.Header().Set("Location", "http://bmc.test/"+what)
						w.WriteHeader(http.StatusFound)
						return true
					}
					l.do(func() { l.fail(w, http.StatusBadRequest, "can't take "+what) })
					return true
				}
				for _, redirect = range []bool{false, true} {
					err := l.bmc(t).(conductor.MediaHolder).Attach(t.Context(), "cdrom", signed)
					if err == nil {
						t.Fatal("attached")
					}
					for e := err; e != nil; e = errors.Unwrap(e) {
						if strings.Contains(e.Error(), "canary") {
							t.Errorf("redirected %v: the error tells the address: %v", redirect, e)
						}
					}
				}
				if strings.Contains(l.logged.String(), "canary0123") || strings.Contains(l.logged.String(), "sig") {
					t.Errorf("the log tells the address: %s", l.logged)
				}
			})
		})
	}
}
