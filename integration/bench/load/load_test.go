package load

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/servers"
)

func TestChildIsMeasuredAndKilled(t *testing.T) {
	var said bytes.Buffer
	p, err := servers.Start(&said, nil, "/bin/sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{running: p}
	if c, err := r.cpu(); err != nil || c < 0 || c > time.Minute {
		t.Errorf("a sleeping process used %s, %v", c, err)
	}
	if now, most, err := r.memory(); err != nil || now <= 0 || most < now {
		t.Errorf("it holds %v of %v MB, %v", now, most, err)
	}
	if n, err := r.files(); err != nil || n < 3 {
		t.Errorf("it has %d files open, %v", n, err)
	}
	if err := r.kill(); err != nil {
		t.Error(err)
	}
	if err := r.kill(); err != nil {
		t.Errorf("killed twice: %v", err)
	}
	if c, err := p.CPU(); err == nil {
		t.Errorf("it is still there, and used %s", c)
	}
	if _, err := servers.Start(&said, nil, "/nonexistent"); err == nil {
		t.Error("a program that does not exist was started")
	}
}

func TestUntil(t *testing.T) {
	tries := 0
	if err := until(t.Context(), time.Minute, func() bool { tries++; return tries == 3 }); err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
	if err := until(t.Context(), time.Millisecond, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestFireSendsAtItsRateAndTellsTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	n, err := fire(t.Context(), 1000, 50*time.Millisecond, func(n int) error {
		if n == 7 {
			return broken
		}
		return nil
	})
	if n != 50 || !errors.Is(err, broken) {
		t.Errorf("%d sent, %v", n, err)
	}
}
