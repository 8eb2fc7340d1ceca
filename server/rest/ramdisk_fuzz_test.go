package rest_test

import (
	"crypto/sha256"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
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
			for _, query := range []string{"", "node_uuid=" + faked, "node_uuid=00000000-0000-4000-8000-000000000002", "addresses=" + theCard + ",x", "addresses=%ff&addresses="} {
				f.Add(uint8(i), body, query, "1.110")
			}
		}
	}
	f.Fuzz(func(t *testing.T, route uint8, body, query, version string) {
		s := withFake(t, state.InspectWait)
		s.enrolled()
		// Nothing but its driver keeps the real node from the ramdisk: it waits for an inspection, and the token is right.
		sum := sha256.Sum256([]byte(madeToken))
		whole := &s.nodes[1]
		whole.State, whole.Ramdisk = state.InspectWait, &conductor.Ramdisk{Token: sum[:], Given: now}
		before := kept(t, *whole)
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
		if after := kept(t, *whole); after != before {
			t.Fatalf("%s %s?%s changed a real node:\n%s\nwas\n%s", method, path, query, after, before)
		}
		if s.inventory != nil && s.inventory.Node == whole.UUID {
			t.Fatalf("%s %s?%s told what a real node is: %s", method, path, query, s.inventory.Inventory)
		}
	})
}

// kept is a node as a store keeps it; what the node has pointers to is in it.
func kept(t *testing.T, n conductor.Node) string {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
