// Package conductor decides what happens next to a node, and writes it to the store before it happens. It knows no
// HTTP, no SQL and no Redfish: those are behind Store, BMC, Dispatcher and the other seams in seams.go, and adapters
// of those names implement them.
//
// Start at Decide (decide.go): a pure function from a node's Snapshot and an Event to the node's next state, step
// records and Effects. Conductor (conductor.go) commits a Decision and then carries out its effects (effects.go,
// acts.go).
package conductor
