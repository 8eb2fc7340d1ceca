package crash

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Stored is what a database holds at one moment.
type Stored struct {
	Nodes   []conductor.Node
	Steps   []conductor.StepRecord
	Effects []conductor.Effect
	History []conductor.Entry
}

// ReadDatabase reads the file beside the server, or when there is none: one read transaction, no lock that a server
// waits for, nothing written. It also asks SQLite whether the file is whole.
func ReadDatabase(ctx context.Context, path string) (s Stored, err error) {
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_query_only=1&_busy_timeout=5000")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return s, fmt.Errorf("read the database: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	var whole string
	if err := tx.QueryRowContext(ctx, "PRAGMA quick_check").Scan(&whole); err != nil || whole != "ok" {
		return s, fmt.Errorf("the database is damaged: %s %w", whole, err)
	}
	if err := bodies(ctx, tx, "SELECT body FROM nodes ORDER BY id", &s.Nodes); err != nil {
		return s, err
	}
	if err := bodies(ctx, tx, "SELECT body FROM steps ORDER BY seq", &s.Steps); err != nil {
		return s, err
	}
	if err := bodies(ctx, tx, "SELECT body FROM effects ORDER BY id", &s.Effects); err != nil {
		return s, err
	}
	return s, bodies(ctx, tx, "SELECT body FROM history ORDER BY seq", &s.History)
}

// bodies decodes one column of JSON.
func bodies[T any](ctx context.Context, tx *sql.Tx, query string, into *[]T) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var v T
		if err := rows.Scan(&body); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		*into = append(*into, v)
	}
	return rows.Err()
}
