package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
)

// unserved tells which arguments of a request's query our server would refuse, by its own description.
func unserved(t *testing.T, request string) string {
	t.Helper()
	method, target, _ := strings.Cut(request, " ")
	target, _, _ = strings.Cut(target, " ")
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	best := route(t, method, u.Path)
	var op struct{ Parameters []struct{ Name, In string } }
	raw, ok := described(t)[best][strings.ToLower(method)]
	if !ok {
		return fmt.Sprintf("%s %s is not served", method, u.Path)
	}
	if err := json.Unmarshal(raw, &op); err != nil {
		t.Fatal(err)
	}
	var wrong []string
	for name := range u.Query() {
		if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.Name == name && p.In == "query" }) {
			wrong = append(wrong, name)
		}
	}
	if len(wrong) > 0 {
		return fmt.Sprintf("%s %s takes no %s", method, best, strings.Join(wrong, ", "))
	}
	return ""
}

// Each command makes the requests that Ironic's API knows for it: this is their form on the wire, whether the server at
// the other end is ours or not.
func TestRequestsOfCommands(t *testing.T) {
	var seen []string
	reached := map[string]bool{}
	server := clitest.Recording(t, func(r *http.Request, body string) {
		reached[r.Method+" "+route(t, r.Method, r.URL.Path)] = true
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+body))
	}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/vmedia"):
			fmt.Fprint(w, `[{"image": "i.iso", "inserted": true, "media_types": ["CD"]}]`)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/traits"):
			fmt.Fprint(w, `{"traits": ["CUSTOM_A"]}`)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/bios/Boot"):
			fmt.Fprint(w, `{"Boot": {"name": "Boot", "value": "Uefi"}}`)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/states"):
			fmt.Fprint(w, `{"raid_config": {"logical_disks": [{"name": "vd0", "raid_level": "5", "size_gb": 9, "controller": "c"}], "last_updated": "x"}, "target_raid_config": {"logical_disks": [{"volume_name": "root", "raid_level": "1", "size_gb": "MAX"}]}}`)
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{"uuid": "u1", "name": "x", "links": [], "allocations": [{"uuid": "u1", "state": "active", "links": []}], "shards": [{"name": "s", "count": 2}], "usage": [{"project": "blue", "resource_class": "big", "nodes": 3, "used": 1, "available": 2, "lent": 0}],
				"connectors": [{"uuid": "u2"}], "methods": {}, "bios": [{"name": "Boot", "value": "Uefi"}], "firmware": [{"component": "bios", "current_version": "2"}], "vifs": [{"id": "v"}], "children": ["c1"],
				"webhooks": [{"uuid": "u4", "url": "https://hooks.example/x", "failures": 3}], "indicators": [{"name": "led@chassis", "states": ["on", "off"], "readonly": false}],
				"portgroups": [{"uuid": "u3", "name": "bond0"}], "drivers": [{"name": "redfish", "hosts": ["lab"], "links": []}], "conductors": [{"hostname": "lab", "alive": true}]}`)
		case strings.HasSuffix(r.URL.Path, ":batchGet"):
			fmt.Fprint(w, `{"nodes": [{"uuid": "u1", "name": "one", "driver": "redfish"}, {"uuid": "u2", "name": "two", "driver": "redfish"}], "missing": []}`)
		case r.Method == http.MethodPost && !strings.Contains(r.URL.Path, "/nodes/"), r.Method == http.MethodPatch:
			fmt.Fprint(w, `{"uuid": "u1"}`)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	steps := write("steps.yaml", "- {interface: raid, step: apply_configuration, priority: 90, args: {}}\n")
	raid := write("raid.yaml", "logical_disks: [{raid_level: '1', size_gb: MAX}]\n")
	password := write("password", "hunter2\n")
	network := write("network.yaml", "links: []\n")
	for _, x := range []struct{ command, request, says string }{
		{"node boot device set n1 pxe --persistent", `PUT /v1/nodes/n1/management/boot_device {"boot_device":"pxe","persistent":true}`, "node n1: boots from pxe"},
		{"node add trait n1 CUSTOM_A", "PUT /v1/nodes/n1/traits/CUSTOM_A", "has the trait CUSTOM_A"},
		{"node remove trait n1 CUSTOM_A", "DELETE /v1/nodes/n1/traits/CUSTOM_A", "no longer has"},
		{"node remove trait n1 --all", "DELETE /v1/nodes/n1/traits", "has no traits"},
		{"node reboot n1 --soft --power-timeout 60", `PUT /v1/nodes/n1/states/power {"target":"soft rebooting","timeout":60}`, "soft rebooting of node n1 has begun"},
		{"node history get n1 h1", "GET /v1/nodes/n1/history/h1", "uuid"},
		{"node history list n1 --long", "GET /v1/nodes/n1/history?detail=true&limit=50&more=true&sort_dir=desc&sort_key=id", "SEVERITY"},
		{"node vif attach n1 v1 --vif-info segment=7", `POST /v1/nodes/n1/vifs {"id":"v1","segment":7}`, "attached v1"},
		{"node bios setting list n1 --fields name,read_only", "GET /v1/nodes/n1/bios?fields=name%2Cread_only", "READ ONLY"},
		{"node bios setting list n1 --long", "GET /v1/nodes/n1/bios?detail=true", "name   Boot"},
		{"node list --sort name:desc --limit 2 --marker u0 --no-maintenance --unassociated --retired --chassis c1 --fields name",
			"GET /v1/nodes?associated=false&chassis_uuid=c1&fields=name&limit=2&maintenance=false&marker=u0&retired=true&sort_dir=desc&sort_key=name", "NAME"},
		{"node list --maintenance --associated", "GET /v1/nodes?associated=true&detail=true&maintenance=true", "no nodes"},
		{"node list --conductor-group= --fields name", "GET /v1/nodes?conductor_group=&fields=name", "NAME"},
		{"allocation list --limit 1 --sort Name -f value -c name", "GET /v1/allocations?fields=name%2Cstate%2Cresource_class%2Cnode_uuid%2Cuuid&limit=1&sort_key=name", "None\n"},
		{"allocation list -f value -c State -c UUID", "GET /v1/allocations?fields=name%2Cstate%2Cresource_class%2Cnode_uuid%2Cuuid", "active u1\n"},
		{"allocation list -f csv -c uuid", "GET /v1/allocations?fields=name%2Cstate%2Cresource_class%2Cnode_uuid%2Cuuid", "uuid\nu1\n"},
		{"allocation show a1 -f value -c name -c uuid", "GET /v1/allocations/a1", "x\nu1\n"},
		{"allocation create --name a --wait", `POST /v1/allocations {"name":"a"}`, "allocation u1 is made"},
		{"port create 52:54:00:00:00:01 --node n1 --pxe-enabled --local-link-connection port_id=e1 --uuid p1", `POST /v1/ports {"address":"52:54:00:00:00:01","local_link_connection":{"port_id":"e1"},"node_ident":"n1","pxe_enabled":true,"uuid":"p1"}`, "port u1 is made"},
		{"port create --node n1 --address 52:54:00:00:00:01 --no-pxe", `POST /v1/ports {"address":"52:54:00:00:00:01","node_ident":"n1","pxe_enabled":false}`, "port u1 is made"},
		{"port set p1 --pxe-disabled", `PATCH /v1/ports/p1 [{"op":"add","path":"/pxe_enabled","value":false}]`, "port p1 is changed"},
		{"port list --port-group g1 --long", "GET /v1/ports?detail=true&portgroup=g1", ""},
		{"port group set g1 --unsupport-standalone-ports", `PATCH /v1/portgroups/g1 [{"op":"add","path":"/standalone_ports_supported","value":false}]`, "port group g1 is changed"},
		{"driver list --type dynamic", "GET /v1/drivers?type=dynamic", "redfish"},
		{"node create --driver redfish --deploy-interface direct --no-automated-clean", `POST /v1/nodes {"automated_clean":false,"deploy_interface":"direct","driver":"redfish"}`, "node u1 is enrolled"},
		{"node create --automated-clean", `POST /v1/nodes {"automated_clean":true,"driver":"redfish"}`, "node u1 is enrolled"},
		{"node set n1 --driver redfish --reset-interfaces", "GET /v1/nodes/n1\n" + `PATCH /v1/nodes/n1?reset_interfaces=true [{"op":"add","path":"/driver","value":"redfish"}]`, "node n1 is changed"},
		{"node set n1 --reset-deploy-interface", "GET /v1/nodes/n1\n" + `PATCH /v1/nodes/n1 [{"op":"remove","path":"/deploy_interface"}]`, "node u1 is changed"},
		{"node set n1 --retired-reason old", "GET /v1/nodes/n1\n" + `PATCH /v1/nodes/n1 [{"op":"add","path":"/retired_reason","value":"old"}]`, "node u1 is changed"},
		{"node set n1 --protected --protected-reason payroll", "GET /v1/nodes/n1\n" + `PATCH /v1/nodes/n1 [{"op":"add","path":"/protected","value":true},{"op":"add","path":"/protected_reason","value":"payroll"}]`, "node u1 is changed"},
		{"node unset n1 --deploy-interface --protected-reason", `PATCH /v1/nodes/n1 [{"op":"remove","path":"/protected_reason"},{"op":"remove","path":"/deploy_interface"}]`, "node u1 is changed"},
		{"node unset n1 --target-raid-config", "PUT /v1/nodes/n1/states/raid {}", "no target RAID configuration any more"},
		{`node clean n1 --clean-steps [{"interface":"power","step":"reboot"}]`, "GET /v1/nodes/n1/plan?steps=%5B%7B%22interface%22%3A%22power%22%2C%22step%22%3A%22reboot%22%2C%22args%22%3A%7B%7D%7D%5D&target=clean\n" +
			`PUT /v1/nodes/n1/states/provision {"target":"clean","clean_steps":[{"interface":"power","step":"reboot","args":{}}]}`, "clean of node n1 has begun"},
		{"node service n1 --step power.reboot --on-child-nodes --child-node c1", `PUT /v1/nodes/n1/states/provision {"target":"service","service_steps":[{"interface":"power","step":"reboot","args":{},"execute_on_child_nodes":true,"limit_child_node_execution":["c1"]}]}`, "service of node n1 has begun"},
		{"node deploy n1 --iso http://192.0.2.1/l.iso --config-drive H4sIAAAA --yes", "GET /v1/nodes/n1\n" + `PATCH /v1/nodes/u1 [{"op":"add","path":"/instance_info/boot_iso","value":"http://192.0.2.1/l.iso"},{"op":"add","path":"/deploy_interface","value":"ramdisk"}]` + "\n" +
			`PUT /v1/nodes/u1/states/provision {"target":"active","configdrive":"H4sIAAAA"}`, "deploy of node n1 has begun"},
		{"node create --no-automated-clean=false", `POST /v1/nodes {"driver":"redfish"}`, "node u1 is enrolled"},
		{"port create --node n1 --address 52:54:00:00:00:01 --no-pxe=false", `POST /v1/ports {"address":"52:54:00:00:00:01","node_ident":"n1"}`, "port u1 is made"},
		{"node list --fields name --no-maintenance=false", "GET /v1/nodes?fields=name", "NAME"},
		{"node list --where owner!=o --limit 1 --fields name", "GET /v1/nodes?fields=name%2Cowner", "NAME"}, // pages of one would be a request for each node
		{"node boot device show n1", "GET /v1/nodes/n1/management/boot_device", "uuid"},
		{"node boot device show n1 --supported", "GET /v1/nodes/n1/management/boot_device/supported", "uuid"},
		{"node boot mode set n1 uefi", `PUT /v1/nodes/n1/states/boot_mode {"target":"uefi"}`, "is to boot as uefi"},
		{"node secure boot on n1", `PUT /v1/nodes/n1/states/secure_boot {"target":true}`, "secure boot is to be on"},
		{"node trait list n1", "GET /v1/nodes/n1/traits", "CUSTOM_A"},
		{"node trait add n1 CUSTOM_A CUSTOM_B", "PUT /v1/nodes/n1/traits/CUSTOM_A\nPUT /v1/nodes/n1/traits/CUSTOM_B", "has the trait CUSTOM_A CUSTOM_B"},
		{"node trait remove n1 CUSTOM_A", "DELETE /v1/nodes/n1/traits/CUSTOM_A", "no longer has"},
		{"node trait clear n1", "DELETE /v1/nodes/n1/traits", "has no traits"},
		{"node vif list n1", "GET /v1/nodes/n1/vifs", "v"},
		{"node vif attach n1 v1 --port-uuid p1", `POST /v1/nodes/n1/vifs {"id":"v1","port_uuid":"p1"}`, "attached v1"},
		{"node vif detach n1 v1", "DELETE /v1/nodes/n1/vifs/v1", "detached v1"},
		{"node bios setting list n1", "GET /v1/nodes/n1/bios", "Boot  Uefi"},
		{"node bios setting show n1 Boot", "GET /v1/nodes/n1/bios/Boot", "value  Uefi"},
		{"node raid n1", "GET /v1/nodes/n1/states", "built   vd0   5           9        c"},
		{"node raid n1", "GET /v1/nodes/n1/states", "wanted  root  1           MAX"},
		{"node firmware list n1", "GET /v1/nodes/n1/firmware", "bios       2"},
		{"node vmedia attach n1 cdrom http://192.0.2.1/i.iso", `POST /v1/nodes/n1/vmedia {"device_type":"cdrom","image_url":"http://192.0.2.1/i.iso"}`, "is to see cdrom"},
		{"node vmedia detach n1 cdrom", "DELETE /v1/nodes/n1/vmedia?device_types=cdrom", "no longer sees cdrom"},
		{"node vmedia show n1", "GET /v1/nodes/n1/vmedia", "i.iso"},
		{"node passthru list n1", "GET /v1/nodes/n1/vendor_passthru/methods", "METHOD"},
		{"node passthru call n1 eject_vmedia", "POST /v1/nodes/n1/vendor_passthru?method=eject_vmedia {}", "eject_vmedia is called"},
		{"node passthru call n1 get_subscription --http-method get --arg id=1", "GET /v1/nodes/n1/vendor_passthru?method=get_subscription", "u1"},
		{"node console enable n1", `PUT /v1/nodes/n1/states/console {"enabled":true}`, "console enabled"},
		{"node console show n1", "GET /v1/nodes/n1/states/console", "uuid"},
		{"node inject nmi n1", "PUT /v1/nodes/n1/management/inject_nmi {}", "is interrupted"},
		{"node indicator list n1", "GET /v1/nodes/n1/management/indicators", "led@chassis  on off  false"},
		{"node indicator show n1 led@chassis", "GET /v1/nodes/n1/management/indicators/led@chassis", "uuid"},
		{"node indicator set n1 led@chassis on", `PUT /v1/nodes/n1/management/indicators/led@chassis {"state":"on"}`, "node n1: light led@chassis on"},
		{"webhook list", "GET /v1/webhooks", "u4    https://hooks.example/x  -        3"},
		{"webhook list --long", "GET /v1/webhooks", "url       https://hooks.example/x"},
		{"webhook show u4", "GET /v1/webhooks/u4", "uuid"},
		{"webhook create --url https://hooks.example/x --project p --secret-file " + password, `POST /v1/webhooks {"project":"p","secret":"hunter2","url":"https://hooks.example/x"}`, "webhook u1 is made"},
		{"webhook set u4 --secret-file " + password, `PUT /v1/webhooks/u4 {"secret":"hunter2"}`, "webhook u4 is changed"},
		{"webhook set u4 --url https://hooks.example/y", `PUT /v1/webhooks/u4 {"url":"https://hooks.example/y"}`, "webhook u4 is changed"},
		{"webhook delete u4", "DELETE /v1/webhooks/u4", "webhook u4 is deleted"},
		{"node show n1 n2 --fields name,uuid", `POST /v1/nodes:batchGet {"fields":["name","uuid"],"ids":["n1","n2"]}`, "one   u1"},
		{"node show n1,n2", `POST /v1/nodes:batchGet {"ids":["n1","n2"]}`, "driver  redfish"},
		{"node show @" + write("names", "n1\nn2\n"), `POST /v1/nodes:batchGet {"ids":["n1","n2"]}`, "driver  redfish"},
		{"node children list n1", "GET /v1/nodes/n1/children", "c1"},
		{"node out-of-service n1 --reason fan", `PUT /v1/nodes/n1/states/out_of_service {"reason":"fan"}`, "node n1: is out of service"},
		{"node set n1 --target-raid-config " + raid, "GET /v1/nodes/n1\n" + `PUT /v1/nodes/n1/states/raid {"logical_disks":[{"raid_level":"1","size_gb":"MAX"}]}`, "target RAID configuration is set"},
		{"node create --name n2 --shard s1 --parent-node n1 --instance-name web --chassis-uuid c1 --disable-power-off true --automated-clean false --network-data " + network,
			`POST /v1/nodes {"automated_clean":false,"chassis_uuid":"c1","disable_power_off":true,"driver":"redfish","instance_name":"web","name":"n2","network_data":{"links":[]},"parent_node":"n1","shard":"s1"}`, "node u1 is enrolled"},
		{"node set n1 --shard s1 --instance-uuid i1 --disable-power-off true --network-data " + network, "GET /v1/nodes/n1\n" +
			`PATCH /v1/nodes/n1 [{"op":"add","path":"/instance_uuid","value":"i1"},{"op":"add","path":"/shard","value":"s1"},{"op":"add","path":"/disable_power_off","value":true},{"op":"add","path":"/network_data","value":{"links":[]}}]`, "node u1 is changed"},
		{"node set n1 --disable-power-off default", "GET /v1/nodes/n1\n" + `PATCH /v1/nodes/n1 [{"op":"remove","path":"/disable_power_off"}]`, "node u1 is changed"},
		{"node plan n1 --service --step power.reboot", "GET /v1/nodes/n1/plan?steps=%5B%7B%22interface%22%3A%22power%22%2C%22step%22%3A%22reboot%22%2C%22args%22%3A%7B%7D%7D%5D&target=service", "no steps"},
		{"node unset n1 --shard --parent-node", `PATCH /v1/nodes/n1 [{"op":"remove","path":"/shard"},{"op":"remove","path":"/parent_node"}]`, "node u1 is changed"},
		{"node adopt n1", `PUT /v1/nodes/n1/states/provision {"target":"adopt"}`, "adopt of node n1 has begun"},
		{"node unrescue n1", `PUT /v1/nodes/n1/states/provision {"target":"unrescue"}`, "unrescue of node n1 has begun"},
		{"node rescue n1 --rescue-password-file " + password, `PUT /v1/nodes/n1/states/provision {"target":"rescue","rescue_password":"hunter2"}`, "rescue of node n1 has begun"},
		{"node service n1 --step power.reboot", `PUT /v1/nodes/n1/states/provision {"target":"service","service_steps":[{"interface":"power","step":"reboot","args":{}}]}`, "service of node n1 has begun"},
		{"node clean n1 --runbook r1 --yes", `PUT /v1/nodes/n1/states/provision {"target":"clean","runbook":"r1"}`, "clean of node n1 has begun"},
		{"node show n1 --fields name", "GET /v1/nodes/n1?fields=name", "name  x"},
		{"allocation create --resource-class big --trait CUSTOM_A --trait CUSTOM_B --candidate-node n1 --extra a/b=1", `POST /v1/allocations {"candidate_nodes":["n1"],"extra":{"a":{"b":1}},"resource_class":"big","traits":["CUSTOM_A","CUSTOM_B"]}`, "allocation u1 is made"},
		{"allocation list --state active", "GET /v1/allocations?fields=name%2Cstate%2Cresource_class%2Cnode_uuid%2Cuuid&state=active", "STATE"},
		{"allocation list --long", "GET /v1/allocations", "state  active"},
		{"allocation list --fields uuid", "GET /v1/allocations?fields=uuid", "UUID\nu1"},
		{"allocation show a1", "GET /v1/allocations/a1", "name"},
		{"allocation set a1 --name b --extra k=v", `PATCH /v1/allocations/a1 [{"op":"add","path":"/name","value":"b"},{"op":"add","path":"/extra/k","value":"v"}]`, "allocation a1 is changed"},
		{"allocation unset a1 --name --extra k", `PATCH /v1/allocations/a1 [{"op":"remove","path":"/name"},{"op":"remove","path":"/extra/k"}]`, "is changed"},
		{"allocation delete a1 a2", "DELETE /v1/allocations/a1\nDELETE /v1/allocations/a2", "allocation a2 is deleted"},
		{"deploy template create --name CUSTOM_R --steps " + steps, `POST /v1/deploy_templates {"name":"CUSTOM_R","steps":[{"args":{},"interface":"raid","priority":90,"step":"apply_configuration"}]}`, "deploy template u1 is made"},
		{"runbook set r1 --public true", `PATCH /v1/runbooks/r1 [{"op":"add","path":"/public","value":true}]`, "runbook r1 is changed"},
		{"chassis create --description row", `POST /v1/chassis {"description":"row"}`, "chassis u1 is made"},
		{"port set p1 --pxe-enabled false --local-link-connection port_id=eth1", `PATCH /v1/ports/p1 [{"op":"add","path":"/pxe_enabled","value":false},{"op":"add","path":"/local_link_connection/port_id","value":"eth1"}]`, "port p1 is changed"},
		{"port group list", "GET /v1/portgroups?fields=name%2Caddress%2Cnode_uuid%2Cuuid", "bond0"},
		{"volume connector list --node n1", "GET /v1/volume/connectors?fields=uuid%2Cnode_uuid%2Ctype%2Cconnector_id&node=n1", "u2"},
		{"volume target create --node u1 --type iscsi --volume-id v --boot-index 0", "GET /v1/nodes/u1?fields=uuid\n" + `POST /v1/volume/targets {"boot_index":0,"node_uuid":"u1","volume_id":"v","volume_type":"iscsi"}`, "volume target u1 is made"},
		{"driver list", "GET /v1/drivers", "redfish  lab"},
		{"driver show redfish", "GET /v1/drivers/redfish", "name"},
		{"driver property list redfish", "GET /v1/drivers/redfish/properties", "name"},
		{"driver raid property list redfish", "GET /v1/drivers/redfish/raid/logical_disk_properties", "name"},
		{"driver passthru list redfish", "GET /v1/drivers/redfish/vendor_passthru/methods", "METHOD"},
		{"conductor list", "GET /v1/conductors", "lab"},
		{"shard list", "GET /v1/shards", "s     2"},
		{"usage list", "GET /v1/usage", "blue     big             3"},
	} {
		seen = nil
		got := clitest.Run(t, server.URL, false, strings.Fields(x.command)...)
		if requests := strings.Join(seen, "\n"); requests != x.request {
			t.Errorf("bessemer %s asks\n  %s\nexpected\n  %s", x.command, requests, x.request)
		}
		for _, request := range seen {
			if wrong := unserved(t, request); wrong != "" {
				t.Errorf("bessemer %s: %s", x.command, wrong)
			}
		}
		if !strings.Contains(got, x.says) || strings.Contains(got, "exit ") {
			t.Errorf("bessemer %s says %q, expected %q", x.command, got, x.says)
		}
	}
	for _, x := range []struct{ command, request, says string }{
		{"node show --instance i1", "GET /v1/nodes?detail=true&instance_uuid=i1", "there is no node with the instance i1"},
		{"allocation show a1 -c nosuch", "GET /v1/allocations/a1", `there is no column "nosuch" in the answer`},
		{"port show --address 52:54:00:00:00:01", "GET /v1/ports?address=52%3A54%3A00%3A00%3A00%3A01", "there is no port with the address"},
	} {
		seen = nil
		got := clitest.Run(t, server.URL, false, strings.Fields(x.command)...)
		if requests := strings.Join(seen, "\n"); requests != x.request || !strings.Contains(got, x.says) || !strings.HasSuffix(got, "exit 1\n") {
			t.Errorf("bessemer %s asks %s and says %q, expected %s and %q", x.command, requests, got, x.request, x.says)
		}
	}
	for command, want := range map[string]string{
		"node remove trait n1 CUSTOM_A --all":                                 "give traits or --all, not both",
		"node unset n1 --protected=false":                                     "nothing to change",
		"node unset n1 --deploy-interface=false":                              "nothing to change",
		"port unset p1 --name=false":                                          "nothing to change",
		"port set p1 --pxe-disabled=false":                                    "nothing to change",
		"node power on n1 --power-timeout 0":                                  "expected a number of seconds",
		"node list --sort name,uuid":                                          "expected one KEY",
		"node list --limit -1":                                                "--limit is -1",
		"node show --instance i1 n1":                                          "not both",
		"port create 52:54:00:00:00:01 --address 52:54:00:00:00:02 --node n1": "give the address once",
		"node create --automated-clean true --no-automated-clean":             "not both",
		"node set n1 --reset-interfaces":                                      "goes with --driver",
		"node service n1 --step power.reboot --child-node c1":                 "goes with --on-child-nodes",
		"node service n1 --steps " + steps + " --on-child-nodes":              "goes with --step",
		"node rescue n1 --rescue-password hunter2":                            "give --rescue-password-file",
		"webhook create --url https://x":                                      "--secret-file", "webhook set u1": "nothing to change", "node list --changed-since x --owner o": "stands with", "node show": "name the node, or several",
		"allocation set a1": "nothing to change", "deploy template create --name x": "--steps is missing", "runbook set r1 --public maybe": "not a boolean",
		"volume target create --node u --type iscsi --volume-id v --boot-index x": "expected a number", "node trait add n1": "too few arguments", "node boot mode set uefi": "too few arguments",
		"node rescue n1": "give --rescue-password-file", "node service n1": "give --step or --steps", "node plan n1 --service": "give --step or --steps", "node plan n1 --inspect --step a.b": "--clean, --service or --deploy", "node clean n1 --runbook r --step bios.x": "not both", "node set n1 --disable-power-off maybe": "expected true, false or default", "allocation list --long --fields a": "not both",
	} {
		if got := clitest.Run(t, server.URL, false, strings.Fields(command)...); !strings.Contains(got, want) || !strings.Contains(got, "exit 2") {
			t.Errorf("bessemer %s says %q, expected %q", command, got, want)
		}
	}
	everyRouteHasACommand(t, reached)
}
