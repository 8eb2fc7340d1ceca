package rest_test

import (
	"net/url"
	"strings"
	"testing"
)

// Reserved steps are taken under any interface from version 1.85 on; steps of child nodes never, with the reason.
func TestReservedAndChildSteps(t *testing.T) {
	s := newServer(t)
	path := s.enrolled() + "/states/provision"
	list := `{"target": "clean", "clean_steps": [{"interface": "bios", "step": "hold"}, {"interface": "power", "step": "reboot"}]}`
	s.want(s.do("PUT", path, list), 202)
	s.want(s.do("PUT", path, list, "X-OpenStack-Ironic-API-Version: 1.85"), 202)
	if a := s.want(s.do("PUT", path, list, "X-OpenStack-Ironic-API-Version: 1.84"), 406); !strings.Contains(a.fault(), "1.85") {
		t.Error(a.fault())
	}
	for _, key := range []string{"execute_on_child_nodes", "limit_child_node_execution"} {
		a := s.want(s.do("PUT", path, `{"target": "clean", "clean_steps": [{"interface": "power", "step": "reboot", "`+key+`": true}]}`), 400)
		if !strings.Contains(a.fault(), key+" is not served") || !strings.Contains(a.fault(), "by itself") {
			t.Error(a.fault())
		}
	}
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
	for _, bad := range []string{path, path + "?target=manage", path + "?target=clean", q("clean", "{"), q("clean", `[{"step": "x"}]`), q("provide", "[]"),
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
