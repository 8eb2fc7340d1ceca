package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"go.uber.org/goleak"
)

var _ conductor.Logs = (*Store)(nil)

const node = api.NodeID("1be26c0b-03f2-4d2e-ae87-c02d7f33c123")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, said io.Writer) *Store {
	t.Helper()
	s, err := Open(dir, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func content(t *testing.T, s *Store, generation uint64, offset int64) string {
	t.Helper()
	r, err := s.Open(node, generation, offset)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func put(t *testing.T, s *Store, offset int64, data string) {
	t.Helper()
	if err := s.Append(node, 1, offset, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func TestRepeatsAreDropped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	s := open(t, dir, io.Discard)
	put(t, s, 0, "one\n")
	put(t, s, 0, "one\n")
	put(t, s, 2, "e\ntwo\n")
	s = open(t, dir, io.Discard) // the server restarts, the agent repeats
	put(t, s, 4, "two\n")
	put(t, s, 1, "ne\n")
	put(t, s, 8, "")
	put(t, s, 8, "three\n")
	if got, want := content(t, s, 1, 0), "one\ntwo\nthree\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for offset, want := range map[int64]string{8: "three\n", 14: "", 1000: ""} {
		if got := content(t, s, 1, offset); got != want {
			t.Errorf("from %d: got %q, want %q", offset, got, want)
		}
	}
	info, err := os.Stat(filepath.Join(dir, string(node), "1.log"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func gap(n int) string {
	return fmt.Sprintf("{\"level\":\"WARN\",\"msg\":\"part of the log is missing here\",\"bytes\":%d}\n", n)
}

func TestGapsAreMarked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, io.Discard)
	put(t, s, 100, "late\n") // the first bytes never came
	put(t, s, 100, "late\n")
	put(t, s, 105, "cut")
	s = open(t, dir, io.Discard)
	put(t, s, 105, "cut off")
	put(t, s, 200, "again\n")
	put(t, s, 206, "and on\n")
	want := gap(100) + "late\ncut off\n" + gap(200-112) + "again\nand on\n"
	if got := content(t, s, 1, 0); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFullLogCountsWhatItDrops(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, io.Discard)
	s.max = 10
	put(t, s, 0, "0123456")
	put(t, s, 7, "789abc") // 3 fit, 3 do not
	put(t, s, 7, "789abc") // a repeat of dropped bytes counts once
	s = open(t, dir, io.Discard)
	s.max = 10
	put(t, s, 13, strings.Repeat("x", 1000))
	put(t, s, 2000, "y") // a gap after the end counts as well
	got := content(t, s, 1, 0)
	if want := "0123456789" + fmt.Sprintf(fullFormat, 10, 1991); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if n := s.Dropped(); n != 1988 {
		t.Errorf("%d bytes counted since the restart, want 1988", n)
	}
}

func TestI25_OldGenerationsGo(t *testing.T) {
	s := open(t, t.TempDir(), io.Discard)
	for g := range uint64(maxGenerations + 3) {
		if err := s.Append(node, g+1, 10, []byte("line\n")); err != nil { // with a gap, so with both files
			t.Fatal(err)
		}
	}
	got, err := s.Generations(node)
	if err != nil || len(got) != maxGenerations || got[0] != 4 || got[len(got)-1] != maxGenerations+3 {
		t.Errorf("generations %v, %v", got, err)
	}
	names, err := filepath.Glob(filepath.Join(s.root.Name(), string(node), "*"))
	if err != nil || len(names) != 2*maxGenerations {
		t.Errorf("%d files, %v", len(names), err)
	}
	if _, err := s.Open(node, 1, 0); !fault.Has(err, fault.LogNotFound) {
		t.Errorf("an old log: %v", err)
	}
	for range 2 {
		if err := s.Delete(node); err != nil {
			t.Error(err)
		}
	}
	if got, err := s.Generations(node); err != nil || len(got) != 0 {
		t.Errorf("after Delete: %v, %v", got, err)
	}
}

// Every write in turn fails, in every way a disk does; work goes on, and what was lost is marked afterwards.
func TestF38_FullDiskCostsLinesOnly(t *testing.T) {
	for n := 1; ; n++ {
		var said bytes.Buffer
		s := open(t, t.TempDir(), &said)
		s.max = 400
		writes := 0
		s.writeAt = func(f *os.File, b []byte, at int64) error {
			if writes++; writes == n || writes == n+1 {
				_ = writeAt(f, b[:len(b)/2], at) // the disk took half
				return syscall.ENOSPC
			}
			return writeAt(f, b, at)
		}
		var sent []string
		at := int64(0)
		for i := range 8 {
			line := fmt.Sprintf("line %d\n", i)
			put(t, s, at, line)
			sent = append(sent, line)
			at += int64(len(line))
		}
		got := content(t, s, 1, 0)
		if n > writes {
			if got != strings.Join(sent, "") {
				t.Errorf("nothing failed: got %q", got)
			}
			break
		}
		want := strings.Join(slices.Delete(sent, n-1, min(n+1, len(sent))), "")
		lost := at - int64(len(want))
		if n < 7 {
			cut := int64(n-1) * 7
			want = want[:cut] + gap(int(lost)) + want[cut:]
		}
		if got != want {
			t.Errorf("write %d failed: got %q, want %q", n, got, want)
		}
		if s.Dropped() != lost {
			t.Errorf("write %d failed: %d bytes counted, want %d", n, s.Dropped(), lost)
		}
		if errs, back := strings.Count(said.String(), "level=ERROR"), strings.Count(said.String(), "kept again"); errs != 1 || (n < 7) != (back == 1) {
			t.Errorf("write %d failed: told %d times, recovery %d times", n, errs, back)
		}
	}
}

func TestF38_DirectoryGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "logs"), io.Discard)
	if err := os.RemoveAll(filepath.Join(dir, "logs")); err != nil {
		t.Fatal(err)
	}
	put(t, s, 0, "line\n")
	if s.Dropped() != 5 {
		t.Errorf("%d bytes counted, want 5", s.Dropped())
	}
}

func TestT12_I21_OnlyUUIDsNameFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "logs"), io.Discard)
	for _, bad := range []api.NodeID{
		"", "..", "../../../../../../etc/passwd/aaaaaaaa", "1be26c0b-03f2-4d2e-ae87-c02d7f33c12/", "1BE26C0B-03F2-4D2E-AE87-C02D7F33C123",
		"1be26c0b/03f2-4d2e-ae87-c02d7f33c123", node + "\x00", "/" + node,
	} {
		for what, err := range map[string]error{
			"Append": s.Append(bad, 1, 0, []byte("x")), "Open": second(s.Open(bad, 1, 0)), "Generations": second(s.Generations(bad)), "Delete": s.Delete(bad),
		} {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s %q: %v, want a refusal", what, bad, err)
			}
		}
	}
	// A link put into the directory leads nowhere.
	if err := os.Symlink(dir, filepath.Join(dir, "logs", string(node))); err != nil {
		t.Fatal(err)
	}
	put(t, s, 0, "x")
	if _, err := os.Stat(filepath.Join(dir, "1.log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written through a link (%v)", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestSenselessOffsets(t *testing.T) {
	s := open(t, t.TempDir(), io.Discard)
	for _, err := range []error{
		s.Append(node, 1, -1, []byte("x")), s.Append(node, 1, 1<<63-1, []byte("x")), second(s.Open(node, 1, -1)),
	} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want a refusal", err)
		}
	}
}

func TestConcurrentNodes(t *testing.T) {
	s := open(t, t.TempDir(), io.Discard)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			id := api.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n%10)) // two writers a node: one repeats the other
			for i := range 50 {
				if err := s.Append(id, 1, int64(i*5), fmt.Appendf(nil, "%4d\n", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range 10 {
		r, err := s.Open(api.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)), 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		if len(lines) != 50 || !slices.IsSorted(lines) {
			t.Errorf("node %d has %d lines", n, len(lines))
		}
	}
}
