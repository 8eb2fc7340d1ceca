package profile

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func node(s state.State) conductor.Node {
	return conductor.Node{UUID: "u", Driver: "fake-hardware", State: s}
}

// TestI24_OnlyANodeThatExpectsARamdiskIsLookedUp: the window is the node's state, and no other hardware has one.
func TestI24_OnlyANodeThatExpectsARamdiskIsLookedUp(t *testing.T) {
	for s, want := range map[state.State][2]bool{ // without and with fast_track
		state.InspectWait: {true, true}, state.DeployWait: {true, true}, state.Manageable: {false, true}, state.Available: {false, true},
		state.Active: {false, false}, state.Rescue: {false, false},
	} {
		n := node(s)
		fast := n
		fast.DriverInfo = map[string]any{"fast_track": true}
		if got := [2]bool{MayLookUp(n), MayLookUp(fast)}; got != want {
			t.Errorf("%s: %v, expected %v", s, got, want)
		}
		fast.Driver = "redfish"
		if MayLookUp(fast) || KeepsBeats(fast) || Inspects(fast, map[string]string{"inspect": "agent"}) {
			t.Errorf("a machine of redfish has a window in %s", s)
		}
	}
}

// TestI18_TheTokenIsGivenOnce: a second address makes the ramdisk contested, and then nothing proves it.
func TestI18_TheTokenIsGivenOnce(t *testing.T) {
	n := node(state.InspectWait)
	if given, changed, err := Admit(&n, "secret", "192.0.2.1", now); !given || !changed || err != nil {
		t.Fatalf("%v, %v, %v", given, changed, err)
	}
	if given, changed, err := Admit(&n, "another", "192.0.2.1", now); given || changed || err != nil {
		t.Errorf("the same address again: %v, %v, %v", given, changed, err)
	}
	beat := Beat{URL: "http://192.0.2.1:9999", Token: "secret", Version: "11"}
	if changed, err := Heard(&n, beat); !changed || err != nil {
		t.Errorf("the first heartbeat: %v, %v", changed, err)
	}
	if changed, err := Heard(&n, beat); changed || err != nil {
		t.Errorf("the same heartbeat: %v, %v", changed, err)
	}
	for what, change := range map[string]func(*Beat){
		"another token": func(b *Beat) { b.Token = "another" }, "no token": func(b *Beat) { b.Token = "" },
		"another address": func(b *Beat) { b.URL = "http://192.0.2.2:9999" },
	} {
		b := beat
		change(&b)
		if changed, err := Heard(&n, b); changed || !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%s: %v, %v", what, changed, err)
		}
	}
	if given, changed, err := Admit(&n, "another", "192.0.2.2", now); given || !changed || err != nil || !n.Ramdisk.Contested {
		t.Errorf("a second address: %v, %v, %v, %+v", given, changed, err, n.Ramdisk)
	}
	if changed, err := Heard(&n, beat); changed || !fault.Has(err, fault.RequestInvalid) {
		t.Errorf("a heartbeat of a contested ramdisk: %v, %v", changed, err)
	}
}

// TestI16_NoTokenWhileTheServerIsAtWork: who comes then asks again.
func TestI16_NoTokenWhileTheServerIsAtWork(t *testing.T) {
	n := node(state.InspectWait)
	n.PowerTarget = conductor.PowerOn
	if given, changed, err := Admit(&n, "secret", "192.0.2.1", now); given || changed || !fault.Has(err, fault.NodeBusy) || n.Ramdisk != nil {
		t.Errorf("%v, %v, %v", given, changed, err)
	}
}
