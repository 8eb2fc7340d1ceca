// Package versus sends the same requests to our server and to Debian's Ironic and compares what they cost. Start at Measure.
package versus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/integration/servers"
)

// Page is the page's, without .md.
const Page = "ironic"

// ironicVersion is the newest API version of Debian's Ironic: both servers are asked in it.
const ironicVersion = "1.82"

// callers is how many ask at once where several do.
const callers = 16

// enough is how many requests a 99th percentile is shown of.
const enough = 100

// sizes say how much is asked of each server.
type sizes struct {
	creates, small int // requests that make a node; small ones
	crowd          int // such requests, of each kind, of several callers at once
	lists          int // rounds of a list of a thousand nodes
	nodes          int // nodes in the database for the lists
}

// made is how many nodes are made by requests that are measured.
func (s sizes) made() int { return s.creates + s.crowd }

// cost is what an operation took.
type cost struct {
	requests int
	cpu      float64 // ms of the server's processes per request
	p50, p99 float64 // ms until the whole answer was there
}

// contender is a server that is measured, with what was found.
type contender struct {
	name     string
	costs    map[string]cost
	start    [2]time.Duration // to the first answer: empty, with all nodes
	memory   [2]float64       // MB: empty, after the lists
	server   *servers.Server
	database *servers.Server // a process of its own, which is counted with the server; nil where it is within it
	http     *http.Client
	page     bytes.Buffer // of a list, with the memory of those before
	sizes    sizes
	restart  func(context.Context) (*servers.Server, error)
	populate func(context.Context) error // more nodes than were made by requests
}

// operations are the rows of the page, in order.
var operations = []string{"create a node", "create a node, 16 at once", "show a node", "show a node, 16 at once", "show states", "patch a node", "patch a node, 16 at once", "look up a node", "look up a node, 16 at once", "list 1,000", "list 1,000, three fields", "list 1,000 in detail", "list all", "list all in detail"}

// Measure runs our server and Debian's Ironic, as a test site and as a production site has it, one after the other,
// asks all the same, and gives the page.
func Measure(ctx context.Context, root, where string, small bool) (string, error) {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "ironic")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	ours, err := ourServer(ctx, root, dir, small)
	if err != nil {
		return "", err
	}
	all := []*contender{ours, allInOne(dir, small), split(dir, small)}
	for _, c := range all {
		err := c.measure(ctx)
		if err != nil && c.server != nil {
			err = fmt.Errorf("%w; it said last:\n%s", err, c.server.Said())
		}
		if err = errors.Join(err, c.close()); err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return ironicPage(where, string(load), all), nil
}

// close ends what runs of it.
func (c *contender) close() error {
	var errs []error
	for _, s := range []*servers.Server{c.server, c.database} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

func ourServer(ctx context.Context, root, dir string, small bool) (*contender, error) {
	dir = filepath.Join(dir, "ours")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	program, err := servers.Build(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	c := &contender{name: "this server", sizes: sizes{creates: 1000, small: 2000, crowd: 4000, lists: 20, nodes: 10_000}}
	if small {
		c.sizes = sizes{creates: 20, small: 20, crowd: 20, lists: 2, nodes: 50}
	}
	c.restart = func(ctx context.Context) (*servers.Server, error) {
		return servers.Bessemer(ctx, servers.BessemerConfig{Program: program, Dir: dir})
	}
	c.populate = func(ctx context.Context) error {
		for i := c.sizes.made(); i < c.sizes.nodes; i++ {
			if _, err := c.ask(ctx, http.MethodPost, "/v1/nodes", c.node(i), http.StatusCreated, nil); err != nil {
				return err
			}
		}
		return nil
	}
	return c, nil
}

// allInOne is Ironic in one process, with a file for a database.
func allInOne(dir string, small bool) *contender {
	dir = filepath.Join(dir, "one")
	database := "sqlite:///" + filepath.Join(dir, "ironic.sqlite")
	c := debian("Ironic, all in one, SQLite", &database, small)
	c.restart = func(ctx context.Context) (*servers.Server, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return servers.Ironic(ctx, servers.IronicConfig{Dir: dir, Database: database})
	}
	return c
}

// split is Ironic with its API and its conductor in processes of their own, as production sites run it.
func split(dir string, small bool) *contender {
	dir = filepath.Join(dir, "split")
	var database string
	c := debian("Ironic, API and conductor, MariaDB", &database, small)
	c.restart = func(ctx context.Context) (_ *servers.Server, err error) {
		if c.database == nil {
			below := filepath.Join(dir, "mariadb")
			if err := os.MkdirAll(below, 0o700); err != nil {
				return nil, err
			}
			if c.database, database, err = servers.MariaDB(ctx, below); err != nil {
				return nil, err
			}
		}
		return servers.Ironic(ctx, servers.IronicConfig{Dir: dir, Database: database, Split: true})
	}
	return c
}

// debian is what all of Debian's have in common. database is its address once it has been started.
func debian(name string, database *string, small bool) *contender {
	c := &contender{name: name, sizes: sizes{creates: 100, small: 100, crowd: 200, lists: 3, nodes: 10_000}}
	if small {
		c.sizes = sizes{creates: 5, small: 5, crowd: 16, lists: 1, nodes: 50}
	}
	c.populate = func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, servers.Python, "-c", copyNodes, *database, fmt.Sprint(c.sizes.nodes-c.sizes.made())).CombinedOutput()
		if err != nil {
			return fmt.Errorf("put nodes into Ironic's database: %w\n%s", err, out)
		}
		return nil
	}
	return c
}

// copyNodes copies the first node as often as is said: to make them by requests takes Ironic minutes.
const copyNodes = `
import sys, uuid
import sqlalchemy as sa
engine, count = sa.create_engine(sys.argv[1]), int(sys.argv[2])
nodes = sa.Table("nodes", sa.MetaData(), autoload_with=engine)
with engine.begin() as c:
    row = dict(c.execute(nodes.select().order_by(nodes.c.id).limit(1)).mappings().one())
    del row["id"]
    c.execute(nodes.insert(), [dict(row, uuid=str(uuid.uuid4()), name="copy-%d" % i) for i in range(count)])
`

func (c *contender) node(i int) map[string]any {
	return map[string]any{
		"uuid": fmt.Sprintf("%08x-0000-4000-8000-000000000000", i), "name": fmt.Sprintf("node-%d", i), "driver": "fake-hardware", "deploy_interface": "direct", "resource_class": "metal",
		"properties": map[string]any{"cpu_arch": "x86_64", "memory_mb": 131072, "cpus": 32, "local_gb": 1788, "capabilities": "boot_mode:uefi"},
		"extra":      map[string]any{"rack": "r17", "unit": 12},
		// With fast_track a ramdisk may look the node up in any state.
		"driver_info": map[string]any{"fake_address": "192.0.2.1", "fake_password": "secret", "fast_track": true},
	}
}

// ask makes a request and tells how long it took until the whole answer was there. The answer goes into a buffer that was
// there before, or nowhere when it is nil: a client that makes room for megabytes while they come would time itself.
func (c *contender) ask(ctx context.Context, method, path string, body any, want int, answer *bytes.Buffer) (time.Duration, error) {
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		sent = bytes.NewReader(text)
	}
	q, err := http.NewRequestWithContext(ctx, method, c.server.URL+path, sent)
	if err != nil {
		return 0, err
	}
	q.Header.Set("X-OpenStack-Ironic-API-Version", ironicVersion)
	q.Header.Set("Content-Type", "application/json")
	began := time.Now()
	a, err := c.http.Do(q)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	if a.StatusCode != want {
		text, err := io.ReadAll(io.LimitReader(a.Body, 64<<10))
		return 0, errors.Join(fmt.Errorf("%s %s: status %d: %s", method, path, a.StatusCode, text), err)
	}
	if answer == nil {
		_, err = io.Copy(io.Discard, a.Body)
	} else {
		answer.Reset()
		_, err = answer.ReadFrom(a.Body)
	}
	return time.Since(began), err
}

// times measures an operation that is done n times, by so many callers at once. What the server puts off until it has
// time belongs to the operation.
func (c *contender) times(ctx context.Context, what string, callers, n int, do func(i int) (time.Duration, error)) error {
	before, err := c.settled(ctx)
	if err != nil {
		return err
	}
	took := make([]time.Duration, n)
	failed := make([]error, callers)
	var wg sync.WaitGroup
	for first := range callers {
		wg.Go(func() {
			for i := first; i < n && failed[first] == nil; i += callers {
				took[i], failed[first] = do(i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	after, err := c.settled(ctx)
	if err != nil {
		return err
	}
	slices.Sort(took)
	c.costs[what] = cost{requests: n, cpu: figures.Milliseconds(after-before) / float64(n), p50: figures.Milliseconds(took[len(took)/2]), p99: figures.Milliseconds(took[len(took)*99/100])}
	return nil
}

// settled waits until the server rests, and tells the processor time that it has used.
func (c *contender) settled(ctx context.Context) (time.Duration, error) {
	const window, rests = 500 * time.Millisecond, 20 * time.Millisecond
	for range 240 {
		before, err := c.cpu()
		if err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(window):
		}
		after, err := c.cpu()
		if err != nil || after-before <= rests {
			return after, err
		}
	}
	return 0, fmt.Errorf("the server is still at work two minutes after the last request")
}

// simple is an operation of one request.
func (c *contender) simple(ctx context.Context, method string, path func(i int) string, body func(i int) any, want int) func(int) (time.Duration, error) {
	return func(i int) (time.Duration, error) {
		var b any
		if body != nil {
			b = body(i)
		}
		return c.ask(ctx, method, path(i), b, want, nil)
	}
}

// all follows next to the last page, and gives the time of all pages together.
func (c *contender) all(ctx context.Context, path string, want int) (time.Duration, error) {
	var took time.Duration
	found := 0
	for path != "" {
		d, err := c.ask(ctx, http.MethodGet, path, nil, http.StatusOK, &c.page)
		if err != nil {
			return 0, err
		}
		took += d
		var page struct {
			Nodes []json.RawMessage
			Next  string
		}
		if err := json.Unmarshal(c.page.Bytes(), &page); err != nil {
			return 0, err
		}
		found += len(page.Nodes)
		path = strings.TrimPrefix(page.Next, c.server.URL)
	}
	if found != want {
		return 0, fmt.Errorf("%d nodes listed, expected %d", found, want)
	}
	return took, nil
}

func (c *contender) measure(ctx context.Context) (err error) {
	c.costs, c.http = map[string]cost{}, &http.Client{Timeout: 10 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	if c.server, err = c.restart(ctx); err != nil {
		return err
	}
	c.start[0] = c.server.Start
	if c.memory[0], err = c.resident(); err != nil {
		return err
	}
	node := func(i int) string { return "/v1/nodes/" + c.node(i % c.sizes.made())["uuid"].(string) }
	create := c.simple(ctx, http.MethodPost, func(int) string { return "/v1/nodes" }, func(i int) any { return c.node(i) }, http.StatusCreated)
	show := c.simple(ctx, http.MethodGet, node, nil, http.StatusOK)
	patch := c.simple(ctx, http.MethodPatch, node, func(i int) any { return []map[string]any{{"op": "add", "path": "/extra/turn", "value": i}} }, http.StatusOK)
	// Each node once: the first lookup makes the ramdisk's token and stores it, a later one only reads.
	lookup := c.simple(ctx, http.MethodGet, func(i int) string { return "/v1/lookup?node_uuid=" + strings.TrimPrefix(node(i), "/v1/nodes/") }, nil, http.StatusOK)
	// later is do for the nodes that a crowd made.
	later := func(do func(int) (time.Duration, error)) func(int) (time.Duration, error) {
		return func(i int) (time.Duration, error) { return do(c.sizes.creates + i%c.sizes.crowd) }
	}
	for _, o := range []struct {
		what       string
		callers, n int
		do         func(int) (time.Duration, error)
	}{
		{"create a node", 1, c.sizes.creates, create},
		{"create a node, 16 at once", callers, c.sizes.crowd, later(create)},
		{"show a node", 1, c.sizes.small, show},
		{"show a node, 16 at once", callers, c.sizes.crowd, show},
		{"show states", 1, c.sizes.small, c.simple(ctx, http.MethodGet, func(i int) string { return node(i) + "/states" }, nil, http.StatusOK)},
		{"patch a node", 1, c.sizes.small, patch},
		{"patch a node, 16 at once", callers, c.sizes.crowd, later(patch)},
		{"look up a node", 1, c.sizes.creates, lookup},
		{"look up a node, 16 at once", callers, c.sizes.crowd, later(lookup)},
	} {
		if err := c.times(ctx, o.what, o.callers, o.n, o.do); err != nil {
			return err
		}
	}
	if err := c.populate(ctx); err != nil {
		return err
	}
	list := func(path string) func(int) string { return func(int) string { return path } }
	for _, o := range []struct {
		what, path string
	}{
		{"list 1,000", "/v1/nodes?limit=1000"},
		{"list 1,000, three fields", "/v1/nodes?limit=1000&fields=uuid,name,provision_state"},
		{"list 1,000 in detail", "/v1/nodes/detail?limit=1000"},
	} {
		if err := c.times(ctx, o.what, 1, c.sizes.lists, c.simple(ctx, http.MethodGet, list(o.path), nil, http.StatusOK)); err != nil {
			return err
		}
	}
	for _, o := range []struct{ what, path string }{{"list all", "/v1/nodes"}, {"list all in detail", "/v1/nodes/detail"}} {
		rounds := max(1, c.sizes.lists/3)
		if err := c.times(ctx, o.what, 1, rounds, func(int) (time.Duration, error) { return c.all(ctx, o.path, c.sizes.nodes) }); err != nil {
			return err
		}
	}
	if c.memory[1], err = c.resident(); err != nil {
		return err
	}
	if err := c.server.Close(); err != nil {
		return err
	}
	if c.server, err = c.restart(ctx); err != nil {
		return err
	}
	c.start[1] = c.server.Start
	return nil
}

// cpu is the processor time of all its processes.
func (c *contender) cpu() (time.Duration, error) {
	used, err := c.server.CPU()
	if err != nil || c.database == nil {
		return used, err
	}
	more, err := c.database.CPU()
	return used + more, err
}

// resident is the memory of all its processes, MB.
func (c *contender) resident() (float64, error) {
	bytes, err := c.server.Memory()
	if err == nil && c.database != nil {
		var more int64
		more, err = c.database.Memory()
		bytes += more
	}
	return float64(bytes) / 1e6, err
}

// ironicPage tells it all, the first contender being ours. load is /proc/loadavg before anything was measured.
func ironicPage(where, load string, all []*contender) string {
	var b strings.Builder
	ours := all[0]
	now, _, _ := strings.Cut(load, " ")
	fmt.Fprintf(&b, "# Beside Debian's Ironic\n\n%s The servers run on this machine, one after the other, in the same run, without authentication, and get the same requests of API %s, one at a time on an open "+
		"connection or, where it is said, of %d callers at once, from a client on the same host. CPU is that of the server's processes, user and system, per request, until they rest again. Ironic is Debian's package python3-ironic with its defaults but for what "+
		"integration/servers/ironic.go says; MariaDB is Debian's too, with its defaults, runs before Ironic is started, and is counted with it in CPU and memory. All three have what they confirm on the disk. "+
		"Ironic has fewer requests than ours as each takes longer: %d nodes were made by requests, and copied in its database up to %d, ours all by requests. "+
		"A lookup is the first of its node, which makes the ramdisk's token and stores it; the nodes are of `fake-hardware` with `direct` and `fast_track`. "+
		"Lists of all follow `next` from page to page of a thousand; one request is the whole list. The client reads an answer to its end, into memory that it has, and parses it when the time is taken. p99 is shown of %d requests or more. "+
		"Memory is the resident set, after the start and after the lists; pages that processes share count once for each.\n\n"+
		"The machine's load average was %s when it began: what is above a tenth or so is other work, which makes the times (p50, p99, start) too long on all sides; the CPU figures are what to compare then.\n",
		where, ironicVersion, callers, all[1].sizes.made(), all[1].sizes.nodes, enough, now)
	for _, theirs := range all[1:] {
		fmt.Fprintf(&b, "\n## %s\n\n| | ours: CPU ms | p50 ms | p99 ms | requests | theirs: CPU ms | p50 ms | p99 ms | requests | CPU, times | p50, times |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n", theirs.name)
		for _, what := range operations {
			a, haveA := ours.costs[what]
			t, haveT := theirs.costs[what]
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", what, cells(a, haveA), cells(t, haveT), times(t.cpu, a.cpu, haveA && haveT), times(t.p50, a.p50, haveA && haveT))
		}
		fmt.Fprintf(&b, "\n| | ours | theirs | times |\n|---|---:|---:|---:|\n")
		for _, row := range []struct {
			what, unit string
			a, t       float64
		}{
			{"cold start to the first answer, empty", "s", ours.start[0].Seconds(), theirs.start[0].Seconds()},
			{fmt.Sprintf("cold start to the first answer, %d nodes", ours.sizes.nodes), "s", ours.start[1].Seconds(), theirs.start[1].Seconds()},
			{"memory, empty", "MB", ours.memory[0], theirs.memory[0]},
			{fmt.Sprintf("memory, %d nodes, after the lists", ours.sizes.nodes), "MB", ours.memory[1], theirs.memory[1]},
		} {
			fmt.Fprintf(&b, "| %s, %s | %s | %s | %s |\n", row.what, row.unit, figures.Number(row.a), figures.Number(row.t), times(row.t, row.a, true))
		}
	}
	return b.String()
}

func cells(c cost, there bool) string {
	if !there {
		return "– | – | – | –"
	}
	p99 := "–"
	if c.requests >= enough {
		p99 = figures.Number(c.p99)
	}
	return fmt.Sprintf("%s | %s | %s | %d", figures.Number(c.cpu), figures.Number(c.p50), p99, c.requests)
}

// times is a ratio, where there is one: a clock of hundredths of a second sees nothing of short work.
func times(theirs, ours float64, there bool) string {
	if !there || ours == 0 {
		return "–"
	}
	return figures.Number(theirs / ours)
}
