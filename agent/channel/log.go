package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	pieces   = 4 // that a full log is kept in; the oldest is dropped
	chunk    = api.MaxLogChunk / 2
	gather   = 300 * time.Millisecond // lines that come within it travel together
	ackFile  = "shipped"
	logEnd   = ".log"
	maxRetry = 15 * time.Second
)

// Log keeps the agent's log of one boot, from the first second on, in files on tmpfs, and ships it once there is a
// server. It is bounded: what is oldest is dropped, and the number of bytes that nobody saw is told in the log itself.
// Give it to slog as a writer: each Write is one line. It may be used by several goroutines.
type Log struct {
	dir   string
	piece int64
	wake  chan struct{} // one slot
	hurry chan struct{} // one slot: somebody waits in Flush

	mu      sync.Mutex
	files   []part
	out     *os.File // the last of files
	shipped int64
	lost    int64         // bytes that could not be kept, not yet told
	moved   chan struct{} // closed and made anew when shipped grows
}

// part is one file: the log's bytes from base on.
type part struct {
	base, size int64
}

// OpenLog opens the log in dir, with what earlier processes of this boot left there, and keeps about limit bytes.
func OpenLog(dir string, limit int64) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{dir: dir, piece: max(1, limit/pieces), wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), moved: make(chan struct{})}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	for _, n := range names {
		base, err := strconv.ParseInt(strings.TrimSuffix(n.Name(), logEnd), 10, 64)
		if err != nil || !strings.HasSuffix(n.Name(), logEnd) {
			continue
		}
		i, err := n.Info()
		if err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
		l.files = append(l.files, part{base, i.Size()})
	}
	slices.SortFunc(l.files, func(a, b part) int { return int(min(1, max(-1, a.base-b.base))) })
	if text, err := os.ReadFile(filepath.Join(dir, ackFile)); err == nil {
		// Unreadable means that all is shipped again, which the server recognises by the offset.
		l.shipped, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	}
	if len(l.files) == 0 {
		l.files = []part{{}}
	}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

// open opens the last file. Called with the lock held, or before anyone else knows l.
func (l *Log) open() (err error) {
	l.out, err = os.OpenFile(l.path(l.files[len(l.files)-1]), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return err
}

func (l *Log) path(p part) string {
	return filepath.Join(l.dir, fmt.Sprintf("%016d%s", p.base, logEnd))
}

// Write keeps one line. It never fails: work goes on when the log can't (F38).
func (l *Log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost > 0 {
		note := fmt.Sprintf(`{"level":"WARN","msg":"log lines were dropped","bytes":%d}`+"\n", l.lost)
		if l.append([]byte(note)) {
			l.lost = 0
		}
	}
	if !l.append(line) {
		l.lost += int64(len(line))
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// append adds a line to the last file, or to a new one when that is full. A line that was kept in part only counts
// as lost; its part is taken back.
func (l *Log) append(line []byte) bool {
	last := &l.files[len(l.files)-1]
	if last.size > 0 && last.size+int64(len(line)) > l.piece {
		if !l.rotate() {
			return false
		}
		last = &l.files[len(l.files)-1]
	}
	n, err := l.out.Write(line)
	if err == nil {
		last.size += int64(n)
		return true
	}
	if n > 0 && l.out.Truncate(last.size) != nil {
		last.size += int64(n)
	}
	return false
}

// rotate begins a new file and drops the oldest ones.
func (l *Log) rotate() bool {
	last := l.files[len(l.files)-1]
	old := l.out
	l.files = append(l.files, part{base: last.base + last.size})
	if err := l.open(); err != nil {
		l.files, l.out = l.files[:len(l.files)-1], old
		return false
	}
	// All that was written is in the file already.
	_ = old.Close()
	for len(l.files) > pieces {
		first := l.files[0]
		if err := os.Remove(l.path(first)); err != nil {
			break
		}
		l.lost += max(0, first.base+first.size-max(first.base, l.shipped))
		l.files = l.files[1:]
	}
	return true
}

// read gives the next bytes to ship, whole lines where they fit, and their offset. None: all is shipped.
func (l *Log) read() (offset int64, data []byte, err error) {
	l.mu.Lock()
	at := max(l.shipped, l.files[0].base)
	var from part
	for _, p := range l.files {
		if at >= p.base && at < p.base+p.size {
			from = p
		}
	}
	l.mu.Unlock()
	if from.size == 0 {
		return at, nil, nil
	}
	f, err := os.Open(l.path(from))
	if err != nil {
		return at, nil, err
	}
	defer f.Close()
	data = make([]byte, min(chunk, from.base+from.size-at))
	n, err := f.ReadAt(data, at-from.base)
	if err != nil && !errors.Is(err, io.EOF) {
		return at, nil, err
	}
	data = data[:n]
	if end := bytes.LastIndexByte(data, '\n'); end >= 0 {
		data = data[:end+1]
	}
	return at, data, nil
}

// done records that everything before offset is shipped.
func (l *Log) done(offset int64) error {
	l.mu.Lock()
	l.shipped = offset
	close(l.moved)
	l.moved = make(chan struct{})
	l.mu.Unlock()
	return os.WriteFile(filepath.Join(l.dir, ackFile), []byte(strconv.FormatInt(offset, 10)), 0o600)
}

// Ship sends what is kept and what comes, in order, until ctx ends. What the server does not want in any form is
// skipped; anything else is tried again.
func (l *Log) Ship(ctx context.Context, send func(ctx context.Context, offset int64, data []byte) error) error {
	wait := time.Second
	for {
		offset, data, err := l.read()
		pause := gather
		switch {
		case err == nil && len(data) == 0:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-l.wake:
			}
		case err == nil:
			err = send(ctx, offset, data)
			if err == nil || fault.Has(err, fault.RequestInvalid) || fault.Has(err, fault.RequestTooLarge) {
				err = l.done(offset + int64(len(data)))
			}
		}
		if err == nil {
			wait = time.Second
			if len(data) >= chunk/2 {
				continue // there is more
			}
		} else {
			pause, wait = wait, min(2*wait, maxRetry)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-l.hurry:
			t.Stop()
		case <-t.C:
		}
	}
}

// Flush waits until what was written so far is shipped, for limit at most. Whoever is about to tell the server
// something that ends this machine's power calls it, so that the last words are not lost.
func (l *Log) Flush(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l.mu.Lock()
	last := l.files[len(l.files)-1]
	end := last.base + last.size
	l.mu.Unlock()
	for {
		l.mu.Lock()
		shipped, moved := l.shipped, l.moved
		l.mu.Unlock()
		if shipped >= end {
			return
		}
		select {
		case l.hurry <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// Close closes the last file; nothing may be written after it.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Close()
}
