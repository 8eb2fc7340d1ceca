package fault

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// declared reads the constants of type Reason out of reasons.go.
func declared(t *testing.T) map[string]Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Reason{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Reason" {
				s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				out[v.Names[0].Name] = Reason(s)
			}
		}
		return true
	})
	if len(out) < 50 {
		t.Fatalf("found only %d constants in reasons.go", len(out))
	}
	return out
}

func TestEveryReasonHasOneRow(t *testing.T) {
	constants := declared(t)
	names := map[Reason]string{}
	for name, r := range constants {
		if other, ok := names[r]; ok {
			t.Errorf("%s and %s are both %q", name, other, r)
		}
		names[r] = name
		if _, ok := Lookup(r); !ok {
			t.Errorf("%s (%s) has no row in Reasons", name, r)
		}
	}
	if len(Reasons) != len(constants) {
		t.Errorf("%d rows for %d constants", len(Reasons), len(constants))
	}
}

func TestRowsHelpAnOperator(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)
	for _, r := range Reasons {
		if !form.MatchString(string(r.Reason)) {
			t.Errorf("reason %q is not of the form area.name", r.Reason)
		}
		if _, ok := statuses[r.Code]; !ok {
			t.Errorf("%s has the code %q, which has no status", r.Reason, r.Code)
		}
		if !strings.HasSuffix(r.Doc, ".") || r.Hint == "" || strings.HasSuffix(r.Hint, ".") {
			t.Errorf("%s needs a sentence and a hint without a full stop: %q, %q", r.Reason, r.Doc, r.Hint)
		}
	}
}

func TestCodes(t *testing.T) {
	for code, want := range map[Code]struct {
		status int
		retry  bool
	}{
		Invalid: {400, false}, Unauthenticated: {401, false}, Forbidden: {403, false}, NotFound: {404, false},
		Conflict: {409, false}, Busy: {409, true}, Unsupported: {400, false}, Unavailable: {503, true},
		Timeout: {504, true}, Internal: {500, false}, "no such code": {http.StatusInternalServerError, false},
	} {
		if code.Status() != want.status || code.Retriable() != want.retry {
			t.Errorf("%s: %d, %v; want %v", code, code.Status(), code.Retriable(), want)
		}
	}
}

func TestNew(t *testing.T) {
	cause := io.ErrUnexpectedEOF
	f := New(ImageTruncated, "got %d of %d bytes", 3, 5).Because(cause).At("node-1", "deploy.write_image")
	if f.Code != Unavailable || f.Hint == "" || f.Node != "node-1" {
		t.Errorf("%+v", f)
	}
	if got := f.Error(); got != "deploy.write_image: got 3 of 5 bytes ("+f.Hint+")" {
		t.Errorf("Error() = %q", got)
	}
	wrapped := fmt.Errorf("write image to sda: %w", f)
	if !errors.Is(wrapped, cause) || !Is(wrapped, Unavailable) || !Has(wrapped, ImageTruncated) || From(wrapped) != f {
		t.Error("the fault is lost in the chain")
	}
	if Is(wrapped, Internal) || Has(cause, ImageTruncated) || Is(nil, Internal) {
		t.Error("a fault is found where there is none")
	}
	if f := New("made.up", "x"); f.Code != Internal {
		t.Errorf("an unlisted reason has the code %s", f.Code)
	}
	if f := New(DiskHint, "x").WithHint("use %s", "wwn"); f.Hint != "use wwn" {
		t.Errorf("hint %q", f.Hint)
	}
}

// What is not a fault must not show its text to a caller: it may hold a secret.
func TestI22_FromHidesForeignErrors(t *testing.T) {
	err := errors.New("password hunter2 refused")
	f := From(err)
	if strings.Contains(f.Error(), "hunter2") || strings.Contains(f.Message, "hunter2") || f.Code != Internal || !errors.Is(f, err) {
		t.Errorf("%+v", f)
	}
	if From(nil) != nil {
		t.Error("no error became a fault")
	}
}

func TestEveryReasonSaysWhatWasExpected(t *testing.T) {
	for _, r := range Reasons {
		e := Expected(r.Reason)
		if !strings.HasSuffix(e, ".") || len(e) < 15 || e == r.Doc {
			t.Errorf("%s: what was expected is %q; write a sentence in expected.go", r.Reason, e)
		}
	}
	if len(expected) != len(Reasons) {
		t.Errorf("expected.go has %d lines for %d reasons", len(expected), len(Reasons))
	}
}

// A reason that no code gives promises a page for what can't happen: every constant is used outside this package by
// code that is no test.
func TestEveryReasonIsProduced(t *testing.T) {
	used := map[string]bool{}
	tree := os.DirFS("../..")
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != "." || d.Name() == "testdata" || p == "build" || p == "docs" || p == "integration" || p == "shared/fault"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := s.X.(*ast.Ident); ok && id.Name == "fault" {
					used[s.Sel.Name] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range declared(t) {
		if !used[name] {
			t.Errorf("%s (%s) is given by no code: use it or delete it", name, r)
		}
	}
}

// Scripts and schedulers take the reason off the front of last_error (row 79 of the requirements).
func TestReportBeginsWithTheReason(t *testing.T) {
	f := New(DiskMissing, "the disk with S1 is gone").WithHint("look").At("n", "deploy.erase_devices")
	if got, want := f.Report(), "disk.missing: deploy.erase_devices: the disk with S1 is gone (look)"; got != want {
		t.Errorf("reports %q, want %q", got, want)
	}
	for _, r := range Reasons {
		reason, rest, ok := strings.Cut(New(r.Reason, "x").Report(), ": ")
		if !ok || reason != string(r.Reason) || rest == "" {
			t.Errorf("%s reports %q", r.Reason, New(r.Reason, "x").Report())
		}
	}
	if got := (&Fault{Message: "m"}).Report(); got != "m" {
		t.Errorf("a fault without a reason reports %q", got)
	}
}
