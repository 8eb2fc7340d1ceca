package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// PatchOp is one operation of a PATCH body. The rules are Ironic's, which differ from RFC 6902: see ApplyPatch.
type PatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"` // of a remove nothing
}

// MarshalJSON writes the value even when it is null: an add without one is refused, or taken for another.
func (op PatchOp) MarshalJSON() ([]byte, error) {
	if op.Op == "remove" {
		return json.Marshal(struct {
			Op   string `json:"op"`
			Path string `json:"path"`
		}{op.Op, op.Path})
	}
	return json.Marshal(struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}{op.Op, op.Path, op.Value})
}

// MaxPatch is how many operations one PATCH may hold.
const MaxPatch = 1000

var (
	// What Ironic's pattern has as \w: letters and digits of any script.
	patchPath    = regexp.MustCompile(`^(/[\p{L}\p{N}_-]+)+$`)
	patchPath198 = regexp.MustCompile(`^(/([\p{L}\p{N}_-]|~0|~1)+)+$`)
	unescape     = strings.NewReplacer("~1", "/", "~0", "~")
)

// ApplyPatch carries out the operations in order on a copy of doc, all or nothing, and returns the copy and the names
// of the top-level fields touched. doc holds the fields as the wire has them; fields is the resource's table.
//
//   - add sets a key, or inserts into a list before an index; replace and remove need the key to be there.
//   - A top-level field is always there. Removing it resets it: a map to {}, a flag to false, anything else to null.
//   - A field that the version does not have is a request.version fault; everything else wrong is request.invalid.
func ApplyPatch(doc map[string]any, ops []PatchOp, fields []Field, v Version) (map[string]any, []string, error) {
	if len(ops) > MaxPatch {
		return nil, nil, fault.New(fault.RequestInvalid, "the patch has %d operations, at most %d are taken", len(ops), MaxPatch)
	}
	out := clone(doc).(map[string]any)
	var touched []string
	for i, op := range ops {
		name, err := applyOne(out, op, fields, v)
		if err != nil {
			f := fault.From(err)
			f.Message = fmt.Sprintf("operation %d (%s %s): %s", i+1, op.Op, op.Path, f.Message)
			return nil, nil, f
		}
		if !slices.Contains(touched, name) {
			touched = append(touched, name)
		}
	}
	return out, touched, nil
}

func applyOne(doc map[string]any, op PatchOp, fields []Field, v Version) (string, error) {
	if op.Op != "add" && op.Op != "replace" && op.Op != "remove" {
		return "", invalid("op is %q, expected add, replace or remove", op.Op)
	}
	re := patchPath
	if v >= 98 {
		re = patchPath198
	}
	if !re.MatchString(op.Path) {
		return "", invalid("the path does not match %s", re)
	}
	keys := strings.Split(op.Path[1:], "/")
	if v >= 98 {
		for i, k := range keys {
			keys[i] = unescape.Replace(k)
		}
	}
	at := slices.IndexFunc(fields, func(f Field) bool { return f.Name == keys[0] })
	if at < 0 || !fields[at].Patch {
		return "", invalid("%s can't be changed; what can is %s", keys[0], strings.Join(patchable(fields, v), ", "))
	}
	field := fields[at]
	if field.Since > v {
		return "", fault.New(fault.RequestVersion, "field %s is there from version %s on, %s was asked for", field.Name, field.Since, v)
	}
	if len(keys) == 1 {
		switch {
		case op.Op != "remove":
			doc[field.Name] = clone(op.Value)
		case field.Need:
			return "", invalid("%s is required and can't be removed", field.Name)
		default:
			doc[field.Name] = field.Reset()
		}
		return field.Name, nil
	}
	next, err := descend(doc[field.Name], keys[1:], op)
	if err != nil {
		return "", err
	}
	doc[field.Name] = next
	return field.Name, nil
}

// descend applies op at keys below at and returns what stands at its place afterwards.
func descend(at any, keys []string, op PatchOp) (any, error) {
	last := len(keys) == 1
	switch c := at.(type) {
	case map[string]any:
		old, there := c[keys[0]]
		switch {
		case !last && !there, last && op.Op != "add" && !there:
			return nil, invalid("there is no key %s", keys[0])
		case !last:
			next, err := descend(old, keys[1:], op)
			if err != nil {
				return nil, err
			}
			c[keys[0]] = next
		case op.Op == "remove":
			delete(c, keys[0])
		default:
			c[keys[0]] = clone(op.Value)
		}
		return c, nil
	case []any:
		i, err := strconv.Atoi(keys[0])
		if keys[0] == "-" && last && op.Op == "add" { // behind the last one (RFC 6901 section 4)
			i, err = len(c), nil
		}
		limit := len(c)
		if last && op.Op == "add" {
			limit++
		}
		if err != nil || i < 0 || i >= limit {
			return nil, invalid("%s is no place in a list of %d", keys[0], len(c))
		}
		switch {
		case !last:
			next, err := descend(c[i], keys[1:], op)
			if err != nil {
				return nil, err
			}
			c[i] = next
		case op.Op == "add":
			c = slices.Insert(c, i, clone(op.Value))
		case op.Op == "replace":
			c[i] = clone(op.Value)
		default:
			c = slices.Delete(c, i, i+1)
		}
		return c, nil
	}
	return nil, invalid("%s leads into something that is neither an object nor a list", keys[0])
}

// Reset is the value of a field that was removed.
func (f Field) Reset() any {
	switch f.Kind {
	case Map:
		return map[string]any{}
	case Flag:
		return false
	}
	return nil
}

func patchable(fields []Field, v Version) []string {
	var out []string
	for _, f := range fields {
		if f.Patch && f.Since <= v {
			out = append(out, f.Name)
		}
	}
	slices.Sort(out)
	return out
}

// clone copies decoded JSON.
func clone(v any) any {
	switch t := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(t))
		for k, x := range t {
			m[k] = clone(x)
		}
		return m
	case []any:
		l := make([]any, len(t))
		for i, x := range t {
			l[i] = clone(x)
		}
		return l
	}
	return v
}
