package rest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What anybody may send, and what may be large, is bounded twice: in how much of it one address may send at a time, and in
// how much of it is decoded at a time. Who sends slowly is in nobody else's way (I25).

const (
	maxInspection = 8 << 20 // safety.md, Z1
	inspections   = 4       // of one address read at a time, and of all addresses decoded at a time
)

type inspectionGate struct {
	decoding chan struct{}

	mu      sync.Mutex
	reading map[string]int // by address
}

func inspectionRoute() route {
	g := &inspectionGate{decoding: make(chan struct{}, inspections), reading: map[string]int{}}
	return route{method: http.MethodPost, path: "/v1/continue_inspection", need: access.Open, body: maxInspection, handle: budgeted(g.take)}
}

// take reads an inspection whole, then waits for its turn: those before it are bytes in memory and take no time of a
// caller's.
func (g *inspectionGate) take(c *call) error {
	raw, err := g.read(c)
	if err != nil {
		return err
	}
	c.r.Body = io.NopCloser(bytes.NewReader(raw))
	select {
	case g.decoding <- struct{}{}:
		defer func() { <-g.decoding }()
		return c.continueInspection()
	case <-c.r.Context().Done():
		return fault.New(fault.RequestOverload, "%d inspections are being decoded already", inspections)
	}
}

func (g *inspectionGate) read(c *call) ([]byte, error) {
	from := c.source()
	g.mu.Lock()
	full := g.reading[from] == inspections
	if !full {
		g.reading[from]++
	}
	g.mu.Unlock()
	if full {
		return nil, fault.New(fault.RequestOverload, "%d inspections from %s are being read already", inspections, from)
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.reading[from]--; g.reading[from] == 0 {
			delete(g.reading, from)
		}
	}()
	raw, err := io.ReadAll(c.r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return raw, nil
}
