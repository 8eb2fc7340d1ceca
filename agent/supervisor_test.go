package main

import (
	"testing"
	"time"
)

func TestAgentComesBackLaterEachTime(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k := &child{}
	var got []time.Duration
	for range 8 {
		k.began, k.running = now, true
		wait := k.ended(now.Add(time.Second))
		if k.running || !k.next.Equal(now.Add(time.Second+wait)) {
			t.Fatalf("running %v, next %v", k.running, k.next)
		}
		got = append(got, wait/time.Second)
	}
	for i, want := range []time.Duration{0, 1, 2, 4, 8, 16, 30, 30} {
		if got[i] != want {
			t.Errorf("wait %d is %d s, expected %d s", i, got[i], want)
		}
	}
	k.began = now
	if wait := k.ended(now.Add(steady)); wait != 0 {
		t.Errorf("a child that lived %s waits %s, expected none", steady, wait)
	}
}

func TestPID1SurvivesAPanic(t *testing.T) {
	s := &supervisor{} // nothing prepared: starting a child panics
	s.kinds = []*child{nil}
	if survive(s.turn) {
		t.Error("a turn without anything prepared was fine")
	}
	if !survive(func() {}) {
		t.Error("nothing at all was not fine")
	}
}
