package engine

import (
	"context"
	"crypto/rand"
	"strings"
	"unicode"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
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
	return eng.apply(ctx, n.UUID, conductor.OutOfService{Caller: who, Reason: api.Shorten(reason, api.MaxMessage)}, nil)
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
