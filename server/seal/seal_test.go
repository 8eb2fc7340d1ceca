package seal

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ring(t *testing.T) *Keyring {
	t.Helper()
	k, err := Open(filepath.Join(t.TempDir(), "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedSecretComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	k, err := Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range [][]byte{nil, []byte("p"), bytes.Repeat([]byte{0, 255}, 1<<16)} {
		id, blob, err := k.Seal("node", "field", plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) > 1 && bytes.Contains(blob, plain) {
			t.Error("the blob holds the secret")
		}
		if _, again, err := k.Seal("node", "field", plain); err != nil || bytes.Equal(blob, again) {
			t.Errorf("sealing twice gives the same blob (%v)", err)
		}
		later, err := Open(path, false) // the next start
		if err != nil {
			t.Fatal(err)
		}
		if got, err := later.Open("node", "field", id, blob); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("got %q, %v; want %q", got, err, plain)
		}
	}
}

func TestT15_BlobOpensOnlyForItsNodeFieldAndKey(t *testing.T) {
	k, other := ring(t), ring(t)
	id, blob, err := k.Seal("node", "field", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	otherID, _, err := other.Seal("node", "field", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another node":        func() ([]byte, error) { return k.Open("nod2", "field", id, blob) },
		"another field":       func() ([]byte, error) { return k.Open("node", "fiel2", id, blob) },
		"letters moved over":  func() ([]byte, error) { return k.Open("nodef", "ield", id, blob) },
		"unknown key":         func() ([]byte, error) { return k.Open("node", "field", "0000000000000000", blob) },
		"another ring":        func() ([]byte, error) { return other.Open("node", "field", otherID, blob) },
		"another ring's name": func() ([]byte, error) { return other.Open("node", "field", id, blob) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opened to %q", name, got)
		}
	}
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		if _, err := k.Open("node", "field", id, bad); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := k.Open("node", "field", id, blob[:i]); err == nil {
			t.Errorf("opened when cut to %d bytes", i)
		}
	}
}

func TestKeyFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := Open(path, true); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, false); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %v: got %v, want a refusal that says what to do", mode, err)
		}
	}
	if _, err := Open(filepath.Dir(path), false); err == nil {
		t.Error("a directory was taken for the key file")
	}
}

func TestF37_MissingKeyFileIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := Open(path, false); err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("got %v, want a refusal that says what to do", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a key file was made")
	}
}

func TestF37_OlderKeysOpenWhatTheySealed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	old, err := Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	id, blob, err := old.Seal("n", "f", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fresh := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, keySize))
	if err := os.WriteFile(path, append([]byte(fresh+"\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	rotated, err := Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rotated.Open("n", "f", id, blob); err != nil || string(got) != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
	if newID, _, err := rotated.Seal("n", "f", []byte("secret")); err != nil || newID == id {
		t.Errorf("sealed with key %s (%v), want the new one", newID, err)
	}
	before, err := old.Derive("token")
	if err != nil {
		t.Fatal(err)
	}
	after, err := rotated.DeriveAll("token")
	if err != nil || len(after) != 2 || bytes.Equal(after[0], before) || !bytes.Equal(after[1], before) {
		t.Errorf("derived %x, %v; want the new one, then %x", after, err, before)
	}
}

func TestDerivedKeysDiffer(t *testing.T) {
	k := ring(t)
	seen := map[string]string{}
	for _, name := range []string{"boot", "token", "", "wrap", "id"} {
		a, err := k.Derive(name)
		if err != nil || len(a) != 32 {
			t.Fatalf("%q: %d bytes, %v", name, len(a), err)
		}
		b, err := k.Derive(name)
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%q differs from call to call (%v)", name, err)
		}
		if other, ok := seen[string(a)]; ok {
			t.Errorf("%q and %q have the same key", name, other)
		}
		seen[string(a)] = name
	}
}

func TestKeyFileErrorsDoNotShowKeys(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, keySize))
	for name, text := range map[string]string{
		"empty": "", "comments only": "# nothing\n", "short key": good[:20], "no base64": "not a key!", "key and junk": good + "\n" + good + "x",
		"endless line": strings.Repeat("A", maxFile+1),
	} {
		path := filepath.Join(t.TempDir(), "master.key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, true)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), good[:8]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func FuzzZ11_KeyFile(f *testing.F) {
	f.Add([]byte("# comment\n\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Add([]byte("AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parse(bytes.NewReader(text))
		if err == nil && len(k.keys) == 0 {
			t.Error("a ring without keys")
		}
	})
}
