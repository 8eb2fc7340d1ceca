package rest_test

import "testing"

// Numbers may come as digits, as Ironic takes them.
func TestNumbersAsDigits(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	for body, status := range map[string]int{
		`{"target": "rebooting", "timeout": 5}`: 202, `{"target": "rebooting", "timeout": "5"}`: 202, `{"target": "rebooting", "timeout": "0"}`: 400, `{"target": "rebooting", "timeout": 0}`: 400,
		`{"target": "rebooting", "timeout": "x"}`: 400, `{"target": "rebooting", "timeout": ""}`: 400, `{"target": "rebooting", "timeout": "-5"}`: 400, `{"target": "rebooting", "timeout": true}`: 400,
	} {
		s.want(s.do("PUT", path+"/states/power", body), status)
	}
	for priority, status := range map[string]int{`80`: 202, `"80"`: 202, `"x"`: 400, `-1`: 400, `1.5`: 400, `null`: 400} {
		s.nodes[0].State = "available"
		s.want(s.do("PUT", path+"/states/provision", `{"target": "active", "deploy_steps": [{"interface": "deploy", "step": "x", "args": {}, "priority": `+priority+`}]}`), status)
	}
}
