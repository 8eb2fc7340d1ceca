// Package machine is one machine behind its BMC: it finds the one that is meant, reads its power, its boot order and its
// virtual drives, and changes them. Whatever it asks for is absolute, is read back, and may be asked for again. What is made
// of several such acts, with waiting, is in package steps.
//
// Start at Machine; identity.go is which machine is meant.
package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Machine is one machine behind its BMC. It keeps no object of the BMC between operations: paths, tasks and media may be
// others after the BMC restarted.
type Machine struct {
	Target   target.Target
	Endpoint *wire.Endpoint
	Account  *wire.Account
	is       conductor.Identity // which machine is meant; zero: the one at the path (identity.go)
	keep     []string           // see conductor.Access
	iso      string             // conductor.Access.ISO
	mayAct   func() error       // conductor.Access.Held
	Log      *slog.Logger
	chain    [][]byte // conductor.Access.BootChain
}

// New gives access to the machine that a means. It makes no connection.
func New(t target.Target, e *wire.Endpoint, acct *wire.Account, a conductor.Access, log *slog.Logger) *Machine {
	return &Machine{Target: t, Endpoint: e, Account: acct, is: a.Machine, keep: a.Keep, iso: a.ISO, chain: a.BootChain, mayAct: a.Held, Log: log}
}

// Run does one operation while no other runs on this machine. Patient operations are not stopped by the breaker.
func (b *Machine) Run(ctx context.Context, patient bool, act func(*wire.Operation) error) (err error) {
	turn := b.Endpoint.Turn(b.Target.System)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	o := wire.NewOperation(ctx, b.Account, patient, b.mayAct)
	defer o.End()
	defer func() {
		if p := recover(); p != nil {
			// gofish reads what a stranger wrote; the text of a crash may hold anything.
			b.Log.Error("reading the BMC's answer crashed", "bmc", b.Target.Origin, "err", wire.Clean(o.Mask(fmt.Sprint(p)), 200))
			err = fault.New(fault.BMCError, "the BMC at %s gives an answer that can't be read", b.Target.Origin)
		}
	}()
	return o.Explain(ctx, act(o))
}

// System is the computer system of an operation, with what gofish keeps to itself.
type System struct {
	*schemas.ComputerSystem
	More systemLinks
}

type systemLinks struct {
	ODataID            string `json:"@odata.id"`
	EthernetInterfaces schemas.Link
	Bios               schemas.Link
	SecureBoot         schemas.Link
	VirtualMedia       schemas.Link
	Links              struct{ ManagedBy, Chassis []schemas.Link }
	Settings           struct{ SettingsObject schemas.Link } `json:"@Redfish.Settings"`
	Boot               struct {
		URI          json.RawMessage                  `json:"HttpBootUri"` // empty where there is no such property
		Certificates schemas.Link                     // that the firmware trusts
		Modes        []schemas.BootSourceOverrideMode `json:"BootSourceOverrideMode@Redfish.AllowableValues"`
	}
}

// Place is the path that driver_info names, or that of the only system.
func (b *Machine) Place(o *wire.Operation) (string, error) {
	want := b.Target.System
	if strings.HasPrefix(want, "/") {
		return want, nil
	}
	root, err := o.Root()
	if err != nil {
		return "", err
	}
	all, err := o.Members(root.Systems)
	if err != nil {
		return "", err
	}
	if want != "" {
		for _, l := range all {
			if path.Base(l) == want {
				return l, nil
			}
		}
		return "", fault.New(fault.DriverInfoMissing, "the BMC at %s has no system %q; it has %s", b.Target.Origin, want, wire.Clean(strings.Join(all, ", "), 400))
	}
	switch len(all) {
	case 0:
		return "", fault.New(fault.BMCError, "the BMC at %s names no system", b.Target.Origin)
	case 1:
		return all[0], nil
	}
	return "", fault.New(fault.DriverInfoMissing, "%s is missing, and the BMC at %s has several systems: %s", target.KeySystem, b.Target.Origin, wire.Clean(strings.Join(all, ", "), 400))
}

// ReadSystem reads the computer system at a path, whichever it is.
func ReadSystem(o *wire.Operation, place string) (System, error) {
	m := System{}
	var err error
	m.ComputerSystem, err = wire.Read[schemas.ComputerSystem](o, place, &m.More)
	if err == nil && m.ODataID == "" {
		m.ODataID = place
	}
	return m, err
}

// Manager is the controller of a machine, with its list of media.
type Manager struct {
	*schemas.Manager
	links struct{ VirtualMedia schemas.Link }
}

// Manager reads the machine's controller; nil when the BMC has none to show.
func (b *Machine) Manager(o *wire.Operation, m System) (*Manager, error) {
	var place string
	if by := m.More.Links.ManagedBy; len(by) > 0 {
		place = by[0].String()
	} else {
		root, err := o.Root()
		if err != nil || root.Managers == "" {
			return nil, err
		}
		all, err := o.Members(root.Managers)
		if err != nil || len(all) != 1 {
			return nil, err
		}
		place = all[0]
	}
	out := &Manager{}
	var err error
	if out.Manager, err = wire.Read[schemas.Manager](o, place, &out.links); err != nil {
		return nil, err
	}
	return out, nil
}

// Placed puts together what system and manager say; mgr nil is one that there is not, or that can't be read.
func Placed(m System, mgr *Manager) parts.Machine {
	out := parts.Machine{System: m.ODataID, BIOS: m.More.Bios.String(), BIOSVersion: m.BiosVersion}
	for _, c := range m.More.Links.Chassis {
		out.Chassis = append(out.Chassis, c.String())
	}
	if mgr != nil {
		out.Manager, out.BMCVersion = mgr.ODataID, mgr.FirmwareVersion
	}
	return out
}

// Optional keeps an operation going when a part that not every BMC has can't be read. What ends the operation, what
// the whole BMC suffers from, and refused credentials still do.
func (b *Machine) Optional(o *wire.Operation, what string, err error) error {
	if err == nil || o.Over() {
		return err
	}
	if status := wire.StatusOf(err); status == http.StatusUnauthorized || status == 0 && !fault.Has(err, fault.BMCError) {
		return err
	}
	b.Log.Debug("the BMC does not show a part of the machine", "bmc", b.Target.Origin, "part", what, "err", err)
	return nil
}

const (
	settleTime  = 15 * time.Second // until an act shows, in one operation
	settleFirst = 250 * time.Millisecond
	settleMost  = 2 * time.Second
)

// Settle re-reads until reached says so. It is false when it is not so within settleTime. Answers of a passing kind
// (busy, unreachable) are read again.
func Settle(o *wire.Operation, reached func() (bool, error)) (bool, error) {
	end := time.Now().Add(settleTime)
	for pause := settleFirst; ; pause = min(2*pause, settleMost) {
		ok, err := reached()
		if ok {
			return true, nil
		}
		if err != nil && (!fault.From(err).Code.Retriable() || o.Context().Err() != nil) {
			return false, err
		}
		if time.Now().Add(pause).After(end) {
			return false, err
		}
		if err := wire.Sleep(o.Context(), pause); err != nil {
			return false, err
		}
	}
}

// ensure acts and waits until it shows; an order that was accepted and ignored is given once more (F23).
func ensure(o *wire.Operation, do func() error, reached func() (bool, error)) (bool, error) {
	for again := false; ; again = true {
		if err := Act(o, do, reached); err != nil {
			return false, err
		}
		if ok, err := Settle(o, reached); ok || err != nil || again {
			return ok, err
		}
	}
}

const actTries = 3

// Act does something absolute. When the BMC answers without success, or breaks off, the state read anew decides: it
// may have been reached already, or by this very act. Only what certainly is not reached is asked for again.
func Act(o *wire.Operation, do func() error, reached func() (bool, error)) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || o.Over() {
			return err
		}
		status := wire.StatusOf(err)
		if status == 0 && !fault.Has(err, fault.BMCUnreachable) {
			return err
		}
		if ok, readErr := reached(); readErr == nil && ok {
			return nil
		} else if readErr != nil || try == actTries {
			return err
		}
		if !wire.WorthRepeating(status) && !wire.BrokenOff(err) && status != http.StatusPreconditionFailed {
			return err
		}
		if err := wire.Sleep(o.Context(), time.Second<<try); err != nil {
			return err
		}
	}
}
