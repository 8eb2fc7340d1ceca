package nodewire

import (
	"encoding/json"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// listChunk is how much of a list is made before it is sent. A page in full detail is megabytes: whole, it would fall out
// of the processor's caches before the kernel copies it, and the client would wait for its last node to read the first.
// In smaller parts than this, server and client wake each other more often.
const listChunk = 512 << 10

// entry is a node on its way into a list.
type entry struct {
	conductor.PreparedNode
	text json.RawMessage // the object, where it is not made of the row
	gone bool            // deleted since the list was read
}

// Send answers with the page of nodes that the filter selects. The store is left before the first byte is sent: a
// client that reads slowly holds up nobody. What can fail is done by then too, so that a list begun is a list whole.
func (w *Wire) Send(c *serve.Call, filter conductor.NodeFilter, p serve.Page) error {
	pieces, form := w.pieces(c, p.Sel), w.form
	if c.Grant.Project != "" {
		form = "" // what is shown of a node depends on whose it is
	}
	nodes, err := w.readNodes(c, filter, form, pieces)
	if err != nil {
		return err
	}
	steps := slices.ContainsFunc(pieces, func(p piece) bool { return p.step && !p.skip })
	for i := range nodes {
		if n := &nodes[i]; n.Node != nil || steps && n.Row[0]&inFlow != 0 {
			if err := w.lookUp(c, n, p.Sel); err != nil {
				return err
			}
		}
	}
	next := []byte(nil)
	if len(nodes) > 0 {
		if url := c.Next(p, len(nodes), nodes[len(nodes)-1].UUID); url != "" {
			if next, err = json.Marshal(url); err != nil {
				return err
			}
		}
	}
	return c.Late(w.writeNodes(c, nodes, pieces, next))
}

// readNodes reads a page. Of a node that has a row it keeps that alone.
func (w *Wire) readNodes(c *serve.Call, filter conductor.NodeFilter, form string, pieces []piece) (nodes []entry, err error) {
	err = w.backend.PreparedNodes(c.R.Context(), filter, form, func() func(conductor.PreparedNode) error {
		nodes = nodes[:0]
		return func(n conductor.PreparedNode) error {
			if n.Node == nil && !whole(n.Row, len(pieces)) {
				return fault.New(fault.InternalError, "the prepared row of node %s is damaged", n.UUID)
			}
			if len(nodes) == cap(nodes) && len(nodes) >= 100 { // it will be a full page
				nodes = slices.Grow(nodes, max(filter.Limit-len(nodes), len(nodes)))
			}
			nodes = append(nodes, entry{PreparedNode: n})
			return nil
		}
	})
	return nodes, err
}

// lookUp makes the object of a node that has no row, or that is in a flow and may have a step in progress.
func (w *Wire) lookUp(c *serve.Call, l *entry, sel shape.Selection) error {
	n := l.Node
	if n == nil {
		now, err := w.backend.Node(c.R.Context(), l.UUID)
		if l.gone = fault.Is(err, fault.NotFound); l.gone { // deleted this moment
			return nil
		}
		if err != nil {
			return err
		}
		n = &now
	}
	text, err := w.Encode(c, *n, sel)
	l.text, l.Node = text, nil
	return err
}

// writeNodes sends a list, with the URL of the next page when there is one.
func (w *Wire) writeNodes(c *serve.Call, nodes []entry, pieces []piece, next []byte) error {
	var buffer []byte
	if b, ok := w.buffers.Get().(*[]byte); ok {
		buffer = *b
	} else {
		buffer = make([]byte, 0, listChunk+listChunk/8)
	}
	defer func() {
		if cap(buffer) <= 2*listChunk { // not one that a giant node has grown
			w.buffers.Put(&buffer)
		}
	}()
	c.Begin("application/json")
	b := append(buffer[:0], `{"nodes":[`...)
	first := true
	for i := range nodes {
		n := &nodes[i]
		if n.gone {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		if n.text != nil {
			b = append(b, n.text...)
		} else {
			b = appendRow(b, pieces, n.UUID, n.Row)
		}
		if buffer = b; len(b) >= listChunk {
			if _, err := c.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	b = append(b, ']')
	if next != nil {
		b = append(append(b, `,"next":`...), next...)
	}
	buffer = append(b, '}')
	_, err := c.Write(buffer)
	return err
}
