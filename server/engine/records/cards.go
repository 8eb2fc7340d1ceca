package records

import (
	"maps"
	"net/netip"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// What inspections tell of network cards, and the ports that come of it, as Ironic's default hooks make them.

// Bounds of what a machine, or its BMC, may make of itself (I25).
const (
	maxPorts  = 128 // of a node, by inspections; an operator may make more
	maxClient = 255 // characters of a client-id
)

// card is one that an inspection tells of.
type card struct {
	mac    string
	local  bool   // it reaches nothing but the machine itself, and gets no port
	client string // InfiniBand's DHCP client; "" when there is none
}

// KeepCards makes ports of the cards that an inspection's ramdisk tells of, in the transaction that stores its inventory: of the
// one that the machine was booted from, where that is known, else of all. Ports that are there stay; where it is known which
// card was booted from, they say so. A card whose address is another node's gets none.
func KeepCards(tx conductor.Tx, n conductor.Node, inv inventory.Inventory, now time.Time) error {
	var all, fresh []card
	seen, booted := map[string]bool{}, bootCard(inv.Boot.PXEInterface)
	for _, i := range inv.Interfaces {
		mac, ok := api.CardMAC(i.MACAddress)
		if !ok || i.Name == "" || seen[mac] {
			continue
		}
		c := card{mac: mac, local: i.Name == "lo" || loopback(i.IPv4Address) || loopback(i.IPv6Address)}
		if id := i.ClientID; id != nil && len(*id) <= maxClient {
			c.client = *id
		}
		seen[mac], all = true, append(all, c)
	}
	if !seen[booted] {
		booted = ""
	}
	for _, c := range all {
		if !c.local && (booted == "" || c.mac == booted) {
			fresh = append(fresh, c)
		}
	}
	has, err := portsOf(tx, n)
	if err == nil {
		err = connect(tx, n, has, fresh, now)
	}
	if err != nil {
		return err
	}
	for _, p := range has {
		if err := retell(tx, n, p, all, booted, now); err != nil {
			return err
		}
	}
	return nil
}

// bootCard is the address of the card that boot loaders name: as it is, or behind the kind of hardware and with dashes, as
// PXELINUX has it; "" for none.
func bootCard(told *string) string {
	if told == nil {
		return ""
	}
	text := *told
	if _, mac, dashes := strings.Cut(text, "-"); dashes {
		text = mac
	}
	mac, _ := api.CardMAC(text)
	return mac
}

// loopback tells whether an address is one of the machine's own, of either family; an IPv6 one may name its interface.
func loopback(told *string) bool {
	if told == nil {
		return false
	}
	a, err := netip.ParseAddr(*told)
	return err == nil && a.Unmap().IsLoopback()
}

// portsOf are a node's ports, as many as matter.
func portsOf(tx conductor.Tx, n conductor.Node) (out []*conductor.Port, err error) {
	all, err := tx.Records(conductor.KindPort, conductor.RecordFilter{Node: n.UUID, Limit: 2 * maxPorts})
	for _, r := range all {
		out = append(out, r.(*conductor.Port))
	}
	return out, err
}

// connect makes a port for each card that has none anywhere, until the node has as many as inspections may make.
func connect(tx conductor.Tx, n conductor.Node, has []*conductor.Port, cards []card, now time.Time) error {
	warn := func(reason fault.Reason, event string) error {
		return tx.AppendHistory(conductor.Entry{
			UUID: nodes.NewID(), Node: n.UUID, Time: now, Severity: "WARNING", Type: "inspection", State: n.State, Run: n.Flow.Run, Event: event, Reason: reason,
		})
	}
	count := len(has)
	for _, c := range cards {
		other, err := tx.NodeByAddress(c.mac)
		switch {
		case err == nil && other.UUID != n.UUID:
			err = warn(fault.PortExists, "the card "+c.mac+" has a port on node "+string(other.UUID)+" already; it gets none here")
		case fault.Is(err, fault.NotFound) && count >= maxPorts:
			return warn("", "the card "+c.mac+" and those after it get no ports: the node has as many as inspections make, and an operator may make more ports")
		case fault.Is(err, fault.NotFound):
			count++
			err = discover(tx, n, c, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// discover makes the port of a card, as Ironic does: the machine may boot from it.
func discover(tx conductor.Tx, n conductor.Node, c card, now time.Time) error {
	p := &conductor.Port{Head: conductor.Head{UUID: nodes.NewID(), Created: now}, Node: n.UUID, Address: c.mac, PXE: true}
	if c.client != "" {
		p.Extra = map[string]any{"client-id": c.client}
	}
	if err := tx.CreateRecord(p); err != nil {
		return err
	}
	return noted(tx, n, p, "create", now)
}

// retell puts into a port what an inspection tells of it: whether the machine was booted from it, where that is known of any, and
// its client-id.
func retell(tx conductor.Tx, n conductor.Node, p *conductor.Port, cards []card, booted string, now time.Time) error {
	was, changed := p.PXE, false
	if booted != "" {
		p.PXE = p.Address == booted
		changed = p.PXE != was
	}
	for _, c := range cards {
		if c.mac == p.Address && c.client != "" && p.Extra["client-id"] != c.client {
			if p.Extra = maps.Clone(p.Extra); p.Extra == nil {
				p.Extra = map[string]any{}
			}
			p.Extra["client-id"], changed = c.client, true
		}
	}
	if !changed {
		return nil
	}
	p.Updated = now
	if err := tx.PutRecord(p); err != nil {
		return err
	}
	return noted(tx, n, p, "update", now)
}

// noted writes what was done to a port into the audit.
func noted(tx conductor.Tx, n conductor.Node, p *conductor.Port, act string, now time.Time) error {
	return tx.AppendAudit(conductor.Audit{
		Time: now, Actor: "server", Request: n.Flow.Request, Node: n.UUID, Act: string(conductor.KindPort) + "." + act,
		Detail: map[string]any{"uuid": p.UUID, "mark": p.Address},
	})
}
