package engine_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// mailbox is a dispatcher whose offers a test agent takes.
type mailbox struct {
	offers chan api.Command
	now    func() time.Time

	mu        sync.Mutex
	heard     func() time.Time // nil: the agent is heard all the time
	withdrawn []step.ID
}

func (m *mailbox) Offer(_ conductor.NodeID, _ uint64, c api.Command) { m.offers <- c }
func (m *mailbox) Drop(conductor.NodeID)                             {}
func (m *mailbox) Withdraw(_ conductor.NodeID, id step.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.withdrawn = append(m.withdrawn, id)
}
func (m *mailbox) Heard(conductor.NodeID, uint64) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heard != nil {
		return m.heard()
	}
	return m.now()
}

// listen says from now on when the agent was last heard.
func (m *mailbox) listen(heard func() time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = heard
}

// faulty is a store that can be made to fail, and to be slow after a commit.
type faulty struct {
	conductor.Store
	mu     sync.Mutex
	view   func(context.Context) error // nil: nothing fails
	update func(context.Context) error
	after  func(context.Context)   // when an update is committed
	lost   func(conductor.Tx) bool // whether the answer to what was just committed is lost, once
}

func (f *faulty) lose(lost func(conductor.Tx) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = lost
}

func (f *faulty) set(view, update func(context.Context) error, after func(context.Context)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view, f.update, f.after = view, update, after
}

func (f *faulty) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view != nil || f.update != nil
}

func (f *faulty) View(ctx context.Context, fn func(conductor.Tx) error) error {
	f.mu.Lock()
	fail := f.view
	f.mu.Unlock()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return err
		}
	}
	return f.Store.View(ctx, fn)
}

func (f *faulty) Update(ctx context.Context, fn func(conductor.Tx) error) error {
	f.mu.Lock()
	fail, after := f.update, f.after
	f.mu.Unlock()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return err
		}
	}
	err := f.Store.Update(ctx, fn)
	if after != nil {
		after(ctx)
	}
	if err == nil && f.answerLost(ctx) {
		return fault.New(fault.StorageUnavailable, "the answer is lost")
	}
	return err
}

func (f *faulty) answerLost(ctx context.Context) bool {
	f.mu.Lock()
	lost := f.lost
	f.mu.Unlock()
	hit := false
	if lost != nil {
		f.Store.View(ctx, func(tx conductor.Tx) error { hit = lost(tx); return nil }) //nolint:errcheck // then it is not lost
	}
	if hit {
		f.lose(nil)
	}
	return hit
}

type noLogs struct{}

func (noLogs) Append(conductor.NodeID, uint64, int64, []byte) error { return nil }
func (noLogs) Open(conductor.NodeID, uint64, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}
func (noLogs) Generations(conductor.NodeID) ([]uint64, error) { return nil, nil }
func (noLogs) Delete(conductor.NodeID) error                  { return nil }

type drives struct{}

func (drives) ConfigDrive(files map[string][]byte) ([]byte, error) {
	return bytes.Join([][]byte{[]byte("ISO:"), files["openstack/latest/meta_data.json"]}, nil), nil
}
