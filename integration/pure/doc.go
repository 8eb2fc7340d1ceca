// Package pure holds a simulation without goroutines: the conductor's Decide and the agent's Core run against each other
// on several nodes, with models of what lies between and around them (store, BMCs, machines, network, operator,
// attacker), under a scheduler whose every choice comes from a list of turns. It has no code but its tests.
//
// A run is its turns: the same list gives the same history, so a failing seed is replayed and then shrunk to the
// shortest list that still breaks the same rule. After every turn all invariants are checked against what really
// happened to the machines, not against the records; at the end all faults stop, and every node must come to an end
// and back into use.
//
// Start at the test of sim_test.go; world_test.go is the scheduler, server_test.go and machine_test.go the
// two sides, check_test.go the invariants.
//
//	go test ./integration/pure -seed 17 -v     replays one seed and prints its history
//	go test ./integration/pure -sim.for 8h     keeps on with new seeds
package pure
