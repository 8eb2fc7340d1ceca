package sqlite

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The database, its log and every file beside it are searched for a secret while the store is open and after.
func TestT15_SecretIsInNoFile(t *testing.T) {
	dir := t.TempDir()
	cfg := config(t, t.TempDir()) // the master key lies elsewhere
	cfg.Path = filepath.Join(dir, "bessemer.db")
	s := open(t, cfg)
	canary := []byte("canary-7Qm2vX9rTz4LwKd8")
	for _, v := range [][]byte{canary, []byte("another"), canary} { // replaced, and in pages set free
		err := s.Update(t.Context(), func(tx conductor.Tx) error {
			if _, err := tx.Node(storetest.ID(1)); fault.Is(err, fault.NotFound) {
				if err := tx.CreateNode(storetest.Node(1)); err != nil {
					return err
				}
			}
			return tx.PutSecret(storetest.ID(1), "redfish_password", v)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	search := func(when string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("files %v, %v", files, err)
		}
		found := false
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(data, []byte("redfish_password"))
			for form, needle := range map[string]string{
				"plain": string(canary), "hex": hex.EncodeToString(canary), "base64": base64.StdEncoding.EncodeToString(canary[:21]),
			} {
				if bytes.Contains(data, []byte(needle)) {
					t.Errorf("%s: %s holds the secret (%s)", when, filepath.Base(file), form)
				}
			}
		}
		if !found {
			t.Errorf("%s: the search does not even find the field's name", when)
		}
	}
	search("open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	search("closed")
}

// A sealed value moved to another node's or field's row does not open there.
func TestT15_SealedSecretIsBoundToItsRow(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		return errors.Join(tx.CreateNode(storetest.Node(1)), tx.CreateNode(storetest.Node(2)),
			tx.PutSecret(storetest.ID(1), "a", []byte("one")), tx.PutSecret(storetest.ID(2), "b", []byte("two")))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.writer.Conn.ExecContext(t.Context(), "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE field = 'a')"); err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(tx conductor.Tx) error {
		if v, err := tx.Secret(storetest.ID(1), "a"); err != nil || string(v) != "one" {
			t.Errorf("at its own place: %q, %v", v, err)
		}
		_, err := tx.Secret(storetest.ID(2), "b")
		return err
	})
	if err == nil {
		t.Error("the value of one node opened for another")
	}
}

func TestI27_AuditShowsTampering(t *testing.T) {
	for name, tamper := range map[string]string{
		"changed":            "UPDATE audit SET body = replace(body, 'power.off', 'power.on') WHERE seq = 2",
		"removed":            "DELETE FROM audit WHERE seq = 2",
		"end cut off":        "DELETE FROM audit WHERE seq > 2",
		"emptied":            "DELETE FROM audit",
		"appended unchained": "INSERT INTO audit (seq, body, hash) VALUES (5, '{}', zeroblob(32))",
		"swapped":            "UPDATE audit SET body = (SELECT body FROM audit AS o WHERE o.seq = 5 - audit.seq) WHERE seq IN (2, 3)",
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, config(t, t.TempDir()))
			for i := range 4 {
				err := s.Update(t.Context(), func(tx conductor.Tx) error {
					return tx.AppendAudit(conductor.Audit{Actor: "ada", Act: "power.off", Detail: map[string]any{"n": i}})
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			head, err := s.VerifyAudit(t.Context(), nil)
			if err != nil || head.Entries != 4 || len(head.Hash) != 64 {
				t.Fatalf("head %+v, %v before tampering", head, err)
			}
			if _, err := s.writer.Conn.ExecContext(t.Context(), tamper); err == nil && !strings.HasPrefix(tamper, "INSERT") {
				t.Error("the table lets entries be changed")
			}
			if _, err := s.writer.Conn.ExecContext(t.Context(), "DROP TRIGGER audit_kept; DROP TRIGGER audit_fixed; "+tamper); err != nil && !strings.HasPrefix(tamper, "INSERT") {
				t.Fatal(err)
			}
			if _, err := s.VerifyAudit(t.Context(), nil); !fault.Is(err, fault.Internal) {
				t.Errorf("got %v, want the chain to be found broken", err)
			}
		})
	}
}

func FuzzZ4_RoundTrip(f *testing.F) {
	for _, v := range []string{"'; DROP TABLE nodes;--", "\xff\xfe\x00", "a\x00b", `\%_"`, "\u2028\ufffd", "?1", ":name", strings.Repeat("☃", 1000), "$.x'"} {
		f.Add(v, v, []byte(v))
	}
	s := open(f, config(f, f.TempDir()))
	n := 0
	f.Fuzz(func(t *testing.T, name, value string, secret []byte) {
		n++
		node := storetest.Node(n)
		node.Name, node.Description, node.Owner = fmt.Sprintf("%d%s", n, name), value, value
		node.Extra = map[string]any{value: value, "k": []any{value}}
		node.LastError = value
		if err := s.Update(t.Context(), func(tx conductor.Tx) error {
			return errors.Join(tx.CreateNode(node), tx.PutSecret(node.UUID, value, append([]byte{1}, secret...)), tx.PutSetting(value, name),
				tx.AppendAudit(conductor.Audit{Actor: value, Act: name}),
				tx.AppendHistory(conductor.Entry{UUID: node.Name, Node: node.UUID, Event: value}))
		}); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(node)
		if err != nil {
			t.Fatal(err)
		}
		var clean conductor.Node // as JSON has it: what is not UTF-8 is U+FFFD
		if err := json.Unmarshal(want, &clean); err != nil {
			t.Fatal(err)
		}
		if want, err = json.Marshal(clean); err != nil {
			t.Fatal(err)
		}
		if err := s.View(t.Context(), func(tx conductor.Tx) error {
			got, err := tx.NodeByName(node.Name)
			if err != nil {
				return err
			}
			if b, _ := json.Marshal(got); string(b) != string(want) {
				t.Errorf("got  %q\nwant %q", b, want)
			}
			if v, err := tx.Secret(node.UUID, value); err != nil || !bytes.Equal(v, append([]byte{1}, secret...)) {
				t.Errorf("secret %q, %v", v, err)
			}
			if v, err := tx.Setting(value); err != nil || v != name {
				t.Errorf("setting %q, %v; want %q", v, err, name)
			}
			if _, err := tx.History(node.UUID, conductor.HistoryFilter{Limit: 1, After: node.Name}); err != nil {
				t.Errorf("history: %v", err)
			}
			filters := []conductor.NodeFilter{{Owner: value}}
			if !strings.Contains(value, "\x00") { // LIKE compares up to the first NUL
				filters = append(filters, conductor.NodeFilter{Description: &value, After: storetest.ID(n - 1)})
			}
			for _, filter := range filters {
				if n == 1 {
					filter.After = ""
				}
				if list, err := tx.Nodes(filter); err != nil || len(list) == 0 || list[len(list)-1].UUID != node.UUID {
					t.Errorf("the filter %+v does not find the node: %d found, %v", filter, len(list), err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.VerifyAudit(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}
