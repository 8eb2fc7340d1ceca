package rest_test

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// TestEachVersionAddsWhatItAdds goes through server-api.md, appendix A: what a version added is refused in the one before it and
// taken from it on. Fields of nodes are in TestEachFieldComesWithItsVersion, filters in TestEachFilterHasItsVersion, verbs in
// TestVerbsByVersion.
func TestEachVersionAddsWhatItAdds(t *testing.T) {
	const port, group, two = "/v1/ports/00000000-0000-4000-9000-000000000001", "/v1/portgroups/00000000-0000-4000-9000-000000000002", "00000000-0000-4000-9000-000000000003"
	add := func(field, value string) string {
		return `[{"op": "add", "path": "/` + field + `", "value": ` + value + `}]`
	}
	provision := func(more string) string { return `{"target": ` + more + `}` }
	for _, c := range []struct {
		version       int
		what          string
		at            state.State // of the node, where it matters
		request, body string
		before, from  int // statuses; from 0: any but before
	}{
		{5, "names in paths", "", "GET /v1/nodes/n1", "", 404, 200},
		{5, "names in filters", "", "GET /v1/ports?node=n1", "", 406, 200},
		{8, "fields", "", "GET /v1/ports?fields=uuid", "", 406, 200},
		{10, "names that no host has", "", "PATCH " + first, add("name", `"a~b"`), 400, 200},
		{10, "names that no host has, of a new node", "", "POST /v1/nodes", `{"driver": "redfish", "name": "a_b"}`, 400, 201},
		{10, "names that no host has, in paths", "", "GET /v1/nodes/a_b", "", 400, 404},
		{12, "RAID", "", "PUT " + first + "/states/raid", `{}`, 406, 0},
		{12, "what RAID takes", "", "GET /v1/drivers/redfish/raid/logical_disk_properties", "", 406, 0},
		{13, "abort", state.CleanWait, "PUT " + first + "/states/provision", provision(`"abort"`), 406, 202},
		{18, "internal_info of ports", "", "GET " + port + "?fields=internal_info", "", 406, 200},
		{19, "links of ports", "", "PATCH " + port, add("local_link_connection", "{}"), 406, 200},
		{19, "pxe_enabled of ports", "", "PATCH " + port, add("pxe_enabled", "false"), 406, 200},
		{22, "lookup", "", "GET /v1/lookup?addresses=52:54:00:00:00:01", "", 404, 0},
		{22, "heartbeat", "", "POST /v1/heartbeat/n1", `{}`, 404, 0},
		{23, "port groups", "", "GET /v1/portgroups", "", 404, 200},
		{24, "port groups of a node", "", "GET " + first + "/portgroups", "", 404, 200},
		{24, "ports of a group", "", "GET " + group + "/ports", "", 404, 200},
		{24, "groups of ports", "", "GET /v1/ports?portgroup=" + strings.TrimPrefix(group, "/v1/portgroups/"), "", 406, 200},
		{24, "group of a port", "", "PATCH " + port, add("portgroup_uuid", "null"), 406, 200},
		{25, "out of the chassis", "", "PATCH " + first, `[{"op": "remove", "path": "/chassis_uuid"}]`, 406, 200},
		{25, "out of the chassis by null", "", "PATCH " + first, add("chassis_uuid", "null"), 406, 200},
		{26, "mode of groups", "", "PATCH " + group, add("mode", `"802.3ad"`), 406, 200},
		{26, "properties of groups", "", "PATCH " + group, add("properties", `{}`), 406, 200},
		{27, "soft power", "", "PUT " + first + "/states/power", `{"target": "soft power off"}`, 406, 202},
		{27, "time for power", "", "PUT " + first + "/states/power", `{"target": "power on", "timeout": 9}`, 406, 202},
		{28, "virtual interfaces", "", "GET " + first + "/vifs", "", 404, 200},
		{29, "interrupt", "", "PUT " + first + "/management/inject_nmi", `{}`, 404, 0},
		{30, "type of drivers", "", "GET /v1/drivers?type=dynamic", "", 406, 200},
		{30, "detail of drivers", "", "GET /v1/drivers?detail=true", "", 406, 200},
		{32, "volumes", "", "GET /v1/volume/connectors", "", 404, 200},
		{32, "volumes of a node", "", "GET " + first + "/volume/targets", "", 404, 200},
		{34, "network of ports", "", "PATCH " + port, add("physical_network", `"n"`), 406, 200},
		{35, "config drive of rebuild", state.Active, "PUT " + first + "/states/provision", provision(`"rebuild", "configdrive": "x"`), 406, 400},
		{36, "version of the agent", "", "POST /v1/heartbeat/n1", `{"callback_url": "http://192.0.2.1:1", "agent_version": "1", "agent_token": "x"}`, 400, 0},
		{37, "traits", "", "GET " + first + "/traits", "", 404, 200},
		{38, "rescue", state.Active, "PUT " + first + "/states/provision", provision(`"rescue", "rescue_password": "p"`), 406, 202},
		{40, "BIOS", "", "GET " + first + "/bios", "", 404, 200},
		{41, "abort of an inspection", state.InspectWait, "PUT " + first + "/states/provision", provision(`"abort"`), 406, 202},
		{43, "detail", "", "GET /v1/ports?detail=true", "", 400, 200},
		{45, "reset of interfaces", "", "PATCH " + first + "?reset_interfaces=true", add("driver", `"redfish"`), 406, 200},
		{49, "conductors", "", "GET /v1/conductors", "", 404, 200},
		{52, "allocations", "", "GET /v1/allocations", "", 404, 200},
		{52, "allocation of a node", "", "GET " + first + "/allocation", "", 404, 0},
		{53, "smart NICs", "", "PATCH " + port, add("is_smartnic", "true"), 406, 200},
		{54, "events", "", "POST /v1/events", `{"events": [{"event": "network.bind_port", "port_id": "` + two + `", "mac_address": "52:54:00:00:00:01", "status": "ACTIVE"}]}`, 404, 204},
		{55, "templates", "", "GET /v1/deploy_templates", "", 404, 200},
		{56, "config drives that are built", state.Available, "PUT " + first + "/states/provision", provision(`"active", "configdrive": {"user_data": "x"}`), 406, 202},
		{57, "changes of allocations", "", "PATCH /v1/allocations/" + two, add("extra", "{}"), 405, 0},
		{58, "allocations of nodes in use", "", "POST /v1/allocations", `{"node": "n1"}`, 400, 0},
		{59, "vendor_data", state.Available, "PUT " + first + "/states/provision", provision(`"active", "configdrive": {"vendor_data": {"a": 1}}`), 406, 202},
		{60, "owner of allocations", "", "POST /v1/allocations", `{"resource_class": "a", "owner": "o"}`, 406, 201},
		{60, "allocations of an owner", "", "GET /v1/allocations?owner=o", "", 406, 200},
		{63, "indicators", "", "GET " + first + "/management/indicators", "", 404, 0},
		{64, "kind of a port's network", "", "PATCH " + port, add("local_link_connection", `{"network_type": "unmanaged"}`), 406, 200},
		{68, "CA of the agent", "", "POST /v1/heartbeat/n1", `{"callback_url": "http://192.0.2.1:1", "agent_version": "1", "agent_token": "x", "agent_verify_ca": "c"}`, 400, 0},
		{69, "deploy steps", state.Available, "PUT " + first + "/states/provision", provision(`"active", "deploy_steps": [{"interface": "deploy", "step": "x", "args": {}, "priority": 1}]`), 406, 202},
		{70, "cleaning without ramdisk", state.Manageable, "PUT " + first + "/states/provision", provision(`"clean", "disable_ramdisk": true, "clean_steps": [{"interface": "bios", "step": "x"}]`), 406, 202},
		{72, "status of the agent", "", "POST /v1/heartbeat/n1", `{"callback_url": "http://192.0.2.1:1", "agent_version": "1", "agent_token": "x", "agent_status": "end"}`, 400, 0},
		{73, "deploy", state.Available, "PUT " + first + "/states/provision", provision(`"deploy"`), 406, 202},
		{73, "undeploy", state.Active, "PUT " + first + "/states/provision", provision(`"undeploy"`), 406, 202},
		{74, "fields of BIOS settings", "", "GET " + first + "/bios?fields=name", "", 406, 200},
		{74, "detail of BIOS settings", "", "GET " + first + "/bios?detail=true", "", 406, 200},
		{76, "boot mode", "", "PUT " + first + "/states/boot_mode", `{"target": "uefi"}`, 404, 202},
		{76, "secure boot", "", "PUT " + first + "/states/secure_boot", `{"target": true}`, 404, 202},
		{77, "fields of drivers", "", "GET /v1/drivers?fields=name", "", 406, 200},
		{77, "fields of a driver", "", "GET /v1/drivers/redfish?fields=name", "", 406, 200},
		{78, "history", "", "GET " + first + "/history", "", 404, 200},
		{81, "inventory", "", "GET " + first + "/inventory?nosuch=1", "", 404, 400},
		{82, "shards", "", "GET /v1/shards", "", 404, 200},
		{82, "ports of shards", "", "GET /v1/ports?shard=a", "", 406, 200},
		{83, "children", "", "GET " + first + "/children", "", 404, 200},
		{84, "what an inspection found", "", "POST /v1/continue_inspection", `{}`, 404, 400},
		{85, "unhold", state.CleanHold, "PUT " + first + "/states/provision", provision(`"unhold"`), 406, 202},
		{85, "reserved steps", state.Manageable, "PUT " + first + "/states/provision", provision(`"clean", "clean_steps": [{"interface": "deploy", "step": "hold"}]`), 406, 202},
		{86, "firmware", "", "GET " + first + "/firmware", "", 404, 200},
		{87, "service", state.Active, "PUT " + first + "/states/provision", provision(`"service", "service_steps": [{"interface": "bios", "step": "x"}]`), 406, 202},
		{87, "abort of a service", state.ServiceWait, "PUT " + first + "/states/provision", provision(`"abort"`), 406, 202},
		{87, "out of service, which ends in service failed", state.Active, "PUT " + first + "/states/out_of_service", `{}`, 404, 202},
		{88, "names of ports", "", "PATCH " + port, add("name", `"p"`), 406, 200},
		{88, "names of ports in paths", "", "GET /v1/ports/p", "", 400, 404},
		{89, "virtual media", "", "DELETE " + first + "/vmedia", "", 404, 0},
		{92, "runbooks", "", "GET /v1/runbooks", "", 404, 200},
		{92, "runbooks of cleaning", state.Manageable, "PUT " + first + "/states/provision", provision(`"clean", "runbook": "CUSTOM_X"`), 406, 404},
		{93, "what virtual media hold", "", "GET " + first + "/vmedia?nosuch=1", "", 404, 400},
		{94, "nodes of new ports by name", "", "POST /v1/ports", `{"node_ident": "n1", "address": "52:54:00:00:00:09"}`, 406, 201},
		{97, "description of ports", "", "PATCH " + port, add("description", `"d"`), 406, 200},
		{98, "escapes in paths", "", "PATCH " + first, add("extra/a~1b", `1`), 400, 200},
		{99, "ports of groups of conductors", "", "GET /v1/ports?conductor_groups=a", "", 406, 200},
		{99, "port groups of groups of conductors", "", "GET /v1/portgroups?conductor_groups=a", "", 406, 200},
		{100, "vendor of ports", "", "PATCH " + port, add("vendor", `"v"`), 406, 200},
		{101, "category of ports", "", "PATCH " + port, add("category", `"c"`), 406, 200},
		{102, "network of groups", "", "PATCH " + group, add("physical_network", `"n"`), 406, 200},
		{103, "category of groups", "", "PATCH " + group, add("category", `"c"`), 406, 200},
		{106, "port groups of shards", "", "GET /v1/portgroups?shard=a", "", 406, 200},
		{108, "service without ramdisk", state.Active, "PUT " + first + "/states/provision", provision(`"service", "disable_ramdisk": true, "service_steps": [{"interface": "bios", "step": "x"}]`), 406, 202},
		{110, "abort of a deployment", state.DeployWait, "PUT " + first + "/states/provision", provision(`"abort"`), 406, 202},
	} {
		s := newServer(t)
		s.enrolled()
		s.nodes[0].Chassis = "00000000-0000-4000-9000-000000000004"
		if c.at != "" {
			s.nodes[0].State = c.at
		}
		s.beside = []conductor.Record{&conductor.Port{Head: conductor.Head{UUID: strings.TrimPrefix(port, "/v1/ports/")}, Node: s.nodes[0].UUID, Address: "52:54:00:00:00:01"},
			&conductor.Portgroup{Head: conductor.Head{UUID: strings.TrimPrefix(group, "/v1/portgroups/")}, Node: s.nodes[0].UUID}}
		method, path, _ := strings.Cut(c.request, " ")
		if a := s.do(method, path, c.body, in(c.version-1)); a.Code != c.before {
			t.Errorf("1.%d, %s: in the version before %s %s answers %d, expected %d: %.200s", c.version, c.what, method, path, a.Code, c.before, a.Body)
		}
		if a := s.do(method, path, c.body, in(c.version)); c.from != 0 && a.Code != c.from || c.from == 0 && (a.Code == 406 || strings.Contains(a.fault(), " is there from version ") || strings.Contains(a.fault(), "nothing at this path")) {
			t.Errorf("1.%d, %s: %s %s answers %d, expected %d: %.200s", c.version, c.what, method, path, a.Code, c.from, a.Body)
		}
	}
}

// What says nothing is not given, as with Ironic: whatever the verb, and whatever the version.
func TestEmptyArgumentsOfAVerbAreNotGiven(t *testing.T) {
	s := newServer(t)
	path := s.enrolled() + "/states/provision"
	for _, c := range []struct {
		version int
		at      state.State
		body    string
		status  int
	}{
		{110, state.Enroll, `{"target": "manage", "configdrive": "", "clean_steps": [], "deploy_steps": [], "service_steps": [], "runbook": null}`, 202},
		{110, state.Enroll, `{"target": "manage", "configdrive": {}}`, 202},
		{68, state.Available, `{"target": "active", "configdrive": {}, "deploy_steps": []}`, 202},
		{34, state.Active, `{"target": "rebuild", "configdrive": ""}`, 202},
		{34, state.Active, `{"target": "rebuild", "configdrive": {}}`, 202},
		{14, state.Enroll, `{"target": "manage", "service_steps": [], "clean_steps": []}`, 202},
		{110, state.Manageable, `{"target": "clean", "clean_steps": [], "deploy_steps": []}`, 400},
		{110, state.Active, `{"target": "service", "service_steps": [], "clean_steps": []}`, 400},
		{110, state.Enroll, `{"target": "manage", "configdrive": "x"}`, 400},
		{110, state.Enroll, `{"target": "manage", "configdrive": []}`, 400},
		{110, state.Enroll, `{"target": "manage", "clean_steps": {}}`, 400},
		{110, state.Enroll, `{"target": "manage", "clean_steps": ""}`, 400},
		{110, state.Enroll, `{"target": "manage", "rescue_password": ""}`, 400},
		{110, state.Available, `{"target": "active", "configdrive": []}`, 400},
		{110, state.Available, `{"target": "active", "deploy_steps": {}}`, 400},
	} {
		s.nodes[0].State = c.at
		s.provision = nil
		if a := s.do("PUT", path, c.body, in(c.version)); a.Code != c.status {
			t.Errorf("%s in 1.%d: status %d, expected %d: %.200s", c.body, c.version, a.Code, c.status, a.Body)
		}
		if len(s.provision) > 0 {
			if p := s.provision[0]; p.ConfigDrive != nil || len(p.CleanSteps)+len(p.DeploySteps)+len(p.ServiceSteps) > 0 {
				t.Errorf("%s: the conductor is given %+v", c.body, p)
			}
		}
	}
}
