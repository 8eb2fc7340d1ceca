package access_test

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// TestI26_WhatHasNoRuleIsDenied asks with every grant for what no table has.
func TestI26_WhatHasNoRuleIsDenied(t *testing.T) {
	mine := access.Object{Owner: "blue", Lessee: "blue", Public: true}
	for _, role := range append(access.Roles(), "", "root") {
		for _, project := range []string{"", "blue"} {
			g := access.Grant{Role: role, Project: project}
			for _, right := range []access.Right{"", "node.nosuch", access.Open} {
				if v := g.On(mine, right); v == access.Granted {
					t.Errorf("%+v is granted %q", g, right)
				}
				if v := g.Anywhere(right); v != access.Refused {
					t.Errorf("%+v is %s %q", g, v, right)
				}
			}
			if v := g.Sets(mine, "nosuch"); v == access.Granted {
				t.Errorf("%+v may set an unlisted field", g)
			}
			if g.Project != "" && g.Sees(access.Object{Owner: "red", Lessee: "blue"}, "nosuch") {
				t.Errorf("%+v as lessee sees an unlisted field", g)
			}
		}
	}
}

// TestI26_NoGrantNothing: the zero grant, and one with a role that is none, get nothing of any rule.
func TestI26_NoGrantNothing(t *testing.T) {
	for _, g := range []access.Grant{{}, {Project: "blue"}, {Role: "root"}, {Role: "root", Project: "blue"}} {
		for _, o := range []access.Object{{}, {Owner: "blue"}, {Lessee: "blue"}, {Public: true}} {
			if g.Stands(o) != access.Stranger {
				t.Errorf("%+v stands as %s to %+v", g, g.Stands(o), o)
			}
			for _, r := range access.Rules {
				if g.On(o, r.Right) != access.Hidden || g.Anywhere(r.Right) != access.Refused {
					t.Errorf("%+v is granted %s on %+v", g, r.Right, o)
				}
			}
			for _, f := range access.Fields {
				if g.Sees(o, f.Name) || g.Sets(o, f.Name) == access.Granted {
					t.Errorf("%+v sees or sets %s of %+v", g, f.Name, o)
				}
			}
		}
	}
}

// TestI26_MoreRoleNeverLess: a mightier role may do all that a lesser one may, and nobody but the system touches an
// object of others.
func TestI26_MoreRoleNeverLess(t *testing.T) {
	roles := access.Roles()
	for _, r := range access.Rules {
		for _, project := range []string{"", "blue"} {
			for _, o := range []access.Object{{}, {Owner: "blue"}, {Lessee: "blue"}, {Owner: "red"}, {Owner: "red", Public: true}} {
				for i := 1; i < len(roles); i++ {
					less, more := access.Grant{Role: roles[i], Project: project}, access.Grant{Role: roles[i-1], Project: project}
					if less.On(o, r.Right) == access.Granted && more.On(o, r.Right) != access.Granted || less.Anywhere(r.Right) == access.Granted && more.Anywhere(r.Right) != access.Granted {
						t.Errorf("%s: %s may on %+v, %s may not", r.Right, less.Role, o, more.Role)
					}
				}
			}
			g := access.Grant{Role: access.Admin, Project: "blue"}
			if v := g.On(access.Object{Owner: "red", Lessee: "red"}, r.Right); v != access.Hidden {
				t.Errorf("%s on an object of others is %s", r.Right, v)
			}
			if v := g.On(access.Object{}, r.Right); v != access.Hidden {
				t.Errorf("%s on an object of nobody is %s", r.Right, v)
			}
		}
	}
}

// A public object is read by everybody with a role, and changed by its owner.
func TestPublicObjects(t *testing.T) {
	o := access.Object{Owner: "red", Public: true}
	g := access.Grant{Role: access.Observer, Project: "blue"}
	if g.On(o, access.RunbookRead) != access.Granted || g.On(o, access.RunbookChange) != access.Refused || g.On(access.Object{Owner: "red"}, access.RunbookRead) != access.Hidden {
		t.Error("a public runbook is not read by all and changed by its owner alone")
	}
}

func TestRulesAndFieldsAreNamedOnce(t *testing.T) {
	rights, fields := map[access.Right]bool{}, map[string]bool{}
	for _, r := range access.Rules {
		if rights[r.Right] || r.Doc == "" || r.System == "" {
			t.Errorf("%s is there twice, has no sentence, or is for no administrator", r.Right)
		}
		rights[r.Right] = true
	}
	for _, f := range access.Fields {
		if fields[f.Name] {
			t.Errorf("field %s is there twice", f.Name)
		}
		fields[f.Name] = true
	}
	for _, f := range api.NodeFields() {
		if !fields[f.Name] {
			t.Errorf("field %s of a node has no row in access.Fields (server/access/rules.go): say whether lessees are shown it and who may set it", f.Name)
		}
	}
}

// TestI22_LesseesAreNotShownTheInside holds the list of server-api.md §11.
func TestI22_LesseesAreNotShownTheInside(t *testing.T) {
	g := access.Grant{Role: access.Admin, Project: "blue"}
	for _, f := range []string{"driver_info", "driver_internal_info", "last_error", "reservation"} {
		if g.Sees(access.Object{Owner: "red", Lessee: "blue"}, f) {
			t.Errorf("a lessee is shown %s", f)
		}
		if !g.Sees(access.Object{Owner: "blue", Lessee: "red"}, f) || !(access.Grant{Role: access.Observer}).Sees(access.Object{Owner: "red"}, f) {
			t.Errorf("the owner or the system is not shown %s", f)
		}
	}
}

func TestRolesFile(t *testing.T) {
	got, err := access.ParseRoles(strings.NewReader("# who\n\nann:admin\n bob:operator:blue \nole:observer\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]access.Grant{"ann": {Role: access.Admin}, "bob": {Role: access.Operator, Project: "blue"}, "ole": {Role: access.Observer}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for name, g := range want {
		if got[name] != g {
			t.Errorf("%s: %+v, expected %+v", name, got[name], g)
		}
	}
	for _, bad := range []string{"ann", "ann:", ":admin", "ann:king", "ann:Admin", "ann:admin:", "ann:admin: ", "ann :admin", "\xdd\f:admin", "ann:admin:a b", "ann:admin:blue:x",
		"ann:admin\nann:observer", "ann:admin:" + strings.Repeat("p", 256), strings.Repeat("n", 256) + ":admin", strings.Repeat("#\n", 1<<20)} {
		if _, err := access.ParseRoles(strings.NewReader(bad)); err == nil {
			t.Errorf("the roles file %.40q is accepted", bad)
		}
	}
}

// FuzzI25_RolesFile: whatever a file holds, a grant that comes out has a role, and an empty project only where the line
// has no second colon.
func FuzzI25_RolesFile(f *testing.F) {
	for _, s := range []string{"ann:admin", "bob:operator:blue\n#x\n", "a:observer:\n", "::", "a:admin:b:c", "\x00:admin", "ann:admin\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		grants, err := access.ParseRoles(strings.NewReader(text))
		if err != nil {
			return
		}
		for name, g := range grants {
			if name == "" || g.None() || strings.ContainsAny(name+g.Project, ":\n") {
				t.Fatalf("%q gave %q %+v", text, name, g)
			}
			line := name + ":" + string(g.Role)
			if g.Project != "" {
				line += ":" + g.Project
			}
			if again, err := access.ParseRoles(strings.NewReader(line)); err != nil || again[name] != g {
				t.Fatalf("%q does not come back: %v %v", line, again, err)
			}
		}
	})
}
