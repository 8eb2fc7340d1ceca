package versus

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/servers"
)

func TestIronicPage(t *testing.T) {
	ours := &contender{name: "ours", sizes: sizes{creates: 5, nodes: 50}, start: [2]time.Duration{50 * time.Millisecond, 100 * time.Millisecond}, memory: [2]float64{20, 40},
		costs: map[string]cost{"create a node": {requests: 100, cpu: 0.5, p50: 1, p99: 2}, "show a node": {requests: 100}}}
	theirs := &contender{name: "Theirs", sizes: sizes{creates: 5, nodes: 50}, start: [2]time.Duration{2 * time.Second, 3 * time.Second}, memory: [2]float64{140, 160},
		costs: map[string]cost{"create a node": {requests: 10, cpu: 20, p50: 30, p99: 40}, "show a node": {requests: 100, cpu: 5, p50: 5, p99: 6}}}
	page := ironicPage("Commit x.", "0.25 0.1 0.1 1/9 7", []*contender{ours, theirs})
	for _, want := range []string{
		"Commit x.", "load average was 0.25 when", "## Theirs\n", "| create a node | 0.5 | 1 | 2 | 100 | 20 | 30 | – | 10 | 40 |",
		"| show a node | 0 | 0 | 0 | 100 | 5 | 5 | 6 | 100 | – | – |", "| list all | – | – | – | – | – | – | – | – | – | – |",
		"| cold start to the first answer, empty, s | 0.05 | 2 | 40 |", "| memory, 50 nodes, after the lists, MB | 40 | 160 | 4 |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// A list of all is as long as it should be, or an error: a page that is cut short would look fast.
func TestListsFollowNext(t *testing.T) {
	asked := 0
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Query().Get("marker") == "" {
			fmt.Fprintf(w, `{"nodes": [{}, {}], "next": "http://%s/v1/nodes?marker=2"}`, r.Host)
			return
		}
		fmt.Fprint(w, `{"nodes": [{}]}`)
	}))
	defer h.Close()
	c := &contender{http: h.Client(), server: &servers.Server{URL: h.URL}}
	if _, err := c.all(context.Background(), "/v1/nodes", 3); err != nil || asked != 2 {
		t.Errorf("%d requests, %v", asked, err)
	}
	if _, err := c.all(context.Background(), "/v1/nodes", 4); err == nil {
		t.Error("a short list is taken")
	}
	if _, err := c.ask(context.Background(), http.MethodGet, "/v1/nodes", nil, http.StatusAccepted, nil); err == nil {
		t.Error("another status is taken")
	}
}
