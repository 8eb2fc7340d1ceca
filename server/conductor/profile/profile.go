// Package profile holds the Ironic profile on the API's own address: what a node of fake-hardware keeps of a ramdisk that
// speaks Ironic's lookup and heartbeat. Such a node has nothing to lose; no other one can be looked up there (safety.md
// §2.11). The ramdisk is recorded and shown, and its inspection taken; no step is given to it. It is pure.
package profile

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Beat is a heartbeat of the Ironic profile, its form already checked.
type Beat struct {
	Node    string // UUID or name
	URL     string
	Token   string
	Version string
	CA      *string // nil: not given
	Status  string
	Message string
}

// The states in which a ramdisk may be looked up, and in which its heartbeats are kept; the second list of each is for
// nodes with fast_track. They are Ironic's.
var (
	lookedUpIn = []state.State{state.Deploying, state.DeployWait, state.Cleaning, state.CleanWait, state.Inspecting, state.InspectWait,
		state.Rescuing, state.RescueWait, state.ServiceWait}
	fastIn    = []state.State{state.Enroll, state.Manageable, state.Available, state.Servicing, state.ServiceHold}
	beatsIn   = append(slices.Clone(lookedUpIn), state.Servicing, state.DeployHold, state.CleanHold, state.ServiceHold)
	fastBeats = []state.State{state.Enroll, state.Manageable, state.Available}
)

// Has tells whether a node speaks the Ironic profile on the API's address at all.
func Has(n conductor.Node) bool { return n.Driver == "fake-hardware" }

// MayLookUp tells whether the node's ramdisk may be looked up now: its lookup window (I24).
func MayLookUp(n conductor.Node) bool {
	return Has(n) && (slices.Contains(lookedUpIn, n.State) || conductor.FastTrack(n) && slices.Contains(fastIn, n.State))
}

// KeepsBeats tells whether a heartbeat changes anything now.
func KeepsBeats(n conductor.Node) bool {
	return Has(n) && (slices.Contains(beatsIn, n.State) || conductor.FastTrack(n) && slices.Contains(fastBeats, n.State))
}

// Admit gives the node's ramdisk its token, once: given is false when it was given before. A second address makes the
// ramdisk contested, and what it says counts no more; changed tells whether the node is to be stored. node.busy while the
// server is at work on the node and a token would have to be made.
func Admit(n *conductor.Node, token, source string, now time.Time) (given, changed bool, err error) {
	switch r := n.Ramdisk; {
	case r == nil && conductor.Busy(*n):
		return false, false, fault.New(fault.NodeBusy, "the node is busy; look it up again later").At(string(n.UUID), "")
	case r == nil:
		sum := sha256.Sum256([]byte(token))
		n.Ramdisk = &conductor.Ramdisk{Token: sum[:], Source: source, Given: now}
		return true, true, nil
	case r.Source != source && !r.Contested:
		again := *r
		again.Contested = true
		n.Ramdisk = &again
		return false, true, nil
	}
	return false, false, nil
}

// refused is the one answer to a heartbeat that does not prove itself: it does not tell what is wrong.
func refused() error {
	return fault.New(fault.RequestInvalid, "the heartbeat does not prove that it is this node's ramdisk").
		WithHint("look the node up again; the token is given once for each boot")
}

// Heard takes a heartbeat: changed tells whether something but the time of it is new. It may be called with what a view
// saw, and again before the change is stored. The faults are request.invalid and node.busy; before the token is right
// nothing is looked at but what the caller knows himself.
func Heard(n *conductor.Node, b Beat) (changed bool, err error) {
	r := n.Ramdisk
	if r == nil || r.Contested || !Has(*n) {
		return false, refused()
	}
	sum := sha256.Sum256([]byte(b.Token))
	if subtle.ConstantTimeCompare(sum[:], r.Token) != 1 {
		return false, refused()
	}
	if r.URL != "" && r.URL != b.URL {
		return false, fault.New(fault.RequestInvalid, `Detected change in ramdisk provided "callback_url"`)
	}
	next := *r
	if b.CA != nil {
		ca := sha256.Sum256([]byte(*b.CA))
		if r.CA != nil && subtle.ConstantTimeCompare(ca[:], r.CA) != 1 {
			return false, fault.New(fault.RequestInvalid, "agent_verify_ca is another one than before in this boot")
		}
		next.CA = ca[:]
	}
	if r.URL == "" && b.URL != "" && conductor.Busy(*n) {
		return false, fault.New(fault.NodeBusy, "the node is busy; the next heartbeat is taken").At(string(n.UUID), "")
	}
	if !KeepsBeats(*n) {
		return false, nil
	}
	next.URL, next.Version = b.URL, b.Version
	if b.Status != "" {
		next.Status, next.Message = b.Status, b.Message
	}
	same := r.URL == next.URL && r.Version == next.Version && r.Status == next.Status && r.Message == next.Message && (r.CA == nil) == (next.CA == nil)
	if !same {
		n.Ramdisk = &next
	}
	return !same, nil
}

// Inspects tells whether a node waits for what a ramdisk of the Ironic profile finds out.
func Inspects(n conductor.Node, interfaces map[string]string) bool {
	return Has(n) && n.State == state.InspectWait && interfaces[drivers.Inspect] == "agent"
}

// NotLookedUp is the one answer to a lookup that finds no node, whatever the reason: it tells nobody which nodes exist.
func NotLookedUp() error {
	return fault.New(fault.LookupNotFound, "The resource could not be found.")
}
