package conductor

// What a store keeps of a node, whatever the node goes through (docs/reference/kept.md). What is gone beyond it was pruned;
// anything else that is gone was lost.
const (
	KeptLines = 300 // of its history, the last ones
	KeptRuns  = 16  // the last ones, with their attempts of steps
	KeptDone  = 64  // different steps whose last success outlives the runs around it
)
