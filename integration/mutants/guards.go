package main

// guard is one check, or a group of them, that an invariant of the safety page rests on.
type guard struct {
	numbers  string   // of the invariants
	file     string   // below the root
	funcs    []string // whose bodies are changed
	tests    []string // packages, of which one test must notice each change
	only     string   // expression for the names of the tests that are to notice; "" means all
	refusals []string // calls, and fields assigned to, that refuse: each is left out in turn
}

var guards = []guard{
	{
		"I1 I2 I3 I4", "agent/disk/guard.go",
		[]string{"Check", "Covers", "known", "resolve", "readRules", "permit", "inUse", "lines", "hold", "identify", "content", "peek"},
		[]string{"agent/disk"}, "^(TestGuard|TestI01|TestI02|TestI03|TestI04|TestI05_EraseMust)", nil,
	},
	{"I2", "agent/disk/reserved.go", []string{"reservation", "judged", "nvmeReserved"}, []string{"agent/disk"}, "^(TestGuard|TestI02)", nil},
	{"I1", "agent/block/class.go", []string{"class", "hostDriver", "nvmeClass", "transports"}, []string{"agent/block"}, "", nil},
	{"I1", "shared/state/state.go", []string{"Destroys"}, []string{"shared/state", "server/conductor/decide"}, "", nil},
	{"I1 I4", "server/conductor/decide/offer.go", []string{"offer", "live"}, []string{"server/conductor/decide"}, "", nil},
	{"I4 I5 I6", "server/conductor/disks/disks.go", []string{"Of", "Erased", "erasedBy", "Written"}, []string{"server/conductor/disks", "server/conductor/decide"}, "", nil},
	{
		"I8 I9 I10", "server/conductor/decide/agent.go", []string{"stepClaimed", "stepEnded", "agentReady", "again"},
		[]string{"server/conductor/decide"}, "", []string{"refuse", "Refuse"},
	},
	{"I8", "agent/run/journal.go", []string{"replay", "apply", "write"}, []string{"agent/run"}, "", nil},
	{"I8", "agent/run/memory.go", []string{"NextMark", "Known", "With", "granted", "apply", "Untold"}, []string{"agent/run"}, "", nil},
	{"I8", "agent/run/core.go", []string{"commanded", "written", "answered", "told", "ask"}, []string{"agent/run"}, "", nil},
	{"I8", "server/conductor/attempt.go", []string{"NextAttempt"}, []string{"server/conductor", "server/conductor/decide"}, "", nil},
	{"I8", "server/conductor/decide/attempt.go", []string{"move"}, []string{"server/conductor/decide"}, "", nil},
	{"I8", "server/redfish/update/update.go", []string{"Run", "one", "end"}, []string{"server/redfish/update"}, "", nil},
	{"I8", "server/redfish/update/send.go", []string{"send", "prepare"}, []string{"server/redfish/update"}, "", nil},
	{"I8", "server/redfish/update/trace.go", []string{"trace", "find"}, []string{"server/redfish/update"}, "", nil},
	{"I6", "agent/image/qcow2/header.go", []string{"ReadHeader", "features", "extensions", "places", "place"}, []string{"agent/image/qcow2"}, "", nil},
	{"I6", "agent/image/qcow2/map.go", []string{"Load", "clusters", "data", "add", "gap", "sort"}, []string{"agent/image/qcow2"}, "", nil},
	{"I18", "server/token/token.go", []string{"Verify", "verify", "key"}, []string{"server/token"}, "", nil},
	{"I18", "server/conductor/stands.go", []string{"Stands"}, []string{"server/conductor"}, "", nil},
	{"I18", "server/engine/sessions/sessions.go", []string{"Stands", "get"}, []string{"server/engine/sessions", "server/engine"}, "", nil},
	{"I18", "server/engine/agents.go", []string{"session", "applyAs", "Secret", "mayRead", "Heartbeat"}, []string{"server/engine"}, "", nil},
}
