package run

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bessemer-metal/bessemer/shared/step"
)

// Mark is where a step id stands on the agent's side, within one boot.
type Mark string

// The marks.
const (
	MarkUnknown  Mark = "unknown"  // never claimed in this boot
	MarkClaimed  Mark = "claimed"  // journaled with the nonce of one process; the server is being asked
	MarkAnswered Mark = "answered" // the server has recorded this claim: the step runs
	MarkEnded    Mark = "ended"    // its end is known and has to be told
	MarkOver     Mark = "over"     // nothing more is to be done about it in this boot
)

// MarkEvent is what moves an id from one mark to the next.
type MarkEvent string

// The events.
const (
	MarkCommand MarkEvent = "command" // the server's command came
	MarkGranted MarkEvent = "granted" // its answer to start echoes the nonce
	MarkRefused MarkEvent = "refused" // it does not let the step start
	MarkEnd     MarkEvent = "end"     // the step ended, was stopped or was given up
	MarkRestart MarkEvent = "restart" // another process of the same boot reads the journal
	MarkTaken   MarkEvent = "taken"   // the server has taken the end, or does not want it
)

// MarkRow is one move. Durable says that a line of the journal is synced before anything follows from it.
type MarkRow struct {
	From    Mark
	Event   MarkEvent
	To      Mark
	Durable bool
	Doc     string // one sentence
}

// Marks is the agent's side of an attempt's life (safety.md §2.7) as data: journal and core make no other move. An id
// leaves unknown once in a boot, so it is claimed once; answered is reached only by the server's word to this process.
var Marks = []MarkRow{
	{MarkUnknown, MarkCommand, MarkClaimed, true, "The id and a nonce made by this process are written down, then the server is asked; a known id is ignored."},
	{MarkClaimed, MarkGranted, MarkAnswered, false, "The answer names this nonce: the step runs. No line says so, as another process must not go by it."},
	{MarkClaimed, MarkRefused, MarkOver, true, "The server does not let it start: it is never run in this boot."},
	{MarkClaimed, MarkEnd, MarkEnded, true, "Aborted before the answer: the server may have recorded the claim, so an end is told."},
	{MarkClaimed, MarkRestart, MarkEnded, false, "Whether it ran is not known: told as interrupted."},
	{MarkAnswered, MarkEnd, MarkEnded, true, "The end is written down before it is told."},
	{MarkAnswered, MarkRestart, MarkEnded, false, "How far it came is not known: told as interrupted."},
	{MarkEnded, MarkRestart, MarkEnded, false, "Told again, as it was."},
	{MarkEnded, MarkTaken, MarkOver, true, "The end is told until the server has taken it, or does not want it."},
	{MarkOver, MarkTaken, MarkOver, false, "A repeat changes nothing."},
}

// NextMark is where an event leads from a mark; ok is false when it is not legal there.
func NextMark(from Mark, e MarkEvent) (to Mark, ok bool) {
	for _, r := range Marks {
		if r.From == from && r.Event == e {
			return r.To, true
		}
	}
	return from, false
}

// Line is one line of the journal: exactly one of its fields is set.
type Line struct {
	Seq   uint64     `json:"seq,omitempty"`
	Claim *ClaimLine `json:"claim,omitempty"`
	Ended *Ended     `json:"ended,omitempty"`
	Over  step.ID    `json:"over,omitempty"`
}

// ClaimLine says that the process which made Nonce is about to claim ID.
type ClaimLine struct {
	ID    step.ID `json:"id"`
	Step  string  `json:"step"`
	Nonce string  `json:"nonce"`
}

// Memory is what the lines of a journal say of step ids. It is a value: With leaves the one it is called on as it was.
type Memory struct {
	claims map[step.ID]claim
	order  []step.ID
}

// claim is one id.
type claim struct {
	mark  Mark
	step  string
	nonce string
	ended *Ended
}

// Known tells whether id was claimed in this boot.
func (m Memory) Known(id step.ID) bool { return m.mark(id) != MarkUnknown }

func (m Memory) mark(id step.ID) Mark {
	if c, ok := m.claims[id]; ok {
		return c.mark
	}
	return MarkUnknown
}

// With is the memory after one more line. A line that the table does not allow is an error.
func (m Memory) With(l Line) (Memory, error) {
	m = Memory{claims: maps.Clone(m.claims), order: slices.Clip(m.order)}
	return m, m.apply(l)
}

// granted is the memory after the server let this process start id; ok is false when that is not due. No line of the
// journal says so.
func (m Memory) granted(id step.ID) (after Memory, ok bool) {
	to, ok := NextMark(m.mark(id), MarkGranted)
	if !ok {
		return m, false
	}
	m = Memory{claims: maps.Clone(m.claims), order: m.order}
	c := m.claims[id]
	c.mark = to
	m.claims[id] = c
	return m, true
}

// apply takes a line in, in place. Sequence numbers are not the memory's business.
func (m *Memory) apply(l Line) error {
	if m.claims == nil {
		m.claims = map[step.ID]claim{}
	}
	switch {
	case l.Claim != nil:
		to, ok := NextMark(m.mark(l.Claim.ID), MarkCommand)
		if !ok || l.Claim.ID == "" || l.Claim.Nonce == "" {
			return fmt.Errorf("step id %q is claimed twice or incompletely", l.Claim.ID)
		}
		m.claims[l.Claim.ID] = claim{mark: to, step: l.Claim.Step, nonce: l.Claim.Nonce}
		m.order = append(m.order, l.Claim.ID)
	case l.Ended != nil:
		to, ok := NextMark(m.mark(l.Ended.ID), MarkEnd)
		if !ok {
			return fmt.Errorf("step id %q ends without being open", l.Ended.ID)
		}
		c := m.claims[l.Ended.ID]
		c.mark, c.ended = to, l.Ended
		m.claims[l.Ended.ID] = c
	case l.Over != "":
		was := m.mark(l.Over)
		by := MarkTaken
		if was == MarkClaimed {
			by = MarkRefused // or told by a process that knew no end of it: there is no line for that
		}
		to, ok := NextMark(was, by)
		if !ok {
			return fmt.Errorf("step id %q is over without being claimed", l.Over)
		}
		c := m.claims[l.Over]
		c.mark = to
		m.claims[l.Over] = c
	default:
		return errors.New("an empty entry")
	}
	return nil
}

// Untold gives the claimed steps whose end the server has not taken yet, oldest first: those with an end as it was,
// those without one as interrupted. It is for the start of a process, before anything runs.
func (m Memory) Untold() []Ended {
	var out []Ended
	for _, id := range m.order {
		c := m.claims[id]
		if to, _ := NextMark(c.mark, MarkRestart); to != MarkEnded {
			continue
		}
		if c.ended == nil {
			end := interrupted(id, c.step, c.nonce)
			c.ended = &end
		}
		out = append(out, *c.ended)
	}
	return out
}
