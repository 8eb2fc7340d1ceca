package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// replica is a client that keeps a copy of every node by changed_since, and what it was sent for that.
type replica struct {
	*testing.T
	api    *client.Client
	hall   http.Handler
	copy   map[string]any // description by UUID
	cursor string

	nodes, gone  int
	bytes, pages int
	between      func(page int) // is called after each page
}

// RoundTrip hands a request to the API without a socket and counts what it answers.
func (r *replica) RoundTrip(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.hall.ServeHTTP(w, q)
	r.bytes += w.Body.Len()
	r.pages++
	if r.between != nil {
		r.between(r.pages)
	}
	return w.Result(), nil
}

// sync brings the copy up to date.
func (r *replica) sync() {
	r.Helper()
	r.nodes, r.gone, r.bytes, r.pages = 0, 0, 0, 0
	c, err := r.api.Changed(r.Context(), r.cursor, []string{"uuid", "name", "description", "provision_state", "properties"})
	if err != nil {
		r.Fatal(err)
	}
	for _, n := range c.Nodes {
		r.copy[n["uuid"].(string)] = n["description"]
	}
	for _, id := range c.Gone {
		delete(r.copy, id)
	}
	r.cursor, r.nodes, r.gone = c.Cursor, len(c.Nodes), len(c.Gone)
}

// was wants the last sync to have been given so many nodes and ids of nodes that are gone, on so many pages.
func (r *replica) was(what string, nodes, gone, pages int) {
	r.Helper()
	if r.nodes != nodes || r.gone != gone || r.pages != pages {
		r.Errorf("%s: %d nodes and %d ids came on %d pages, expected %d, %d and %d", what, r.nodes, r.gone, r.pages, nodes, gone, pages)
	}
}

// isWhole wants the copy to be what the store has.
func (r *replica) isWhole(store *sqlite.Store) {
	r.Helper()
	have := map[string]any{}
	err := store.View(r.Context(), func(tx conductor.Tx) error {
		nodes, err := tx.Nodes(conductor.NodeFilter{})
		for _, n := range nodes {
			have[string(n.UUID)] = n.Description
		}
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	if !maps.Equal(r.copy, have) {
		r.Errorf("the copy of %d nodes is not what the store has, %d", len(r.copy), len(have))
	}
}

// A client that keeps a copy of 20,000 nodes is sent all of them once. After that it is sent those that changed and the
// ids of those that went, and nothing else: so many nodes, on so many pages, in so many bytes (requirements row 57).
func TestSyncOf20kNodesTransfersOnlyChanges(t *testing.T) {
	const all, page = 20_000, 1000
	h, store := overStore(t, false) // a sync is not made of prepared rows
	id := func(n int) conductor.NodeID { return conductor.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)) }
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	update := func(fn func(tx conductor.Tx) error) {
		t.Helper()
		if err := store.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	create := func(from, to int) {
		t.Helper()
		update(func(tx conductor.Tx) error {
			for n := from; n < to; n++ {
				err := tx.CreateNode(&conductor.Node{UUID: id(n), Name: fmt.Sprintf("n%05d", n), Driver: "fake-hardware", State: state.Manageable,
					Description: "new", Properties: map[string]any{"cpus": 64, "memory_mb": 262144}, Created: at, Updated: at, StateSince: at})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	change := func(text string, numbers ...int) {
		t.Helper()
		update(func(tx conductor.Tx) error {
			for _, n := range numbers {
				x, err := tx.Node(id(n))
				if err != nil {
					return err
				}
				x.Description = text
				if err := tx.PutNode(&x); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for part := range 4 {
		create(part*all/4, (part+1)*all/4)
	}

	r := &replica{T: t, hall: h, copy: map[string]any{}}
	var err error
	if r.api, err = client.New(client.Options{Server: "http://127.0.0.1:6385", Transport: r, Version: api.MaxVersion}); err != nil {
		t.Fatal(err)
	}
	r.sync()
	r.was("the first sync", all, 0, all/page+1)
	each := r.bytes / all // what a node costs on the wire
	if each < 100 {
		t.Fatalf("a node took %d bytes", each)
	}
	spent := func(what string, nodes, ids, pages int) {
		t.Helper()
		const frame, gone = 200, 40 // a page's own words; an id in quotes with its comma
		if most := nodes*(each+each/2) + ids*gone + pages*frame; r.bytes > most {
			t.Errorf("%s took %d bytes, expected at most %d", what, r.bytes, most)
		}
	}

	r.sync()
	r.was("a sync without a change", 0, 0, 1)
	spent("a sync without a change", 0, 0, 1)

	// Through the API, as clients do it. A node that changed twice is told once; one that came and went while nobody
	// looked is only gone.
	for n := range 30 {
		ask(t, h, "PATCH", fmt.Sprintf("/v1/nodes/n%05d", n*600), `[{"op": "add", "path": "/description", "value": "patched"}]`, 200)
	}
	ask(t, h, "PATCH", "/v1/nodes/n00000", `[{"op": "add", "path": "/description", "value": "patched again"}]`, 200)
	for n := range 10 {
		ask(t, h, "POST", "/v1/nodes", fmt.Sprintf(`{"name": "more-%d", "driver": "fake-hardware", "description": "more"}`, n), 201)
		ask(t, h, "DELETE", fmt.Sprintf("/v1/nodes/n%05d", 7001+n), "", 204)
	}
	ask(t, h, "POST", "/v1/nodes", `{"name": "brief", "driver": "fake-hardware"}`, 201)
	ask(t, h, "DELETE", "/v1/nodes/brief", "", 204)
	r.sync()
	r.was("40 changed or new, 11 gone", 40, 11, 1)
	spent("40 changed or new, 11 gone", 40, 11, 1)

	// More than a page, so that it goes over several.
	var many []int
	for n := range 1500 {
		many = append(many, 10_000+n*3)
	}
	change("all over", many...)
	r.sync()
	r.was("1,500 changed", len(many), 0, 2)
	spent("1,500 changed", len(many), 0, 2)

	// While the pages are read a node that was told changes, one that was told goes, one that was not goes, and one comes.
	change("again", many...)
	r.between = func(page int) {
		if page != 1 {
			return
		}
		change("between", many[0])
		ask(t, h, "DELETE", fmt.Sprintf("/v1/nodes/n%05d", many[1]), "", 204)
		ask(t, h, "DELETE", fmt.Sprintf("/v1/nodes/n%05d", many[len(many)-1]), "", 204)
		create(all, all+1)
	}
	r.sync()
	r.between = nil
	r.was("1,500 changed, and some while they are read", len(many)-2+1, 2, 2)
	spent("1,500 changed, and some while they are read", len(many)+2, 2, 2)
	r.isWhole(store)

	r.sync()
	r.was("at last", 0, 0, 1)
}
