package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/rest"
)

// rights is the page of who may do what: the tables of server/access, and the right that each route needs.
func rights(string) (string, error) {
	var b strings.Builder
	b.WriteString(`# Who may do what

A user has a role, over everything or within a project ([how to give it](../howto/users.md)). What a route needs is a
*right*; a refusal (403) names it. The tables are those of [server/access](../../server/access/rules.go), and what is not in them
is denied. A user within a project stands to a node as its owner's, as its lessee's, or as a stranger; to a stranger a node
is not there (404), in the same words as one that does not exist. A port, a log or a step is its node's.

Each role may do what those after it may:`)
	for i, r := range access.Roles() {
		b.WriteString([]string{" ", ", "}[min(i, 1)] + "*" + string(r) + "*")
	}
	b.WriteString(`.

## Rights

The least role that has each right. *Within a project* is for what names no object that exists: lists, which show what the project
owns or leases, and the making of something new.

| right | over everything | of the owner's project | of the lessee's project | within a project | for |
|---|---|---|---|---|---|
`)
	for _, r := range access.Rules {
		doc := r.Doc
		if r.Public != "" {
			doc += "; public ones: every " + string(r.Public)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", r.Right, role(r.System), role(r.Owner), role(r.Lessee), role(r.Project), doc)
	}
	b.WriteString(`
## Routes

What is *open* asks for no credentials: it is found out what there is, and ramdisks prove themselves by other means.

| route | right |
|---|---|
`)
	paths, _ := rest.Description()["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item, _ := paths[path].(map[string]any)
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			if op, ok := item[method].(map[string]any); ok {
				need := fmt.Sprintf("`%v`", op["x-right"])
				if op["x-right"] == string(access.Open) {
					need = "*open*"
				}
				fmt.Fprintf(&b, "| `%s %s` | %s |\n", strings.ToUpper(method), path, need)
			}
		}
	}
	b.WriteString(`
A node's allocation may be another project's than the node: those two routes ask for the right to the node first, then for
*allocation.read* or *allocation.change* of the allocation.

## Fields of a node

Who may set a field, on create and by PATCH, by the least role; a field that is in no row is set by the server alone. Lessees are shown
`)
	var redacted []string
	rows := map[[3]access.Role][]string{}
	for _, f := range access.Fields {
		if !f.Shown {
			redacted = append(redacted, "`"+f.Name+"`")
		}
		if key := [3]access.Role{f.Rule.System, f.Rule.Owner, f.Rule.Lessee}; key != [3]access.Role{} {
			rows[key] = append(rows[key], "`"+f.Name+"`")
		}
	}
	b.WriteString("all but " + strings.Join(redacted, ", ") + `, which are redacted.

| fields | over everything | of the owner's project | of the lessee's project |
|---|---|---|---|
`)
	keys := slices.SortedFunc(maps.Keys(rows), func(x, y [3]access.Role) int { return strings.Compare(rows[x][0], rows[y][0]) })
	for _, key := range keys {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.Join(rows[key], ", "), role(key[0]), role(key[1]), role(key[2]))
	}
	b.WriteString("\nA node's parent is judged twice: who sets `parent_node` has to have the right to set it on the parent as well.\n")
	return b.String(), nil
}

// openAPI is the API's description as a server with everything gives it (GET /v1/openapi).
func openAPI(string) (string, error) {
	text, err := json.MarshalIndent(rest.Description(), "", " ")
	return string(text) + "\n", err
}

func role(r access.Role) string {
	if r == "" {
		return "–"
	}
	return string(r)
}
