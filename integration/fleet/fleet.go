// Package fleet simulates machines: it plays what is behind the BMCs of fake-hardware nodes, and in each machine that
// a server powers on runs a real agent (its channel and executor) over TLS, from a loopback address of its own, with
// steps that only take time. It measures what the server answers and keeps a ledger of what ran. It touches no disk
// and nothing outside this host. bessemer simulate and make bench are made of it.
//
// Start at New; machines.go plays the BMCs, agent.go is what runs in a machine, rest.go asks the server for nodes and
// verbs, beats.go is the fixed load of heartbeats, redial.go agents that keep no connection, figures.go what is measured.
package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// MaxNodes bounds one fleet: each machine has an address of 127.64.0.0/10.
const MaxNodes = 200_000

// Options say what is simulated.
type Options struct {
	API       *client.Client
	Socket    string        // where the machines are played: the server's --fake-machines
	Nodes     int           // 1 to MaxNodes
	Prefix    string        // of the nodes' names; a number follows
	Gather    bool          // machines that are powered on wait for Release
	Spread    time.Duration // over which Release starts their agents
	Arriving  int           // agents at most that are on their way to their first step at once; 0: any number
	StepTime  time.Duration // how long a step takes
	EraseTime time.Duration // how long erasing takes; 0: StepTime
	Busy      int           // of the first machines erasing takes StepTime all the same
	Redial    int           // of so many agents one keeps no connection (redial.go); 0: none
	Inventory int           // bytes that an inventory has at least
	Host      string        // where agents find the server, when it is not the host that their boot configuration names
	Quiet     bool          // agents with a running step send heartbeats only when Beats tells them to
	Log       *slog.Logger
}

// Fleet is the machines. Close ends them.
type Fleet struct {
	Options
	machines []*machine // by number
	byNode   map[api.NodeID]*machine
	media    *http.Client // as the BMCs have one
	run      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	figures  figures
	began    time.Time

	gate     chan struct{} // closed by Release
	arriving chan struct{} // room for Arriving; nil: for any number
	released time.Time

	mu     sync.Mutex
	booted int        // machines powered on with a medium, ever
	quiet  []*machine // whose agents wait for Beats
	more   chan struct{}
}

// New makes the machines, all off, and listens on the socket: a server may act upon them from now on.
func New(o Options) (*Fleet, error) {
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return nil, fmt.Errorf("%d nodes, expected 1 to %d", o.Nodes, MaxNodes)
	}
	kept := o.Nodes
	if o.Redial > 0 {
		kept -= o.Nodes / o.Redial
	}
	if err := raiseFiles(uint64(kept)); err != nil {
		return nil, err
	}
	f := &Fleet{
		Options: o, byNode: map[api.NodeID]*machine{}, gate: make(chan struct{}), more: make(chan struct{}), began: time.Now(),
		media: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: 32, MaxIdleConnsPerHost: 32}},
	}
	if o.Arriving > 0 {
		f.arriving = make(chan struct{}, o.Arriving)
	}
	f.run, f.cancel = context.WithCancel(context.Background())
	f.figures.init()
	for i := range o.Nodes {
		m := &machine{fleet: f, number: i, node: NodeID(o.Prefix, i), address: address(i)}
		f.machines = append(f.machines, m)
		f.byNode[m.node] = m
	}
	if !o.Gather {
		close(f.gate)
	}
	// Media carry the secrets of boots: nobody else may take the socket's place.
	if err := os.MkdirAll(filepath.Dir(o.Socket), 0o700); err != nil {
		return nil, fmt.Errorf("play machines: %w", err)
	}
	if err := os.Remove(o.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("play machines: %w", err)
	}
	ln, err := net.Listen("unix", o.Socket)
	if err != nil {
		return nil, fmt.Errorf("play machines: %w", err)
	}
	if err := os.Chmod(o.Socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("play machines: %w", err), ln.Close())
	}
	srv := &http.Server{Handler: f.handler(), ReadHeaderTimeout: 10 * time.Second}
	f.wg.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("machines are played no more", "err", err)
		}
	})
	f.wg.Go(func() {
		<-f.run.Done()
		if err := srv.Close(); err != nil {
			o.Log.Error("end of play", "err", err)
		}
	})
	return f, nil
}

// Close powers all machines off and takes the socket away.
func (f *Fleet) Close() {
	f.cancel()
	for _, m := range f.machines {
		m.off()
	}
	f.wg.Wait()
	f.media.CloseIdleConnections()
}

// Release starts the agents of the machines that are gathered, by number, evenly over Spread. It tells how many
// machines were powered on.
func (f *Fleet) Release() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = time.Now()
	close(f.gate)
	return f.booted
}

// Booted is how many machines were powered on with a medium so far.
func (f *Fleet) Booted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.booted
}

// intended waits until the machine's agent is to start, and gives the time it was to start at.
func (f *Fleet) intended(ctx context.Context, number int) (time.Time, error) {
	if !f.Gather {
		return time.Now(), ctx.Err()
	}
	select {
	case <-f.gate:
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
	f.mu.Lock()
	at := f.released.Add(f.Spread * time.Duration(number) / time.Duration(f.Nodes))
	f.mu.Unlock()
	if time.Since(at) > f.Spread+time.Minute {
		return time.Now(), ctx.Err() // a later boot: it is not of the herd
	}
	return at, pause(ctx, time.Until(at))
}

// arrive waits until the agent may come, and gives what is to be called when it runs its first step, or has ended.
func (f *Fleet) arrive(ctx context.Context) (arrived func(), err error) {
	if f.arriving == nil {
		return func() {}, ctx.Err()
	}
	select {
	case f.arriving <- struct{}{}:
		return sync.OnceFunc(func() { <-f.arriving }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// NodeID is the UUID of the machine of that number: the same in every run, so that a fleet is registered once.
func NodeID(prefix string, number int) api.NodeID {
	b := sha256.Sum256(fmt.Appendf(nil, "bessemer fleet %s %d", prefix, number))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // version 8: of the maker's own form (RFC 9562)
	return api.NodeID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16]))
}

// address is one of 127.64.0.0/10 for each machine: limits by address see a fleet, not one loud host.
func address(number int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 127<<24|64<<16+uint32(number)+1)
	return netip.AddrFrom4(b)
}

// MAC is a machine's, a locally administered address.
func MAC(number int) string {
	return fmt.Sprintf("02:be:%02x:%02x:%02x:%02x", number>>24&255, number>>16&255, number>>8&255, number&255)
}

// raiseFiles makes room for the connections of machines that keep theirs, two each at times.
func raiseFiles(nodes uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	want := nodes + nodes/8 + 512
	if l.Cur >= want {
		return nil
	}
	more := syscall.Rlimit{Cur: want, Max: max(l.Max, want)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more); err != nil {
		return fmt.Errorf("%d machines need %d open files, and the limit is %d; raise it (ulimit -n), or simulate fewer: %w", nodes, want, l.Max, err)
	}
	return nil
}

// pad makes an inventory as large as one with many cards.
func (f *Fleet) pad(inv *inventory.Inventory) {
	for i := 0; i < f.Inventory/110 && i < api.MaxElements; i++ {
		inv.PCIDevices = append(inv.PCIDevices, inventory.PCIDevice{VendorID: "8086", ProductID: fmt.Sprintf("%04x", i), Class: "020000", Revision: "01", Bus: fmt.Sprintf("0000:%02x:00.0", i&255)})
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
