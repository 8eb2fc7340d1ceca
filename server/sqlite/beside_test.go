package sqlite

import (
	"os"
	"slices"
	"testing"
)

// Ports are in order, each with its node; of one name only the first keeps it.
func TestPortsBecomeRecords(t *testing.T) {
	conn, all := memory(t), read(t, migrations)
	if _, err := migrate(t.Context(), conn, all[:4]); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("testdata/before-0005.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), string(before)); err != nil {
		t.Fatal(err)
	}
	if _, err := migrate(t.Context(), conn, all[:5]); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.QueryContext(t.Context(), `SELECT uuid || ' ' || coalesce(name, '-') || ' ' || coalesce(body ->> '$.name', '-') || ' ' || mark || ' ' || id
		FROM records WHERE kind = 'port' AND node = '11111111-1111-4111-8111-111111111111' AND body ->> '$.address' = mark ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	want := []string{"a eth eth 52:54:00:00:00:02 2", "b - - 52:54:00:00:00:01 5", "c - - 52:54:00:00:00:03 6", "d other other 52:54:00:00:00:04 7"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
