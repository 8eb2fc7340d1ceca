package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"

	"github.com/bessemer-metal/bessemer/server/sqlite/records"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
)

// checked are the tables that decisions rest on. History, audit and inventories only grow and decide nothing; reading all
// of them would make a large server's start slow. The nodes are about as large as all others.
var checked = [2][]string{{"nodes"}, {"ports", "records", "steps", "secrets", "effects", "settings"}}

// check looks at the whole of what decisions rest on before anything is written. It is most of a large server's start, so it
// is done by two connections at once, and the other readers are opened beside it. The writer has read the file before
// them: a journal that a crash left is played back by then.
func (s *Store) check(ctx context.Context) error {
	var beside error
	var wg sync.WaitGroup
	wg.Go(func() {
		if beside = s.connectReaders(ctx, 1); beside != nil {
			return
		}
		conn := s.readers.idle[0].Conn // nobody else has the store yet
		if beside = check(ctx, conn, checked[1]); beside == nil {
			beside = s.checkKeys(ctx, conn)
		}
		if beside == nil {
			_, err := conn.ExecContext(ctx, readerCache)
			beside = session.Explain(err)
		}
		if beside == nil {
			beside = s.connectReaders(ctx, readers)
		}
	})
	err := check(ctx, s.writer.Conn, checked[0])
	wg.Wait()
	if err == nil {
		err = beside
	}
	return err
}

// While tables are checked each page is read once or twice and not again: a small cache spares allocating one for each. Then
// a reader has SQLite's own size; the writer's is set later.
const (
	checkCache  = "PRAGMA cache_size = -256" // KiB
	readerCache = "PRAGMA cache_size = -2000"
)

// check looks for damage in tables.
func check(ctx context.Context, conn *sql.Conn, tables []string) error {
	if _, err := conn.ExecContext(ctx, checkCache); err != nil {
		return session.Explain(err)
	}
	// It also runs before migrations: of the names, those that the schema has.
	for _, table := range tables {
		var there bool
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", table).Scan(&there); err != nil {
			return session.Explain(err)
		}
		if !there {
			continue
		}
		var found string
		if err := conn.QueryRowContext(ctx, "SELECT quick_check FROM pragma_quick_check(?)", table).Scan(&found); err != nil {
			return session.Explain(err)
		}
		if found != "ok" {
			return fmt.Errorf("table %s is damaged: %s; restore the last backup and confirm each node", table, strings.ReplaceAll(found, "\n", ", "))
		}
	}
	return nil
}

// checkKeys opens one secret of each key, so that a missing master key is found at the start and not when a BMC is
// needed at night, or a webhook told.
func (s *Store) checkKeys(ctx context.Context, conn *sql.Conn) error {
	for _, q := range []struct{ table, query string }{
		// From key to key by the index: grouping would read every secret of a large fleet.
		{"secrets", `WITH RECURSIVE keys (id) AS (SELECT min(key_id) FROM secrets
			UNION ALL SELECT (SELECT min(key_id) FROM secrets WHERE key_id > id) FROM keys WHERE id IS NOT NULL)
			SELECT s.node, s.field, s.key_id, s.sealed FROM keys
			JOIN secrets s ON (s.node, s.field) = (SELECT node, field FROM secrets WHERE key_id = keys.id LIMIT 1)`},
		{"webhooks", "SELECT '" + records.HookSecret + "', uuid, key_id, sealed FROM webhooks GROUP BY key_id"},
	} {
		var there bool // it also runs before migrations
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", q.table).Scan(&there); err != nil {
			return session.Explain(err)
		}
		if !there {
			continue
		}
		if err := s.openEach(ctx, conn, q.query); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) openEach(ctx context.Context, conn *sql.Conn, query string) error {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return session.Explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var of, field, key string
		var sealed []byte
		if err := rows.Scan(&of, &field, &key, &sealed); err != nil {
			return session.Explain(err)
		}
		if _, err := s.cfg.Sealer.Open(of, field, key, sealed); err != nil {
			return fmt.Errorf("its secrets can't be opened: they are sealed with key %s; put the master key file back that this database was used with: %w", key, err)
		}
	}
	return session.Explain(rows.Err())
}
