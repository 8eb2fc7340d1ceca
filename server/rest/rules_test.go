package rest_test

import (
	"strings"
	"testing"
)

// There are no inspection rules, and clients are told so in Ironic's words.
func TestInspectionRules(t *testing.T) {
	s := newServer(t)
	const one = "/v1/inspection_rules/00000000-0000-4000-8000-0000000000aa"
	for _, version := range []string{"1.96", "1.110"} {
		for _, query := range []string{"", "?detail=True", "?fields=uuid,phase", "?limit=5&sort_key=priority&sort_dir=desc", "?phase=main"} {
			if got := s.want(s.do("GET", "/v1/inspection_rules"+query, "", at(version)), 200).Body.String(); got != `{"inspection_rules":[]}` {
				t.Errorf("the list %s is %s", query, got)
			}
		}
		for request, status := range map[string]int{
			"GET /v1/inspection_rules?fields=nosuch": 400, "GET /v1/inspection_rules?sort_key=actions": 400, "GET /v1/inspection_rules?nosuch=1": 400,
			"GET /v1/inspection_rules?marker=00000000-0000-4000-8000-0000000000aa": 404, "GET /v1/inspection_rules?fields=uuid&detail=true": 400,
			"GET " + one: 404, "GET " + one + "?fields=nosuch": 400, "GET /v1/inspection_rules/nonsense": 400, "DELETE " + one: 404, "DELETE /v1/inspection_rules": 405,
		} {
			method, path, _ := strings.Cut(request, " ")
			s.want(s.do(method, path, "", at(version)), status)
		}
		s.want(s.do("PATCH", one, `[{"op": "add", "path": "/priority", "value": 1}]`, at(version)), 404)
		s.want(s.do("PATCH", one, `{}`, at(version)), 400)
		a := s.want(s.do("POST", "/v1/inspection_rules", `{"actions": [{"op": "fail", "args": {"msg": "x"}}]}`, at(version)), 400)
		if !strings.Contains(a.fault(), "inventory") {
			t.Errorf("a refusal without a way out: %q", a.fault())
		}
		for _, body := range []string{`[`, `{}`, `{"actions": [], "nosuch": 1}`} {
			if a := s.want(s.do("POST", "/v1/inspection_rules", body, at(version)), 400); strings.Contains(a.fault(), "inventory") {
				t.Errorf("%s is refused with %q", body, a.fault())
			}
		}
	}
	s.want(s.do("GET", "/v1/inspection_rules", "", at("1.95")), 404)
	s.want(s.do("GET", one, "", at("1.95")), 404)
	s.want(s.do("POST", "/v1/inspection_rules", `{}`, at("1.95")), 405)
	s.want(s.do("DELETE", one, "", at("1.95")), 405)
	s.want(s.do("PATCH", one, `[]`, at("1.95")), 405)
}
