package conductor

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// TestI18_EachConditionOfASessionCounts spoils one fact at a time of a session that stands, the others being right.
func TestI18_EachConditionOfASessionCounts(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	good := func() (Node, Session) {
		return Node{UUID: "u", Boot: &Boot{Generation: 3, Redeemed: now, Key: "thumb", Source: "192.0.2.50"}},
			Session{Claims: api.Claims{Node: "u", Generation: 3, Key: "thumb"}, Peer: Peer{Key: "thumb", Addr: netip.MustParseAddr("192.0.2.50")}}
	}
	if n, s := good(); Stands(n, s) != nil {
		t.Fatalf("the unspoilt session is refused: %v", Stands(n, s))
	}
	for name, c := range map[string]struct {
		spoil  func(*Node, *Session)
		reason fault.Reason
	}{
		"no boot":             {func(n *Node, _ *Session) { n.Boot = nil }, fault.ChannelToken},
		"ended":               {func(n *Node, _ *Session) { n.Boot.Ended = true }, fault.ChannelToken},
		"contested":           {func(n *Node, _ *Session) { n.Boot.Contested = true }, fault.ChannelToken},
		"not looked up":       {func(n *Node, _ *Session) { n.Boot.Redeemed = time.Time{} }, fault.ChannelToken},
		"an older boot":       {func(_ *Node, s *Session) { s.Claims.Generation = 2 }, fault.ChannelToken},
		"a later boot":        {func(_ *Node, s *Session) { s.Claims.Generation = 4 }, fault.ChannelToken},
		"the token's key":     {func(_ *Node, s *Session) { s.Claims.Key = "other" }, fault.ChannelToken},
		"the connection's":    {func(_ *Node, s *Session) { s.Peer.Key = "other" }, fault.ChannelToken},
		"the record's key":    {func(n *Node, _ *Session) { n.Boot.Key = "other" }, fault.ChannelToken},
		"another source":      {func(_ *Node, s *Session) { s.Peer.Addr = netip.MustParseAddr("192.0.2.51") }, fault.ChannelSource},
		"the record's source": {func(n *Node, _ *Session) { n.Boot.Source = "192.0.2.51" }, fault.ChannelSource},
	} {
		n, s := good()
		c.spoil(&n, &s)
		if err := Stands(n, s); !fault.Has(err, c.reason) {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
}
