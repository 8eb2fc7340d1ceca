package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func noNode(ident string) error { return fault.New(fault.NodeNotFound, "there is no node %q", ident) }

func (t *tx) node(where, ident string) (conductor.Node, error) {
	var n conductor.Node
	var body []byte
	err := t.row("SELECT version, body FROM nodes WHERE "+where, []any{text(ident)}, &n.Version, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return n, noNode(ident)
	}
	if err != nil {
		return n, err
	}
	return n, decode("node "+ident, body, &n)
}

func (t *tx) Node(id conductor.NodeID) (conductor.Node, error) { return t.node("uuid = ?", string(id)) }

func (t *tx) NodeByName(name string) (conductor.Node, error) { return t.node("name = ?", name) }

func (t *tx) NodeByAddress(mac string) (conductor.Node, error) {
	return t.node("uuid = (SELECT node FROM records WHERE kind = 'port' AND mark = ?)", strings.ToLower(mac))
}

// sortable maps the sort keys of Ironic's list to what orders them; a key of none comes first. Times are compared as times:
// as text, a fraction would sort before none. An expression with a parameter is given the filter's Defaults. What is no
// column is sorted while it is read, and no more than a page of it is kept.
var sortable = func() map[string]string {
	m := map[string]string{}
	for _, c := range []string{"uuid", "name", "provision_state", "driver", "resource_class", "conductor_group", "owner", "instance_uuid", "fault", "description", "maintenance", "retired"} {
		m[c] = "coalesce(" + c + ", '')"
	}
	for k, column := range map[string]string{"lessee": "lessee", "shard": "shard", "instance_name": "instance_name", "parent_node": "parent"} {
		m[k] = column
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
func (t *tx) marker(f conductor.NodeFilter) (id int64, err error) {
	if f.After == "" {
		return 0, nil
	}
	// A hidden marker is a missing one: where the page begins would tell that it is there, and how it sorts.
	err = t.row("SELECT id FROM nodes WHERE uuid = ? AND (? = '' OR "+visible+")",
		[]any{text(string(f.After)), text(f.VisibleTo), text(f.VisibleTo), text(f.VisibleTo)}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		err = noNode(string(f.After))
	}
	return id, err
}

// nodeQuery adds to a query what a filter says; args are those of the query's beginning, after is the filter's marker.
func (t *tx) nodeQuery(q string, args []any, f conductor.NodeFilter, after int64) (string, []any, error) {
	var where []string
	and := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	for _, c := range []struct{ column, value string }{
		{"provision_state", f.State}, {"driver", f.Driver}, {"resource_class", f.ResourceClass}, {"owner", f.Owner},
		{"instance_uuid", f.InstanceUUID}, {"fault", f.Fault}, {"lessee", f.Lessee}, {"chassis", f.Chassis},
		{"instance_name", f.InstanceName}, {"parent", string(f.Parent)},
	} {
		if c.value != "" {
			and(c.column+" = ?", text(c.value))
		}
	}
	if f.IDs != nil {
		ids, err := encode("list of ids", f.IDs)
		if err != nil {
			return "", nil, err
		}
		and("(uuid IN (SELECT value FROM json_each(?)) OR name IN (SELECT value FROM json_each(?)))", ids, ids)
	}
	if f.VisibleTo != "" {
		and(visible, text(f.VisibleTo), text(f.VisibleTo))
	}
	if f.Group != nil {
		and("conductor_group = ?", text(*f.Group))
	}
	if f.Description != nil {
		and(`description <> '' AND description LIKE ? ESCAPE '\'`, "%"+likeEscaper.Replace(text(*f.Description))+"%")
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
		and("(owner = ? OR lessee = ?)", text(f.Project), text(f.Project))
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
			defaults, err := encode("defaults of "+f.SortKey, f.Defaults)
			if err != nil {
				return "", nil, err
			}
			parameters = []any{defaults}
		}
	}
	if after != 0 {
		if key == "id" { // a bound on it alone is one that SQLite begins to read at
			and("id"+than+"?", after)
		} else {
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

func (t *tx) Nodes(f conductor.NodeFilter) ([]conductor.Node, error) {
	after, err := t.marker(f)
	if err != nil {
		return nil, err
	}
	q, args, err := t.nodeQuery("SELECT version, body FROM nodes", nil, f, after)
	if err != nil {
		return nil, err
	}
	var out []conductor.Node
	err = t.rows(q, args, func(scan func(...any) error) error {
		var n conductor.Node
		var body sql.RawBytes
		if err := scan(&n.Version, &body); err != nil {
			return err
		}
		if err := decode("node", body, &n); err != nil {
			return err
		}
		out = append(out, n)
		return nil
	})
	return out, err
}

func (t *tx) EachNode(each func(id conductor.NodeID, open bool)) error {
	// Two indexes hold all that is asked. The plus keeps SQLite from reading the nodes for their order.
	return t.rows("SELECT uuid, id IN (SELECT id FROM nodes WHERE working = 1) FROM nodes ORDER BY +id", nil, func(scan func(...any) error) error {
		var id conductor.NodeID
		var open bool
		if err := scan(&id, &open); err != nil {
			return err
		}
		each(id, open)
		return nil
	})
}

// visible selects the nodes that a project owns or leases.
const visible = "(owner = ? OR lessee = ?)"

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// columns gives the values of a node's columns, in the order that both writers name them.
func columns(n *conductor.Node) ([]any, error) {
	body, err := encode("node "+string(n.UUID), n)
	if err != nil {
		return nil, err
	}
	return []any{
		null(n.Name), text(string(n.State)), text(n.Driver), text(n.ResourceClass), text(n.Group), text(n.Owner),
		null(n.InstanceUUID), text(n.Fault), text(n.Description), n.Maintenance, n.Retired,
		text(n.InstanceName), text(n.Lessee), text(n.Shard), text(string(n.Parent)), text(n.Chassis), body,
		n.Lease != nil || n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded,
	}, nil
}

func (t *tx) CreateNode(n *conductor.Node) error {
	values, err := columns(n)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner,
		instance_uuid, fault, description, maintenance, retired, instance_name, lessee, shard, parent, chassis, body, working)
		VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append([]any{text(string(n.UUID))}, values...)...)
	if err != nil {
		return taken(n, err)
	}
	n.Version = 1
	return t.putRow(n)
}

// unchanged selects a node whose columns, but body, are what columns gives of it.
const unchanged = `name IS ? AND provision_state = ? AND driver = ? AND resource_class = ? AND conductor_group = ? AND owner = ? AND
	instance_uuid IS ? AND fault = ? AND description = ? AND maintenance = ? AND retired = ? AND instance_name = ? AND lessee = ? AND
	shard = ? AND parent = ? AND chassis = ?`

// PutNode writes most nodes by their body alone: what is set is written anew in each index that holds it.
func (t *tx) PutNode(n *conductor.Node) error {
	values, err := columns(n)
	if err != nil {
		return err
	}
	last := len(values) - 2
	body, working := values[last], values[last+1]
	args := append(append([]any{body, text(string(n.UUID)), n.Version}, values[:last]...), working)
	changed, err := t.exec("UPDATE nodes SET body = ?, version = version + 1 WHERE uuid = ? AND version = ? AND "+unchanged+" AND working = ?", args...)
	if err != nil {
		return err
	}
	if changed == 1 {
		n.Version++
		return t.putRow(n)
	}
	changed, err = t.exec(`UPDATE nodes SET name = ?, provision_state = ?, driver = ?, resource_class = ?, conductor_group = ?, owner = ?,
		instance_uuid = ?, fault = ?, description = ?, maintenance = ?, retired = ?, instance_name = ?, lessee = ?, shard = ?, parent = ?,
		chassis = ?, body = ?, working = ?, version = version + 1
		WHERE uuid = ? AND version = ?`, append(values, text(string(n.UUID)), n.Version)...)
	if err != nil {
		return taken(n, err)
	}
	if changed == 0 {
		var now int64
		if err := t.row("SELECT version FROM nodes WHERE uuid = ?", []any{text(string(n.UUID))}, &now); errors.Is(err, sql.ErrNoRows) {
			return noNode(string(n.UUID))
		} else if err != nil {
			return err
		}
		return fault.New(fault.StateConflict, "node %s was changed meanwhile: version %d was read, the stored one is %d", n.UUID, n.Version, now)
	}
	n.Version++
	return t.putRow(n)
}

// taken names what of a node is another node's already.
func taken(n *conductor.Node, err error) error {
	switch unique(err) {
	case "nodes.uuid":
		return fault.New(fault.NodeExists, "a node with UUID %s exists", n.UUID)
	case "nodes.name":
		return fault.New(fault.NodeExists, "a node named %q exists", n.Name)
	case "nodes.instance_uuid":
		return fault.New(fault.NodeExists, "instance %s is on another node", n.InstanceUUID)
	}
	return err
}

func (t *tx) DeleteNode(id conductor.NodeID) error {
	changed, err := t.exec("DELETE FROM nodes WHERE uuid = ?", text(string(id)))
	if err == nil && changed == 0 {
		err = noNode(string(id))
	}
	return err
}

// Shards counts the nodes of each shard.
func (t *tx) Shards() ([]conductor.Shard, error) {
	var out []conductor.Shard
	err := t.rows("SELECT shard, count(*) FROM nodes GROUP BY shard ORDER BY count(*) DESC, shard", nil, func(scan func(...any) error) error {
		var s conductor.Shard
		err := scan(&s.Name, &s.Count)
		out = append(out, s)
		return err
	})
	return out, err
}
