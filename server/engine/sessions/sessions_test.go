package sessions

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// TestI18_WhatWasReadBeforeAChangeIsNotKept goes through the orders in which a reader of the store, who wants to keep
// what it found, and a transaction that changes the node may meet.
func TestI18_WhatWasReadBeforeAChangeIsNotKept(t *testing.T) {
	old := &conductor.Boot{Generation: 1}
	for name, c := range map[string]struct {
		during func(s *standings)
		kept   bool
	}{
		"nothing else":             {func(*standings) {}, true},
		"a change begins":          {func(s *standings) { s.begin("n") }, false},
		"a change begins and ends": {func(s *standings) { s.begin("n"); s.end("n") }, false},
		"two changes, one ends":    {func(s *standings) { s.begin("n"); s.begin("n"); s.end("n") }, false},
		"another node's change":    {func(s *standings) { s.begin("m"); s.end("m") }, true},
	} {
		s := &standings{m: map[conductor.NodeID]*standing{}}
		_, known, fill := s.get("n")
		if known || fill == nil {
			t.Fatalf("%s: an empty memory knows the node", name)
		}
		c.during(s)
		s.put("n", fill, old, true)
		if _, known, _ := s.get("n"); known != c.kept {
			t.Errorf("%s: known is %t", name, known)
		}
	}
	s := &standings{m: map[conductor.NodeID]*standing{}}
	_, _, fill := s.get("n")
	if _, _, too := s.get("n"); too != fill {
		t.Error("of two who read at once one may not keep what it finds")
	}
	s.put("n", fill, old, true)
	s.begin("n")
	if _, known, fill := s.get("n"); known || fill != nil {
		t.Error("while a change is under way the memory is asked")
	}
	s.end("n")
	if len(s.m) != 0 {
		t.Errorf("%d entries are left", len(s.m))
	}
	_, _, fill = s.get("gone")
	s.put("gone", fill, nil, false)
	if len(s.m) != 0 {
		t.Error("a node that does not exist is remembered")
	}
}
