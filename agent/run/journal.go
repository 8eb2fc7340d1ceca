package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// reserve is how many sequence numbers one line takes: a new process skips what the old one may have used.
const reserve = 1024

// Journal is what one boot of the ramdisk must not forget when the agent process restarts: every step id that was
// ever claimed, with its nonce and its end, and how far message numbers went. It is a file of JSON lines on tmpfs,
// synced before the act it announces. It may be used by several goroutines.
type Journal struct {
	mu      sync.Mutex
	file    file
	claims  map[step.ID]*claim
	order   []step.ID
	seq     uint64 // last given
	ceiling uint64 // last reserved
	size    int64  // of the file's whole lines
	broken  error
}

// file is what the journal writes to; *os.File is one.
type file interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// claim is one attempt as the journal knows it.
type claim struct {
	step  string
	nonce string
	ended *Ended
	over  bool // the server took the result, or wants none
}

// entry is one line: exactly one of its fields is set.
type entry struct {
	Seq   uint64     `json:"seq,omitempty"`
	Claim *claimLine `json:"claim,omitempty"`
	Ended *Ended     `json:"ended,omitempty"`
	Over  step.ID    `json:"over,omitempty"`
}

type claimLine struct {
	ID    step.ID `json:"id"`
	Step  string  `json:"step"`
	Nonce string  `json:"nonce"`
}

// OpenJournal reads the journal at path, or starts one. A last line without its end was never acted upon: it is cut
// off. Anything else that can't be read is an error, since an id could be forgotten.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j, err := openJournal(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), f.Close())
	}
	return j, nil
}

func openJournal(f *os.File) (*Journal, error) {
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f, claims: map[step.ID]*claim{}}
	whole, err := j.replay(text)
	if err != nil {
		return nil, err
	}
	if whole < len(text) {
		if err := f.Truncate(int64(whole)); err != nil {
			return nil, err
		}
	}
	j.seq, j.size = j.ceiling, int64(whole)
	return j, nil
}

// replay takes in all whole lines and tells how many bytes they are.
func (j *Journal) replay(text []byte) (whole int, err error) {
	for n := 1; ; n++ {
		end := bytes.IndexByte(text[whole:], '\n')
		if end < 0 {
			return whole, nil
		}
		var e entry
		if err := json.Unmarshal(text[whole:whole+end], &e); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		if err := j.apply(e); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		whole += end + 1
	}
}

// apply is the journal's state machine.
func (j *Journal) apply(e entry) error {
	switch {
	case e.Seq > 0:
		if e.Seq <= j.ceiling {
			return fmt.Errorf("numbers go back from %d to %d", j.ceiling, e.Seq)
		}
		j.ceiling = e.Seq
	case e.Claim != nil:
		if e.Claim.ID == "" || e.Claim.Nonce == "" || j.claims[e.Claim.ID] != nil {
			return fmt.Errorf("step id %q is claimed twice or incompletely", e.Claim.ID)
		}
		j.claims[e.Claim.ID] = &claim{step: e.Claim.Step, nonce: e.Claim.Nonce}
		j.order = append(j.order, e.Claim.ID)
	case e.Ended != nil:
		c := j.claims[e.Ended.ID]
		if c == nil || c.ended != nil || c.over {
			return fmt.Errorf("step id %q ends without being open", e.Ended.ID)
		}
		c.ended = e.Ended
	case e.Over != "":
		c := j.claims[e.Over]
		if c == nil {
			return fmt.Errorf("step id %q is over without being claimed", e.Over)
		}
		c.over = true
	default:
		return errors.New("an empty entry")
	}
	return nil
}

// write makes e durable, then true. What a failed write left is taken back, so that the next can succeed once a full
// tmpfs has room again; if that fails too, nothing more is written.
func (j *Journal) write(e entry) error {
	if j.broken != nil {
		return j.broken
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	line = append(line, '\n')
	mark("before", e)
	if _, err = j.file.Write(line); err == nil {
		mark("unsynced", e)
		err = j.file.Sync()
	}
	mark("after", e)
	if err != nil {
		err = fmt.Errorf("write journal: %w", err)
		if undo := j.file.Truncate(j.size); undo != nil {
			j.broken = errors.Join(err, undo)
		}
		return err
	}
	j.size += int64(len(line))
	return j.apply(e)
}

// mark is a place of one kind of line.
func mark(side string, e entry) {
	if !failpoint.On {
		return
	}
	kind := "seq"
	switch {
	case e.Claim != nil:
		kind = "claim"
	case e.Ended != nil:
		kind = "end"
	case e.Over != "":
		kind = "over"
	}
	failpoint.Here("journal." + kind + "." + side)
}

// Seq gives the next message number. Numbers never repeat within a boot; some are skipped.
func (j *Journal) Seq() (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.seq == j.ceiling {
		if err := j.write(entry{Seq: j.ceiling + reserve}); err != nil {
			return 0, err
		}
	}
	j.seq++
	return j.seq, nil
}

// Known tells whether id was claimed in this boot.
func (j *Journal) Known(id step.ID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.claims[id] != nil
}

// Claim records that this process is about to claim id.
func (j *Journal) Claim(id step.ID, name, nonce string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.claims[id] != nil {
		return fmt.Errorf("step id %s was claimed before in this boot", id)
	}
	return j.write(entry{Claim: &claimLine{ID: id, Step: name, Nonce: nonce}})
}

// End records how a claimed step ended.
func (j *Journal) End(e Ended) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write(entry{Ended: &e})
}

// Over records that nothing more is to be told about id.
func (j *Journal) Over(id step.ID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write(entry{Over: id})
}

// Untold gives the claimed steps whose end the server has not taken yet, oldest first: those with an end as it was,
// those without one as interrupted. It is for the start of a process, before anything runs.
func (j *Journal) Untold() []Ended {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Ended
	for _, id := range j.order {
		switch c := j.claims[id]; {
		case c.over:
		case c.ended != nil:
			out = append(out, *c.ended)
		default:
			out = append(out, interrupted(id, c.step, c.nonce))
		}
	}
	return out
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
