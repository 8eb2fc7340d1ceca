package parts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// uuids are by what nodes are called; the command may call them by either.
var uuids = map[string]string{"n1": clitest.ID, "n2": "22222222-2222-4222-8222-222222222222", "n3": "33333333-3333-4333-8333-333333333333"}

func byName(path string) string {
	for name, uuid := range uuids {
		path = strings.ReplaceAll(path, uuid, name)
	}
	return path
}

// machines is a server with the nodes n1 and n2, which takes what changes n1 and whose BMC of n2 refuses; it notes requests.
func machines(t *testing.T, asked *[]string) *httptest.Server {
	power := func(name, now, target string) api.Node {
		n := clitest.Machine()
		n.UUID, n.Name, n.PowerState, n.TargetPowerState = uuids[name], &name, &now, nil
		if target != "" {
			n.TargetPowerState = &target
		}
		return n
	}
	stuck := power("n3", "power on", "")
	stuck.LastError = new("bmc.power: it stays on")
	shows := map[string]any{
		"/v1/nodes/n1": power("n1", "power off", ""), "/v1/nodes/n2": power("n2", "power on", "power off"), "/v1/nodes/n3": stuck,
		"/v1/nodes/n1/vmedia":     []any{map[string]any{"media_types": []any{"CD", "DVD"}, "inserted": true, "image": "http://192.0.2.1/tools.iso", "more": 1}},
		"/v1/nodes/n2/vmedia":     []any{},
		"/v1/nodes/n1/traits":     map[string]any{"traits": []any{"CUSTOM_B", "CUSTOM_A"}},
		"/v1/nodes/n1/bios":       map[string]any{"bios": []any{map[string]any{"name": "Turbo", "value": "on", "read_only": nil}}},
		"/v1/nodes/n1/bios/Turbo": map[string]any{"Turbo": map[string]any{"name": "Turbo", "value": "on"}},
		"/v1/nodes/n1/vendor_passthru/methods": map[string]any{"eject": map[string]any{"http_methods": []any{"POST"}, "async": false, "description": "Takes it out."},
			"boot": map[string]any{"http_methods": []any{"GET"}, "async": true, "description": "Boots."}},
	}
	return clitest.Recording(t, func(r *http.Request, body string) {
		if r.URL.Path != "/v1/events" {
			*asked = append(*asked, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(byName(r.URL.RequestURI()), "/v1/nodes/")+" "+body))
		}
	}, func(w http.ResponseWriter, r *http.Request) {
		refuse := func(status int, f *fault.Fault) {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(api.NewErrorBody(f, "req-1"))
		}
		r.URL.Path = byName(r.URL.Path)
		v, known := shows[r.URL.Path]
		switch {
		case r.URL.Path == "/v1/events":
			fmt.Fprintf(w, "event: node\ndata: {\"uuid\": %q}\n\n", clitest.ID)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/nodes/n2/"):
			refuse(http.StatusConflict, fault.New(fault.NodeBusy, "Node n2 is locked.").WithHint("wait for it"))
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/vendor_passthru"):
			_ = json.NewEncoder(w).Encode(map[string]any{"took": "it"})
		case r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/n9/"):
			w.WriteHeader(http.StatusNoContent)
		case known:
			_ = json.NewEncoder(w).Encode(v)
		default:
			refuse(http.StatusNotFound, fault.New(fault.NodeNotFound, "Node could not be found."))
		}
	})
}

// Each command says what came of it, and its exit code does too: 0 done, 1 failed, 2 typed wrongly, in which case the server is
// asked to change nothing.
func TestWhatCommandsSayAndHowTheyExit(t *testing.T) {
	for line, want := range map[string]string{
		"node power n1":         "power off\n",
		"node power n2":         "power on -> power off\n",
		"node power n1 -o json": "{\n  \"power_state\": \"power off\",\n  \"target_power_state\": null\n}\n",
		"node power n9":         "bessemer: Node could not be found.",
		"node power on n1":      "power on of node n1 has begun; bessemer node power n1 shows the state\n",
		"node power off n1 -w":  "node n1: power off\n",
		"node power off n3 -w":  "instead of power off: bmc.power: it stays on",
		"node power off n2":     "bessemer: Node n2 is locked.",

		"node vmedia show n1":                                "MEDIA TYPES  INSERTED  IMAGE\nCD DVD       true      http://192.0.2.1/tools.iso\n",
		"node vmedia show n2 -o json":                        "[]\n",
		"node vmedia attach n1 cdrom":                        "too few arguments",
		"node vmedia attach n1 cdrom http://192.0.2.1/t.iso": "node n1: is to see cdrom http://192.0.2.1/t.iso\n",

		"node trait list n1":               "VALUE\nCUSTOM_B\nCUSTOM_A\n",
		"node trait add n1 CUSTOM_A X":     "node n1: has the trait CUSTOM_A X\n",
		"node trait add n1":                "too few arguments",
		"node bios setting show n1 Turbo":  "name   Turbo\nvalue  on\n",
		"node bios setting show n1 Unseen": "bessemer: Node could not be found.",
		"node bios setting show n1":        "arg",
		"node passthru list n1":            "METHOD  HTTP  ASYNC  DESCRIPTION\nboot    GET   true   Boots.\neject   POST  false  Takes it out.\n",
		"node passthru call n1 eject":      "took=it\n",
		"node boot device set n2 pxe":      "bessemer: Node n2 is locked.",
		"node boot device set n1":          "too few arguments",
	} {
		var asked []string
		got := clitest.Run(t, machines(t, &asked).URL, false, strings.Fields(line)...)
		_, exit, failed := strings.Cut(got, "exit ")
		switch {
		case strings.HasSuffix(want, "\n"):
			if got != want {
				t.Errorf("%s:\n%s\nwant\n%s", line, got, want)
			}
		case !failed || !strings.Contains(got, want):
			t.Errorf("%s:\n%s\nwant a failure with %q", line, got, want)
		case strings.HasPrefix(want, "bessemer: ") || strings.HasPrefix(want, "instead"):
			if exit != "1\n" {
				t.Errorf("%s exits with %s", line, exit)
			}
		default:
			if exit != "2\n" || slices.ContainsFunc(asked, func(r string) bool { return !strings.HasPrefix(r, "GET ") }) {
				t.Errorf("%s exits with %s and asks %q", line, exit, asked)
			}
		}
	}
}

// Of several nodes each is asked for; one that fails stops no other, and makes the command fail.
func TestOneNodeThatFailsStopsNoOther(t *testing.T) {
	var asked []string
	got := clitest.Run(t, machines(t, &asked).URL, false, "node", "power", "off", "n2", "n1", "--soft", "--wait", "90s", "--yes")
	slices.Sort(asked)
	asked = slices.DeleteFunc(asked, func(r string) bool { return strings.HasPrefix(r, "GET ") })
	body := `{"target":"soft power off","timeout":90}`
	if want := []string{"PUT n1/states/power " + body, "PUT n2/states/power " + body}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	for _, want := range []string{"Node n2 is locked.", "wait for it", "soft power off of node n1 has begun", "1 done, 0 left out, 1 failed", "exit 1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
}

// What is typed is what the server is asked for.
func TestWhatTheServerIsAskedFor(t *testing.T) {
	for line, want := range map[string]string{
		"node boot device set n1 pxe --persistent":   `PUT n1/management/boot_device {"boot_device":"pxe","persistent":true}`,
		"node boot mode set n1 uefi":                 `PUT n1/states/boot_mode {"target":"uefi"}`,
		"node secure boot off n1":                    `PUT n1/states/secure_boot {"target":false}`,
		"node trait remove n1 CUSTOM_A":              `DELETE n1/traits/CUSTOM_A`,
		"node trait clear n1":                        `DELETE n1/traits`,
		"node vif attach n1 v --port-uuid p":         `POST n1/vifs {"id":"v","port_uuid":"p"}`,
		"node vmedia detach n1 cdrom":                `DELETE n1/vmedia?device_types=cdrom`,
		"node console enable n1":                     `PUT n1/states/console {"enabled":true}`,
		"node inject nmi n1":                         `PUT n1/management/inject_nmi {}`,
		"node indicator set n1 led@chassis blinking": `PUT n1/management/indicators/led@chassis {"state":"blinking"}`,
		"node out-of-service n1 --reason dead":       `PUT n1/states/out_of_service {"reason":"dead"}`,
		"node passthru call n1 eject --arg a=b":      `POST n1/vendor_passthru?method=eject {"a":"b"}`,
	} {
		var asked []string
		got := clitest.Run(t, machines(t, &asked).URL, false, append(strings.Fields(line), "--yes")...)
		if strings.Contains(line, "passthru") {
			got = clitest.Run(t, machines(t, &asked).URL, false, strings.Fields(line)...)
		}
		if !slices.Contains(asked, want) || strings.Contains(got, "exit ") {
			t.Errorf("%s asks %q, want %q\n%s", line, asked, want, got)
		}
	}
}
