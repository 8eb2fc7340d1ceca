// Package medium gives machines what they boot from: the address of a boot's medium, the secret in it, and its
// configuration. None of it is stored: all is derived from the server's boot key (safety.md §2.3).
//
// Start at Media.Medium.
package medium

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Config is what media are made with. All fields but ProgramURL, Certificate and
// AnySource are required.
type Config struct {
	Key         []byte                    // 32 bytes: per-boot secrets and media tokens are derived from it
	AgentURL    func() string             // https://address:6386 as agents reach it
	URL         func(token string) string // where the boot listener serves the medium of a token, as BMCs reach it
	ProgramURL  func(token string) string // where the firmware of a machine loads the ramdisk of a token, with TLS; nil: nowhere
	Pins        []string                  // of the agent listener's key
	Certificate []byte                    // the agent listener's; nil: agents ask for it
	AnySource   bool                      // media are served to any address, not only the BMC's
	Now         func() time.Time
	Log         *slog.Logger
	Machines    *machines.Machines
	Node        func(ctx context.Context, ident string) (conductor.Node, error)
	Apply       func(ctx context.Context, id conductor.NodeID, e conductor.Event) error
}

// Media makes the media of boots. Its methods are safe for concurrent use.
type Media struct{ cfg Config }

// New checks the key.
func New(cfg Config) (*Media, error) {
	if len(cfg.Key) != 32 {
		return nil, fmt.Errorf("boot key: %d bytes, want 32", len(cfg.Key))
	}
	return &Media{cfg}, nil
}

// derive makes a 256-bit value of one boot generation. Neither the per-boot secret nor the medium's token is stored:
// both come from the server's boot key, the generation's salt and what they are for, so a restarted server serves the
// same medium and a stolen database holds neither (safety.md §2.3, T15).
func (m *Media) derive(what string, n conductor.Node) []byte {
	h := hmac.New(sha256.New, m.cfg.Key)
	h.Write([]byte(what))
	h.Write([]byte{0})
	h.Write([]byte(n.UUID))
	var gen [8]byte
	binary.BigEndian.PutUint64(gen[:], n.Boot.Generation)
	h.Write(gen[:])
	h.Write(n.Boot.Salt)
	return h.Sum(nil)
}

func (m *Media) secret(n conductor.Node) string {
	return base64.RawURLEncoding.EncodeToString(m.derive("lookup secret", n))
}

// Proves compares a claimed per-boot secret in constant time.
func (m *Media) Proves(n conductor.Node, secret string) bool {
	return n.Boot != nil && subtle.ConstantTimeCompare([]byte(secret), []byte(m.secret(n))) == 1
}

// URL is where the BMC fetches this generation's medium, or the machine's firmware its ramdisk: node id and an unguessable value
// of this generation.
func (m *Media) URL(n conductor.Node) string {
	if n.Boot != nil && n.Boot.HTTP {
		return m.cfg.ProgramURL(m.Token(n))
	}
	return m.cfg.URL(m.Token(n))
}

// Token is what names the medium of the node's boot in its address; "" for a node without a UUID.
func (m *Media) Token(n conductor.Node) string {
	id, err := nodes.Packed(n.UUID)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(id, m.derive("medium url", n)...))
}

// Medium gives the boot configuration behind a medium's token. It is there from the intent to boot until the lookup,
// for the BMC's address only (unless AnySource); everything else is one not_found, so that nothing can be probed.
func (m *Media) Medium(ctx context.Context, token string, from netip.Addr) (api.BootConfig, error) {
	n, err := m.open(ctx, token, false)
	if err != nil {
		return api.BootConfig{}, err
	}
	if !m.cfg.AnySource && !m.cfg.Machines.IsBMC(ctx, n, from) {
		m.cfg.Log.Warn("a boot medium was asked for by an address that is not the BMC's", "node", n.Name, "from", from)
		return api.BootConfig{}, gone()
	}
	if n.Boot.MediumRead.IsZero() {
		if err := m.cfg.Apply(ctx, n.UUID, conductor.MediumFetched{Generation: n.Boot.Generation, From: from.String()}); err != nil {
			m.cfg.Log.Warn("note the first read of a medium", "node", n.Name, "err", err)
		}
	}
	return m.config(n), nil
}

// Program gives the boot configuration of a ramdisk that a machine's firmware loads. It is there from the intent to boot until the
// lookup, for the address alone that loads it first: nobody knows before which one the firmware gets. That one is stored before
// anything is given away, so that of two who ask at once one gets nothing (I17, T11). With load false nothing will be given away, and
// nobody is stored: a BMC that tries the address it was given takes the ramdisk from no machine.
func (m *Media) Program(ctx context.Context, token string, from netip.Addr, load bool) (api.BootConfig, error) {
	n, err := m.open(ctx, token, true)
	if err != nil {
		return api.BootConfig{}, err
	}
	if n.Boot.Reader == "" {
		if !load {
			return m.config(n), nil
		}
		if err := m.cfg.Apply(ctx, n.UUID, conductor.MediumFetched{Generation: n.Boot.Generation, From: from.String()}); err != nil {
			return api.BootConfig{}, err
		}
		if n, err = m.open(ctx, token, true); err != nil {
			return api.BootConfig{}, err
		}
	}
	if n.Boot.Reader != from.String() {
		m.cfg.Log.Warn("a second address asks for the ramdisk of one boot; it was given to the first one only", "node", n.Name, "from", from, "first", n.Boot.Reader)
		return api.BootConfig{}, gone()
	}
	return m.config(n), nil
}

func gone() *fault.Fault { return fault.New(fault.NodeNotFound, "no such medium") }

// open is the node whose boot a token is of, while that boot may be read the way it is booted.
func (m *Media) open(ctx context.Context, token string, http bool) (conductor.Node, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != 16+sha256.Size {
		return conductor.Node{}, gone()
	}
	n, err := m.cfg.Node(ctx, string(nodes.Unpacked([16]byte(raw))))
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return conductor.Node{}, gone()
		}
		return conductor.Node{}, err
	}
	b := n.Boot
	if b == nil || b.HTTP != http || b.Ended || !b.Redeemed.IsZero() || m.cfg.Now().After(b.Closes) ||
		subtle.ConstantTimeCompare([]byte(token), []byte(m.Token(n))) != 1 {
		return conductor.Node{}, gone()
	}
	return n, nil
}

func (m *Media) config(n conductor.Node) api.BootConfig {
	return api.BootConfig{
		Version: 1, Server: m.cfg.AgentURL(), Pins: m.cfg.Pins, Certificate: m.cfg.Certificate, Node: n.UUID, Generation: n.Boot.Generation,
		Secret: m.secret(n), NotBefore: n.Boot.Opened, Network: network(n),
	}
}

// Own tells whether what a BMC has in a drive is a medium of this server's: the node's, or whichever boot's.
func (m *Media) Own(n conductor.Node, image string) bool {
	const token = "anytoken"
	own, _, _ := strings.Cut(m.cfg.URL(token), token)
	return n.Boot != nil && strings.Contains(image, m.Token(n)) || mediumOf(own, image)
}

// mediumOf tells whether an address is one of those that the boot listener serves media under, of whichever boot.
func mediumOf(prefix, image string) bool {
	u, err := url.Parse(prefix)
	v, err2 := url.Parse(image)
	return err == nil && err2 == nil && u.Host != "" && u.Host == v.Host && strings.HasPrefix(v.Path, u.Path)
}
