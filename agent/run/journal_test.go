package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func journalAt(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return j
}

func claimed(id step.ID, name, nonce string) Line {
	return Line{Claim: &ClaimLine{ID: id, Step: name, Nonce: nonce}}
}

// written is a journal with all kinds of lines, as a process leaves it.
func written(t testing.TB, path string) []byte {
	t.Helper()
	j := journalAt(t, path)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		_, err := j.Seq()
		must(err)
	}
	must(j.Write(claimed("one", "deploy.erase_devices", "nonce-one")))
	must(j.Write(Line{Ended: &Ended{ID: "one", Nonce: "nonce-one", Outcome: api.Succeeded, Result: &step.Result{Data: map[string]any{"disks": "zwei ü\n"}}}}))
	must(j.Write(Line{Over: "one"}))
	must(j.Write(claimed("two", "deploy.write_image", "nonce-two")))
	must(j.Write(Line{Over: "two"}))
	must(j.Write(claimed("three", "deploy.write_image", "nonce-three")))
	must(j.Write(Line{Ended: &Ended{ID: "three", Nonce: "nonce-three", Outcome: api.Failed, Fault: &api.Fault{Code: "internal", Reason: "disk.io", Message: "m"}}}))
	must(j.Write(claimed("four", "deploy.write_image", "nonce-four")))
	must(j.Close())
	text, err := os.ReadFile(path)
	must(err)
	return text
}

func TestJournalRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	written(t, path)
	j := journalAt(t, path)
	for _, id := range []step.ID{"one", "two", "three", "four"} {
		if !j.Memory().Known(id) {
			t.Errorf("%s is forgotten", id)
		}
		if j.Write(claimed(id, "x", "y")) == nil {
			t.Errorf("%s can be claimed again", id)
		}
	}
	if j.Memory().Known("five") {
		t.Error("five is known")
	}
	untold := j.Memory().Untold()
	if len(untold) != 2 || untold[0].ID != "three" || untold[0].Outcome != api.Failed || untold[0].Fault.Reason != "disk.io" ||
		untold[1].ID != "four" || untold[1].Outcome != api.Interrupted || untold[1].Nonce != "nonce-four" {
		t.Errorf("untold: %+v", untold)
	}
	if n, err := j.Seq(); err != nil || n <= 3 {
		t.Errorf("the number after a restart is %d, %v", n, err)
	}
}

func TestSeqNeverRepeats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	last := uint64(0)
	for range 3 {
		j := journalAt(t, path)
		for range reserve + 10 {
			n, err := j.Seq()
			if err != nil || n <= last {
				t.Fatalf("%d after %d, %v", n, last, err)
			}
			last = n
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestZ11_JournalCutAtEveryByte: whatever is cut off, whole lines are remembered, the rest never was, and the journal
// goes on from there.
func TestZ11_JournalCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	text := written(t, filepath.Join(dir, "whole"))
	for cut := range len(text) + 1 {
		path := filepath.Join(dir, "cut")
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := text[:bytes.LastIndexByte(text[:cut], '\n')+1]
		claims := map[step.ID]bool{}
		for line := range bytes.Lines(whole) {
			var e Line
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			if e.Claim != nil {
				claims[e.Claim.ID] = true
			}
		}
		j, err := OpenJournal(path)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		for _, id := range []step.ID{"one", "two", "three", "four"} {
			if j.Memory().Known(id) != claims[id] {
				t.Fatalf("cut at %d: %s known: %v", cut, id, j.Memory().Known(id))
			}
		}
		if err := j.Write(claimed("later", "x", "nonce")); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := j.Memory().Untold()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again := journalAt(t, path)
		if got := again.Memory().Untold(); !reflect.DeepEqual(got, want) || !again.Memory().Known("later") {
			t.Fatalf("cut at %d: %+v, then %+v", cut, want, got)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalRefusesWhatItCantRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	for name, text := range map[string]string{
		"garbage":        "garbage\n",
		"an empty entry": "{}\n",
		"claimed twice":  `{"claim":{"id":"a","step":"s","nonce":"n"}}` + "\n" + `{"claim":{"id":"a","step":"s","nonce":"m"}}` + "\n",
		"ended unopened": `{"ended":{"id":"a","nonce":"n","outcome":"failed"}}` + "\n",
		"over unopened":  `{"over":"a"}` + "\n",
		"numbers back":   `{"seq":5}` + "\n" + `{"seq":4}` + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := OpenJournal(path); err == nil {
			t.Errorf("%s: opened as %+v", name, j)
		}
	}
}

// TestF17_JournalOnAFullTmpfs: a write that failed leaves nothing behind, and the next one can succeed.
func TestF17_JournalOnAFullTmpfs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := journalAt(t, path)
	full := &fullFile{file: j.file}
	j.file = full
	for cut := range 20 {
		full.room = cut
		if err := j.Write(claimed("one", "s", "nonce")); err == nil || j.Memory().Known("one") {
			t.Fatalf("with room for %d bytes: %v, known %v", cut, err, j.Memory().Known("one"))
		}
	}
	full.room = 1 << 20
	if err := j.Write(claimed("one", "s", "nonce")); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j := journalAt(t, path); !j.Memory().Known("one") {
		t.Error("the claim that succeeded is forgotten")
	}
}

type fullFile struct {
	file
	room int
}

func (f *fullFile) Write(p []byte) (int, error) {
	if len(p) <= f.room {
		return f.file.Write(p)
	}
	n, err := f.file.Write(p[:f.room])
	return n, errors.Join(errors.New("no space left on device"), err)
}

// FuzzZ11_Journal: any bytes either open as a journal that can be written and read again, or are refused.
func FuzzZ11_Journal(f *testing.F) {
	f.Add(written(f, filepath.Join(f.TempDir(), "journal")))
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"seq":18446744073709551615}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(path)
		if err != nil {
			return
		}
		fresh := !j.Memory().Known("fresh")
		if fresh {
			if err := j.Write(claimed("fresh", "s", "nonce")); err != nil {
				t.Fatal(err)
			}
		}
		want := j.Memory().Untold()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := OpenJournal(path)
		if err != nil {
			t.Fatalf("opened once, then: %v", err)
		}
		if got := again.Memory().Untold(); len(got) != len(want) || !again.Memory().Known("fresh") {
			t.Fatalf("%+v, then %+v", want, got)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
