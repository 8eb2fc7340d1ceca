package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// mark is what is written down beside the database of how far it had come: the end of its audit. Every act upon a
// machine is audited in the transaction that decides it, so a database whose audit ends earlier, or went another way,
// lacks acts that were done (I15, F35).
type mark struct {
	Fence int64  `json:"fence"`
	Epoch uint64 `json:"epoch"`
	Audit int64  `json:"audit"` // entries
	Hash  string `json:"hash"`  // of the last one
}

// readMark gives the zero mark for a file that is missing, and with an error for one that can't be read.
func readMark(path string) (m mark, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		return mark{}, fmt.Errorf("read the mark %s: %w", path, err)
	}
	return m, nil
}

// write replaces the file durably: a reader finds the old one or the new one.
func (m mark) write(path string) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write the mark %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// compare looks, inside the transaction that makes this process the owner, whether the database is at least as far as
// the mark says. If it is not, the doubt is stored for the conductor, and a new epoch begins.
func (s *Store) compare(ctx context.Context, m mark) error {
	conn := s.writer.conn
	var last int64
	var nodes bool
	var hash []byte
	var epoch string
	err := conn.QueryRowContext(ctx, `SELECT (SELECT coalesce(max(seq), 0) FROM audit), EXISTS (SELECT 1 FROM nodes),
		(SELECT hash FROM audit WHERE seq = ?), coalesce((SELECT value FROM settings WHERE key = ?), '')`, m.Audit, conductor.SettingEpoch).
		Scan(&last, &nodes, &hash, &epoch)
	if err != nil {
		return explain(err)
	}
	if epoch != "" {
		if s.epoch, err = strconv.ParseUint(epoch, 10, 32); err != nil {
			return fmt.Errorf("read the epoch of the records: %w", err)
		}
	}
	why := ""
	switch {
	case m == mark{} && (!nodes || s.adopted):
	case m == mark{}:
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
			return explain(err)
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
	var m mark
	err := s.view(context.Background(), func(t *tx) error {
		return readHead(func(to ...any) error { return t.row(audited, nil, to...) }, &m)
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
	var m mark
	err := readHead(func(to ...any) error { return s.writer.conn.QueryRowContext(context.Background(), audited).Scan(to...) }, &m)
	if err != nil {
		return explain(err)
	}
	return s.put(m)
}

const audited = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"

func readHead(scan func(...any) error, m *mark) error {
	var hash []byte
	if err := scan(&m.Audit, &hash); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	m.Hash = hex.EncodeToString(hash)
	return nil
}

func (s *Store) put(m mark) error {
	path := s.cfg.Path + ".mark"
	m.Fence, m.Epoch = s.fence, s.epoch
	before, err := readMark(path)
	if err != nil {
		before = mark{} // it is replaced
	}
	if before == m || before.Fence > m.Fence { // the later owner's stays
		return nil
	}
	return m.write(path)
}
