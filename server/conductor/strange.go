package conductor

import "github.com/bessemer-metal/bessemer/shared/state"

// NeedsNoDriver tells that a verb is decided without the node's hardware type: it ends work, or only moves the record. So
// it is there for a node whose hardware type this server does not know.
func NeedsNoDriver(n Node, v state.Event) bool {
	return v == state.VerbAbort || v == state.VerbManage && n.State != state.Enroll
}
