//go:build !failpoint

// Package failpoint marks the places at which a crash is interesting: before and after each commit, act and answer. In
// every build but that of the crash harness a mark is nothing at all: the call is inlined and gone, name included (a
// test looks into the built programs). With the build tag "failpoint" the process can be told by its environment to
// kill itself at a mark (on.go). It is the one package of shared that acts, and it does so in that build only.
//
// Start at Here; docs/adr/0090-crash-harness.md says why.
package failpoint

// On tells whether this is the crash harness's build. Code that exists only to name a mark stands behind it, so that
// no other build has it.
const On = false

// Here is a mark. The name says the act and its side: "store.commit.before".
func Here(string) {}
