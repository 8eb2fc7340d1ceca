// Package nodes is what the store keeps of nodes: their rows, the rows that lists show (prepared.go), inventories, parts, steps and
// effects. It decides nothing about nodes, and begins and commits no transaction.
//
// Start at Tx.
package nodes

import (
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Tx is a transaction upon all this.
type Tx struct {
	*session.Tx
	Preparer *Preparer       // nil in views, and where rows are not prepared
	Worn     chan<- struct{} // nil in updates: told when prepared rows do not fit their nodes
}

// Missing is the fault of a node that is not there.
func Missing(ident string) error { return fault.New(fault.NodeNotFound, "there is no node %q", ident) }

func (t *Tx) node(where, ident string) (conductor.Node, error) {
	var n conductor.Node
	var body []byte
	err := t.Row("SELECT version, body FROM nodes WHERE "+where, []any{session.Text(ident)}, &n.Version, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return n, Missing(ident)
	}
	if err != nil {
		return n, err
	}
	return n, session.Decode("node "+ident, body, &n)
}

func (t *Tx) Node(id conductor.NodeID) (conductor.Node, error) { return t.node("uuid = ?", string(id)) }

func (t *Tx) NodeByName(name string) (conductor.Node, error) { return t.node("name = ?", name) }

func (t *Tx) NodeByAddress(mac string) (conductor.Node, error) {
	return t.node("uuid = (SELECT node FROM records WHERE kind = 'port' AND mark = ?)", strings.ToLower(mac))
}

// sortable maps the sort keys of Ironic's list to what orders them; a key of none comes first. Times are compared as times:
// as text, a fraction would sort before none. An expression with a parameter is given the filter's Defaults. A column is named as it
// is, so that an index of it gives the order and a page begins in the middle of it. What has no index is sorted while it is read, and
// no more than a page of it is kept.
var sortable = func() map[string]string {
	m := map[string]string{"parent_node": "parent"}
	for _, c := range []string{"uuid", "name", "provision_state", "driver", "resource_class", "conductor_group", "owner", "instance_uuid", "fault", "description", "maintenance", "retired",
		"lessee", "shard", "instance_name"} {
		m[c] = c
	}
	for none, keys := range map[string][]string{
		"''": {"target_provision_state", "power_state", "target_power_state", "last_error", "boot_mode", "health", "maintenance_reason", "protected_reason", "retired_reason"},
		"0":  {"console_enabled", "protected", "disable_power_off"}, // false is left out
		"-1": {"automated_clean", "secure_boot"},                    // neither false nor true
	} {
		for _, k := range keys {
			m[k] = "coalesce(body ->> '$." + k + "', " + none + ")"
		}
	}
	for _, k := range []string{"created_at", "updated_at", "provision_updated_at", "inspection_started_at", "inspection_finished_at"} {
		m[k] = "coalesce(julianday(body ->> '$." + k + "'), 0)"
	}
	for _, i := range api.Interfaces() {
		m[i+"_interface"] = "coalesce(nullif(body ->> '$.interfaces." + i + "', ''), (SELECT value FROM json_each(?) WHERE key = driver), '')"
	}
	m["reservation"] = busyNode()
	return m
}()

// nullable are the columns that hold NULL for none, as they are unique. It comes first.
var nullable = map[string]bool{"name": true, "instance_uuid": true}

// afterNull is the condition of a page by such a column that begins after a node. Nothing compares with NULL, so the nodes that have none
// are named.
func (t *Tx) afterNull(key string, descending bool, after int64) (cond string, args []any, err error) {
	var value sql.NullString
	if err := t.Row("SELECT "+key+" FROM nodes WHERE id = ?", []any{after}, &value); err != nil { // the marker was found in this transaction
		return "", nil, err
	}
	switch {
	case value.Valid && descending:
		return "(" + key + " < ? OR " + key + " IS NULL)", []any{value.String}, nil
	case value.Valid:
		return key + " > ?", []any{value.String}, nil
	case descending:
		return key + " IS NULL AND id < ?", []any{after}, nil
	}
	return "(" + key + " IS NOT NULL OR id > ?)", []any{after}, nil
}

// busyNode is conductor.Busy.
func busyNode() string {
	var doing []string
	for _, s := range state.All() {
		if f, ok := state.FlowOf(s); ok && s == f.Doing {
			doing = append(doing, "'"+string(s)+"'")
		}
	}
	return "(provision_state IN (" + strings.Join(doing, ", ") + ") OR coalesce(body ->> '$.target_power_state', '') <> '' OR body ->> '$.act' IS NOT NULL" +
		" OR coalesce(body ->> '$.lease.holder', '') IN ('" + conductor.HolderBootDevice + "', '" + conductor.HolderNow + "'))"
}

// marker finds the node that a filter's page begins after, by its number; 0: it begins with the first.
func (t *Tx) marker(f conductor.NodeFilter) (id int64, err error) {
	if f.After == "" {
		return 0, nil
	}
	// A hidden marker is a missing one: where the page begins would tell that it is there, and how it sorts.
	err = t.Row("SELECT id FROM nodes WHERE uuid = ? AND (? = '' OR "+Visible+")",
		[]any{session.Text(string(f.After)), session.Text(f.VisibleTo), session.Text(f.VisibleTo), session.Text(f.VisibleTo)}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		err = Missing(string(f.After))
	}
	return id, err
}

// nodeQuery adds to a query what a filter says; args are those of the query's beginning, after is the filter's marker.
func (t *Tx) nodeQuery(q string, args []any, f conductor.NodeFilter, after int64) (string, []any, error) {
	var where []string
	and := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	for _, c := range []struct{ column, value string }{
		{"provision_state", f.State}, {"driver", f.Driver}, {"resource_class", f.ResourceClass}, {"owner", f.Owner},
		{"instance_uuid", f.InstanceUUID}, {"fault", f.Fault}, {"lessee", f.Lessee}, {"chassis", f.Chassis},
		{"instance_name", f.InstanceName}, {"parent", string(f.Parent)},
	} {
		if c.value != "" {
			and(c.column+" = ?", session.Text(c.value))
		}
	}
	if f.IDs != nil {
		ids, err := session.Encode("list of ids", f.IDs)
		if err != nil {
			return "", nil, err
		}
		and("(uuid IN (SELECT value FROM json_each(?)) OR name IN (SELECT value FROM json_each(?)))", ids, ids)
	}
	if f.VisibleTo != "" {
		and(Visible, session.Text(f.VisibleTo), session.Text(f.VisibleTo))
	}
	if f.Group != nil {
		and("conductor_group = ?", session.Text(*f.Group))
	}
	if f.Description != nil {
		and(`description <> '' AND description LIKE ? ESCAPE '\'`, "%"+LikeEscaper.Replace(session.Text(*f.Description))+"%")
	}
	if f.Associated != nil {
		and("(instance_uuid IS NOT NULL) = ?", *f.Associated)
	}
	if f.Maintenance != nil {
		and("maintenance = ?", *f.Maintenance)
	}
	if f.Retired != nil {
		and("retired = ?", *f.Retired)
	}
	if f.Project != "" {
		and("(owner = ? OR lessee = ?)", session.Text(f.Project), session.Text(f.Project))
	}
	if f.Roots {
		and("parent = ''")
	}
	if f.Sharded != nil {
		and("(shard <> '') = ?", *f.Sharded)
	}
	if f.Shards != nil {
		list, err := json.Marshal(f.Shards) // one text for any number of them, so that the statement stays the same
		if err != nil {
			return "", nil, err
		}
		and("shard IN (SELECT value FROM json_each(?))", string(list))
	}

	key, than, dir := "id", " > ", ""
	if f.Descending {
		than, dir = " < ", " DESC"
	}
	var parameters []any // of the key, each time that it stands there
	if f.SortKey != "" && f.SortKey != "id" {
		var ok bool
		if key, ok = sortable[f.SortKey]; !ok {
			return "", nil, fault.New(fault.RequestInvalid, "nodes can't be sorted by %q", f.SortKey).
				WithHint("sort by one of %s", strings.Join(slices.Sorted(maps.Keys(sortable)), ", "))
		}
		if strings.Contains(key, "?") {
			defaults, err := session.Encode("defaults of "+f.SortKey, f.Defaults)
			if err != nil {
				return "", nil, err
			}
			parameters = []any{defaults}
		}
	}
	if after != 0 {
		switch {
		case key == "id": // a bound on it alone is one that SQLite begins to read at
			and("id"+than+"?", after)
		case nullable[key]:
			cond, with, err := t.afterNull(key, f.Descending, after)
			if err != nil {
				return "", nil, err
			}
			and(cond, with...)
		default:
			and("("+key+", id)"+than+"(SELECT "+key+", id FROM nodes WHERE id = ?)", slices.Concat(parameters, parameters, []any{after})...)
		}
	}
	if len(where) > 0 {
		q += " WHERE " + strings.Join(where, " AND ")
	}
	q += " ORDER BY " + key + dir + ", id" + dir
	args = append(args, parameters...)
	if f.Limit > 0 {
		q += " LIMIT ?"
		args = append(args, f.Limit)
	}
	return q, args, nil
}

func (t *Tx) Nodes(f conductor.NodeFilter) ([]conductor.Node, error) {
	after, err := t.marker(f)
	if err != nil {
		return nil, err
	}
	q, args, err := t.nodeQuery("SELECT version, body FROM nodes", nil, f, after)
	if err != nil {
		return nil, err
	}
	var out []conductor.Node
	err = t.Rows(q, args, func(scan func(...any) error) error {
		var n conductor.Node
		var body sql.RawBytes
		if err := scan(&n.Version, &body); err != nil {
			return err
		}
		if err := session.Decode("node", body, &n); err != nil {
			return err
		}
		out = append(out, n)
		return nil
	})
	return out, err
}

func (t *Tx) EachNode(each func(id conductor.NodeID, open bool)) error {
	// Two indexes hold all that is asked. The plus keeps SQLite from reading the nodes for their order.
	return t.Rows("SELECT uuid, id IN (SELECT id FROM nodes WHERE working = 1) FROM nodes ORDER BY +id", nil, func(scan func(...any) error) error {
		var id conductor.NodeID
		var open bool
		if err := scan(&id, &open); err != nil {
			return err
		}
		each(id, open)
		return nil
	})
}

// Visible selects the nodes that a project owns or leases.
const Visible = "(owner = ? OR lessee = ?)"

// LikeEscaper makes a text one that LIKE takes as it is, with a backslash as escape.
var LikeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// columns gives the values of a node's columns, in the order that both writers name them.
func columns(n *conductor.Node) ([]any, error) {
	body, err := session.Encode("node "+string(n.UUID), n)
	if err != nil {
		return nil, err
	}
	return []any{
		session.Null(n.Name), session.Text(string(n.State)), session.Text(n.Driver), session.Text(n.ResourceClass), session.Text(n.Group), session.Text(n.Owner),
		session.Null(n.InstanceUUID), session.Text(n.Fault), session.Text(n.Description), n.Maintenance, n.Retired,
		session.Text(n.InstanceName), session.Text(n.Lessee), session.Text(n.Shard), session.Text(string(n.Parent)), session.Text(n.Chassis), body,
		n.Lease != nil || n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded,
	}, nil
}

func (t *Tx) CreateNode(n *conductor.Node) error {
	values, err := columns(n)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner,
		instance_uuid, fault, description, maintenance, retired, instance_name, lessee, shard, parent, chassis, body, working)
		VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append([]any{session.Text(string(n.UUID))}, values...)...)
	if err != nil {
		return taken(n, err)
	}
	n.Version = 1
	return t.PutRow(n)
}

// unchanged selects a node whose columns, but body, are what columns gives of it.
const unchanged = `name IS ? AND provision_state = ? AND driver = ? AND resource_class = ? AND conductor_group = ? AND owner = ? AND
	instance_uuid IS ? AND fault = ? AND description = ? AND maintenance = ? AND retired = ? AND instance_name = ? AND lessee = ? AND
	shard = ? AND parent = ? AND chassis = ?`

// PutNode writes most nodes by their body alone: what is set is written anew in each index that holds it.
func (t *Tx) PutNode(n *conductor.Node) error {
	values, err := columns(n)
	if err != nil {
		return err
	}
	last := len(values) - 2
	body, working := values[last], values[last+1]
	args := append(append([]any{body, session.Text(string(n.UUID)), n.Version}, values[:last]...), working)
	changed, err := t.Exec("UPDATE nodes SET body = ?, version = version + 1 WHERE uuid = ? AND version = ? AND "+unchanged+" AND working = ?", args...)
	if err != nil {
		return err
	}
	if changed == 1 {
		n.Version++
		return t.PutRow(n)
	}
	changed, err = t.Exec(`UPDATE nodes SET name = ?, provision_state = ?, driver = ?, resource_class = ?, conductor_group = ?, owner = ?,
		instance_uuid = ?, fault = ?, description = ?, maintenance = ?, retired = ?, instance_name = ?, lessee = ?, shard = ?, parent = ?,
		chassis = ?, body = ?, working = ?, version = version + 1
		WHERE uuid = ? AND version = ?`, append(values, session.Text(string(n.UUID)), n.Version)...)
	if err != nil {
		return taken(n, err)
	}
	if changed == 0 {
		var now int64
		if err := t.Row("SELECT version FROM nodes WHERE uuid = ?", []any{session.Text(string(n.UUID))}, &now); errors.Is(err, sql.ErrNoRows) {
			return Missing(string(n.UUID))
		} else if err != nil {
			return err
		}
		return fault.New(fault.StateConflict, "node %s was changed meanwhile: version %d was read, the stored one is %d", n.UUID, n.Version, now)
	}
	n.Version++
	return t.PutRow(n)
}

// taken names what of a node is another node's already.
func taken(n *conductor.Node, err error) error {
	switch session.Unique(err) {
	case "nodes.uuid":
		return fault.New(fault.NodeExists, "a node with UUID %s exists", n.UUID)
	case "nodes.name":
		return fault.New(fault.NodeExists, "a node named %q exists", n.Name)
	case "nodes.instance_uuid":
		return fault.New(fault.NodeExists, "instance %s is on another node", n.InstanceUUID)
	}
	return err
}

func (t *Tx) DeleteNode(id conductor.NodeID) error {
	changed, err := t.Exec("DELETE FROM nodes WHERE uuid = ?", session.Text(string(id)))
	if err == nil && changed == 0 {
		err = Missing(string(id))
	}
	return err
}

// Shards counts the nodes of each shard.
func (t *Tx) Shards() ([]conductor.Shard, error) {
	var out []conductor.Shard
	err := t.Rows("SELECT shard, count(*) FROM nodes GROUP BY shard ORDER BY count(*) DESC, shard", nil, func(scan func(...any) error) error {
		var s conductor.Shard
		err := scan(&s.Name, &s.Count)
		out = append(out, s)
		return err
	})
	return out, err
}
