package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// source is what the comments of a package say, by "package.Type" and "package.Type.Field", and the values of its
// constants by type, in the order they are declared in.
type source struct {
	docs   map[string]string
	values map[string][]string
}

// read takes in the comments of a folder below root.
func (s *source) read(root, folder string) error {
	fset := token.NewFileSet()
	parsed, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		return err
	}
	if len(parsed) == 0 {
		return &fs.PathError{Op: "read", Path: folder, Err: fs.ErrNotExist}
	}
	for _, name := range parsed {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				s.declaration(file.Name.Name, g)
			}
		}
	}
	return nil
}

func (s *source) declaration(pkg string, g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			name := pkg + "." + spec.Name.Name
			s.docs[name] = text(spec.Doc, g.Doc)
			if t, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range t.Fields.List {
					for _, n := range f.Names {
						s.docs[name+"."+n.Name] = text(f.Doc, f.Comment)
					}
				}
			}
		case *ast.ValueSpec:
			id, ok := spec.Type.(*ast.Ident)
			if !ok {
				continue
			}
			for _, v := range spec.Values {
				lit, ok := v.(*ast.BasicLit)
				if !ok {
					continue
				}
				value := lit.Value
				if u, err := strconv.Unquote(value); err == nil {
					value = u
				}
				s.values[pkg+"."+id.Name] = append(s.values[pkg+"."+id.Name], value)
			}
		}
	}
}

// text is the first of the comments that is there, on one line.
func text(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if t := strings.Join(strings.Fields(g.Text()), " "); t != "" {
			return t
		}
	}
	return ""
}

func (s *source) doc(t reflect.Type) string { return s.docs[t.String()] }

func (s *source) field(t reflect.Type, name string) string { return s.docs[t.String()+"."+name] }
