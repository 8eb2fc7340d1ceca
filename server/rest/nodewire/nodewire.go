// Package nodewire is a node as the operators' wire has it: how one is shown, to whom, in which version; how what a client
// gives gets into one; and lists of many, put together from rows that the store keeps prepared. Fields are those of the table
// of shared/api alone (safety.md T16), and secrets are masked (I22). It decides nothing about nodes.
//
// Start at Wire; prepared.go says what a row is.
package nodewire

import (
	"context"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Wire shows nodes, and takes what is given of them.
type Wire struct {
	Shape    *shape.Shape
	backend  Backend
	hostname string
	sealed   mask.Drivers
	// interfaces is what each driver supports, by driver and interface, the default first.
	interfaces map[string]map[string][]string
	form       string // of the prepared rows that may be shown
	buffers    sync.Pool
}

// New makes one. hostname is shown as the conductor; form is that of the prepared rows in the store (Preparer.Form).
func New(b Backend, hostname, form string) *Wire {
	w := &Wire{Shape: shape.New(api.Node{}, api.NodeFields()), backend: b, hostname: hostname, form: form}
	drivers := b.Drivers()
	w.sealed, w.interfaces = mask.Of(drivers), map[string]map[string][]string{}
	for _, d := range drivers {
		w.interfaces[d.Name()] = d.Interfaces()
	}
	return w
}

// Driver is the hardware type of a name; nil for none.
func (w *Wire) Driver(name string) conductor.Driver {
	for _, d := range w.backend.Drivers() {
		if d.Name() == name {
			return d
		}
	}
	return nil
}

// Backend is the part of the conductor that nodes are shown from.
type Backend interface {
	PreparedNodes
	Drivers() []conductor.Driver
	Node(ctx context.Context, ident string) (conductor.Node, error)
	Steps(ctx context.Context, ident, run string) ([]conductor.StepRecord, error)
	RamdiskHeard(id conductor.NodeID) time.Time
}

// PreparedNodes is the part of the backend that lists of nodes read. begin is called when the reading begins, also when
// it begins anew, and gives what each node goes to.
type PreparedNodes interface {
	PreparedNodes(ctx context.Context, f conductor.NodeFilter, form string, begin func() (each func(p conductor.PreparedNode) error)) error
}
