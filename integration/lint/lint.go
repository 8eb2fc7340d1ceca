// Package lint holds the project's own lint rules: what a reader of this code may rely on never to meet. It reads
// syntax only. Start at Rules; lint_test.go runs them over the whole module and shows for each rule what it finds.
package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// File is one Go file to look at.
type File struct {
	Path    string // below the module's root, with slashes
	Package string // the folder: "server/rest"
	Main    bool   // of a program
	Test    bool
	Fset    *token.FileSet
	Syntax  *ast.File
}

// Finding is one breach of a rule.
type Finding struct {
	Pos  token.Position
	Rule string
	Text string
}

// String is one line as compilers write it.
func (f Finding) String() string { return fmt.Sprintf("%s: %s (%s)", f.Pos, f.Text, f.Rule) }

// Rule is one thing that must not be there. Allow lists the packages where it may, each with its reason.
type Rule struct {
	Name  string
	Why   string
	Allow map[string]string
	Find  func(f *File, report func(at ast.Node, format string, args ...any))
}

// Check runs all rules over a file.
func Check(f *File) []Finding {
	var out []Finding
	for _, r := range Rules() {
		if _, ok := r.Allow[f.Package]; ok {
			continue
		}
		r.Find(f, func(at ast.Node, format string, args ...any) {
			out = append(out, Finding{f.Fset.Position(at.Pos()), r.Name, fmt.Sprintf(format, args...)})
		})
	}
	return out
}

// integration tells whether a package is test or development machinery, which no product program contains.
func (f *File) integration() bool { return strings.HasPrefix(f.Package, "integration") }

// imports tells whether the file imports a package.
func (f *File) imports(path string) bool {
	for _, i := range f.Syntax.Imports {
		if i.Path.Value == strconv.Quote(path) {
			return true
		}
	}
	return false
}

// uses calls fn for each mention of a package's name, such as time.Now, by the package's import path.
func (f *File) uses(fn func(at *ast.SelectorExpr, path, name string)) {
	paths := map[string]string{}
	for _, i := range f.Syntax.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		paths[name] = path
	}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok && id.Obj == nil && paths[id.Name] != "" {
				fn(s, paths[id.Name], s.Sel.Name)
			}
		}
		return true
	})
}

// forbids makes a rule's Find out of full names, "time.Now"; a name that ends in * stands for all that begin so.
func forbids(in func(f *File) bool, text string, names ...string) func(*File, func(ast.Node, string, ...any)) {
	return func(f *File, report func(ast.Node, string, ...any)) {
		if !in(f) {
			return
		}
		f.uses(func(at *ast.SelectorExpr, path, name string) {
			full := path + "." + name
			for _, n := range names {
				if full == n || strings.HasSuffix(n, "*") && strings.HasPrefix(full, strings.TrimSuffix(n, "*")) {
					report(at, "%s: %s", full, text)
				}
			}
		})
	}
}

var (
	shells     = regexp.MustCompile(`^(/usr)?(/bin/)?(sh|bash|dash|ash|zsh|busybox)$`)
	secret     = regexp.MustCompile(`(?i)(secret|password|passwd|token|hmac)$`)
	unnamed    = regexp.MustCompile(`(^|/)(util|utils|common|types|helper|helpers|misc)$`)
	unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
)

// compared is the last name of an operand: token of claims.token; "" for what is no name.
func compared(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.ParenExpr:
		return compared(x.X)
	case *ast.CallExpr: // string(token)
		if len(x.Args) == 1 {
			return compared(x.Args[0])
		}
	}
	return ""
}

// constant tells whether an operand is a literal or nil, whose comparison tells nothing of a secret.
func constant(e ast.Expr) bool {
	if id, ok := e.(*ast.Ident); ok {
		return id.Name == "nil" || id.Name == "true" || id.Name == "false"
	}
	_, ok := e.(*ast.BasicLit)
	return ok
}
