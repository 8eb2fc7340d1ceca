package ramdisk

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What anybody may send, and what may be large, is bounded twice: in how much of it is held in memory, of one address and
// of all, from its first byte until it is answered; and in how much of it is decoded at a time. Who sends slowly holds
// what is his own address's, and is in the way of others only together with many addresses (I25).

const (
	maxInspection  = 8 << 20 // safety.md, Z1
	inspections    = 4       // of one address held at a time, and of all addresses decoded at a time
	allInspections = 16      // of all addresses held at a time: 128 MiB at most
)

type inspectionGate struct {
	handle   func(*serve.Call) error
	held     *limit.Gate
	decoding chan struct{}
}

func (a *API) inspectionRoute() serve.Route {
	g := &inspectionGate{handle: a.continueInspection, held: limit.NewGate(inspections, allInspections), decoding: make(chan struct{}, inspections)}
	return serve.Route{Method: http.MethodPost, Path: "/v1/continue_inspection", Need: access.Open, Query: []serve.Argument{nodeArgument}, Body: maxInspection, Handle: a.budgeted(g.take)}
}

// take reads an inspection whole, then waits for its turn.
func (g *inspectionGate) take(c *serve.Call) error {
	from, err := network(c)
	if err != nil {
		return err
	}
	if !g.held.Enter(from) {
		return fault.New(fault.RequestOverload, "%d inspections from %s, or %d from all addresses, are in hand already", inspections, from, allInspections)
	}
	defer g.held.Leave(from)
	raw, err := io.ReadAll(c.R.Body)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	c.R.Body = io.NopCloser(bytes.NewReader(raw))
	select {
	case g.decoding <- struct{}{}:
		defer func() { <-g.decoding }()
		return g.handle(c)
	case <-c.R.Context().Done():
		return fault.New(fault.RequestOverload, "%d inspections are being decoded already", inspections)
	}
}
