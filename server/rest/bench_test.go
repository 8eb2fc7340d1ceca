package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// ten is ten pages of a thousand nodes, as machines in a hall have them.
func ten() []conductor.Node {
	nodes := make([]conductor.Node, 1000)
	for i := range nodes {
		nodes[i] = conductor.Node{
			UUID: conductor.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)), Name: fmt.Sprintf("rack12-u%04d", i), Driver: "redfish",
			DriverInfo:   map[string]any{"redfish_address": fmt.Sprintf("https://10.0.%d.%d", i/256, i%256), "redfish_username": "admin", "redfish_password": conductor.Masked},
			Properties:   map[string]any{"cpu_arch": "x86_64", "cpus": 64.0, "memory_mb": 262144.0, "local_gb": 1000.0, "capabilities": "boot_mode:uefi"},
			InstanceInfo: map[string]any{}, Extra: map[string]any{}, State: state.Available, StateSince: now, Power: conductor.PowerOff,
			ResourceClass: "baremetal", Created: now, Updated: now.Add(1),
		}
	}
	return nodes
}

// The lists of ten thousand nodes in full detail and in short, without the store's part; beside them json.Marshal of
// the same objects, ready made, which is the least that an encoder by reflection takes.
func BenchmarkList10k(b *testing.B) {
	nodes := ten()
	fake := newBackend()
	rows, err := nodewire.NewPreparer(fake.Drivers())
	if err != nil {
		b.Fatal(err)
	}
	kept := &ready{backend: fake, ids: make([]string, len(nodes)), rows: make([]string, len(nodes))}
	for i := range nodes {
		row, err := rows.Row(&nodes[i])
		if err != nil {
			b.Fatal(err)
		}
		kept.ids[i], kept.rows[i] = string(nodes[i].UUID), string(row)
	}
	handler := rest.New(rest.Config{Backend: kept, Form: rows.Form(), Auth: login.None{}, Hostname: "lab", Now: clock, Log: quiet})
	for name, path := range map[string]string{"detail": "/v1/nodes/detail", "short": "/v1/nodes"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for range 10 {
					r := httptest.NewRequest("GET", "http://127.0.0.1:6385"+path, nil)
					r.Header.Set(api.HeaderVersion, "latest")
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					if w.Code != 200 {
						b.Fatal(w.Body)
					}
					b.SetBytes(int64(10 * w.Body.Len()))
				}
			}
		})
	}
	b.Run("json.Marshal", func(b *testing.B) {
		objects := make([]api.Node, len(nodes))
		for i, n := range nodes {
			objects[i] = api.Node{UUID: string(n.UUID), Driver: n.Driver, DriverInfo: n.DriverInfo, Properties: n.Properties, InstanceInfo: n.InstanceInfo, Extra: n.Extra,
				Links: api.LinkPair("http://127.0.0.1:6385", "nodes/"+string(n.UUID)), Ports: api.LinkPair("http://127.0.0.1:6385", "nodes/"+string(n.UUID)+"/ports")}
		}
		for b.Loop() {
			for range 10 {
				if _, err := json.Marshal(objects); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("prepare", func(b *testing.B) {
		for b.Loop() {
			for range 10 {
				for i := range nodes {
					if _, err := rows.Row(&nodes[i]); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
}
