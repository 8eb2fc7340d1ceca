package redfish

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// direct calls a handler without a connection: no goroutines, so each input takes the same way each time.
type direct struct {
	t       *testing.T
	handler http.Handler
}

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme+"://"+r.URL.Host != origin || r.URL.User != nil {
		d.t.Errorf("%s was called", r.URL)
	}
	in := r.Clone(r.Context())
	if in.RequestURI = r.URL.RequestURI(); in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, in)
	return w.Result(), nil
}

// FuzzZ8_RedfishObjects puts any bytes in the place of one object. Nothing may crash or hang, nothing but the BMC may
// be called, and every error must be a fault that names a cause.
func FuzzZ8_RedfishObjects(f *testing.F) {
	for path, o := range newStandIn().objects() {
		raw, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(path, raw)
	}
	f.Add("/redfish/v1/Systems/1", []byte(`{"@odata.id":"http://evil.test/x","Boot":{"BootSourceOverrideTarget":7},"Links":{"ManagedBy":[{"@odata.id":"//evil.test"}]}}`))
	f.Add("/redfish/v1/Systems", []byte(`{"Members":[{"@odata.id":"/redfish/v1/Systems"}],"Members@odata.nextLink":"?x"}`))
	f.Add("/redfish/v1/Managers/bmc/VirtualMedia/Cd", []byte(`{"MediaTypes":["CD"],"Inserted":true,"Actions":{"#VirtualMedia.EjectMedia":{"target":"\u0000"}}}`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := newLab(t).lying(t, path, body)
			for name, err := range everything(t, b) {
				if f := fault.From(err); err != nil && (f.Reason == fault.InternalError || f.Message == "") {
					t.Errorf("%s gives %v", name, err)
				}
			}
		})
	})
}

// lying is the BMC with these bytes in the place of the object at path.
func (l *lab) lying(t *testing.T, path string, body []byte) conductor.BMC {
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || strings.TrimSuffix(r.URL.Path, "/") != path {
			return false
		}
		_, _ = w.Write(body)
		return true
	}
	b := l.bmc(t)
	b.(*bmc).Account.Transport.RegisterProtocol("http", direct{t, l.standIn})
	return b
}

// FuzzZ8_Links holds resolve to its promise: a path of the origin, or a fault.
func FuzzZ8_Links(f *testing.F) {
	for _, l := range append(foreign, "/redfish/v1/Systems/1", "http://bmc.test/redfish/v1/Systems/1?a=b#c", "HTTP://BMC.TEST:80/x", "/%2f%2fevil.test", "/..//evil.test", "%2f0", "%2f.evil.test/x") {
		f.Add(l)
	}
	f.Fuzz(func(t *testing.T, link string) {
		tgt, err := target.Parse(info(), nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := wire.NewEndpoint(tgt, wire.Config{Log: slog.New(slog.DiscardHandler)}).Account(tgt)
		if err != nil {
			t.Fatal(err)
		}
		o := wire.NewOperation(t.Context(), a, false, nil)
		defer o.End()
		path, err := o.Resolve(link)
		if err != nil {
			return
		}
		req, err := http.NewRequest(http.MethodGet, origin+path, http.NoBody)
		if err != nil {
			t.Fatalf("%q is resolved to the unusable %q", link, path)
		}
		if req.URL.Host != "bmc.test:80" || req.URL.Scheme != "http" || req.URL.User != nil {
			t.Errorf("%q is resolved to %q of %s", link, path, req.URL.Host)
		}
	})
}

// FuzzZ8_FirmwareUpdate puts any bytes in the place of one object while firmware is updated. Nothing may crash or hang, no
// other host be called, every error must be a fault that names a cause, and the image is sent once at most (I8).
func FuzzZ8_FirmwareUpdate(f *testing.F) {
	for path, o := range newStandIn().objects() {
		raw, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(path, raw)
	}
	f.Add("/redfish/v1/UpdateService", []byte(`{"Actions":{"#UpdateService.SimpleUpdate":{"target":"http://evil.test/x","TransferProtocol@Redfish.AllowableValues":[7]}}}`))
	f.Add("/redfish/v1/UpdateService", []byte(`{"Status":{"State":"Updating"},"ServiceEnabled":"no","Actions":{"#UpdateService.SimpleUpdate":{"target":""}}}`))
	f.Add("/redfish/v1/TaskService/Tasks/FW", []byte(`{"TaskState":"Pending","PercentComplete":-1e300}`))
	f.Add("/redfish/v1/TaskService/Tasks/FW", []byte(`{"TaskState":"Exception","Messages":[{"Message":"\u0000http://192.0.2.9/bios"}]}`))
	f.Add("/redfish/v1/TaskService/Tasks", []byte(`{"Members":[{"@odata.id":"/redfish/v1/TaskService/Tasks/1"},{"@odata.id":"//evil.test"}]}`))
	f.Add("/redfish/v1/Managers/bmc", []byte(`{"FirmwareVersion":"\u202e\n","LastResetTime":7}`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			b := l.lying(t, path, body)
			_, err := runStep(t, t.Context(), b, state.Service, firmwareStep, image("http://192.0.2.9/bios"))
			if f := fault.From(err); err != nil && (f.Reason == fault.InternalError || f.Message == "") {
				t.Errorf("the step gives %v", err)
			}
			if sent := l.count("POST /redfish/v1/UpdateService"); sent > 1 {
				t.Errorf("the image was sent %d times", sent)
			}
		})
	})
}
