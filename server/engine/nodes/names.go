package nodes

import (
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// NewID makes a UUID, as nodes, ports, steps and runs have one: of version 7 (RFC 9562), which begin with the time, so that
// rows made together stand together in the indexes and share the pages that a commit writes.
func NewID() string { return uuid.Must(uuid.NewV7()).String() } // fails only where crypto/rand does, which never does

var nameLetters = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

// IsName tells whether a node or a record may have this name. The length is no part of the expression: as a repetition
// it costs each start of the program milliseconds.
func IsName(s string) bool { return len(s) <= 255 && nameLetters.MatchString(s) }

// reserved are names that would be read as something else in a path.
var reserved = []string{"detail", "validate", "states", "management", "maintenance", "vendor_passthru"}

// IsUUID tells whether a text is a UUID.
func IsUUID(s string) bool { return uuid.Validate(s) == nil }

// Packed is a node's UUID in its 16 bytes; an error for what is none.
func Packed(id conductor.NodeID) ([]byte, error) {
	u, err := uuid.Parse(string(id))
	return u[:], err
}

// Unpacked is the node's UUID of 16 bytes.
func Unpacked(raw [16]byte) conductor.NodeID { return conductor.NodeID(uuid.UUID(raw).String()) }

// Find loads a node by UUID or name.
func Find(tx conductor.Tx, ident string) (conductor.Node, error) {
	if IsUUID(ident) {
		return tx.Node(conductor.NodeID(strings.ToLower(ident)))
	}
	if !IsName(ident) {
		return conductor.Node{}, fault.New(fault.RequestInvalid, "%q is neither a UUID nor a node name", ident)
	}
	return tx.NodeByName(ident)
}

// Canonical is a UUID in lower case, or the name as it is.
func Canonical(ident string) string {
	if IsUUID(ident) {
		return strings.ToLower(ident)
	}
	return ident
}

// Named is the node that a record names. A node named inside a body and not found makes the request wrong, not its
// path.
func Named(tx conductor.Tx, id conductor.NodeID) (conductor.Node, error) {
	n, err := tx.Node(id)
	if fault.Is(err, fault.NotFound) {
		return n, fault.New(fault.RequestInvalid, "Node %s could not be found.", id)
	}
	return n, err
}
