package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// simulated runs a whole simulation against a server with played machines, over real sockets, and gives its summary.
func simulated(t *testing.T, o fleet.Options, rate float64, lasting time.Duration) fleet.Summary {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := settings(t)
	cfg.FakeMachines, cfg.BaseISO = filepath.Join(dir, "machines"), filepath.Join(dir, "base.iso")
	if err := media.RegionISO(cfg.BaseISO, make([]byte, api.RegionSize)); err != nil {
		t.Fatal(err)
	}
	cfg.LogLevel = "info"
	r := start(t, cfg)
	o.API, err = client.New(client.Options{Server: r.url})
	if err != nil {
		t.Fatal(err)
	}
	defer o.API.Close()
	o.Socket, o.Prefix, o.Log = cfg.FakeMachines, "sim-", slog.New(slog.NewTextHandler(t.Output(), nil))
	var out bytes.Buffer
	if err := fleet.Run(t.Context(), o, rate, lasting, &out); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	var s fleet.Summary
	text := out.Bytes()
	if err := json.Unmarshal(text[bytes.Index(text, []byte("\n{\n"))+1:], &s); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return s
}

// TestI08_SimulatedFleetIsCleaned: every machine of a fleet comes to its end, each of its two steps ran once.
func TestI08_SimulatedFleetIsCleaned(t *testing.T) {
	const nodes = 25
	s := simulated(t, fleet.Options{Nodes: nodes, Gather: true, Spread: 200 * time.Millisecond, StepTime: 50 * time.Millisecond, Inventory: 20 << 10}, 0, 0)
	if s.States[string(state.Available)] != nodes || s.Executed != 2*nodes || s.Repeated != 0 || s.Booted != nodes {
		t.Errorf("%+v", s)
	}
	// The last result ends the flow, and with it the machine's power: its answer may find nobody there.
	if s.Lookups.Count != nodes || s.StepGap.Count != nodes || s.Results.Count < nodes || s.Results.Count > 2*nodes {
		t.Errorf("not all was measured: %+v", s)
	}
}

// TestSimulatedHeartbeats: a fixed load is sent as it was asked for, and every heartbeat is answered.
func TestSimulatedHeartbeats(t *testing.T) {
	s := simulated(t, fleet.Options{Nodes: 10, StepTime: time.Hour, Quiet: true}, 100, time.Second)
	if s.Beats == nil || s.Beats.Count != 100 || s.States[string(state.CleanWait)] != 10 || s.Executed != 10 {
		t.Errorf("%+v, %+v", s, s.Beats)
	}
}
