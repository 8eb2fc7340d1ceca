package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/server/sqlite/sidecar"
)

// compare looks, inside the transaction that makes this process the owner, whether the database is at least as far as
// the mark says. If it is not, the doubt is stored for the conductor, and a new epoch begins.
func (s *Store) compare(ctx context.Context, m sidecar.Mark) error {
	conn := s.writer.Conn
	var last int64
	var nodes bool
	var hash []byte
	var epoch string
	err := conn.QueryRowContext(ctx, `SELECT (SELECT coalesce(max(seq), 0) FROM audit), EXISTS (SELECT 1 FROM nodes),
		(SELECT hash FROM audit WHERE seq = ?), coalesce((SELECT value FROM settings WHERE key = ?), '')`, m.Audit, conductor.SettingEpoch).
		Scan(&last, &nodes, &hash, &epoch)
	if err != nil {
		return session.Explain(err)
	}
	if epoch != "" {
		if s.epoch, err = strconv.ParseUint(epoch, 10, 32); err != nil {
			return fmt.Errorf("read the epoch of the records: %w", err)
		}
	}
	why := ""
	switch {
	case m == sidecar.Mark{} && (!nodes || s.adopted):
	case m == sidecar.Mark{}:
		why = "the mark beside the database (" + filepath.Base(s.cfg.Path) + ".mark) is missing: whether the database is the newest is not known"
	case last < m.Audit:
		why = fmt.Sprintf("an older database was put back: its audit ends at entry %d, this server had written %d", last, m.Audit)
	case m.Audit > 0 && hex.EncodeToString(hash) != m.Hash:
		why = fmt.Sprintf("another database was put in place: entry %d of its audit is not the one that this server wrote", m.Audit)
	}
	s.epoch = max(s.epoch, m.Epoch)
	if why == "" {
		return nil
	}
	s.epoch++
	if !nodes {
		why = "" // there is no record to doubt; the numbers go on from the new epoch
	}
	s.cfg.Log.Error("the database is not the one that this server left", "why", why, "epoch", s.epoch)
	for key, value := range map[string]string{conductor.SettingEpoch: strconv.FormatUint(s.epoch, 10), conductor.SettingDoubt: why} {
		if _, err := conn.ExecContext(ctx, "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value); err != nil {
			return session.Explain(err)
		}
	}
	return nil
}

// remark writes the mark when something was committed since the last one. It is always behind the database and never
// ahead of it, so a server killed at any point finds its own database sound.
func (s *Store) remark() error {
	n := s.commits.Load()
	if n == s.marked || s.Held() != nil {
		return nil
	}
	var m sidecar.Mark
	err := s.view(context.Background(), func(t *tx) error {
		return readHead(func(to ...any) error { return t.Row(audited, nil, to...) }, &m)
	})
	if err == nil {
		err = s.put(m)
	}
	if err == nil {
		s.marked = n
	}
	return err
}

// mark writes it from the writer's connection: at the start, and at the end.
func (s *Store) mark() error {
	select {
	case <-s.lost:
		return nil // it is the other one's
	case <-s.failed:
		return nil
	default:
	}
	if s.fence == 0 {
		return nil
	}
	var m sidecar.Mark
	err := readHead(func(to ...any) error { return s.writer.Conn.QueryRowContext(context.Background(), audited).Scan(to...) }, &m)
	if err != nil {
		return session.Explain(err)
	}
	return s.put(m)
}

const audited = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"

func readHead(scan func(...any) error, m *sidecar.Mark) error {
	var hash []byte
	if err := scan(&m.Audit, &hash); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	m.Hash = hex.EncodeToString(hash)
	return nil
}

func (s *Store) put(m sidecar.Mark) error {
	path := s.cfg.Path + ".mark"
	m.Fence, m.Epoch = s.fence, s.epoch
	before, err := sidecar.ReadMark(path)
	if err != nil {
		before = sidecar.Mark{} // it is replaced
	}
	if before == m || before.Fence > m.Fence { // the later owner's stays
		return nil
	}
	return m.Write(path)
}
