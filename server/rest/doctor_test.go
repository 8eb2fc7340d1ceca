package rest_test

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestDoctor(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	s.diagnosis = api.Diagnosis{Name: "n1", Verdict: api.VerdictWrong, Problems: []api.Problem{{Reason: "agent.silent", Message: "m", Hint: "h"}},
		Exits: []api.Exit{{Act: "verb.abort", Ends: true}}, Fix: &api.Exit{Act: "verb.abort", Ends: true}}
	all := s.want(s.do("GET", "/v1/doctor", ""), 200)
	if all.body["well"] != 4.0 || all.body["wrong"] != 1.0 || len(all.body["nodes"].([]any)) != 1 || all.body["server"] == nil {
		t.Errorf("the doctor says %v", all.body)
	}
	one := s.want(s.do("GET", path+"/doctor", ""), 200)
	if one.body["verdict"] != "wrong" || one.body["fix"].(map[string]any)["act"] != "verb.abort" || one.body["exits"].([]any)[0].(map[string]any)["ends"] != true {
		t.Errorf("a diagnosis is %v", one.body)
	}
	s.want(s.do("POST", path+"/doctor", `{"act": "verb.abort"}`), 202)
	if len(s.treated) != 1 || !strings.HasSuffix(s.treated[0], " verb.abort") {
		t.Errorf("treated %v", s.treated)
	}
	for _, bad := range []string{`{}`, `{"act": ""}`, `{"act": 1}`, `{"act": "x", "more": 1}`, `[]`, ``} {
		s.want(s.do("POST", path+"/doctor", bad), 400)
	}
	s.want(s.do("GET", path+"/doctor?x=1", ""), 400)
	s.want(s.do("GET", "/v1/doctor?x=1", ""), 400)
	s.want(s.do("GET", "/v1/nodes/nosuch/doctor", ""), 404)
	s.want(s.do("POST", "/v1/nodes/nosuch/doctor", `{"act": "x"}`), 404)
}
