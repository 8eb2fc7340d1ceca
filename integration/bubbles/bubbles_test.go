package bubbles

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMain(m *testing.M) {
	Calm()
	m.Run()
}

// Under -race and on two processors this ended the program within two seconds, each time.
func TestTimersThatAreDueAtOnceDoNotEndTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 10_000 {
					<-time.After(0)
				}
			})
		}
		wg.Wait()
	})
}

func TestEveryPackageWithBubblesIsCalm(t *testing.T) {
	bubbles, calm := map[string]bool{}, map[string]bool{}
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "build" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if bytes.Contains(text, []byte("\tsynctest.Test(t")) {
			bubbles[dir] = true
		}
		if bytes.Contains(text, []byte("Calm()")) {
			calm[dir] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(bubbles) < 10 {
		t.Fatalf("only %d packages with bubbles: is this the root of the tree?", len(bubbles))
	}
	for dir := range bubbles {
		if !calm[dir] {
			t.Errorf("the tests of %s use testing/synctest and no TestMain of theirs calls bubbles.Calm: under -race they may end with a fault of the detector", dir)
		}
	}
}
