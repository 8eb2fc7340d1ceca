package rest_test

import (
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// FuzzZ1_Ramdisks gives arbitrary bodies and queries, without credentials, to what ramdisks call: nothing crashes, no secret
// of a node is told, and a real node is never changed.
func FuzzZ1_Ramdisks(f *testing.F) {
	routes := []string{"GET /v1/lookup", "POST /v1/heartbeat/f1", "POST /v1/heartbeat/n1", "POST /v1/continue_inspection"}
	for i := range routes {
		for _, body := range []string{"", `{}`, `[]`, `{"callback_url":"https://192.0.2.1:9999","agent_version":"1","agent_token":"` + madeToken + `"}`,
			`{"callback_url":"","agent_status":"end","agent_token":"x"}`, `{"callback_url":"http://[::1","agent_token":1}`,
			`{"inventory":{"interfaces":[{"mac_address":"52:54:00:aa:00:01"}]},"x":{"y":[1e300]}}`, `{"inventory":{"interfaces":[null]}}`,
			`{"inventory":` + strings.Repeat("[", 100), "\"\xff\""} {
			for _, query := range []string{"", "node_uuid=" + faked, "addresses=" + theCard + ",x", "addresses=%ff&addresses="} {
				f.Add(uint8(i), body, query, "1.110")
			}
		}
	}
	f.Fuzz(func(t *testing.T, route uint8, body, query, version string) {
		s := withFake(t, state.InspectWait)
		s.enrolled()
		before := s.nodes[1]
		method, path, _ := strings.Cut(routes[int(route)%len(routes)], " ")
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set(api.HeaderVersion, version)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %s?%s: %d %s\n%s", method, path, query, w.Code, w.Body, s.log)
		}
		for _, secret := range []string{"canary-info", "canary-drive", "canary-pw"} {
			if strings.Contains(w.Body.String(), secret) {
				t.Fatalf("%s %s?%s tells a secret: %s", method, path, query, w.Body)
			}
		}
		if !reflect.DeepEqual(before, s.nodes[1]) {
			t.Fatalf("%s %s?%s changed a real node: %+v", method, path, query, s.nodes[1])
		}
	})
}
