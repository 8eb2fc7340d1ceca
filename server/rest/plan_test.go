package rest_test

import (
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
