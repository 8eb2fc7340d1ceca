package rest_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Each request in the version before its own is 404, in its own it has Ironic's status.
func TestManagementRequests(t *testing.T) {
	s := newServer(t)
	node := s.enrolled()
	s.lights = []conductor.Light{{Component: "system", Name: "led", State: "off", States: []string{"on", "off"}}}
	value := "True"
	s.bios = []conductor.BIOSSetting{{Name: "Quiet Boot", Value: &value, Type: "Boolean", Created: now}}
	for _, c := range []struct {
		method, path, body string
		since, status      int
	}{
		{"PUT", "/states/boot_mode", `{"target": "uefi"}`, 76, 202},
		{"PUT", "/states/boot_mode", `{"target": "bios"}`, 76, 202},
		{"PUT", "/states/boot_mode", `{"target": "efi"}`, 76, 400},
		{"PUT", "/states/boot_mode", `{}`, 76, 400},
		{"PUT", "/states/secure_boot", `{"target": true}`, 76, 202},
		{"PUT", "/states/secure_boot", `{"target": "off"}`, 76, 202},
		{"PUT", "/states/secure_boot", `{"target": null}`, 76, 400},
		{"PUT", "/states/raid", `{"logical_disks": []}`, 0, 204},
		{"PUT", "/states/raid", `[]`, 0, 400},
		{"GET", "/states/console", "", 0, 200},
		{"PUT", "/states/console", `{"enabled": "yes"}`, 0, 202},
		{"PUT", "/states/console", `{"enabled": 7}`, 0, 400},
		{"GET", "/management/boot_device/supported", "", 0, 200},
		{"PUT", "/management/inject_nmi", `{}`, 29, 204},
		{"PUT", "/management/inject_nmi", ``, 29, 204},
		{"PUT", "/management/inject_nmi", `{"hard": true}`, 29, 400},
		{"GET", "/management/indicators", "", 63, 200},
		{"GET", "/management/indicators/led@system", "", 63, 200},
		{"GET", "/management/indicators/lamp@system", "", 63, 404},
		{"GET", "/management/indicators/led", "", 63, 400},
		{"PUT", "/management/indicators/led@system", `{"state": "ON"}`, 63, 204},
		{"PUT", "/management/indicators/led@system", `{"state": "dim"}`, 63, 400},
		{"PUT", "/management/indicators/led@cellar", `{"state": "on"}`, 63, 400},
		{"GET", "/bios", "", 40, 200},
		{"GET", "/bios/Quiet%20Boot", "", 40, 200},
		{"GET", "/bios/nothing", "", 40, 404},
		{"GET", "/firmware", "", 86, 200},
		{"GET", "/firmware?fields=component", "", 86, 200},
		{"GET", "/firmware?fields=vendor", "", 86, 400},
		{"GET", "/firmware?detail=true", "", 86, 200},
		{"GET", "/firmware?detail=perhaps", "", 86, 400},
		{"GET", "/firmware?detail=true&fields=component", "", 86, 400},
		{"POST", "/vmedia", `{"device_type": "cdrom", "image_url": "https://192.0.2.1/a.iso"}`, 89, 204},
		{"POST", "/vmedia", `{"device_type": "cdrom", "image_url": "https://192.0.2.1/a.iso", "image_download_source": "local"}`, 89, 204},
		{"POST", "/vmedia", `{"device_type": "cdrom", "image_url": "https://192.0.2.1/a.iso", "image_download_source": "swift"}`, 89, 400},
		{"POST", "/vmedia", `{"device_type": "tape", "image_url": "https://192.0.2.1/a.iso"}`, 89, 400},
		{"POST", "/vmedia", `{"device_type": "cdrom"}`, 89, 400},
		{"POST", "/vmedia", `{"device_type": "cdrom", "image_url": "https://192.0.2.1/a.iso", "x": 1}`, 89, 400},
		{"DELETE", "/vmedia", "", 89, 204},
		{"DELETE", "/vmedia?device_types=cdrom,disk", "", 89, 204},
		{"DELETE", "/vmedia?device_types=CDROM,,%20disk,cdrom", "", 89, 204},
		{"DELETE", "/vmedia?device_types=,", "", 89, 400}, // it would empty every drive
		{"DELETE", "/vmedia?device_types=", "", 89, 400},
		{"GET", "/vifs", "", 28, 200},
		{"POST", "/vifs", `{"id": "v-1", "anything": 1}`, 28, 204},
		{"POST", "/vifs", `{"id": ""}`, 28, 400},
		{"POST", "/vifs", `{"id": "v", "port_uuid": "x"}`, 67, 400},
		{"POST", "/vifs", `{"id": "v", "port_uuid": "00000000-0000-4000-9000-000000000001", "portgroup_uuid": "00000000-0000-4000-9000-000000000001"}`, 67, 400},
		{"DELETE", "/vifs/v-1", "", 28, 204},
		{"DELETE", "/vifs/v$1", "", 28, 400},
		{"GET", "/vendor_passthru/methods", "", 0, 200},
		{"POST", "/vendor_passthru?method=create_subscription", `{"echo": {"Id": "7"}}`, 0, 200},
		{"DELETE", "/vendor_passthru?method=delete_subscription", `{"id": "7"}`, 0, 200},
		{"POST", "/vendor_passthru?method=eject_vmedia", "", 0, 202},
		{"POST", "/vendor_passthru?method=unknown", "", 0, 400},
		{"POST", "/vendor_passthru", "", 0, 400},
		{"POST", "/vendor_passthru/create_subscription", `{"echo": {"Id": "7"}}`, 0, 200},
		{"DELETE", "/vendor_passthru/delete_subscription", `{"id": "7"}`, 0, 200},
		{"POST", "/vendor_passthru/eject_vmedia", "", 0, 202},
		{"POST", "/vendor_passthru/unknown", "", 0, 400},
		{"POST", "/vendor_passthru/methods", "", 0, 200}, // a call of that name, were there one: only GET lists them
		{"POST", "/vendor_passthru/eject_vmedia?method=eject_vmedia", "", 0, 400},
		{"POST", "/vendor_passthru/eject_vmedia/x", "", 0, 404},
	} {
		a := s.do(c.method, node+c.path, c.body)
		if a.Code != c.status {
			t.Errorf("%s %s %s: %d %s, expected %d", c.method, c.path, c.body, a.Code, a.fault(), c.status)
		}
		if (a.Code == 202 || a.Code == 204) && a.Body.Len() > 0 {
			t.Errorf("%s %s: a body comes with %d", c.method, c.path, a.Code)
		}
		if c.since > 1 && c.since != 67 {
			s.want(s.do(c.method, node+c.path, c.body, in(c.since-1)), 404)
		}
	}
	s.want(s.do("PUT", node+"/states/raid", `{}`, in(11)), 406)
	s.want(s.do("GET", node+"/vmedia", "", in(92)), 404)
	s.want(s.do("POST", node+"/vifs", `{"id": "v", "port_uuid": "taken as it is"}`, in(66)), 204)
}

func TestWhatManagementAnswers(t *testing.T) {
	s := newServer(t)
	node := s.enrolled()
	value, low := "7", int64(-1)
	yes := true
	s.bios = []conductor.BIOSSetting{{Name: "A", Value: &value, Type: "Integer", Lower: &low, ReadOnly: &yes, Allowed: []string{"x"}, Created: now}, {Name: "B", Created: now}}
	s.firmware = []conductor.FirmwareComponent{{Component: "bmc", Initial: "1", Current: "2", Flashed: "2", Created: now, Updated: now}, {Component: "bios", Initial: "1", Current: "1", Created: now}}
	s.lights = []conductor.Light{{Component: "system", Name: "led", State: "off", States: []string{"on", "off"}, ReadOnly: true}}
	s.media = []conductor.Drive{{Image: "", Types: []string{"CD", "DVD"}}}
	const links = `"links":[{"href":"http://127.0.0.1:6385/v1/nodes/u/bios/A","rel":"self"},{"href":"http://127.0.0.1:6385/nodes/u/bios/A","rel":"bookmark"}]`
	const made = `"created_at":"2026-11-20T14:39:08+00:00","updated_at":null`
	const registry = `"attribute_type":"Integer","allowable_values":["x"],"lower_bound":-1,"upper_bound":null,"min_length":null,"max_length":null,"read_only":true,"reset_required":null,"unique":null`
	for path, want := range map[string]string{
		"/bios":                             `{"bios":[{"name":"A","value":"7",` + made + `,` + links + `},{"name":"B","value":null,`,
		"/bios?fields=value":                `{"bios":[{"value":"7",` + made + `,` + links + `}`,
		"/bios?detail=True":                 `{"bios":[{"name":"A","value":"7",` + registry + `,` + made + `,` + links + `}`,
		"/bios/A":                           `{"A":{"name":"A","value":"7",` + registry + `,` + made + `,` + links + `}}`,
		"/bios/B":                           `{"B":{"name":"B","value":null,"attribute_type":null,"allowable_values":[],`,
		"/firmware":                         `{"firmware":[{"component":"bmc","initial_version":"1","current_version":"2","last_version_flashed":"2","created_at":"2026-11-20T14:39:08+00:00","updated_at":"2026-11-20T14:39:08+00:00"},{"component":"bios","initial_version":"1","current_version":"1","last_version_flashed":null,` + made + `}]}`,
		"/vmedia":                           `[{"image":"","inserted":false,"media_types":["CD","DVD"]}]`,
		"/management/indicators":            `{"indicators":[{"component":"system","links":[{"href":"http://127.0.0.1:6385/v1/nodes/`,
		"/states/console":                   `{"console_enabled":false,"console_info":null}`,
		"/vifs":                             `{"vifs":[]}`,
		"/vendor_passthru/methods":          `{"eject_vmedia":{"async":true,"attach":false,"description":"d","http_methods":["POST"],"require_exclusive_lock":true}}`,
		"/management/boot_device/supported": `{"supported_boot_devices":["cdrom","pxe"]}`,
	} {
		r := s.raw("GET", node+path)
		if !strings.HasPrefix(r, want) {
			t.Errorf("%s answers\n%s, expected\n%s", path, r, want)
		}
	}
	s.want(s.do("GET", node+"/bios?detail=True", "", in(73)), 406)
	s.want(s.do("GET", node+"/bios?fields=colour", ""), 400)
	s.want(s.do("GET", node+"/bios?detail=perhaps", ""), 400)
	if r := s.rawIn("GET", node+"/bios/A", 73); strings.Contains(r, "attribute_type") {
		t.Errorf("version 1.73 shows the registry: %s", r)
	}
	s.want(s.do("PUT", node+"/management/indicators/led@system", `{"state": "blinking"}`), 204)
	if s.switched != "led@system blinking" {
		t.Errorf("switched %s", s.switched)
	}
	s.want(s.do("POST", node+"/vendor_passthru?method=create_subscription", `{"echo": {"Id": "7"}}`), 200)
	s.want(s.do("DELETE", node+"/vmedia?device_types=CDROM,,%20disk,cdrom", ""), 204)
	if a := fmt.Sprint(s.acts[len(s.acts)-1].Devices); a != "[cdrom disk]" {
		t.Errorf("in another form: %s", a)
	}
	s.want(s.do("DELETE", node+"/vmedia?device_types=floppy", ""), 204)
	if a := fmt.Sprint(s.acts[len(s.acts)-1].Devices); a != "[floppy]" {
		t.Errorf("detached %s", a)
	}
}

func (s *server) raw(method, path string) string { return s.rawIn(method, path, 110) }

func (s *server) rawIn(method, path string, v int) string {
	s.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:6385"+path, nil)
	r.Header.Set("X-OpenStack-Ironic-API-Version", fmt.Sprintf("1.%d", v))
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != 200 {
		s.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestI22_PasswordsOfTheBIOSAreMasked, also in rows that an older release stored.
func TestI22_PasswordsOfTheBIOSAreMasked(t *testing.T) {
	s := newServer(t)
	node := s.enrolled()
	secret, open := "canary-bios", "canary-free"
	s.bios = []conductor.BIOSSetting{{Name: "AdminPassword", Value: &secret, Created: now}, {Name: "Lock", Value: &secret, Type: "Password", Created: now}, {Name: "Quiet", Value: &open, Created: now}}
	for _, path := range []string{"/bios", "/bios?detail=True", "/bios?fields=value", "/bios/AdminPassword", "/bios/Lock"} {
		if r := s.raw("GET", node+path); strings.Contains(r, secret) || !strings.Contains(r, `"value":"******"`) {
			t.Errorf("%s answers %s", path, r)
		}
	}
	if r := s.raw("GET", node+"/bios/Quiet"); !strings.Contains(r, open) {
		t.Errorf("what is no secret is masked too: %s", r)
	}
}
