package sqlite

import (
	"context"
	"errors"
	"runtime"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
	"github.com/bessemer-metal/bessemer/server/sqlite/records"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// tx is conductor.Tx: one member of a batch, or one View.
type tx struct {
	*session.Tx
	nodeTx
	recordTx
}

type (
	nodeTx   = nodes.Tx
	recordTx = records.Tx
)

func (s *Store) begin(on *session.Session, preparer *nodes.Preparer, worn chan<- struct{}, writes bool) *tx {
	t := on.Begin(writes)
	return &tx{t, nodeTx{Tx: t, Preparer: preparer, Worn: worn}, recordTx{Tx: t, Sealer: s.cfg.Sealer}}
}

// batch is one database transaction that several callers of Update share: the first has it for itself, each later one
// a savepoint of its own, which costs a copy of each page that it writes. It is committed by the last of them that
// nobody waits behind, so that while one commit reaches the disk the next batch gathers; a lone caller never waits for
// company.
type batch struct {
	n      int           // members
	broken error         // the transaction is lost: no member's work may stay
	done   chan struct{} // closed once err is set
	err    error         // nil: committed, durably
}

// Update implements conductor.Store. fn must not call Update: it would wait for itself. Once another server owns the
// database every call gives storage.lost_lease.
func (s *Store) Update(ctx context.Context, fn func(conductor.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

func (s *Store) update(ctx context.Context, fn func(*tx) error) error {
	for try := 1; ; try++ {
		b, err := s.join(ctx, fn)
		if b != nil {
			<-b.done
			if b.err != nil {
				err = b.err
			}
		}
		if try == tries || !session.Busy(err) {
			return err
		}
	}
}

// join runs fn as a member of the open batch, or of a new one; a nil batch means that fn did not run.
func (s *Store) join(ctx context.Context, fn func(*tx) error) (*batch, error) {
	s.waiting.Add(1)
	s.mu.Lock()
	s.waiting.Add(-1)
	defer s.leave() // also when fn panics: the others' work is theirs
	if s.closed {
		return nil, fault.New(fault.StorageUnavailable, "the database is closed: the server is stopping")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-s.failed:
		return nil, fault.New(fault.StorageUnavailable, "the disk failed to store an earlier write").WithHint("start the server again once the disk is healthy")
	default:
	}
	if s.batch == nil {
		if err := s.writer.Run("BEGIN IMMEDIATE"); err != nil {
			return nil, s.unavailable(err)
		}
		if err := s.owns(); err != nil {
			_ = s.writer.Run("ROLLBACK") // nothing was written
			return nil, s.unavailable(err)
		}
		s.batch = &batch{done: make(chan struct{})}
	}
	b := s.batch
	b.n++
	return b, s.member(b, fn)
}

// leave commits the batch unless somebody waits to join it: they hold no lock yet, and come for it. Who is ready to run
// runs first, and spares a commit if it is about to come, unless that took long lately (docs/adr/0283).
func (s *Store) leave() {
	defer s.mu.Unlock()
	b := s.batch
	if b == nil {
		return
	}
	last := func() bool { return b.broken != nil || b.n >= maxBatch || s.waiting.Load() == 0 }
	switch n := b.n; {
	case b.broken != nil || n >= maxBatch || !last():
	case s.crowded > 0:
		s.crowded--
	default:
		s.mu.Unlock()
		began := s.cfg.Now()
		runtime.Gosched()
		took := s.cfg.Now().Sub(began)
		s.mu.Lock()
		if took > crowd {
			s.crowded = crowdedFor
		}
		if s.batch != b || b.n != n { // another came, and commits
			return
		}
	}
	if last() {
		s.settle()
	}
}

// member runs fn so that its writes are undone unless it returns nil.
func (s *Store) member(b *batch, fn func(*tx) error) error {
	first := b.n == 1
	if !first {
		if err := s.writer.Run("SAVEPOINT member"); err != nil {
			b.broken = err
			return s.unavailable(err)
		}
	}
	t := s.begin(s.writer, s.preparer, nil, true)
	keep := false
	defer func() {
		t.End()
		err := t.Broken()
		switch {
		case err != nil:
		case first && !keep: // nobody else's work is in it: the next begins a batch anew
			if err = s.writer.Run("ROLLBACK"); err == nil {
				s.batch = nil
				close(b.done)
			}
		case !first:
			if !keep {
				err = s.writer.Run("ROLLBACK TO member")
			}
			if err == nil {
				err = s.writer.Run("RELEASE member")
			}
		}
		if err != nil && b.broken == nil {
			b.broken = err
		}
	}()
	err := fn(t)
	keep = err == nil
	return err
}

// settle ends the open batch and tells its members.
func (s *Store) settle() {
	b := s.batch
	s.batch = nil
	if b.broken == nil {
		failpoint.Here("store.commit.before")
		if b.broken = s.writer.Run("COMMIT"); b.broken == nil {
			failpoint.Here("store.commit.after")
		}
	}
	if b.broken != nil {
		_ = s.writer.Run("ROLLBACK") // fails when SQLite has rolled back by itself
		b.err = s.unavailable(b.broken)
	}
	s.commits.Add(1)
	close(b.done)
}

// unavailable explains a failure of the database; one that leaves the file in doubt ends all writing.
func (s *Store) unavailable(err error) error {
	if session.Unsynced(err) {
		s.fail.Do(func() { close(s.failed) })
	}
	return session.Explain(err)
}

// View implements conductor.Store.
func (s *Store) View(ctx context.Context, fn func(conductor.Tx) error) error {
	for try := 1; ; try++ {
		err := s.view(ctx, func(t *tx) error { return fn(t) })
		if try == tries || !session.Busy(err) {
			return err
		}
	}
}

func (s *Store) view(ctx context.Context, fn func(*tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	defer s.readers.put(r)
	if err := r.Run("BEGIN"); err != nil {
		return session.Explain(err)
	}
	t := s.begin(r, nil, s.worn, false)
	defer func() {
		t.End()
		if end := r.Run("ROLLBACK"); end != nil {
			err = errors.Join(err, session.Explain(end))
		}
	}()
	if err := fn(t); err != nil {
		return err
	}
	if t.Broken() != nil {
		return session.Explain(t.Broken())
	}
	return nil
}
