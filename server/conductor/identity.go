package conductor

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Identity is by what a machine is told from the others behind its BMC, in a form that can be compared. The paths under
// which a BMC shows its machines are no part of it: they may be others after the BMC restarted (F24). The zero Identity is
// of a machine that nobody has looked at, or whose BMC tells neither.
type Identity struct {
	UUID   string `json:"uuid,omitempty"`   // lower case, without the marks between its digits
	Serial string `json:"serial,omitempty"` // compared only where a UUID is missing: the machines of one chassis may share it
}

// Match is what comes of comparing two identities.
type Match int

// The matches. Untold is that one of them lacks what the other has, so that nothing follows.
const (
	Untold Match = iota
	SameMachine
	OtherMachine
)

// nobody are UUIDs that boards have which were never given one.
var nobody = []string{
	strings.Repeat("0", 32), strings.Repeat("f", 32),
	"03000200040005000006000700080009", "00020003000400050006000700080009", // a maker's example, in either order of bytes
}

// blank are what boards have for a serial number that were never given one.
var blank = []string{
	"0", "n/a", "na", "none", "null", "unknown", "default", "default string", "not specified", "not available", "not provided",
	"to be filled by o.e.m.", "to be filled by oem", "system serial number", "serial number", "0123456789", "123456789", "1234567890", "empty",
}

// IdentityOf takes what a BMC gives for UUID and serial number. Case, braces and hyphens of a UUID do not count. What
// every board of a make has that nobody gave a number counts as nothing: an all-zero UUID, "To be filled by O.E.M.".
func IdentityOf(uuid, serial string) Identity {
	var i Identity
	u := strings.ToLower(strings.TrimSpace(uuid))
	u = strings.NewReplacer("-", "", "{", "", "}", "", " ", "").Replace(strings.TrimPrefix(u, "urn:uuid:"))
	if !slices.Contains(nobody, u) && strings.Trim(u, "0") != "" {
		i.UUID = u
	}
	if s := strings.TrimSpace(serial); !slices.Contains(blank, strings.ToLower(s)) && strings.Trim(s, "0. -_xX") != "" {
		i.Serial = s
	}
	return i
}

// turned is a UUID whose first three fields have their bytes in the other order: firmware and BMC of one machine, or two
// versions of the BMC, may disagree about it.
func turned(uuid string) string {
	if len(uuid) != 32 {
		return uuid
	}
	b := func(i int) string { return uuid[2*i : 2*i+2] }
	return b(3) + b(2) + b(1) + b(0) + b(5) + b(4) + b(7) + b(6) + uuid[16:]
}

// Match compares what is known of a machine with what its BMC says now: the UUID, in either order of its bytes; where one
// of the two has none, the serial number. Nothing known is Untold.
func (i Identity) Match(now Identity) Match {
	same := i.Serial == now.Serial
	switch {
	case i.UUID != "" && now.UUID != "":
		same = i.UUID == now.UUID || i.UUID == turned(now.UUID)
	case i.Serial == "" || now.Serial == "":
		return Untold
	}
	if same {
		return SameMachine
	}
	return OtherMachine
}

// String is the identity in words, for messages.
func (i Identity) String() string {
	switch {
	case i.UUID != "":
		return "UUID " + i.UUID
	case i.Serial != "":
		return "serial number " + i.Serial
	}
	return "neither a UUID nor a serial number"
}

// with is the identity with what only now has.
func (i Identity) with(now Identity) Identity {
	return Identity{UUID: cmp.Or(i.UUID, now.UUID), Serial: cmp.Or(i.Serial, now.Serial)}
}

// Recognise compares the machine that a BMC shows with the one that the node was verified with, and gives what is known of
// it from then on. The fault of another one is bmc.other_machine. What nothing follows from is let be: it is for drivers,
// which can look at the BMC's other machines, to be strict.
func Recognise(n Node, now Identity) (Identity, error) {
	switch {
	case n.Machine.Match(now) == OtherMachine:
		return n.Machine, fault.New(fault.BMCOtherMachine, "the BMC shows the machine with %s, expected the one with %s", now, n.Machine).At(string(n.UUID), "")
	case n.Machine.Match(now) == SameMachine || n.Machine == Identity{}:
		return n.Machine.with(now), nil
	}
	return n.Machine, nil
}
