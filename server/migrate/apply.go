package migrate

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Target is the server that takes over.
type Target interface {
	Source
	// Send makes a request with a body, nil for none.
	Send(ctx context.Context, method, path string, q url.Values, body any) (map[string]any, error)
}

// Options are how an import is carried out.
type Options struct {
	Parallel int // nodes at once
	// Settle waits until no work goes on at a node, and gives the state it ended in and its last error.
	Settle func(ctx context.Context, node string) (state.State, string, error)
	// Done is told of each item when it was dealt with; nil err: it is as planned. It may be called by several goroutines.
	Done func(i Item, err error)
}

// Apply does what the plan says: what nodes refer to, the nodes with their port groups, ports and traits, then their
// way to the goal. One node's failure does not stop the others; the error is that of ctx alone.
func (p *Plan) Apply(ctx context.Context, t Target, o Options) error {
	work := map[string][]Item{} // by node
	var nodes []Item
	for _, i := range p.Items {
		switch {
		case i.Kind == "node":
			nodes = append(nodes, i)
		case kindOf(i.Kind).owned:
			work[text(i.want, "node_uuid")] = append(work[text(i.want, "node_uuid")], i)
		default:
			if i.acts() {
				o.Done(i, carry(ctx, t, i))
			}
		}
	}
	slots := make(chan struct{}, max(1, o.Parallel))
	for _, children := range []bool{false, true} { // a child names its parent
		var all sync.WaitGroup
		for _, n := range nodes {
			if ctx.Err() != nil || (text(n.want, "parent_node") != "") != children {
				continue
			}
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				node(ctx, t, o, n, work[n.UUID])
			})
		}
		all.Wait()
	}
	return context.Cause(ctx)
}

func (i Item) acts() bool { return i.Action == Create || i.Action == Change }

// node takes one node over, with what belongs to it.
func node(ctx context.Context, t Target, o Options, n Item, parts []Item) {
	if n.Action == Blocked {
		return
	}
	if n.acts() {
		if err := carry(ctx, t, n); err != nil {
			o.Done(n, err)
			return
		}
	}
	whole := true
	for _, part := range parts {
		if part.acts() {
			err := carry(ctx, t, part)
			whole = whole && err == nil
			o.Done(part, err)
		}
	}
	switch {
	case !n.acts():
	case !whole:
		o.Done(n, fmt.Errorf("not all that belongs to it could be made; it stays in enroll"))
	default:
		o.Done(n, arrive(ctx, t, o, n))
	}
}

// carry makes an object, or sets what differs.
func carry(ctx context.Context, t Target, i Item) error {
	path := "/v1/" + kindOf(i.Kind).path
	self := path + "/" + url.PathEscape(i.UUID)
	if i.Action == Create {
		body := Object{}
		for f, v := range i.want {
			if f != "traits" && f != "maintenance" {
				body[f] = v
			}
		}
		if _, err := t.Send(ctx, http.MethodPost, path, nil, body); err != nil {
			return err
		}
	} else if ops := patch(i); len(ops) > 0 {
		if _, err := t.Send(ctx, http.MethodPatch, self, nil, ops); err != nil {
			return err
		}
	}
	if i.traits == nil || len(i.traits) == 0 && i.Action == Create || i.Action == Change && !slices.ContainsFunc(i.Diffs, func(d Diff) bool { return d.Field == "traits" }) {
		return nil
	}
	_, err := t.Send(ctx, http.MethodPut, self+"/traits", nil, Object{"traits": i.traits})
	return err
}

// patch sets what differs, but for what has a place of its own or comes last.
func patch(i Item) (ops []api.PatchOp) {
	for _, d := range i.Diffs {
		field, key, inside := strings.Cut(d.Field, ".")
		if _, late := i.last[field]; late || field == "traits" || field == "maintenance" {
			continue
		}
		path := api.Pointer(field)
		if inside {
			path = api.Pointer(field, key)
		}
		if d.value == nil {
			ops = append(ops, api.PatchOp{Op: "remove", Path: path})
		} else {
			ops = append(ops, api.PatchOp{Op: "add", Path: path, Value: d.value})
		}
	}
	return ops
}

// arrive takes a node to its goal by verbs that touch no disk and no power switch: manage reads its BMC, adopt
// takes it as it is. Then it sets what waits for the goal.
func arrive(ctx context.Context, t Target, o Options, i Item) error {
	at := i.At
	if at == "" {
		at = state.Enroll
	}
	for at != i.Goal {
		verb, to := "manage", state.Manageable
		switch {
		case i.Goal == state.Enroll:
			return last(ctx, t, i) // it went on by itself, or waits for its secrets
		case at == state.Manageable || at == state.AdoptFail:
			verb, to = "adopt", state.Active
		case at != state.Enroll:
			return fmt.Errorf("it is %s here, from where an import does not lead to %s", at, i.Goal)
		}
		if _, err := t.Send(ctx, http.MethodPut, "/v1/nodes/"+i.UUID+"/states/provision", nil, Object{"target": verb}); err != nil {
			return err
		}
		ended, lastError, err := o.Settle(ctx, i.UUID)
		if err != nil {
			return err
		}
		if ended != to {
			return fault.New(fault.StepFailed, "%s ended in %q instead of %q: %s", verb, ended, to, lastError).
				WithHint("mend it, then run the import again: it goes on from here")
		}
		at = ended
	}
	return last(ctx, t, i)
}

// last sets what waits for the goal.
func last(ctx context.Context, t Target, i Item) error {
	var ops []api.PatchOp
	for _, f := range []string{"protected", "protected_reason", "retired", "retired_reason"} {
		if v, ok := i.last[f]; ok {
			ops = append(ops, api.PatchOp{Op: "add", Path: "/" + f, Value: v})
		}
	}
	if len(ops) > 0 {
		if _, err := t.Send(ctx, http.MethodPatch, "/v1/nodes/"+i.UUID, nil, ops); err != nil {
			return err
		}
	}
	if i.last["maintenance"] == true {
		_, err := t.Send(ctx, http.MethodPut, "/v1/nodes/"+i.UUID+"/maintenance", nil, Object{"reason": i.reason})
		return err
	}
	return nil
}
