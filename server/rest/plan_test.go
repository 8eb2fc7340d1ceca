package rest_test

import (
	"net/url"
	"strings"
	"testing"
)

// Reserved steps are taken under any interface from version 1.85 on.
func TestReservedSteps(t *testing.T) {
	s := newServer(t)
	path := s.enrolled() + "/states/provision"
	list := `{"target": "clean", "clean_steps": [{"interface": "bios", "step": "hold"}, {"interface": "power", "step": "reboot"}]}`
	s.ready("clean")
	s.want(s.do("PUT", path, list), 202)
	s.want(s.do("PUT", path, list, "X-OpenStack-Ironic-API-Version: 1.85"), 202)
	if a := s.want(s.do("PUT", path, list, "X-OpenStack-Ironic-API-Version: 1.84"), 406); !strings.Contains(a.fault(), "1.85") {
		t.Error(a.fault())
	}
	s.ready("unhold")
	s.want(s.do("PUT", path, `{"target": "unhold"}`), 202)
	s.want(s.do("PUT", path, `{"target": "unhold"}`, "X-OpenStack-Ironic-API-Version: 1.84"), 406)
}

func TestPlan(t *testing.T) {
	s := newServer(t)
	path := s.enrolled() + "/plan"
	q := func(target, steps string) string {
		return path + "?target=" + target + "&steps=" + url.QueryEscape(steps)
	}
	a := s.want(s.do("GET", path+"?target=provide", ""), 200)
	steps := a.body["steps"].([]any)
	first := steps[0].(map[string]any)
	if len(steps) != 2 || first["boots_ramdisk"] != true || first["priority"] != 99.0 || a.body["boots"] != 1.0 || a.body["flow"] != "clean" || a.body["automated"] != true {
		t.Errorf("plan %v", a.body)
	}
	a = s.want(s.do("GET", q("clean", `[{"interface": "bios", "step": "nope"}, {"interface": "deploy", "step": "erase_devices", "args": {"method": "fast"}}]`), ""), 200)
	if p := a.body["problems"].([]any); len(p) != 2 || !strings.HasPrefix(p[0].(map[string]any)["message"].(string), "bios.nope: ") {
		t.Errorf("problems %v", p)
	}
	a = s.want(s.do("GET", q("active", `[{"interface": "bios", "step": "factory_reset", "args": {}, "priority": 90}]`), ""), 200)
	if n := a.body["steps"].([]any); n[0].(map[string]any)["step"] != "bios.factory_reset" || n[0].(map[string]any)["restarts_machine"] != true {
		t.Errorf("plan %v", n)
	}
	for _, bad := range []string{path, path + "?target=manage", path + "?target=clean", q("clean", "{"), q("clean", `[{"step": "x"}]`), q("provide", `[{"interface": "bios", "step": "factory_reset"}]`),
		path + "?target=provide&disable_ramdisk=true", path + "?target=provide&x=1"} {
		s.want(s.do("GET", bad, ""), 400)
	}
	s.want(s.do("GET", "/v1/nodes/nosuch/plan?target=provide", ""), 404)
	for _, p := range s.provision {
		if p.Verb == "" {
			t.Errorf("asked for %+v", p)
		}
	}
}

func TestDefaultConfig(t *testing.T) {
	s := newServer(t)
	node := s.enrolled()
	const path = "/v1/default_config"
	set := func(body string) answer { return s.do("PUT", path, body) }
	s.want(set(`{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices", "priority": 20, "args": {"method": "overwrite"}}`), 204)
	s.want(set(`{"scope": "group:g", "flow": "clean", "step": "management.reset_bmc", "priority": 5}`), 204)
	if a := s.want(s.do("GET", path, ""), 200); len(a.body["defaults"].([]any)) != 3 {
		t.Errorf("%v", a.body)
	}
	if a := s.want(s.do("GET", path+"?scope=group:g", ""), 200); len(a.body["defaults"].([]any)) != 1 {
		t.Errorf("%v", a.body)
	}
	a := s.want(s.do("GET", node+"/default_config", ""), 200)
	found := false
	for _, v := range a.body["values"].([]any) {
		v := v.(map[string]any)
		if v["step"] == "deploy.erase_devices" && v["key"] == "args.method" {
			found = v["value"] == "overwrite" && v["origin"] == "fleet" && v["overrides"].([]any)[0].(map[string]any)["value"] == "auto"
		}
	}
	if !found || a.body["scopes"].([]any)[0] != "fleet" {
		t.Errorf("%v", a.body)
	}
	for _, bad := range []string{``, `{}`, `{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices"}`, `{"scope": "fleet", "step": "deploy.erase_devices", "priority": 1}`,
		`{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices", "args": []}`, `{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices", "args": {"method": "x"}}`,
		`{"scope": "all", "flow": "clean", "step": "deploy.erase_devices", "priority": 1}`, `{"scope": "fleet", "flow": "clean", "step": "deploy.erase_devices", "priority": 1, "x": 1}`} {
		s.want(set(bad), 400)
	}
	s.want(s.do("DELETE", path+"?scope=fleet&flow=clean&step=deploy.erase_devices&key=priority", ""), 204)
	s.want(s.do("DELETE", path+"?scope=fleet&flow=clean&step=deploy.erase_devices&key=priority", ""), 404)
	s.want(s.do("DELETE", path+"?scope=fleet&flow=clean", ""), 400)
	s.want(s.do("DELETE", path+"?scope=fleet&flow=clean&step=deploy.erase_devices", ""), 204)
	if len(s.defaults) != 1 {
		t.Errorf("%v are left", s.defaults)
	}
	s.want(s.do("GET", "/v1/nodes/nosuch/default_config", ""), 404)
}
