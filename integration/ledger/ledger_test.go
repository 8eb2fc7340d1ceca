package ledger

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestACutLineDoesNotCount: SIGKILL cut a line short; those before and after it count.
func TestACutLineDoesNotCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	want := []Line{
		{Kind: Begin, Machine: "m", Step: "1", Name: "deploy.x", Device: "A"}, {Kind: Kill, Machine: "m"},
		{Kind: Told, Machine: "m", Step: "2", Outcome: "succeeded"},
	}
	if got, err := Read(path); err != nil || got != nil {
		t.Fatalf("a ledger that is not there has %v, %v", got, err)
	}
	for i, l := range want {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if _, err := f.f.WriteString("\n{\"kind\":\"end\",\"machine\":\"m\",\"st"); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Append(l); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "\n{\"kind\":\"begin\""...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, %v; expected %v", got, err, want)
	}
	if err := os.WriteFile(path, []byte("\n{\"kind\":}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("a whole line that makes no sense is read")
	}
}
