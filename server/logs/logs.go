// Package logs keeps what agents say in files, one for each node and boot generation: DIR/NODE/GENERATION.log. It
// bounds what one boot and one node can fill, and a full or broken disk costs lines, never work (F38). It does not
// look into the lines.
//
// Start at Store and Append. A file holds the agent's bytes in order; lines of our own say where some are missing.
package logs

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	maxSize        = 16 << 20 // bytes of one generation
	maxGenerations = 16       // of one node; the oldest go
)

// Store is the directory of logs. It is safe for concurrent use, and keeps no state but the files.
type Store struct {
	root *os.Root
	log  *slog.Logger
	max  int64

	seed  maphash.Seed
	locks [64]sync.Mutex // a node's files are written under one of them

	dropped atomic.Int64
	failing atomic.Bool
	writeAt func(f *os.File, b []byte, at int64) error // replaced by tests to fail
}

// Open makes the directory if need be. Close ends it.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of logs: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the directory of logs: %w", err)
	}
	return &Store{root: root, log: log, max: maxSize, seed: maphash.MakeSeed(), writeAt: writeAt}, nil
}

func writeAt(f *os.File, b []byte, at int64) error { _, err := f.WriteAt(b, at); return err }

// Close closes the directory; readers that are open stay usable.
func (s *Store) Close() error { return s.root.Close() }

// Dropped counts the bytes not kept since Open, because a log or the disk was full.
func (s *Store) Dropped() int64 { return s.dropped.Load() }

// Append keeps data, the bytes at offset of what the agent said in this boot. Known bytes are not kept twice, bytes
// that never came are marked by a line, and those beyond the bound are counted in the last line. Only a call that makes
// no sense is an error: what the disk does not take is dropped, told in the server's log and counted.
func (s *Store) Append(node api.NodeID, generation uint64, offset int64, data []byte) error {
	if err := check(node); err != nil {
		return err
	}
	if offset < 0 || offset+int64(len(data)) < offset {
		return fault.New(fault.RequestInvalid, "log offset %d with %d bytes makes no sense", offset, len(data))
	}
	if len(data) == 0 {
		return nil
	}
	mu := &s.locks[maphash.String(s.seed, string(node))%uint64(len(s.locks))]
	mu.Lock()
	defer mu.Unlock()
	if err := s.append(node, generation, offset, data); err != nil {
		s.dropped.Add(int64(len(data)))
		if !s.failing.Swap(true) { // once an outage: the disk is full enough
			s.log.Error("agents' logs are dropped until the disk takes them again", "node", node, "err", err)
		}
		return nil
	}
	if s.failing.Swap(false) {
		s.log.Info("agents' logs are kept again", "dropped_bytes", s.dropped.Load())
	}
	return nil
}

func (s *Store) append(node api.NodeID, generation uint64, offset int64, data []byte) (err error) {
	f, err := s.create(node, generation)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	l, err := s.read(f, node, generation)
	if err != nil {
		return err
	}
	known := l.known()
	if offset+int64(len(data)) <= known {
		return nil
	}
	if offset < known {
		data = data[known-offset:]
		offset = known
	}
	if l.full {
		return s.count(f, l, offset-known+int64(len(data)))
	}
	if offset > known {
		var mark []byte
		if mark, err = gapLine(f, l.size, offset-known); err != nil {
			return err
		}
		data = append(mark, data...)
		// The marker takes room in the file that the agent knows nothing of, and stands for bytes that are not there. Noted
		// first: if the write fails, the same gap is seen again.
		if err := s.setSkew(node, generation, l.skew+offset-known-int64(len(mark))); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.setSkew(node, generation, l.skew))
			}
		}()
	}
	room := min(s.max-l.size, int64(len(data)))
	out := slices.Clone(data[:room])
	if rest := int64(len(data)) - room; rest > 0 {
		out = append(out, s.fullLine(rest)...)
		s.dropped.Add(rest)
	}
	if err := s.writeAt(f, out, l.size); err != nil {
		return errors.Join(err, f.Truncate(l.size)) // no half line stays
	}
	return nil
}

// length is what a file says of the agent's bytes.
type length struct {
	size    int64 // the file's
	skew    int64 // bytes of the agent that are missing, less those of our markers
	full    bool
	dropped int64 // after it was full
}

// known is the offset up to which the agent's bytes were seen, kept or not.
func (l length) known() int64 {
	if l.full {
		return l.size + l.skew + l.dropped
	}
	return l.size + l.skew
}

func (s *Store) read(f *os.File, node api.NodeID, generation uint64) (length, error) {
	info, err := f.Stat()
	if err != nil {
		return length{}, err
	}
	l := length{size: info.Size()}
	text, err := s.root.ReadFile(path(node, generation, "skew"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return l, err
	default:
		if l.skew, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil {
			return l, fmt.Errorf("%s: %w", path(node, generation, "skew"), err)
		}
	}
	if l.size > s.max {
		line := make([]byte, l.size-s.max)
		if _, err := f.ReadAt(line, s.max); err != nil {
			return l, err
		}
		l.size, l.full = s.max, true
		if _, err := fmt.Sscanf(string(line), fullFormat, new(int64), &l.dropped); err != nil {
			return l, fmt.Errorf("last line of %s: %w", f.Name(), err)
		}
	}
	return l, nil
}

// The last line of a full log; its second number is rewritten in place.
const fullFormat = "\n{\"level\":\"WARN\",\"msg\":\"the log of this boot is full\",\"limit\":%d,\"dropped\":%20d}\n"

func (s *Store) fullLine(dropped int64) []byte { return fmt.Appendf(nil, fullFormat, s.max, dropped) }

func (s *Store) count(f *os.File, l length, more int64) error {
	s.dropped.Add(more)
	return s.writeAt(f, s.fullLine(l.dropped+more), s.max)
}

// gapLine marks bytes that never came; it starts on a line of its own.
func gapLine(f *os.File, size, missing int64) ([]byte, error) {
	var b []byte
	if size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return nil, err
		}
		if last[0] != '\n' {
			b = append(b, '\n')
		}
	}
	return fmt.Appendf(b, "{\"level\":\"WARN\",\"msg\":\"part of the log is missing here\",\"bytes\":%d}\n", missing), nil
}

func (s *Store) setSkew(node api.NodeID, generation uint64, skew int64) error {
	tmp, name := path(node, generation, "new"), path(node, generation, "skew")
	if err := s.root.WriteFile(tmp, []byte(strconv.FormatInt(skew, 10)+"\n"), 0o600); err != nil {
		return err
	}
	return s.root.Rename(tmp, name)
}

// create opens a generation's file for writing. A new one makes the node's oldest go.
func (s *Store) create(node api.NodeID, generation uint64) (*os.File, error) {
	name := path(node, generation, "log")
	f, err := s.root.OpenFile(name, os.O_RDWR, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := s.root.Mkdir(string(node), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	old, err := s.Generations(node)
	if err != nil {
		return nil, err
	}
	for i := 0; i <= len(old)-maxGenerations; i++ {
		for _, ext := range []string{"log", "skew", "new"} {
			if err := s.root.Remove(path(node, old[i], ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

// Open reads a generation's log from a byte of the file on; at the end it gives io.EOF, and who follows opens it again
// where it stopped. Without a log it is log.not_found.
func (s *Store) Open(node api.NodeID, generation uint64, offset int64) (io.ReadCloser, error) {
	if err := check(node); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fault.New(fault.RequestInvalid, "log offset %d is negative", offset)
	}
	f, err := s.root.Open(path(node, generation, "log"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.LogNotFound, "node %s has no log of boot %d", node, generation)
	}
	if err != nil {
		return nil, fmt.Errorf("open the log of node %s, boot %d: %w", node, generation, err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Generations lists the boots of which there are logs, the oldest first; none is no error.
func (s *Store) Generations(node api.NodeID) ([]uint64, error) {
	if err := check(node); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(s.root.FS(), string(node))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the logs of node %s: %w", node, err)
	}
	var out []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".log")
		if g, err := strconv.ParseUint(name, 10, 64); ok && err == nil {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return out, nil
}

// Delete removes all logs of a node; it may be called again.
func (s *Store) Delete(node api.NodeID) error {
	if err := check(node); err != nil {
		return err
	}
	if err := s.root.RemoveAll(string(node)); err != nil {
		return fmt.Errorf("delete the logs of node %s: %w", node, err)
	}
	return nil
}

func path(node api.NodeID, generation uint64, ext string) string {
	return string(node) + "/" + strconv.FormatUint(generation, 10) + "." + ext
}

// check lets nothing but a UUID become a directory's name (T12).
func check(node api.NodeID) error {
	bad := len(node) != 36
	for i := 0; i < len(node) && !bad; i++ {
		switch c := node[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			bad = c != '-'
		default:
			bad = !('0' <= c && c <= '9' || 'a' <= c && c <= 'f')
		}
	}
	if bad {
		return fault.New(fault.RequestInvalid, "%q is not a node's UUID", string(node)).WithHint("give it in lower case")
	}
	return nil
}
