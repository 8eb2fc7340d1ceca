package rest_test

import (
	"strings"
	"testing"
)

// Who misspells a state, a fault or a field is told which there are.
func TestWhatThereIsToChooseFromIsTold(t *testing.T) {
	s := newServer(t)
	for query, want := range map[string]string{"provision_state=ready": "clean wait, ", "fault=fan": "power failure, ", "fields=nmae": "maintenance, ", "fields=uuid,provision-state": "provision_state, "} {
		told, _ := s.want(s.do("GET", "/v1/nodes?"+query, ""), 400).body["fault"].(map[string]any)
		if hint, _ := told["hint"].(string); !strings.Contains(hint, want) || len(hint) > 2000 {
			t.Errorf("%s: %q is to name %q", query, hint, want)
		}
	}
}
