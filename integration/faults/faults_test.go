package faults

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestUseCountsAndExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(time.Now)
		add := func(f Fault) Fault {
			f, err := s.Add(f)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		get, post := httptest.NewRequest("GET", "/a/b", nil), httptest.NewRequest("POST", "/a/c", nil)
		add(Fault{Kind: Ignore, Match: "POST /a", Count: 2})
		add(Fault{Kind: Async, Match: "/a/b", For: Duration(time.Minute)})
		last := add(Fault{Kind: Drip, Match: "GET"})
		for i, want := range []bool{true, true, false} {
			if got := s.Use(Ignore, post) != nil; got != want {
				t.Errorf("use %d: %v", i, got)
			}
		}
		if s.Use(Ignore, get) != nil || s.Use(Async, post) != nil || s.Use(Async, get) == nil || s.Use(Drip, post) != nil || s.Use(Drip, get) == nil {
			t.Error("a fault concerns other requests than it says")
		}
		time.Sleep(time.Minute)
		if l := s.List(); len(l) != 1 || l[0].ID != last.ID {
			t.Errorf("at work after a minute: %+v", l)
		}
		s.Remove(last.ID)
		if l := s.List(); len(l) != 0 {
			t.Errorf("at work after all: %+v", l)
		}
	})
}

func TestDistort(t *testing.T) {
	s := NewSet(time.Now)
	for _, f := range []Fault{{Kind: AbsoluteLocation}, {Kind: ForeignLink, Value: "http://192.0.2.1/"}, {Kind: LiePower, Value: "Off"}} {
		if _, err := s.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	h := http.Header{"Location": {"/t/1"}}
	body := map[string]any{"PowerState": "On", "Members": []map[string]any{{"@odata.id": "/m"}}}
	r := httptest.NewRequest("GET", "/redfish/v1/Systems/n", nil)
	r.Host = "bmc:8000"
	s.Distort(r, h, body)
	if h.Get("Location") != "http://bmc:8000/t/1" || body["PowerState"] != "Off" || body["Members"].([]map[string]any)[0]["@odata.id"] != "http://192.0.2.1/m" {
		t.Errorf("%v %v", h, body)
	}
}

func TestDurationsInJSON(t *testing.T) {
	var f Fault
	if err := json.Unmarshal([]byte(`{"kind": "delay", "delay": "1.5s"}`), &f); err != nil || time.Duration(f.Delay) != 1500*time.Millisecond {
		t.Errorf("%+v, %v", f, err)
	}
	if b, err := json.Marshal(Fault{Kind: Delay, Delay: Duration(time.Minute)}); err != nil || string(b) != `{"kind":"delay","delay":"1m0s"}` {
		t.Errorf("%s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"delay": "soon"}`), &f); err == nil {
		t.Error("soon was accepted")
	}
}
