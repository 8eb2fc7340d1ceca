package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// An upstream ramdisk looks its node up at a whole server; a node with one is told of from memory, and so listed too.
func TestARamdiskLooksItsNodeUp(t *testing.T) {
	r := start(t, settings(t))
	var node api.Node
	text := r.must(t, "POST", "/v1/nodes", map[string]any{"name": "r1", "driver": "fake-hardware", "driver_info": map[string]any{"fast_track": true}})
	if err := json.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	var a struct {
		Config struct {
			Token string `json:"agent_token"`
		}
	}
	if err := json.Unmarshal([]byte(r.must(t, "GET", "/v1/lookup?node_uuid="+node.UUID, nil)), &a); err != nil || a.Config.Token == "" {
		t.Fatalf("token %q, %v", a.Config.Token, err)
	}
	r.must(t, "POST", "/v1/heartbeat/"+node.UUID, map[string]any{"callback_url": "http://127.0.0.1:9999", "agent_token": a.Config.Token, "agent_version": "9.4"})
	if list := r.must(t, "GET", "/v1/nodes/detail", nil); !strings.Contains(list, `"agent_last_heartbeat"`) || strings.Contains(list, a.Config.Token) {
		t.Errorf("listed as %s", list)
	}
	if list := r.must(t, "GET", "/v1/nodes", nil); !strings.Contains(list, node.UUID) {
		t.Errorf("listed as %s", list)
	}
}
