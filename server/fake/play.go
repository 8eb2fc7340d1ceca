package fake

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// A program may play the machines behind the BMCs (bessemer simulate does): it listens on a Unix socket and answers
//
//	GET  /machines/{node}   State
//	POST /machines/{node}   Act, answered with the State after it
//
// as JSON over HTTP. What a machine is doing is then known there, and outlives a restart of the server, as it does with
// real hardware.
const PlayPath = "/machines/"

// State is what a played machine is doing. Power is a conductor.Power; empty is unknown.
type State struct {
	Power conductor.Power `json:"power,omitempty"`
	Media string          `json:"media,omitempty"` // URL of the virtual CD; it carries the boot's secret
	Boot  string          `json:"boot,omitempty"`  // device of the next boot
}

// Act changes what is set in it.
type Act struct {
	Power conductor.PowerAction `json:"power,omitempty"`
	Media *string               `json:"media,omitempty"` // "" takes the CD out
	Boot  string                `json:"boot,omitempty"`
}

// The budget of one act: who plays the machines is on this host.
const (
	playTime  = 10 * time.Second
	playConns = 64
	playBytes = 64 << 10
)

// player reaches the program that plays the machines.
type player struct {
	socket string
	http   *http.Client
}

func newPlayer(socket string) *player {
	dialer := &net.Dialer{Timeout: playTime}
	return &player{socket: socket, http: &http.Client{Timeout: playTime, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxConnsPerHost: playConns, MaxIdleConnsPerHost: playConns, IdleConnTimeout: time.Minute,
	}}}
}

// ask makes an act, or with none looks. Faults: bmc.unreachable while nobody plays.
func (p *player) ask(ctx context.Context, node conductor.NodeID, act *Act) (State, error) {
	var s State
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if act != nil {
		text, err := json.Marshal(act)
		if err != nil {
			return s, fmt.Errorf("encode an act: %w", err)
		}
		method, body = http.MethodPost, bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://machines"+PlayPath+string(node), body)
	if err != nil {
		return s, fmt.Errorf("ask for an act: %w", err)
	}
	answer, err := p.http.Do(r)
	if err != nil {
		return s, fault.New(fault.BMCUnreachable, "nobody plays the fake machines at %s", p.socket).
			WithHint("start bessemer simulate there, or the server without --fake-machines").Because(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return s, fault.New(fault.BMCUnreachable, "who plays the fake machines at %s answers %s", p.socket, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, playBytes)).Decode(&s); err != nil {
		return s, fault.New(fault.BMCUnreachable, "who plays the fake machines at %s gives no answer that can be read", p.socket).Because(err)
	}
	return s, nil
}

// played is the BMC of a machine that another program plays. Its BIOS is the one in memory.
type played struct {
	*machine
	node conductor.NodeID
	by   *player
}

var _ conductor.BMC = (*played)(nil)

// Facts tells what the player says of the power.
func (m *played) Facts(ctx context.Context) (conductor.Facts, error) {
	f, err := m.machine.Facts(ctx)
	if err != nil {
		return f, err
	}
	f.Power, err = m.Power(ctx)
	return f, err
}

// Power asks the player.
func (m *played) Power(ctx context.Context) (conductor.Power, error) {
	s, err := m.by.ask(ctx, m.node, nil)
	return s.Power, err
}

// Status tells what the player says of the power.
func (m *played) Status(ctx context.Context) (conductor.Status, error) {
	s, err := m.machine.Status(ctx)
	if err != nil {
		return s, err
	}
	s.Power, err = m.Power(ctx)
	return s, err
}

// SetPower asks the player for the act.
func (m *played) SetPower(ctx context.Context, a conductor.PowerAction) error {
	if err := m.machine.SetPower(ctx, a); err != nil {
		return err
	}
	_, err := m.by.ask(ctx, m.node, &Act{Power: a})
	return err
}

// SetBoot tells the player the device, which is the machine's own where the target names none.
func (m *played) SetBoot(ctx context.Context, t conductor.BootTarget) error {
	if err := m.machine.SetBoot(ctx, t); err != nil {
		return err
	}
	t, err := m.machine.Boot(ctx)
	if err != nil {
		return err
	}
	_, err = m.by.ask(ctx, m.node, &Act{Boot: t.Device})
	return err
}

// Boot is what the player boots next; how often and by which firmware is not its business.
func (m *played) Boot(ctx context.Context) (conductor.BootTarget, error) {
	t, err := m.machine.Boot(ctx)
	if err != nil {
		return t, err
	}
	s, err := m.by.ask(ctx, m.node, nil)
	if t.Device != s.Boot {
		t = conductor.BootTarget{Device: s.Boot, UEFI: true}
	}
	return t, err
}

// SetMedia hands the player the CD.
func (m *played) SetMedia(ctx context.Context, url string) error {
	if err := m.machine.SetMedia(ctx, url); err != nil {
		return err
	}
	_, err := m.by.ask(ctx, m.node, &Act{Media: &url})
	return err
}
