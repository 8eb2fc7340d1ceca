package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// TestF04_PowerLossLosesNothingCommitted plays what a power cut may leave of the write-ahead log while a transaction is
// written: all that was committed before it is on the disk (synchronous is FULL), and of what comes after any sectors may be
// there, torn, gone, or there without those before them. Whatever is left, the database is sound and holds either the
// state before the transaction or the one after it, and nothing in between.
func TestF04_PowerLossLosesNothingCommitted(t *testing.T) {
	dir := t.TempDir()
	cfg := config(t, dir)
	s := open(t, cfg)
	var full int
	if err := s.writer.Conn.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&full); err != nil || full != 2 {
		t.Fatalf("synchronous is %d (%v): nothing would be on the disk after a commit", full, err)
	}
	node := storetest.Node(1)
	write := func(mark string) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx conductor.Tx) error {
			node.Description, node.Extra = mark, map[string]any{"blob": strings.Repeat(mark, 20_000)} // over several pages
			if node.Version == 0 {
				return tx.CreateNode(node)
			}
			return tx.PutNode(node)
		}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(suffix string) []byte {
		t.Helper()
		text, err := os.ReadFile(cfg.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	write("0")
	write("a")
	main, before := read(""), read("-wal")
	write("b")
	after := read("-wal")
	if !bytes.Equal(main, read("")) || !bytes.HasPrefix(after, before) || len(after) <= len(before) {
		t.Fatal("the log was folded into the database meanwhile: there is no tail to lose")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 4))
	tails := map[string][]byte{"nothing of it": before, "all of it": after}
	for at := len(before); at < len(after); at += sector {
		tails[fmt.Sprintf("cut at %d", at)] = after[:at]
		tails[fmt.Sprintf("torn at %d", at)] = after[:min(at+1+dice.IntN(sector), len(after))]
		holes := bytes.Clone(after)
		for i := len(before); i < len(holes); i += sector {
			if dice.IntN(2) == 0 {
				clear(holes[i:min(i+sector, len(holes))])
			}
		}
		tails[fmt.Sprintf("holes, turn %d", at)] = holes
		late := bytes.Clone(after)
		clear(late[at:min(at+sector, len(late))]) // all but one sector, which would have come before the others
		tails[fmt.Sprintf("all but the sector at %d", at)] = late
	}
	states := map[string]int{}
	for what, wal := range tails {
		left := filepath.Join(dir, "left.db")
		for name, text := range map[string][]byte{"": main, "-wal": wal} {
			if err := os.WriteFile(left+name, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(left + "-shm"); err != nil { // it is memory
			t.Fatal(err)
		}
		state, err := survives(t.Context(), left)
		if err != nil {
			t.Fatalf("with %s: %v", what, err)
		}
		states[state]++
		if what == "nothing of it" && state != "a" || what == "all of it" && state != "b" {
			t.Errorf("with %s the state is %q", what, state)
		}
	}
	if len(states) != 2 || states["a"] == 0 || states["b"] == 0 {
		t.Errorf("the states after %d power cuts: %v, expected a and b", len(tails), states)
	}
}

// survives checks a database that a power cut left, and gives the mark of the state that it is in.
func survives(ctx context.Context, path string) (string, error) {
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	var sound, mark, blob string
	if err := conn.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
		return "", fmt.Errorf("integrity_check: %s (%w)", sound, err)
	}
	if err := check(ctx, conn, slices.Concat(checked[:]...)); err != nil {
		return "", err
	}
	if err := conn.QueryRowContext(ctx, "SELECT description, body ->> '$.extra.blob' FROM nodes").Scan(&mark, &blob); err != nil {
		return "", err
	}
	if blob != strings.Repeat(mark, 20_000) {
		return "", fmt.Errorf("the state %q is torn", mark)
	}
	return mark, nil
}
