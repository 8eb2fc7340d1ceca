package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/server/sqlite/sidecar"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	leaseFor   = 30 * time.Second // a lease that was not renewed for so long may be another server's
	renewEvery = 10 * time.Second
	retryEvery = 2 * time.Second // after a renewal that failed
	markEvery  = time.Second     // between looks whether the mark is behind
)

// Owner is the server that may write the database, as its one row says.
type Owner struct {
	Holder   string // one start of one server
	Host     string
	Boot     string // the kernel's boot id
	PID      int
	Fence    int64 // grows with every start; compared in every write transaction
	Renewals int64
	Expires  time.Time
}

// self is who this process is. The boot id is empty where the kernel tells none.
func self() Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return Owner{Holder: rand.Text(), Host: host, Boot: strings.TrimSpace(string(boot)), PID: os.Getpid()}
}

// claim makes this process the owner, with the next fence number, or refuses and names who is (F9).
//
// The row rules; the lock file only proves a death: who gets it knows that no process on this host holds the database,
// so a server that was killed is followed at once. Without that proof a lease must have run out, and nobody may be seen
// renewing it: clocks are set, and a lease that seems old by this clock may be a minute's.
func (s *Store) claim(ctx context.Context) error {
	var seen *Owner
	for {
		was, err := s.take(ctx, seen)
		if err != nil || was == nil {
			return err
		}
		seen = was
		s.cfg.Log.Warn("the database's owner seems to be gone, but its process is there; watching whether it renews its lease",
			"process", was.PID, "host", was.Host, "for", leaseFor/2)
		t := time.NewTimer(leaseFor / 2) // more than a living owner lets pass between renewals
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// relock tries for the lock of this host, or checks the one that is held. Without an error s.lock is nil when another process has it.
func (s *Store) relock() (err error) {
	s.lock, err = sidecar.Lock(s.lock, s.cfg.Path+".lock")
	return err
}

// take tries once. It returns an owner that must be watched first; seen is that owner, when it was.
func (s *Store) take(ctx context.Context, seen *Owner) (watch *Owner, err error) {
	conn := s.writer.Conn
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, session.Explain(err)
	}
	defer func() {
		if err != nil || watch != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // the first error is the one to tell
		}
	}()
	if err := s.relock(); err != nil {
		return nil, err
	}
	now, me := s.cfg.Now(), self()
	was, err := owner(ctx, conn)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if s.lock == nil {
			return nil, s.held(Owner{}, 0)
		}
	case err != nil:
		return nil, err
	case s.lock != nil && (was.Boot == me.Boot || was.Host == me.Host):
		// Its process is gone: it had the lock of this host, or ran before this host was started anew.
	default:
		left := was.Expires.Sub(now)
		old := left <= 0 || left > leaseFor // a time that no sane clock wrote is none
		switch same := seen != nil && seen.Fence == was.Fence && seen.Renewals == was.Renewals; {
		case !old, seen != nil && !same:
			return nil, s.held(was, max(left, 0))
		case !same:
			return &was, nil
		}
	}
	before, err := sidecar.ReadMark(s.cfg.Path + ".mark")
	if err != nil {
		s.cfg.Log.Warn("the mark beside the database can't be read, and counts as missing", "err", err)
	}
	me.Fence, me.Expires = max(was.Fence, before.Fence)+1, now.Add(leaseFor)
	if err := s.compare(ctx, before); err != nil {
		return nil, err
	}
	if s.lock == nil {
		// Whoever starts next must not take the end of the process that was passed over for ours.
		if s.lock, err = sidecar.ReplaceLock(s.cfg.Path + ".lock"); err != nil {
			return nil, err
		}
		s.cfg.Log.Warn("the lease of the database's owner ran out; taking over", "process", was.PID, "host", was.Host, "expired", was.Expires)
	}
	if _, err := conn.ExecContext(ctx, `INSERT INTO owner (id, holder, host, boot, pid, fence, renewals, expires) VALUES (1, ?, ?, ?, ?, ?, 0, ?)
		ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, host = excluded.host, boot = excluded.boot, pid = excluded.pid,
		fence = excluded.fence, renewals = 0, expires = excluded.expires`,
		me.Holder, me.Host, me.Boot, me.PID, me.Fence, stored(me.Expires)); err != nil {
		return nil, session.Explain(err)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return nil, s.unavailable(err)
	}
	s.fence = me.Fence
	s.renewed.Store(&now)
	return nil, s.mark()
}

func (s *Store) held(by Owner, left time.Duration) error {
	if by.PID == 0 {
		return fmt.Errorf("another server (process %s) holds it; stop that one, or name another data directory", sidecar.LockedBy(s.cfg.Path+".lock"))
	}
	return fmt.Errorf("another server (process %d on %s) holds it, its lease runs out in %s unless it is renewed; stop that one, or name another data directory",
		by.PID, by.Host, left.Round(time.Second))
}

func stored(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// owned tells whether the schema has an owner: one before version 2 has none.
func owned(ctx context.Context, conn *sql.Conn) (n bool, err error) {
	err = conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'owner'").Scan(&n)
	return n, session.Explain(err)
}

func owner(ctx context.Context, conn *sql.Conn) (o Owner, err error) {
	var expires string
	err = conn.QueryRowContext(ctx, "SELECT holder, host, boot, pid, fence, renewals, expires FROM owner").
		Scan(&o.Holder, &o.Host, &o.Boot, &o.PID, &o.Fence, &o.Renewals, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return o, err
	}
	if err != nil {
		return o, session.Explain(err)
	}
	if o.Expires, err = time.Parse(time.RFC3339Nano, expires); err != nil {
		return o, fmt.Errorf("read the owner's expiry: %w", err)
	}
	return o, nil
}

// Owner reads who owns the database now.
func (s *Store) Owner(ctx context.Context) (o Owner, err error) {
	err = s.view(ctx, func(t *tx) error {
		var expires string
		err := t.Row("SELECT holder, host, boot, pid, fence, renewals, expires FROM owner", nil,
			&o.Holder, &o.Host, &o.Boot, &o.PID, &o.Fence, &o.Renewals, &expires)
		if err == nil {
			o.Expires, err = time.Parse(time.RFC3339Nano, expires)
		}
		return err
	})
	return o, err
}

// Fence is the number under which this process writes.
func (s *Store) Fence() int64 { return s.fence }

// Hold renews the lease until ctx ends. It returns storage.lost_lease once another server has taken over; that is for
// good: the program should end and be started again, as what it has in memory may be old. A renewal that the disk
// refuses is tried again: as long as nobody else came, the lease is this process's to renew (I30).
func (s *Store) Hold(ctx context.Context) error {
	t, mark := time.NewTimer(renewEvery), time.NewTicker(markEvery)
	defer t.Stop()
	defer mark.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.lost:
			return s.lostLease()
		case <-mark.C:
			if err := s.remark(); err != nil {
				s.cfg.Log.Error("write the mark beside the database", "err", err)
			}
			continue
		case <-t.C:
		}
		next := renewEvery
		if err := s.renew(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("renew the lease of the database", "err", err)
			next = retryEvery
		}
		t.Reset(next)
	}
}

// renew writes a later expiry; Update has compared the fence by then.
func (s *Store) renew(ctx context.Context) error {
	now := s.cfg.Now()
	err := s.update(ctx, func(t *tx) error {
		_, err := t.Exec("UPDATE owner SET renewals = renewals + 1, expires = ?", stored(now.Add(leaseFor)))
		return err
	})
	if err == nil {
		s.renewed.Store(&now)
	}
	return err
}

// Held tells whether this process may act on what it read before: nil, storage.lost_lease for good, or
// storage.unavailable while the lease could not be renewed (I16, I30). Who was stopped for a while, by a signal or a
// suspended host, finds its lease run out before it acts, and acts again only after a renewal has found it unbroken.
func (s *Store) Held() error {
	select {
	case <-s.lost:
		return s.lostLease()
	default:
	}
	// By both clocks: the monotonic one stands still in a suspended host, the wall clock can be set.
	now, renewed := s.cfg.Now(), *s.renewed.Load()
	wall := now.Round(0).Sub(renewed.Round(0))
	if now.Sub(renewed) >= leaseFor || wall >= leaseFor || wall < -time.Second {
		return fault.New(fault.StorageUnavailable, "the server's lease of its database ran out and is not renewed yet")
	}
	return nil
}

// Lost is closed when another server was found to own the database.
func (s *Store) Lost() <-chan struct{} { return s.lost }

func (s *Store) lostLease() error {
	return fault.New(fault.StorageLost, "another server has taken the database over: this one had fence number %d", s.fence)
}

// owns compares the fence number inside a write transaction. SQLite's write lock keeps it so until the transaction ends.
func (s *Store) owns() error {
	select {
	case <-s.lost:
		return s.lostLease()
	default:
	}
	st, err := s.writer.Statement("SELECT fence FROM owner")
	if err != nil {
		return err
	}
	var fence int64
	if err := st.QueryRow().Scan(&fence); err != nil {
		return err
	}
	if fence != s.fence {
		s.lose.Do(func() { close(s.lost) })
		return s.lostLease()
	}
	return nil
}

// release lets the lease end with this process, so that whoever starts next need not know how it ended.
func (s *Store) release() error {
	if s.fence == 0 {
		return nil
	}
	return s.writer.Run("UPDATE owner SET expires = ? WHERE fence = ?", stored(s.cfg.Now()), s.fence)
}
