package migrate

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Action is what an import would do with one object.
type Action string

// The actions.
const (
	Same    Action = "same"    // nothing: the target has it as it is
	Create  Action = "create"  // make it
	Change  Action = "change"  // set what differs
	Differs Action = "differs" // nothing: the target's own has gone on since it was imported
	Blocked Action = "blocked" // nothing: Why says what stands in the way
)

// Diff is a field, or a key of one, that differs.
type Diff struct {
	Field string `json:"field"`
	Here  any    `json:"target"` // now
	There any    `json:"source"` // masked, if it is a secret
	value any    // There, unmasked
}

// Item is one object of a plan.
type Item struct {
	Kind   string   `json:"kind"`
	UUID   string   `json:"uuid"`
	Label  string   `json:"name"`
	Action Action   `json:"action"`
	Why    string   `json:"why,omitempty"`
	Diffs  []Diff   `json:"diff,omitempty"`
	Notes  []string `json:"notes,omitempty"` // what can't be carried over, or is left to do by hand
	// From and Goal are of a node: its state in the source, and the one the import takes it to.
	From state.State `json:"source_state,omitempty"`
	Goal state.State `json:"goal,omitempty"`
	At   state.State `json:"state,omitempty"` // on the target now; "": it is not there
	// want is the object as the target is to have it.
	want   Object
	traits []string        // of a node; nil: the source does not tell them
	last   Object          // of a node: what is set when it has reached its goal
	secret map[string]bool // fields of Diffs whose values are not shown
	reason string          // of its maintenance
}

// Plan is all that an import would do, in the order in which it does it.
type Plan struct {
	Items []Item `json:"items"`
	// Unserved are kinds of which the source has objects and which the target does not serve.
	Unserved []string `json:"not_served,omitempty"`
}

// Count is how many items of each action there are.
func (p *Plan) Count() map[Action]int {
	out := map[Action]int{}
	for _, i := range p.Items {
		out[i.Action]++
	}
	return out
}

// Compare says what makes the target have what the source has.
func Compare(source, target *Fleet, secrets Secrets) *Plan {
	p := &Plan{}
	c := comparison{source: source, target: target, secrets: secrets, blocked: map[string]string{}}
	c.index()
	for _, k := range kinds {
		if !target.Serves(k.name) {
			if len(source.Objects(k.name)) > 0 {
				p.Unserved = append(p.Unserved, k.name)
			}
			continue
		}
		for _, o := range source.Objects(k.name) {
			p.Items = append(p.Items, c.item(k, o))
		}
	}
	return p
}

type comparison struct {
	source, target *Fleet
	secrets        Secrets
	byUUID         map[string]Object            // kind, slash, UUID
	taken          map[string]map[string]string // what must be unique, by value: to the UUID that has it
	blocked        map[string]string            // nodes that are not taken over, by UUID: why
}

// unique are fields of which no two objects of a kind may have the same value.
var unique = map[string][]string{"node": {"name", "instance_uuid"}, "port": {"address", "name"}, "port group": {"address", "name"}, "deploy template": {"name"}, "runbook": {"name"}}

func (c *comparison) index() {
	c.byUUID, c.taken = map[string]Object{}, map[string]map[string]string{}
	for _, k := range kinds {
		for _, o := range c.target.Objects(k.name) {
			id := text(o, "uuid")
			c.byUUID[k.name+"/"+id] = o
			for _, f := range unique[k.name] {
				c.take(k.name+" "+f, strings.ToLower(text(o, f)), id)
			}
			if k.name == "node" {
				c.take("BMC address", api.BMCOf(info(o)), id)
			}
		}
	}
}

// info is a node's driver_info.
func info(o Object) map[string]any {
	m, _ := o["driver_info"].(map[string]any)
	return m
}

func (c *comparison) take(what, value, id string) {
	if c.taken[what] == nil {
		c.taken[what] = map[string]string{}
	}
	if value != "" {
		c.taken[what][value] = id
	}
}

// conflict says which unique value another object of the target has already.
func (c *comparison) conflict(k kind, o Object) string {
	id := text(o, "uuid")
	for _, f := range unique[k.name] {
		if v := text(o, f); v != "" {
			if other, ok := c.taken[k.name+" "+f][strings.ToLower(v)]; ok && other != id {
				return fmt.Sprintf("its %s %s belongs to %s %s of the target", f, v, k.name, other)
			}
		}
	}
	if a := api.BMCOf(info(o)); k.name == "node" && a != "" {
		if other, ok := c.taken["BMC address"][a]; ok && other != id {
			return fmt.Sprintf("its BMC %s is that of node %s of the target", a, other)
		}
	}
	return ""
}

func (c *comparison) item(k kind, o Object) Item {
	i := Item{Kind: k.name, UUID: text(o, "uuid"), Label: label(o), want: Object{"uuid": text(o, "uuid")}}
	have := c.byUUID[k.name+"/"+i.UUID]
	for _, f := range k.fields {
		if v, told := o[f]; told && (have != nil || !empty(v)) {
			i.want[f] = v
		}
	}
	i.Why = c.conflict(k, o)
	switch {
	case k.name == "node":
		c.node(&i, o, have)
	case k.owned:
		i.strip("properties")
		delete(i.want, "portgroup_uuid") // set below, when the target has port groups
		if group := text(o, "portgroup_uuid"); group != "" && k.name == "port" {
			if c.target.Serves("port group") {
				i.want["portgroup_uuid"] = group
			} else {
				i.Notes = append(i.Notes, "port groups are not served by the target: portgroup_uuid is left out")
			}
		}
		if why := c.blocked[text(o, "node_uuid")]; why != "" && i.Why == "" {
			i.Why = "its node is not taken over"
		}
	}
	if have != nil {
		i.Diffs = differences(i.want, have, k.fixed, i.secret)
		for n, d := range i.Diffs {
			if i.secret[d.Field] {
				i.Diffs[n].There = api.Masked
			}
		}
	}
	late := func(d Diff) bool { _, ok := i.last[d.Field]; return ok }
	_, going := state.FlowOf(i.At)
	pending := i.At == state.Enroll || i.Goal == state.Active && (i.At == state.Manageable || i.At == state.AdoptFail)
	switch {
	case i.Why != "":
		i.Action = Blocked
	case have == nil:
		i.Action = Create
	case k.name == "node" && going:
		i.Action, i.Why = Blocked, fmt.Sprintf("the target works on it (%s); run the import again when that has ended", i.At)
	case k.name == "node" && pending && (len(i.Diffs) > 0 || i.At != i.Goal):
		i.Action = Change
	case k.name == "node" && !pending && slices.ContainsFunc(i.Diffs, func(d Diff) bool { return !late(d) }):
		i.Action = Differs
	case len(i.Diffs) > 0 && (k.name != "node" || i.At == i.Goal):
		i.Action = Change
	case len(i.Diffs) > 0:
		i.Action = Differs
	default:
		i.Action = Same
	}
	if k.name == "node" && i.Action == Blocked {
		c.blocked[i.UUID] = i.Why
	}
	return i
}

// node adds what is particular to a node: its way, its secrets, its interfaces.
func (c *comparison) node(i *Item, o, have Object) {
	i.secret = map[string]bool{}
	i.From = state.State(text(o, "provision_state"))
	i.At = state.State(text(have, "provision_state"))
	var why, note string
	i.Goal, why, note = goal(i.From)
	if i.Why == "" {
		i.Why = why
	}
	if note != "" {
		i.Notes = append(i.Notes, note)
	}
	if text(o, "allocation_uuid") != "" {
		i.Notes = append(i.Notes, "its allocation is not carried over; instance_uuid is")
	}
	if text(o, "chassis_uuid") != "" && !c.target.Serves("chassis") {
		delete(i.want, "chassis_uuid")
		i.Notes = append(i.Notes, "chassis are not served by the target: chassis_uuid is left out")
	}
	driver := text(o, "driver")
	if _, ok := c.target.drivers[driver]; !ok && i.Why == "" {
		i.Why = fmt.Sprintf("the target has no hardware type %s; it has %s", driver, strings.Join(slices.Sorted(maps.Keys(c.target.drivers)), ", "))
	}
	for _, f := range slices.Sorted(maps.Keys(i.want)) {
		iface, ok := strings.CutSuffix(f, "_interface")
		v, _ := i.want[f].(string)
		if offered := c.target.enabled(driver, iface); ok && offered != nil && v != "" && !slices.Contains(offered, v) {
			delete(i.want, f)
			i.Notes = append(i.Notes, fmt.Sprintf("%s %s is not offered by the target, which takes its default", f, v))
		}
	}
	i.want["conductor_group"] = strings.ToLower(text(o, "conductor_group"))
	missing := c.unmask(i, o, have)
	if len(missing) > 0 {
		i.Notes = append(i.Notes, fmt.Sprintf("driver_info %s can't be read from the source and is missing: give it by --secrets; until then the node stays in enroll", strings.Join(missing, ", ")))
		i.Goal = state.Enroll
	}
	if list, ok := o["traits"].([]any); ok {
		i.traits = []string{}
		for _, t := range list {
			i.traits = append(i.traits, fmt.Sprint(t))
		}
		slices.Sort(i.traits)
		if len(list) > 0 || have != nil {
			i.want["traits"] = anys(i.traits)
		}
	}
	// What would be in the way of adopting, or is refused before it, comes last.
	i.last = Object{}
	for _, f := range []string{"protected", "protected_reason", "retired", "retired_reason"} {
		v := i.want[f]
		unset := empty(v) || v == false
		if !unset {
			i.last[f] = v
		}
		if unset || have == nil {
			delete(i.want, f)
		}
	}
	if _, ok := i.last["protected"]; ok && i.Goal != state.Active {
		delete(i.last, "protected")
		delete(i.last, "protected_reason")
		delete(i.want, "protected")
		delete(i.want, "protected_reason")
		i.Notes = append(i.Notes, "protected can be set on active nodes only")
	}
	if m, _ := o["maintenance"].(bool); m {
		i.last["maintenance"], i.want["maintenance"] = true, true
		i.reason = text(o, "maintenance_reason")
	}
}

// unmask puts given secrets in the place of masks, and takes out what stays masked. It gives the keys of driver_info
// that the target lacks. A secret that the target has can't be compared: it is set again while the node is in enroll,
// where a wrong one keeps it, and left alone once the node has gone on.
func (c *comparison) unmask(i *Item, o, have Object) (missing []string) {
	from, there := info(o), info(have)
	out := Object{}
	for _, k := range slices.Sorted(maps.Keys(from)) {
		if from[k] != api.Masked {
			out[k] = from[k]
			continue
		}
		if v, ok := c.secrets.of(o, k); ok && (there[k] != api.Masked || i.At == state.Enroll) {
			out[k] = v
			i.secret["driver_info."+k] = true
		} else if !ok && there[k] != api.Masked {
			missing = append(missing, k)
		}
	}
	if len(out) > 0 || have != nil {
		i.want["driver_info"] = out
	} else {
		delete(i.want, "driver_info")
	}
	i.strip("instance_info")
	return missing
}

// strip takes out of a field what the source masks.
func (i *Item) strip(field string) {
	info, ok := i.want[field].(map[string]any)
	if !ok {
		return
	}
	info = maps.Clone(info)
	var lost []string
	for _, k := range slices.Sorted(maps.Keys(info)) {
		if info[k] == api.Masked {
			delete(info, k)
			lost = append(lost, k)
		}
	}
	i.want[field] = info
	if len(lost) > 0 {
		i.Notes = append(i.Notes, field+" "+strings.Join(lost, ", ")+" can't be read from the source and is left out")
	}
}

// goal is where an import takes a node that is in a state of the source: why is set when it is not taken over at all.
func goal(from state.State) (to state.State, why, note string) {
	if f, going := state.FlowOf(from); going {
		return "", fmt.Sprintf("the source works on it (%s): let the %s end there, then run the import again", from, f.Flow), ""
	}
	switch from {
	case state.Active:
		return state.Active, "", ""
	case state.Manageable:
		return state.Manageable, "", ""
	case state.Available:
		return state.Manageable, "", "it is available in the source; here bessemer provide erases its disks and offers it"
	case state.Enroll, state.InspectFail, state.AdoptFail, state.CleanFail:
		note := ""
		if from != state.Enroll {
			note = fmt.Sprintf("it is %s in the source; it starts in enroll", from)
		}
		return state.Enroll, "", note
	}
	return "", fmt.Sprintf("it is %s in the source, and may hold an instance: bring it to active or available there first", from), ""
}

// differences compares what is wanted with what is there: objects key by key, a field that the target does not know
// not at all. A mask counts as equal to whatever is wanted in its place, but for the fields that are in again.
func differences(want, have Object, fixed []string, again map[string]bool) (out []Diff) {
	for _, f := range slices.Sorted(maps.Keys(want)) {
		there, known := have[f]
		if !known || f == "uuid" || slices.Contains(fixed, f) {
			continue
		}
		m, isMap := want[f].(map[string]any)
		old, _ := there.(map[string]any)
		switch {
		case isMap:
			keys := slices.Sorted(maps.Keys(m))
			for _, k := range keys {
				if (old[k] != api.Masked || again[f+"."+k]) && !equal(m[k], old[k]) {
					out = append(out, Diff{f + "." + k, old[k], m[k], m[k]})
				}
			}
			for _, k := range slices.Sorted(maps.Keys(old)) {
				if _, wanted := m[k]; !wanted && old[k] != api.Masked {
					out = append(out, Diff{f + "." + k, old[k], nil, nil})
				}
			}
		case !equal(want[f], there):
			out = append(out, Diff{f, there, want[f], want[f]})
		}
	}
	return out
}

// equal compares decoded JSON; what is empty is equal to what is unset, and lists of texts are sets.
func equal(a, b any) bool {
	if empty(a) && empty(b) {
		return true
	}
	x, listX := a.([]any)
	y, listY := b.([]any)
	if listX && listY {
		return reflect.DeepEqual(texts(x), texts(y))
	}
	return reflect.DeepEqual(a, b)
}

func texts(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		t, err := json.Marshal(v)
		if err != nil { // decoded JSON can be encoded again
			t = fmt.Append(nil, v)
		}
		out[i] = string(t)
	}
	slices.Sort(out)
	return out
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// empty tells whether a value is the one that an unset field has.
func empty(v any) bool {
	switch t := v.(type) {
	case nil:
		return true
	case string:
		return t == ""
	case map[string]any:
		return len(t) == 0
	case []any:
		return len(t) == 0
	}
	return false
}
