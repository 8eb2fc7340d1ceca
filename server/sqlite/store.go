// Package sqlite is conductor.Store on one SQLite file: the schema and its numbered migrations, the transactions that callers share,
// who owns the file, and what is checked and mended. The SQL of nodes is in nodes, that of all beside them in records, a connection
// and what its errors mean in session, the files beside the database in sidecar; nobody else knows SQL. It decides nothing about nodes.
//
// Start at Open, then Update (update.go), which commits concurrent callers together; the schema is in migrations.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
	"github.com/bessemer-metal/bessemer/server/sqlite/records"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
)

// Config is what Open needs; every field is.
type Config struct {
	Path   string // of the database; its directory exists
	Sealer records.Sealer
	Log    *slog.Logger
	Now    func() time.Time // wall time, for the lease of the owner and for how long others ran first
}

const (
	readers     = 4               // read connections: the server's cores are few and views short
	busyTimeout = 2 * time.Second // SQLite's own wait for a lock that another process holds
	tries       = 3               // times a transaction is tried on a busy database
	maxBatch    = 256             // transactions committed together at most (safety.md §7)

	// Requests in hand run for less than this when they are given way to. Where it took longer, work that does not end by itself
	// holds the processors, 10 ms at a time: then as many commits as this give way to nobody.
	crowd      = 5 * time.Millisecond
	crowdedFor = 255

	// What the write connection keeps of the file, KiB: a batch of nodes with all it touches. With SQLite's 2 MiB a batch
	// spills into the log and is written twice.
	writerCache = 16 << 10
)

// Store is an open database. It is safe for concurrent use. Close ends it.
type Store struct {
	cfg     Config
	lock    *os.File
	pools   [2]*sql.DB // writer's, readers'
	readers readPool
	pooled  int // sessions made for readers
	closing chan struct{}
	failed  chan struct{}
	fail    sync.Once
	fence   int64 // under which this process writes; 0 before claim
	renewed atomic.Pointer[time.Time]
	commits atomic.Int64 // transactions that wrote, since the start
	marked  int64        // of them when the mark was written last; Hold's, then Close's
	epoch   uint64
	adopted bool // the database comes from a program that made no mark
	lost    chan struct{}
	lose    sync.Once
	worn    chan struct{} // holds a token while prepared rows are to be mended

	waiting  atomic.Int64 // callers of Update that wait for mu
	mu       sync.Mutex   // guards what follows: who holds it has the write connection
	writer   *session.Session
	batch    *batch
	crowded  int // commits to come that give way to nobody
	closed   bool
	preparer *nodes.Preparer
}

var _ conductor.Store = (*Store)(nil)

// Open opens the database, makes it on the first start, migrates it and checks it. It refuses a database that
// another server owns (F9), that is newer than this program, damaged or not Bessemer's (F8), and one whose secrets
// the Sealer can't open (F37); the error says what to do.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	s := &Store{
		cfg: cfg, readers: readPool{turns: make(chan struct{}, readers)},
		closing: make(chan struct{}), failed: make(chan struct{}), lost: make(chan struct{}), worn: make(chan struct{}, 1),
	}
	if cfg.Now == nil {
		return nil, errors.New("open the database: no clock was handed down (Config.Now)")
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the database %s: %w", cfg.Path, errors.Join(err, s.Close()))
		}
	}()
	if err := s.relock(); err != nil {
		return nil, err
	}
	// Made here so that nobody else may read it: the files beside it take over its mode.
	f, err := os.OpenFile(cfg.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if s.writer, err = s.connect(ctx, 0, "_synchronous=FULL&_foreign_keys=1&_txlock=immediate"); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	return s, s.connectReaders(ctx, readers)
}

// connectReaders opens the read connections that are missing up to n.
func (s *Store) connectReaders(ctx context.Context, n int) error {
	for s.pooled < n {
		r, err := s.connect(ctx, 1, "mode=ro&_query_only=1")
		if err != nil {
			return err
		}
		s.readers.put(r)
		s.pooled++
	}
	return nil
}

// connect opens one connection of a pool; it is never given back, so that its statements stay prepared.
func (s *Store) connect(ctx context.Context, pool int, params string) (*session.Session, error) {
	if s.pools[pool] == nil {
		db, err := session.Open(s.cfg.Path, busyTimeout, params)
		if err != nil {
			return nil, err
		}
		s.pools[pool] = db
	}
	conn, err := s.pools[pool].Conn(ctx)
	if err != nil {
		return nil, session.Explain(err)
	}
	return session.New(conn), nil
}

// prepare makes the database fit to be used: checks, the lease, size limits, schema. What can refuse it comes first,
// so that a refused database is as it was.
func (s *Store) prepare(ctx context.Context) error {
	conn := s.writer.Conn
	all, err := readMigrations(migrations)
	if err != nil {
		return err
	}
	from, err := version(ctx, conn, len(all))
	if err != nil {
		return session.Explain(err)
	}
	leased, err := owned(ctx, conn)
	if err != nil {
		return err
	}
	if !leased && s.lock == nil {
		return s.held(Owner{}, 0)
	}
	if from > 0 {
		if err := s.check(ctx); err != nil {
			return err
		}
	}
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return session.Explain(err)
	}
	if mode != "wal" {
		return fmt.Errorf("its journal mode is %q, expected wal; put the data directory on a local file system", mode)
	}
	// The large cache comes after the check, which reads each page once: it takes three times as long where every page
	// it reads is one more to allocate.
	cache := fmt.Sprintf("PRAGMA cache_size = -%d", writerCache)
	// What savepoints can undo stays in memory: SQLite's default is a file in the host's directory for temporary ones,
	// which costs as much as a commit, and whose disk can be full.
	for _, q := range []string{"PRAGMA journal_size_limit = 16777216", "PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON", cache, "PRAGMA temp_store = MEMORY"} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return session.Explain(err)
		}
	}
	s.adopted = from > 0 && !leased
	if leased { // before the schema changes under whoever owns it
		if err := s.claim(ctx); err != nil {
			return err
		}
	}
	if _, err := migrate(ctx, conn, all); err != nil {
		return session.Explain(err)
	}
	if !leased {
		if err := s.claim(ctx); err != nil {
			return err
		}
	}
	s.cfg.Log.Info("database open", "path", s.cfg.Path, "schema", len(all), "migrated_from", from, "fence", s.fence)
	return nil
}

// Failed is closed when the disk refused to make a write durable (F6). What the file holds then is not known to this
// process: every Update fails, and the program should end and be started again.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Close waits for what runs, and closes the file. Later calls give storage.unavailable.
func (s *Store) Close() error {
	s.waiting.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting.Add(-1)
	if s.closed {
		return nil
	}
	s.closed = true
	if s.batch != nil {
		s.settle()
	}
	var errs []error
	if err := s.mark(); err != nil {
		errs = append(errs, err)
	}
	if err := s.release(); err != nil {
		s.cfg.Log.Warn("give the lease of the database back", "err", err) // it runs out by itself
	}
	close(s.closing)
	for range s.pooled { // a View in progress gives its connection back first
		<-s.readers.turns
		errs = append(errs, s.readers.pop().Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	// The writer last: the last connection moves the log into the file, and a reader may not.
	for _, db := range []*sql.DB{s.pools[1], s.pools[0]} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
