// Package access decides who may do what over the REST API (safety.md §2.10, I26): a pure function of the caller's
// grant, the right that a route needs, and who owns and uses the object it touches. It knows no HTTP and no store, and
// what it has no rule for is denied.
//
// Start at Rules, the table; Grant.On judges an act on an object, Grant.Anywhere one that touches none, Grant.Sees and
// Grant.Sets single fields. roles.go reads the file that gives users their grants.
package access

import "slices"

// Role is how much a user may do, over everything or within a project.
type Role string

// The roles; each may do what those after it may.
const (
	Admin    Role = "admin"
	Operator Role = "operator"
	Observer Role = "observer"
)

// Roles lists them, the mightiest first.
func Roles() []Role { return []Role{Admin, Operator, Observer} }

// reaches tells whether a role is at least another one. Nobody reaches "", and "" reaches nothing.
func (r Role) reaches(least Role) bool {
	have, want := slices.Index(Roles(), r), slices.Index(Roles(), least)
	return have >= 0 && want >= 0 && have <= want
}

// Grant is what a user was given. Without a project it holds for everything; with one, for what that project owns or
// leases. The zero Grant is good for nothing.
type Grant struct {
	Role    Role
	Project string
}

// None tells that the user was given nothing.
func (g Grant) None() bool { return !slices.Contains(Roles(), g.Role) }

// Object is whose an object is: the projects that own and lease it. A port, a step or a log is its node's.
type Object struct {
	Owner  string
	Lessee string
	Public bool // everyone may read it
}

// Standing is how a grant stands to an object.
type Standing string

// The standings. A stranger is not told that the object exists.
const (
	System   Standing = "system"
	Owner    Standing = "owner"
	Lessee   Standing = "lessee"
	Stranger Standing = "stranger"
)

// Stands tells how a grant stands to an object. Who owns and leases a node is its owner.
func (g Grant) Stands(o Object) Standing {
	switch {
	case g.None():
		return Stranger
	case g.Project == "":
		return System
	case g.Project == o.Owner:
		return Owner
	case g.Project == o.Lessee:
		return Lessee
	}
	return Stranger
}

// Verdict is the answer to who may do what.
type Verdict string

// The verdicts. Hidden is told as "there is no such thing".
const (
	Granted Verdict = "granted"
	Refused Verdict = "refused"
	Hidden  Verdict = "hidden"
)

// On judges an act upon an object. An unknown right is refused.
func (g Grant) On(o Object, r Right) Verdict {
	rule, _ := Lookup(r)
	return rule.judge(g, o)
}

func (rule Rule) judge(g Grant, o Object) Verdict {
	least := Role("")
	switch g.Stands(o) {
	case System:
		least = rule.System
	case Owner:
		least = rule.Owner
	case Lessee:
		least = rule.Lessee
	case Stranger:
		if !o.Public || g.None() {
			return Hidden
		}
		least = rule.Public
	}
	if g.Role.reaches(least) {
		return Granted
	}
	return Refused
}

// Anywhere judges an act that touches no object that exists: a list, which the store filters, or the making of
// something new, where the caller's handler judges what it refers to.
func (g Grant) Anywhere(r Right) Verdict {
	rule, _ := Lookup(r)
	least := rule.System
	if g.Project != "" {
		least = rule.Project
	}
	if g.Role.reaches(least) {
		return Granted
	}
	return Refused
}

// Redaction stands in place of what is not shown to the caller.
const Redaction = "** redacted: it is shown to the node's owner **"

// Sees tells whether a field of a node is shown to a grant; what is not is replaced by a redaction. A field without a
// row is not shown to lessees.
func (g Grant) Sees(o Object, field string) bool {
	switch g.Stands(o) {
	case System, Owner:
		return true
	case Lessee:
		f, ok := lookupField(field)
		return ok && f.Shown
	}
	return false
}

// Sets judges whether a field of a node may be set or removed. A field without a row is refused.
func (g Grant) Sets(o Object, field string) Verdict {
	f, ok := lookupField(field)
	if !ok {
		return Refused
	}
	return f.Rule.judge(g, o)
}
