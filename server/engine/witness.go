package engine

import (
	"io"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What of a boot's log is kept with an attempt that ended badly: lines, bytes of each, and bytes looked at.
const (
	lastLines = 20
	lineBytes = 600
	lastBytes = 32 << 10
)

// witness gives attempts that have just ended badly the last lines that the agent of their boot said: so they stand beside
// the failure, also when the log itself is gone. It only reads, so it may run within a transaction that is tried again.
func (eng *Engine) witness(d *conductor.Decision) {
	for i := range d.Steps {
		r := &d.Steps[i]
		if r.Log == nil && r.Generation > 0 && !r.Started.IsZero() && (r.State == conductor.StepFailed || r.State == conductor.StepInterrupted) {
			r.Log = eng.lastWords(r.Node, r.Generation)
		}
	}
}

// lastWords is the end of a boot's log; that it can't be read is no reason to keep a failure back.
func (eng *Engine) lastWords(node conductor.NodeID, generation uint64) []string {
	f, err := eng.cfg.Logs.Open(node, generation, 0)
	if fault.Has(err, fault.LogNotFound) {
		return nil
	}
	if err != nil {
		eng.cfg.Log.Warn("read the end of an agent's log", "node", node, "err", err)
		return nil
	}
	defer f.Close()
	cutOff := false
	if s, ok := f.(io.Seeker); ok { // a log may be long, and is a file
		at, err := s.Seek(-lastBytes, io.SeekEnd) // fails on a shorter one, and stays at its start
		cutOff = err == nil && at > 0
	}
	text, err := io.ReadAll(io.LimitReader(f, lastBytes))
	if err != nil {
		eng.cfg.Log.Warn("read the end of an agent's log", "node", node, "err", err)
	}
	var out []string
	lines := slices.Collect(strings.Lines(string(text)))
	if cutOff && len(lines) > 0 {
		lines = lines[1:] // the end of a line that begins before
	}
	for _, l := range lines[max(0, len(lines)-lastLines):] {
		if l = strings.TrimSpace(strings.ToValidUTF8(l, "\ufffd")); l != "" {
			out = append(out, api.Shorten(l, lineBytes))
		}
	}
	return out
}
