package decide

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// A node whose hardware type this server does not know: the server was started with fewer types while the node was at
// work. Nothing is done to its machine. What is under way is not lost sight of: it ends by itself, by an abort or at its
// deadline, and fails where it would go on (docs/adr/0270-a-hardware-type-that-is-gone.md).

// strange tells that the node's hardware type is not known here.
func (d *decider) strange() bool { return d.s.Strange }

func (d *decider) unknownType() *fault.Fault {
	return fault.New(fault.DriverUnknown, "hardware type %q is not known here", d.n.Driver).
		WithHint("add it to enabled_hardware_types and restart the server").At(string(d.n.UUID), "")
}

// stranded refuses what would need the hardware type: all that is asked for, but the ends of work. What happens by itself
// is taken in.
func (d *decider) stranded(e conductor.Event) error {
	if !d.strange() {
		return nil
	}
	switch e := e.(type) {
	case conductor.VerbAsked:
		if conductor.NeedsNoDriver(*d.n, e.Ask.Verb) {
			return nil
		}
	case conductor.PowerAsked, conductor.ActAsked, conductor.OutOfService, conductor.PowerRead, conductor.PowerLost:
	default:
		return nil
	}
	return d.unknownType()
}
