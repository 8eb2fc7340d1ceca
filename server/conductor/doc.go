// Package conductor owns the words of the server's core: a Node and what stands beside it, a StepRecord and the life of an
// attempt, what may happen to a node (Event), what follows (Decision, Effect), and the seams in seams.go (Store, BMC,
// Dispatcher, ...) that adapters named after their technology implement. Like the packages below it, which decide by these
// words, it is pure: it knows no clock, HTTP, SQL or Redfish, and does nothing.
//
//	decide    what happens next to a node: from a Snapshot and an Event to a Decision
//	plan      what a verb would do: the steps, in order
//	fit       whether a node's record and its BMC allow a flow
//	disks     which disks a step may touch, and what proves that they were erased
//	defaults  what default_config makes of a step
//	profile   what is kept of a ramdisk that speaks the Ironic profile
//	doctor    what a node waits for, and what is wrong with it
//
// Start at Decide (decide/decide.go). Package engine commits a Decision and then carries out its effects.
package conductor
