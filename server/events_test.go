package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// A consumer of the changes of a real store is dropped again and again, at any event, also by the server's end, while a node
// goes on changing: it is told of each change, in order, and of none twice (requirements row 25).
func TestEventsOfTheStoreResumeWithoutAGap(t *testing.T) {
	const rounds, each = 12, 15
	dir := t.TempDir()
	handler, _, closed := over(t, dir, false)
	srv := httptest.NewServer(handler)
	defer func() { srv.Close(); closed() }()
	ask(t, handler, "POST", "/v1/nodes", `{"name": "c-0", "driver": "fake-hardware"}`, 201)

	cursor, node := "", ""
	// consume reads so many events, and is cut off in the middle of what comes next.
	consume := func(most int) (names []string) {
		t.Helper()
		ctx, cut := context.WithCancel(t.Context())
		defer cut()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/v1/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Last-Event-ID", cursor)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		id := ""
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "event":
				if value != "node" {
					t.Fatalf("event %q after cursor %q", value, cursor)
				}
			case "id":
				id = value
			case "data":
				var e api.Event
				if err := json.Unmarshal([]byte(value), &e); err != nil {
					t.Fatal(err)
				}
				names, node = append(names, e.Name), string(e.Node)
			case "": // the end of an event
				if id != "" {
					cursor = id // what a consumer keeps once it has dealt with an event
				}
				if cursor != "" && len(names) >= most {
					return names
				}
			}
		}
		t.Fatalf("the stream ended after %v", names)
		return nil
	}
	if first := consume(1); first[0] != "c-0" {
		t.Fatalf("the first event is of %v", first)
	}
	var told []string
	changes := 0
	for round := range rounds {
		for range each {
			changes++
			ask(t, handler, "PATCH", "/v1/nodes/"+node, fmt.Sprintf(`[{"op": "replace", "path": "/name", "value": "c-%d"}]`, changes), 200)
		}
		if round%4 == 3 {
			srv.CloseClientConnections()
			srv.Close()
			closed()
			handler, _, closed = over(t, dir, false)
			srv = httptest.NewServer(handler)
		}
		told = append(told, consume(1+round%each)...) // fewer than there are: the next time begins within them
	}
	told = append(told, consume(changes-len(told))...)
	if len(told) != changes {
		t.Fatalf("%d changes, %d told", changes, len(told))
	}
	for i, name := range told {
		if want := fmt.Sprintf("c-%d", i+1); name != want {
			t.Fatalf("event %d is %s, expected %s: %v", i+1, name, want, told)
		}
	}
}
