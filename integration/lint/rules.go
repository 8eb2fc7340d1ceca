package lint

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
)

func product(f *File) bool     { return !f.Test && !f.integration() }
func libraries(f *File) bool   { return product(f) && !f.Main }
func libraryCode(f *File) bool { return !f.Test && !f.Main }
func notInTests(f *File) bool  { return !f.Test }
func storeCode(f *File) bool {
	return !f.Test && (f.Package == "server/sqlite" || strings.HasPrefix(f.Package, "server/sqlite/"))
}
func isString(e ast.Expr) bool  { l, ok := e.(*ast.BasicLit); return ok && l.Kind == token.STRING }
func isBinary(e ast.Expr) bool  { _, ok := e.(*ast.BinaryExpr); return ok }
func isCall(e ast.Expr) bool    { _, ok := e.(*ast.CallExpr); return ok }
func inner(e ast.Expr) ast.Expr { return ast.Unparen(e) }

// Rules lists the rules.
func Rules() []Rule {
	return []Rule{
		{
			Name: "shell", Why: "no string reaches a shell (safety.md I21)",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				ast.Inspect(f.Syntax, func(n ast.Node) bool {
					call, ok := n.(*ast.CallExpr)
					if !ok || f.Test && f.integration() {
						return true
					}
					s, ok := call.Fun.(*ast.SelectorExpr)
					if !ok || s.Sel.Name != "Command" && s.Sel.Name != "CommandContext" && s.Sel.Name != "Run" {
						return true
					}
					for _, a := range call.Args {
						if l, ok := a.(*ast.BasicLit); ok && l.Kind == token.STRING {
							if v, err := strconv.Unquote(l.Value); err == nil && shells.MatchString(v) {
								report(call, "starts the shell %s", v)
							}
						}
					}
					return true
				})
			},
		},
		{
			Name: "exec", Why: "programs are started in few, known places",
			Allow: map[string]string{
				"agent/system": "the one place in the agent with system calls",
				"initramfs":    "building the ramdisk asks go, dpkg and depmod",
			},
			Find: forbids(product, "programs are started in few, known places", "os/exec.*", "os.StartProcess"),
		},
		{
			Name: "skip-verify", Why: "the peer of TLS is always verified (safety.md T5)",
			Allow: map[string]string{
				"server/redfish/wire": "a pinned BMC key replaces the search for a CA; VerifyConnection refuses every other key",
			},
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				ast.Inspect(f.Syntax, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok && id.Name == "InsecureSkipVerify" {
						report(id, "InsecureSkipVerify: verify the peer, by CA or by pin")
					}
					return true
				})
			},
		},
		{
			// Inside a synctest bubble a sleep costs nothing and is exact.
			Name: "sleep", Why: "a sleeping test is slow or wrong; use testing/synctest, or wait for the thing itself",
			Find: forbids(func(f *File) bool { return f.Test && !f.imports("testing/synctest") },
				"wait for the thing itself, or use testing/synctest", "time.Sleep"),
		},
		{
			Name: "wall-time", Why: "wall time is handed down by main, so that a test can make it jump (safety.md F28)",
			Allow: map[string]string{
				"agent/drivers":          "measures how long it waits for the kernel; only differences of monotonic time",
				"agent/network":          "measures how long it waits for links and leases; only differences of monotonic time",
				"server/redfish":         "the default of the function that it is handed",
				"server/redfish/machine": "measures how long an act takes to show; only differences of monotonic time",
				"server/redfish/steps":   "measures how long a step waits for machine and BMC; only differences of monotonic time",
				"server/redfish/wire":    "measures the budget of an operation; only differences of monotonic time",
				"server/redfish/update":  "measures how long it waits for a BMC; only differences of monotonic time",
				"server/redfish/volumes": "measures how long the BMC is waited for; only differences of monotonic time",
			},
			Find: forbids(libraries, "wall time is handed down by main", "time.Now", "time.Since", "time.Until"),
		},
		{
			Name: "default-http", Why: "the default client and server have no deadlines and are shared by all",
			Find: forbids(notInTests, "make a client or server with deadlines",
				"net/http.Get", "net/http.Head", "net/http.Post", "net/http.PostForm", "net/http.DefaultClient",
				"net/http.DefaultTransport", "net/http.DefaultServeMux", "net/http.Handle", "net/http.HandleFunc",
				"net/http.ListenAndServe*", "net/http.Serve", "net/http.ServeTLS"),
		},
		{
			Name: "print", Why: "a package logs by the slog.Logger handed to it, and writes to the writer handed to it",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				if !libraryCode(f) {
					return
				}
				forbids(libraryCode, "use the logger or the writer handed down", "fmt.Print*", "log.*", "log/slog.Default",
					"log/slog.Info*", "log/slog.Warn*", "log/slog.Error*", "log/slog.Debug*", "os.Stdout")(f, report)
				ast.Inspect(f.Syntax, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok {
						if id, ok := c.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
							report(c, "%s: use the logger or the writer handed down", id.Name)
						}
					}
					return true
				})
			},
		},
		{
			Name: "secret-compare", Why: "secrets are compared in constant time",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				ast.Inspect(f.Syntax, func(n ast.Node) bool {
					b, ok := n.(*ast.BinaryExpr)
					if !ok || f.Test || b.Op != token.EQL && b.Op != token.NEQ || constant(b.X) || constant(b.Y) {
						return true
					}
					for _, e := range []ast.Expr{b.X, b.Y} {
						if name := compared(e); secret.MatchString(name) && !isLen(e) {
							report(b, "%s is compared by %s: use subtle.ConstantTimeCompare", name, b.Op)
						}
					}
					return true
				})
			},
		},
		{
			Name: "init", Why: "wiring happens in main",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				for _, d := range f.Syntax.Decls {
					if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
						report(fn, "func init: wiring happens in main")
					}
				}
			},
		},
		{
			Name: "sql", Why: "SQL text is constant, values are arguments (safety.md I21)",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				if !storeCode(f) {
					return
				}
				ast.Inspect(f.Syntax, func(n ast.Node) bool {
					c, ok := n.(*ast.CallExpr)
					if !ok {
						return true
					}
					s, ok := c.Fun.(*ast.SelectorExpr)
					if !ok {
						return true
					}
					switch s.Sel.Name {
					case "Exec", "ExecContext", "Query", "QueryContext", "QueryRow", "QueryRowContext", "Prepare", "PrepareContext":
					default:
						return true
					}
					for _, a := range c.Args {
						if x := inner(a); isBinary(x) && !joinsConstants(x) || isCall(x) && isSprintf(x) {
							report(c, "SQL text made of parts: use a constant and arguments")
						}
					}
					return true
				})
			},
		},
		{
			Name: "name", Why: "if a thing has no name, it is not understood yet",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				if unnamed.MatchString(f.Package) || unnamed.MatchString(f.Syntax.Name.Name) {
					report(f.Syntax.Name, "package %s: name what it is for", f.Package)
				}
			},
		},
		{
			Name: "unfinished", Why: "what is not done is an issue, not a comment",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				for _, g := range f.Syntax.Comments {
					for _, c := range g.List {
						if m := unfinished.FindString(c.Text); m != "" && f.Package != "integration/lint" {
							report(c, "%s in a comment", m)
						}
					}
				}
			},
		},
		{
			Name: "reason", Why: "every reason stands in the table of shared/fault",
			Find: func(f *File, report func(ast.Node, string, ...any)) {
				if f.Package == "shared/fault" {
					return
				}
				f.uses(func(at *ast.SelectorExpr, path, name string) {
					if path != "github.com/bessemer-metal/bessemer/shared/fault" || name != "New" {
						return
					}
					ast.Inspect(f.Syntax, func(n ast.Node) bool {
						if c, ok := n.(*ast.CallExpr); ok && c.Fun == ast.Expr(at) && len(c.Args) > 0 && isString(c.Args[0]) {
							report(c, "fault.New with a literal: add the reason to shared/fault and use its constant")
						}
						return true
					})
				})
			},
		},
	}
}

func isLen(e ast.Expr) bool {
	c, ok := inner(e).(*ast.CallExpr)
	if !ok {
		return false
	}
	id, ok := c.Fun.(*ast.Ident)
	return ok && (id.Name == "len" || id.Name == "cap")
}

func isSprintf(e ast.Expr) bool {
	s, ok := e.(*ast.CallExpr).Fun.(*ast.SelectorExpr)
	return ok && (s.Sel.Name == "Sprintf" || s.Sel.Name == "Sprint")
}

// joinsConstants tells whether a + b is made only of literals, of constants declared in the same file, and of the
// variable of a loop over a list of literals.
func joinsConstants(e ast.Expr) bool {
	switch x := inner(e).(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return x.Obj != nil && (x.Obj.Kind == ast.Con || overLiterals(x.Obj.Decl))
	case *ast.BinaryExpr:
		return joinsConstants(x.X) && joinsConstants(x.Y)
	}
	return false
}

// overLiterals tells whether a name's declaration is that of such a loop.
func overLiterals(declaration any) bool {
	a, ok := declaration.(*ast.AssignStmt)
	if !ok || len(a.Rhs) != 1 {
		return false
	}
	r, ok := a.Rhs[0].(*ast.UnaryExpr)
	if !ok || r.Op != token.RANGE {
		return false
	}
	list, ok := r.X.(*ast.CompositeLit)
	if !ok {
		return false
	}
	for _, e := range list.Elts {
		if !isString(e) {
			return false
		}
	}
	return true
}
