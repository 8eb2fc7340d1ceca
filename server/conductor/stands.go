package conductor

import (
	"crypto/subtle"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Stands checks that a session whose token was verified still speaks for the node as the store has it now: current
// generation, neither ended nor contested, the key that redeemed it, the source it came from (I18, T2). It is asked
// again inside each transaction that acts on the session. Faults: channel.token, channel.source_refused.
func Stands(n Node, s Session) error {
	b := n.Boot
	switch {
	case b == nil || b.Ended || b.Contested || b.Redeemed.IsZero() || s.Claims.Generation != b.Generation:
		return fault.New(fault.ChannelToken, "the token belongs to a boot that has ended").At(string(n.UUID), "")
	case subtle.ConstantTimeCompare([]byte(s.Claims.Key), []byte(b.Key)) != 1,
		subtle.ConstantTimeCompare([]byte(s.Peer.Key), []byte(b.Key)) != 1:
		return fault.New(fault.ChannelToken, "the token is bound to another client key").At(string(n.UUID), "")
	case s.Peer.Addr.String() != b.Source:
		return fault.New(fault.ChannelSource, "the request comes from %s; this boot looked itself up from %s", s.Peer.Addr, b.Source).At(string(n.UUID), "")
	}
	return nil
}
