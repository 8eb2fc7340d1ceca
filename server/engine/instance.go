package engine

import (
	"context"
	"crypto/rand"
	"maps"
	"strings"
	"unicode"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/crypt"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// OutOfService takes an operator's word that an active machine does not work: the node is service failed at once, and
// the machine is not touched. abort leads back.
func (eng *Engine) OutOfService(ctx context.Context, who conductor.Caller, ident, reason string) error {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return err
	}
	return eng.apply(ctx, n.UUID, conductor.OutOfService{Caller: who, Reason: cut(reason, maxMessage)}, nil)
}

// maxPassword is the longest password that the ramdisk's log-in is given to read.
const maxPassword = 255 // bytes

// rescueHash takes the password out of a request and gives its hash: what is stored, and sealed, is that alone (I22).
// nil for every other verb.
func rescueHash(p *conductor.Provision) ([]byte, error) {
	password := p.RescuePassword
	p.RescuePassword = ""
	if p.Verb != state.VerbRescue {
		return nil, nil
	}
	if strings.TrimSpace(password) == "" {
		return nil, fault.New(fault.RequestInvalid, "A non-empty rescue_password is required to rescue a node").
			WithHint("choose one, and log in with it at the machine's console")
	}
	if len(password) > maxPassword || strings.ContainsFunc(password, unicode.IsControl) {
		return nil, fault.New(fault.RequestInvalid, "rescue_password is longer than %d bytes, or has control characters in it: nobody could type it at the machine's console", maxPassword).
			WithHint("choose a shorter one, of letters, digits and signs")
	}
	salt := make([]byte, 12)
	rand.Read(salt) // never fails (crypto/rand)
	hash, err := crypt.Hash(password, salt)
	if err != nil {
		return nil, fault.New(fault.RequestInvalid, "rescue_password: %v", err)
	}
	return []byte(hash), nil
}

// vifKeys are the keys of a port's internal_info that hold what the instance's network is attached to, as Ironic names
// them.
var vifKeys = []string{vifKey, "vif_port_id"}

// detach takes the instance's network attachments off a node's ports and port groups, in the transaction that ends the instance.
func detach(tx conductor.Tx, id conductor.NodeID) error {
	ports, err := conductor.RecordsOf[conductor.Port](tx, conductor.RecordFilter{Node: id})
	if err != nil {
		return err
	}
	groups, err := conductor.RecordsOf[conductor.Portgroup](tx, conductor.RecordFilter{Node: id})
	if err != nil {
		return err
	}
	attached := map[conductor.Record]*map[string]any{}
	for i := range ports {
		attached[&ports[i]] = &ports[i].InternalInfo
	}
	for i := range groups {
		attached[&groups[i]] = &groups[i].InternalInfo
	}
	for record, info := range attached {
		kept := maps.Clone(*info)
		for _, k := range vifKeys {
			delete(kept, k)
		}
		if len(kept) == len(*info) {
			continue
		}
		*info = kept
		if err := tx.PutRecord(record); err != nil {
			return err
		}
	}
	return nil
}
