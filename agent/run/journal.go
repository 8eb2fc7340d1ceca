package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/bessemer-metal/bessemer/shared/failpoint"
)

// reserve is how many sequence numbers one line takes: a new process skips what the old one may have used.
const reserve = 1024

// Journal is what one boot of the ramdisk must not forget when the agent process restarts: every step id that was
// ever claimed, with its nonce and its end, and how far message numbers went. It is a file of JSON lines on tmpfs,
// synced before the act it announces. It may be used by several goroutines.
type Journal struct {
	mu      sync.Mutex
	file    file
	memory  Memory
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

// NewJournal starts a journal that is kept nowhere: for an agent whose process is its whole boot, as a simulated one's.
func NewJournal() *Journal { return &Journal{file: nowhere{}} }

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Sync() error                 { return nil }
func (nowhere) Truncate(int64) error        { return nil }
func (nowhere) Close() error                { return nil }

func openJournal(f *os.File) (*Journal, error) {
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f}
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
		var e Line
		if err := json.Unmarshal(text[whole:whole+end], &e); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		if err := j.apply(e); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		whole += end + 1
	}
}

// apply takes a line in.
func (j *Journal) apply(e Line) error {
	if e.Seq == 0 {
		return j.memory.apply(e)
	}
	if e.Seq <= j.ceiling {
		return fmt.Errorf("numbers go back from %d to %d", j.ceiling, e.Seq)
	}
	j.ceiling = e.Seq
	return nil
}

// Write makes a line durable, then true. A line that the table of marks does not allow is refused.
func (j *Journal) Write(e Line) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.memory.With(e); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return j.write(e)
}

// write makes e durable, then true. What a failed write left is taken back, so that the next can succeed once a full
// tmpfs has room again; if that fails too, nothing more is written.
func (j *Journal) write(e Line) error {
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
func mark(side string, e Line) {
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
		if err := j.write(Line{Seq: j.ceiling + reserve}); err != nil {
			return 0, err
		}
	}
	j.seq++
	return j.seq, nil
}

// Memory is what the journal knows of step ids now.
func (j *Journal) Memory() Memory {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Memory{claims: maps.Clone(j.memory.claims), order: slices.Clone(j.memory.order)}
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
