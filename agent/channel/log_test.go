package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// sink is the server's end: it keeps bytes by offset, as server/logs does.
type sink struct {
	mu   sync.Mutex
	text []byte
	gaps int
	errs []error // of the next calls
}

func (s *sink) take(_ context.Context, offset int64, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		if err != nil {
			return err
		}
	}
	if have := int64(len(s.text)); offset > have {
		s.gaps++
		s.text = append(s.text, make([]byte, offset-have)...)
	}
	if end := offset + int64(len(data)); end > int64(len(s.text)) {
		s.text = append(s.text, data[int64(len(s.text))-offset:]...)
	}
	return nil
}

func open(t *testing.T, dir string, limit int64) *Log {
	t.Helper()
	l, err := OpenLog(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ship ships what there is.
func ship(t *testing.T, l *Log, s *sink) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Ship(ctx, s.take) }()
	for {
		synctest.Wait()
		if _, data, err := l.read(); err != nil {
			t.Fatal(err)
		} else if len(data) == 0 {
			break
		}
		wait(maxRetry)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestLogIsShippedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var want strings.Builder
		s := &sink{errs: []error{nil, errors.New("cut"), fault.New(fault.StorageUnavailable, "full"), nil, errors.New("cut")}}
		for process := range 3 { // each ships, and is restarted
			l := open(t, dir, 64<<20)
			for i := range 5000 {
				line := fmt.Sprintf("{\"process\":%d,\"line\":%d,\"msg\":\"ü%s\"}\n", process, i, strings.Repeat("x", i%100))
				want.WriteString(line)
				if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
					t.Fatal(n, err)
				}
			}
			ship(t, l, s)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if string(s.text) != want.String() || s.gaps != 0 {
			t.Errorf("%d bytes arrived of %d, %d gaps", len(s.text), want.Len(), s.gaps)
		}
	})
}

// TestLogAnsweredButNotAcknowledged: what was taken but not noted as such is sent again, and known by its offset.
func TestF12_LogIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir, 1<<20)
		s := &sink{}
		l.Write([]byte("one\n"))
		ship(t, l, s)
		l.Write([]byte("two\n"))
		ship(t, l, s)
		l.Close()
		if err := os.Remove(filepath.Join(dir, ackFile)); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, 1<<20)
		defer l.Close()
		l.Write([]byte("three\n"))
		ship(t, l, s)
		if string(s.text) != "one\ntwo\nthree\n" {
			t.Errorf("%q", s.text)
		}
	})
}

// TestF38_LogIsBounded: without a server the oldest lines go, the newest stay, and the loss is told.
func TestF38_LogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		const limit = 64 << 10
		l := open(t, dir, limit)
		defer l.Close()
		log := slog.New(slog.NewJSONHandler(l, nil))
		for i := range 5000 {
			log.Info("line", "i", i)
		}
		var kept int64
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			i, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			kept += i.Size()
		}
		if kept > limit+1024 || kept < limit/2 {
			t.Errorf("%d bytes are kept, the limit is %d", kept, limit)
		}
		s := &sink{}
		ship(t, l, s)
		if s.gaps != 1 || !bytes.Contains(s.text, []byte(`"i":4999`)) || bytes.Contains(s.text, []byte(`"i":100,`)) || !bytes.Contains(s.text, []byte("log lines were dropped")) {
			t.Errorf("%d gaps, %d bytes", s.gaps, len(s.text))
		}
	})
}

// TestF38_LogThatCantBeWritten: work goes on, and what was lost is told when there is room again.
func TestF38_LogThatCantBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, t.TempDir(), 1<<20)
		l.Write([]byte("one\n"))
		good := l.out
		broken, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		l.out = broken // opened for reading: each write fails
		if n, err := l.Write([]byte("lost\n")); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := broken.Close(); err != nil {
			t.Fatal(err)
		}
		l.out = good
		l.Write([]byte("two\n"))
		s := &sink{}
		ship(t, l, s)
		l.Close()
		if got := string(s.text); !strings.HasPrefix(got, "one\n{") || !strings.Contains(got, `"bytes":5}`) || !strings.HasSuffix(got, "\ntwo\n") {
			t.Errorf("%q", got)
		}
	})
}

func TestLogThatTheServerNeverTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, t.TempDir(), 1<<20)
		defer l.Close()
		l.Write([]byte("poison\n"))
		s := &sink{errs: []error{fault.New(fault.RequestInvalid, "no")}}
		ship(t, l, s)
		l.Write([]byte("good\n"))
		ship(t, l, s)
		if !strings.HasSuffix(string(s.text), "good\n") || s.gaps != 1 {
			t.Errorf("%q, %d gaps", s.text, s.gaps)
		}
	})
}

func wait(d time.Duration) { <-time.After(d) }

func TestFlushWaitsForWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := OpenLog(t.TempDir(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var got atomic.Int64
		done := make(chan error, 1)
		go func() {
			done <- l.Ship(ctx, func(_ context.Context, offset int64, data []byte) error {
				got.Store(offset + int64(len(data)))
				return nil
			})
		}()
		for _, line := range []string{"one\n", "two\n", "three\n"} {
			l.Write([]byte(line)) //nolint:errcheck // never fails
			l.Flush(ctx, time.Minute)
		}
		if got.Load() != int64(len("one\ntwo\nthree\n")) {
			t.Errorf("%d bytes had arrived when Flush returned", got.Load())
		}
		cancel()
		<-done
		began := time.Now()
		l.Write([]byte("nobody ships this\n")) //nolint:errcheck // never fails
		l.Flush(t.Context(), time.Minute)
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("without a server Flush gave up after %s", waited)
		}
	})
}
