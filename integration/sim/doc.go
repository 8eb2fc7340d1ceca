// Package sim runs the whole server (store, conductor, agent channel, tokens) and whole agents (channel, executor,
// journal) against each other in one synctest bubble, over a network in memory and a machine in memory, with crashes,
// restarts, cuts and attackers. It has no code but its tests. Start at site_test.go.
package sim
