// Package conductor decides what happens next to a node. It is pure: it knows no clock, HTTP, SQL or Redfish, and does
// nothing. It owns the words of the server's core (Node, StepRecord, Effect) and the seams in seams.go (Store, BMC,
// Dispatcher, ...) that adapters named after their technology implement.
//
// Start at Decide (decide.go): from a node's Snapshot and an Event to the node's next state, step records and Effects.
// Package engine commits a Decision and then carries out its effects.
package conductor
