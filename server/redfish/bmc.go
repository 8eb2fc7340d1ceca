package redfish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// bmc is one machine behind its BMC. It keeps no object of the BMC between operations: paths, tasks and media may be
// others after the BMC restarted.
type bmc struct {
	target   target
	endpoint *endpoint
	account  *account
	node     conductor.NodeID
	is       conductor.Identity // which machine is meant; zero: the one at the path (identity.go)
	keep     []string           // see conductor.Access
	iso      string             // conductor.Access.ISO
	mayAct   func() error       // conductor.Access.Held
	log      *slog.Logger
	chain    [][]byte // conductor.Access.BootChain
}

var _ conductor.BMC = (*bmc)(nil)

// run does one operation while no other runs on this machine. Patient operations are not stopped by the breaker.
func (b *bmc) run(ctx context.Context, patient bool, act func(*operation) error) (err error) {
	turn := b.endpoint.system(b.target.system).turn
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	o := newOperation(ctx, b.account, patient)
	o.mayAct = b.mayAct
	defer o.cancel()
	defer func() {
		if p := recover(); p != nil {
			// gofish reads what a stranger wrote; the text of a crash may hold anything.
			b.log.Error("reading the BMC's answer crashed", "bmc", b.target.origin, "err", clean(o.mask(fmt.Sprint(p)), 200))
			err = fault.New(fault.BMCError, "the BMC at %s gives an answer that can't be read", b.target.origin)
		}
	}()
	return b.explain(ctx, o, act(o))
}

// explain makes a bmc.* fault of any error but the caller's own end.
func (b *bmc) explain(ctx context.Context, o *operation, err error) error {
	switch {
	case err == nil:
		return nil
	case o.poison != nil:
		return o.poison
	case ctx.Err() != nil:
		return fmt.Errorf("ask the BMC at %s: %w", b.target.origin, errors.Join(ctx.Err(), err))
	case errors.Is(context.Cause(o.ctx), errOperationTime):
		return fault.New(fault.BMCUnreachable, "the BMC at %s did not get done within %s", b.target.origin, operationTime).Because(err)
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	return fault.New(fault.BMCError, "the BMC at %s: %s", b.target.origin, clean(o.mask(err.Error()), 300)).Because(err)
}

// machine is the computer system of an operation, with what gofish keeps to itself.
type machine struct {
	*schemas.ComputerSystem
	links machineLinks
}

type machineLinks struct {
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

// modes are the boot modes that the BMC lists as possible.
func (l machineLinks) modes() []string {
	var out []string
	for _, m := range l.Boot.Modes {
		if s := bootModes[m]; s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// place is the path that driver_info names, or that of the only system.
func (b *bmc) place(o *operation) (string, error) {
	want := b.target.system
	if strings.HasPrefix(want, "/") {
		return want, nil
	}
	root, err := o.root()
	if err != nil {
		return "", err
	}
	all, err := o.members(root.systems)
	if err != nil {
		return "", err
	}
	if want != "" {
		for _, l := range all {
			if path.Base(l) == want {
				return l, nil
			}
		}
		return "", fault.New(fault.DriverInfoMissing, "the BMC at %s has no system %q; it has %s", b.target.origin, want, clean(strings.Join(all, ", "), 400))
	}
	switch len(all) {
	case 0:
		return "", fault.New(fault.BMCError, "the BMC at %s names no system", b.target.origin)
	case 1:
		return all[0], nil
	}
	return "", fault.New(fault.DriverInfoMissing, "%s is missing, and the BMC at %s has several systems: %s", keySystem, b.target.origin, clean(strings.Join(all, ", "), 400))
}

func readMachine(o *operation, place string) (machine, error) {
	m := machine{}
	var err error
	m.ComputerSystem, err = read[schemas.ComputerSystem](o, place, &m.links)
	if err == nil && m.ODataID == "" {
		m.ODataID = place
	}
	return m, err
}

// manager is the controller of a machine, with its list of media.
type manager struct {
	*schemas.Manager
	links struct{ VirtualMedia schemas.Link }
}

// manager reads the machine's controller; nil when the BMC has none to show.
func (b *bmc) manager(o *operation, m machine) (*manager, error) {
	var place string
	if by := m.links.Links.ManagedBy; len(by) > 0 {
		place = by[0].String()
	} else {
		root, err := o.root()
		if err != nil || root.managers == "" {
			return nil, err
		}
		all, err := o.members(root.managers)
		if err != nil || len(all) != 1 {
			return nil, err
		}
		place = all[0]
	}
	out := &manager{}
	var err error
	if out.Manager, err = read[schemas.Manager](o, place, &out.links); err != nil {
		return nil, err
	}
	return out, nil
}

// optional keeps an operation going when a part that not every BMC has can't be read. What ends the operation, what
// the whole BMC suffers from, and refused credentials still do.
func (b *bmc) optional(o *operation, what string, err error) error {
	if err == nil || o.poison != nil || o.ctx.Err() != nil {
		return err
	}
	if status := statusOf(err); status == http.StatusUnauthorized || status == 0 && !fault.Has(err, fault.BMCError) {
		return err
	}
	b.log.Debug("the BMC does not show a part of the machine", "bmc", b.target.origin, "part", what, "err", err)
	return nil
}

const (
	settleTime  = 15 * time.Second // until an act shows, in one operation
	settleFirst = 250 * time.Millisecond
	settleMost  = 2 * time.Second
)

// settle re-reads until reached says so. It is false when it is not so within settleTime. Answers of a passing kind
// (busy, unreachable) are read again.
func settle(o *operation, reached func() (bool, error)) (bool, error) {
	end := time.Now().Add(settleTime)
	for pause := settleFirst; ; pause = min(2*pause, settleMost) {
		ok, err := reached()
		if ok {
			return true, nil
		}
		if err != nil && (!fault.From(err).Code.Retriable() || o.ctx.Err() != nil) {
			return false, err
		}
		if time.Now().Add(pause).After(end) {
			return false, err
		}
		if err := sleep(o.ctx, pause); err != nil {
			return false, err
		}
	}
}

// ensure acts and waits until it shows; an order that was accepted and ignored is given once more (F23).
func ensure(o *operation, do func() error, reached func() (bool, error)) (bool, error) {
	for again := false; ; again = true {
		if err := act(o, do, reached); err != nil {
			return false, err
		}
		if ok, err := settle(o, reached); ok || err != nil || again {
			return ok, err
		}
	}
}

const actTries = 3

// act does something absolute. When the BMC answers without success, or breaks off, the state read anew decides: it
// may have been reached already, or by this very act. Only what certainly is not reached is asked for again.
func act(o *operation, do func() error, reached func() (bool, error)) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || o.poison != nil || o.ctx.Err() != nil {
			return err
		}
		status := statusOf(err)
		if status == 0 && !fault.Has(err, fault.BMCUnreachable) {
			return err
		}
		if ok, readErr := reached(); readErr == nil && ok {
			return nil
		} else if readErr != nil || try == actTries {
			return err
		}
		if !worthRepeating(status) && !brokenOff(err) && status != http.StatusPreconditionFailed {
			return err
		}
		if err := sleep(o.ctx, time.Second<<try); err != nil {
			return err
		}
	}
}
