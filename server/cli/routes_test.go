package cli_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
)

// commands are a command for each route that TestRequestsOfCommands does not name; $ is a directory with files.
const commands = `
GET /v1/chassis                          chassis list
GET /v1/chassis/{record}                 chassis show c1
PATCH /v1/chassis/{record}               chassis set c1 --description row
DELETE /v1/chassis/{record}              chassis delete c1
GET /v1/conductors/{host}                conductor show lab
GET /v1/default_config                   config list
PUT /v1/default_config                   config set fleet clean deploy.erase_devices --priority 5
DELETE /v1/default_config                config unset fleet clean deploy.erase_devices
GET /v1/nodes/{node}/default_config      config explain n1
GET /v1/deploy_templates                 deploy template list
GET /v1/deploy_templates/{record}        deploy template show t1
PATCH /v1/deploy_templates/{record}      deploy template set t1 --name CUSTOM_B
DELETE /v1/deploy_templates/{record}     deploy template delete t1
GET /v1/doctor                           doctor
GET /v1/nodes/{node}/doctor              doctor n1
GET /v1/drivers/{driver}/steps           node steps --available n1
GET /v1/drivers/{driver}/vendor_passthru driver passthru call redfish m --http-method GET
POST /v1/drivers/{driver}/vendor_passthru driver passthru call redfish m
PUT /v1/drivers/{driver}/vendor_passthru driver passthru call redfish m --http-method PUT
PATCH /v1/drivers/{driver}/vendor_passthru driver passthru call redfish m --http-method PATCH
DELETE /v1/drivers/{driver}/vendor_passthru driver passthru call redfish m --http-method DELETE
PUT /v1/nodes/{node}/vendor_passthru     node passthru call n1 m --http-method PUT
PATCH /v1/nodes/{node}/vendor_passthru   node passthru call n1 m --http-method PATCH
DELETE /v1/nodes/{node}/vendor_passthru  node passthru call n1 m --http-method DELETE
GET /v1/events                           events
GET /v1/images                           image list
GET /v1/images/{image}                   image show i
PUT /v1/images/{image}                   image add $/i.raw
DELETE /v1/images/{image}                image delete i
GET /v1/nodes                            node list
DELETE /v1/nodes/{node}                  node delete n1 --yes
PUT /v1/nodes/{node}/confirm             node confirm n1 --yes
GET /v1/nodes/{node}/history             node history n1
GET /v1/nodes/{node}/inventory           node inventory save n1
GET /v1/nodes/{node}/logs                node logs n1
PUT /v1/nodes/{node}/maintenance         node maintenance set n1 --reason fan
DELETE /v1/nodes/{node}/maintenance      node maintenance unset n1
PUT /v1/nodes/{node}/states/power        node power on n1
GET /v1/nodes/{node}/steps               node steps n1
PUT /v1/nodes/{node}/traits              register $/nodes.yaml
GET /v1/nodes/{node}/validate            node validate n1
GET /v1/ports                            port list
POST /v1/ports                           port create --node n1 --address 52:54:00:00:00:01
GET /v1/ports/{record}                   port show p1
DELETE /v1/ports/{record}                port delete p1
POST /v1/portgroups                      port group create --node n1 --name g
GET /v1/portgroups/{record}              port group show g1
PATCH /v1/portgroups/{record}            port group set g1 --name g
DELETE /v1/portgroups/{record}           port group delete g1
GET /v1/runbooks                         runbook list
POST /v1/runbooks                        runbook create --name CUSTOM_R --steps $/steps.yaml
GET /v1/runbooks/{record}                runbook show r1
DELETE /v1/runbooks/{record}             runbook delete r1
POST /v1/volume/connectors               volume connector create --node u1 --type iqn --connector-id iqn.2030-01.example:a
GET /v1/volume/connectors/{record}       volume connector show c1
PATCH /v1/volume/connectors/{record}     volume connector set c1 --connector-id iqn.2030-01.example:b
DELETE /v1/volume/connectors/{record}    volume connector delete c1
GET /v1/volume/targets                   volume target list
GET /v1/volume/targets/{record}          volume target show t1
PATCH /v1/volume/targets/{record}        volume target set t1 --volume-id w
DELETE /v1/volume/targets/{record}       volume target delete t1
`

// without are the routes that no command asks for, and why none has to.
var without = map[string]string{
	"GET /":          "names /v1",
	"GET /v1":        "names the versions: the client that import reads the source with asks for it",
	"GET /v1/lookup": "ramdisks", "POST /v1/heartbeat/{node}": "ramdisks", "POST /v1/continue_inspection": "ramdisks",
	"POST /v1/events":                      "a networking service",
	"GET /v1/openapi":                      "programs that make clients of it",
	"GET /v1/volume":                       "names the lists below it",
	"GET /v1/nodes/{node}/volume":          "names the lists below it",
	"GET /v1/nodes/{node}/states":          "node show has all of it",
	"GET /v1/nodes/{node}/history/{entry}": "node history has all of each",
	"POST /v1/nodes/{node}/doctor":         "doctor asks for it when it was agreed to what it found",
	"GET /v1/inspection_rules":             "there are none (docs/adr/0279)",
	"POST /v1/inspection_rules":            "as above", "GET /v1/inspection_rules/{rule}": "as above", "PATCH /v1/inspection_rules/{rule}": "as above", "DELETE /v1/inspection_rules/{rule}": "as above",
	"GET /v1/nodes/{node}/allocation":    "allocation list --node",
	"DELETE /v1/nodes/{node}/allocation": "allocation delete",
	"GET /v1/chassis/{record}/nodes":     "node list --where chassis_uuid=", "GET /v1/chassis/{record}/nodes/detail": "node list --where chassis_uuid=",
	"GET /v1/nodes/{node}/ports": "port list --node", "GET /v1/nodes/{node}/ports/detail": "port list --node",
	"GET /v1/nodes/{node}/portgroups": "port group list --node", "GET /v1/nodes/{node}/portgroups/detail": "port group list --node",
	"GET /v1/portgroups/{record}/ports": "port list", "GET /v1/portgroups/{record}/ports/detail": "port list",
	"GET /v1/nodes/{node}/volume/connectors": "volume connector list --node", "GET /v1/nodes/{node}/volume/connectors/detail": "volume connector list --node",
	"GET /v1/nodes/{node}/volume/targets": "volume target list --node", "GET /v1/nodes/{node}/volume/targets/detail": "volume target list --node",
	"GET /v1/nodes/detail": "node list --long asks for the list with all fields", "GET /v1/ports/detail": "the list names its fields", "GET /v1/portgroups/detail": "the list names its fields", "GET /v1/chassis/detail": "the list names its fields",
	"GET /v1/deploy_templates/detail": "the list names its fields", "GET /v1/runbooks/detail": "the list names its fields",
	"GET /v1/volume/connectors/detail": "the list names its fields", "GET /v1/volume/targets/detail": "the list names its fields",
}

// everyRouteHasACommand: whatever the API has, a command reaches: each route is asked for by one of TestRequestsOfCommands, which
// has reached these, or of the table above, or stands in the list of those that need none.
func everyRouteHasACommand(t *testing.T, reached map[string]bool) {
	t.Helper()
	routes := map[string]bool{}
	for template, item := range described(t) {
		for method := range item {
			if slices.Contains([]string{"parameters", "head", "options"}, method) || strings.HasSuffix(template, "/vendor_passthru/{method}") { // health checks; another spelling of ?method=
				continue
			}
			routes[strings.ToUpper(method)+" "+template] = true
		}
	}
	server := clitest.Recording(t, func(r *http.Request, _ string) {
		if template := route(t, r.Method, r.URL.Path); template != "" {
			reached[r.Method+" "+template] = true
		}
	}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"uuid": "u1", "name": "n1", "driver": "redfish", "provision_state": "available", "power_state": "power off", "ports": [], "nodes": [], "links": []}`)
	})
	dir := t.TempDir()
	for name, text := range map[string]string{"i.raw": "image", "nodes.yaml": "nodes: [{name: n1, driver: redfish, traits: [CUSTOM_A]}]", "steps.yaml": "- {interface: raid, step: apply_configuration, order: 1, args: {}}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(strings.TrimSpace(commands)) {
		words := strings.Fields(strings.ReplaceAll(line, "$", dir))
		want := words[0] + " " + words[1]
		if !routes[want] {
			t.Errorf("%s is not served", want)
		}
		delete(reached, want)
		if said := clitest.Run(t, server.URL, false, words[2:]...); !reached[want] {
			t.Errorf("bessemer %s does not ask for %s:\n%s", strings.Join(words[2:], " "), want, said)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(routes)) {
		if !reached[r] && without[r] == "" {
			t.Errorf("no command asks for %s: give it one, or say in without (server/cli/routes_test.go) why it needs none", r)
		}
	}
	for r := range without {
		if !routes[r] {
			t.Errorf("without names %s, which is not served", r)
		}
	}
}

// described are the paths of the API's own description, with their operations by method.
func described(t *testing.T) map[string]map[string]json.RawMessage {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	text, err := os.ReadFile("../../docs/reference/openapi.json")
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return doc.Paths
}

// route is the template of the route that a path belongs to: the one with the most fixed parts; "" for none.
func route(t *testing.T, method, path string) string {
	t.Helper()
	best, fixed := "", -1
	for template, item := range described(t) {
		if _, ok := item[strings.ToLower(method)]; !ok {
			continue
		}
		given, parts, same := strings.Split(path, "/"), strings.Split(template, "/"), 0
		if len(given) != len(parts) {
			continue
		}
		for i, p := range parts {
			if p == given[i] {
				same++
			} else if !strings.HasPrefix(p, "{") {
				same = -len(parts)
			}
		}
		if same > fixed {
			best, fixed = template, same
		}
	}
	return best
}
