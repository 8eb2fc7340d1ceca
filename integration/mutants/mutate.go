package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Environment variables: one switches a mutant on, the other names a file for the ids of those that were come to.
const (
	variable        = "BESSEMER_MUTANT"
	reachedVariable = "BESSEMER_MUTANTS_REACHED"
)

// mutant is one change of one guard.
type mutant struct {
	id     string
	file   string
	line   int
	fn     string
	change string // "never: d.ReadOnly"
	tests  []string
	only   *regexp.Regexp
	excuse string // why no test can notice it
}

// asks tells whether the test is one of those that are to notice the mutant.
func (m mutant) asks(test string) bool { return m.only.MatchString(test) }

func (m mutant) String() string { return fmt.Sprintf("%s:%d %s %s", m.file, m.line, m.fn, m.change) }

// set is all mutants, and the files in which they sit.
type set struct {
	mutants []mutant
	copies  []copied
}

// copied is a file as the compiler is to see it.
type copied struct {
	path string
	text []byte
}

// makeSet makes the mutants of all guards. A function of the table that does not exist is an error, so that a guard
// that moves is not forgotten.
func makeSet(root string, table []guard) (*set, error) {
	s := &set{}
	packages := map[string]bool{}
	files := map[string][]guard{}
	var order []string
	for _, g := range table {
		if files[g.file] == nil {
			order = append(order, g.file)
		}
		files[g.file] = append(files[g.file], g)
	}
	for _, file := range order {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return nil, err
		}
		mutated, name, err := s.mutate(file, text, files[file])
		if err != nil {
			return nil, err
		}
		s.copies = append(s.copies, copied{file, mutated})
		if dir := path.Dir(file); !packages[dir] {
			packages[dir] = true
			s.copies = append(s.copies, copied{path.Join(dir, "zz_mutant.go"), []byte("package " + name + `

import (
	"os"
	"sync"
)

var (
	mutantChosen   = os.Getenv("` + variable + `")
	mutantsReached = os.Getenv("` + reachedVariable + `")
	mutantsSeen    sync.Map
)

func mutant(id string) bool {
	if mutantsReached != "" {
		if _, seen := mutantsSeen.LoadOrStore(id, true); !seen {
			f, err := os.OpenFile(mutantsReached, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err == nil {
				_, err = f.WriteString(id + "\n")
				f.Close()
			}
			if err != nil {
				panic(err)
			}
		}
	}
	return mutantChosen == id
}
`)})
		}
	}
	return s, nil
}

// excuse marks the mutants that no test can notice. An excuse that fits nothing is an error.
func (s *set) excuse(table []equivalent) error {
	for _, e := range table {
		hit := false
		for i := range s.mutants {
			if m := &s.mutants[i]; m.file == e.file && m.fn == e.fn && m.change == e.change {
				m.excuse, hit = e.why, true
			}
		}
		if !hit {
			return fmt.Errorf("the list of equivalents names %s %s %q, which is no mutant any more", e.file, e.fn, e.change)
		}
	}
	return nil
}

// edit puts text around a piece of source. Pieces nest.
type edit struct {
	from, to      int
	before, after string
}

// mutation walks one file.
type mutation struct {
	set   *set
	fset  *token.FileSet
	text  []byte
	guard guard
	only  *regexp.Regexp // the guard's
	fn    string
	edits []edit
}

// mutate gives the file with all its mutants in it, switched off, and its package's name.
func (s *set) mutate(file string, text []byte, table []guard) ([]byte, string, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, "", err
	}
	m := &mutation{set: s, fset: fset, text: text}
	for _, g := range table {
		only, err := regexp.Compile(g.only)
		if err != nil {
			return nil, "", err
		}
		for _, want := range g.funcs {
			found := false
			for _, decl := range tree.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Name.Name != want || fn.Body == nil {
					continue
				}
				found, m.guard, m.only, m.fn = true, g, only, want
				m.block(fn.Body, fn.Type)
			}
			if !found {
				return nil, "", fmt.Errorf("%s has no function %s: the table of guards is out of date", file, want)
			}
		}
	}
	return apply(text, m.edits), tree.Name.Name, nil
}

// add makes a mutant and gives its switch as source.
func (m *mutation) add(at ast.Node, format string, args ...any) string {
	id := strconv.Itoa(len(m.set.mutants) + 1)
	m.set.mutants = append(m.set.mutants, mutant{
		id: id, file: m.guard.file, line: m.fset.Position(at.Pos()).Line, fn: m.fn, change: fmt.Sprintf(format, args...), tests: m.guard.tests, only: m.only,
	})
	return fmt.Sprintf("mutant(%q)", id)
}

func (m *mutation) source(n ast.Node) string {
	return strings.Join(strings.Fields(string(m.text[m.fset.Position(n.Pos()).Offset:m.fset.Position(n.End()).Offset])), " ")
}

func (m *mutation) around(n ast.Node, before, after string) {
	m.edits = append(m.edits, edit{m.fset.Position(n.Pos()).Offset, m.fset.Position(n.End()).Offset, before, after})
}

// block makes the mutants of a function's body; those of a function literal in it know that one's results.
func (m *mutation) block(body *ast.BlockStmt, typ *ast.FuncType) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			m.block(n.Body, n.Type)
			return false
		case *ast.IfStmt:
			m.condition(n.Cond)
		case *ast.SwitchStmt:
			if n.Tag == nil {
				for _, c := range n.Body.List {
					for _, e := range c.(*ast.CaseClause).List {
						m.condition(e)
					}
				}
			}
		case *ast.ReturnStmt:
			m.returns(n, typ)
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok && slices.Contains(m.guard.refusals, name(call.Fun)) {
				m.around(n, "if !"+m.add(n, "not done: %s", m.source(n))+" { ", " }")
			}
		case *ast.AssignStmt:
			if n.Tok == token.ASSIGN && len(n.Lhs) == 1 && slices.Contains(m.guard.refusals, name(n.Lhs[0])) {
				m.around(n, "if !"+m.add(n, "not done: %s", m.source(n))+" { ", " }")
			}
		}
		return true
	})
}

// condition makes a check that never holds, one that always holds, and one without each of its operands.
func (m *mutation) condition(e ast.Expr) {
	never, always := m.add(e, "never: %s", m.source(e)), m.add(e, "always: %s", m.source(e))
	m.around(e, "(!"+never+" && ("+always+" || (", ")))")
	m.operands(e)
}

func (m *mutation) operands(e ast.Expr) {
	b, ok := ast.Unparen(e).(*ast.BinaryExpr)
	if !ok || b.Op != token.LOR && b.Op != token.LAND {
		return
	}
	for _, x := range []ast.Expr{b.X, b.Y} {
		if inner, ok := ast.Unparen(x).(*ast.BinaryExpr); ok && inner.Op == b.Op {
			m.operands(x) // a || b || c has three operands, not a pair of pairs
			continue
		}
		without := m.add(x, "without: %s", m.source(x))
		if b.Op == token.LOR {
			m.around(x, "(!"+without+" && (", "))")
		} else {
			m.around(x, "("+without+" || (", "))")
		}
		m.operands(x)
	}
}

// returns makes a return that leaves the error out, and one that says yes, or no, whatever it was to say.
func (m *mutation) returns(r *ast.ReturnStmt, typ *ast.FuncType) {
	var types []string
	if typ.Results != nil {
		for _, f := range typ.Results.List {
			for range max(len(f.Names), 1) {
				types = append(types, name(f.Type))
			}
		}
	}
	if len(types) == 0 || len(types) != len(r.Results) {
		return
	}
	for i, t := range types {
		if t == "bool" && name(r.Results[i]) != "true" && name(r.Results[i]) != "false" {
			m.condition(r.Results[i])
		}
	}
	last := len(types) - 1
	if types[last] != "error" || name(r.Results[last]) == "nil" {
		return
	}
	var others []string
	for _, x := range r.Results[:last] {
		others = append(others, m.source(x))
	}
	m.around(r, "if "+m.add(r, "no error: %s", m.source(r))+" { return "+strings.Join(append(others, "nil"), ", ")+" }; ", "")
}

// name is an identifier's name, or a selector's last part; "" for anything else.
func name(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// apply makes all edits. Of pieces that begin at one place the longer one is outside.
func apply(text []byte, edits []edit) []byte {
	type mark struct {
		at, depth int
		text      string
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Or(a.from-b.from, b.to-a.to) })
	var marks []mark
	for i, e := range edits {
		marks = append(marks, mark{e.from, i + 1, e.before})
		if e.after != "" {
			marks = append(marks, mark{e.to, -i - 1, e.after})
		}
	}
	// At one place the inner pieces end first, then the outer ones, before anything begins.
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Or(a.at-b.at, a.depth-b.depth) })
	var out []byte
	last := 0
	for _, k := range marks {
		out = append(append(out, text[last:k.at]...), k.text...)
		last = k.at
	}
	return append(out, text[last:]...)
}
